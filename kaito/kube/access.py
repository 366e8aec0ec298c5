"""Where the API server is and who we are, as the official client's loaders read it.

The loaders know TLS files, inline certificates, exec plugins, token files and proxies; here it is decided
which configuration is read, and every fault of one is told in a line that shows no credential. Some texts
of the loaders quote the whole user entry.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml

from kaito.problems import Problem

SPARE_CONNECTIONS = 16
"""Beside the workers: reflectors, the elector, health checks. More are made if need be, and not kept."""

KEEPALIVE = {"idle": 30, "interval": 10, "count": 3}
"""Seconds: the kernel finds a half-open connection, also one that waits in the pool, within a minute."""

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
DEFAULT_KUBECONFIG = "~/.kube/config"


class InvalidKubeconfig(Problem):
    """The message names the file or the service account, and what is wrong with it."""


class Access:
    """A configuration that was read; it holds credentials and shows none."""

    def __init__(self, configuration: Any, name: str) -> None:
        self._configuration = configuration
        self.server: str = configuration.host
        self.name = name

    def __repr__(self) -> str:
        return f"Access({self.server!r}, {self.name!r})"

    def authorization(self) -> str:
        """The value of the Authorization header, empty for none; one thread at a time.

        When the token is about to expire, its file is read again or its plugin run.

        Raises:
            InvalidKubeconfig: There is no token, or it cannot be sent.
        """
        try:
            found = self._configuration.get_api_key_with_prefix("BearerToken") or ""
        except Exception as error:  # of the loader, or of what the plugin printed
            raise InvalidKubeconfig(f"{self.name}: {_told(error)}") from None
        # The loader for pods writes the scheme in lower case and keeps the file's line end.
        scheme, _, secret = found.strip().partition(" ")
        secret = secret.strip()
        if not (secret.isascii() and secret.isprintable()):
            raise InvalidKubeconfig(
                f"{self.name}: expected a token of one line in ASCII, found other content"
            )
        return f"{scheme.capitalize()} {secret}" if secret else ""

    def new_pool(self) -> urllib3.PoolManager:
        """The client's own pool.

        Raises:
            InvalidKubeconfig: A certificate or key cannot be read.
        """
        from kubernetes.client.rest import RESTClientObject

        self._check_certificates()
        pool: urllib3.PoolManager = RESTClientObject(self._configuration).pool_manager
        return pool

    def _check_certificates(self) -> None:
        """Now, by name: the pool would load them with each connection, and each call would fail."""
        configuration = self._configuration
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        what = "certificate-authority: expected certificates in PEM"
        try:
            if configuration.ssl_ca_cert:
                context.load_verify_locations(configuration.ssl_ca_cert)
            if configuration.cert_file:
                what = "client-certificate and client-key: expected a pair in PEM, the key not encrypted"
                # Without a password the library would ask for one on the terminal.
                context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")
        except (OSError, ValueError):
            raise InvalidKubeconfig(f"{self.name}: {what}, found none") from None

    def certificates(self) -> tuple[bytes, ...]:
        """What the pool was made of; it is made anew when this changes."""
        configuration = self._configuration
        files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        return tuple(_content(file) for file in files if file)


def access_loader(kubeconfig: str | Path | None, context: str | None, workers: int) -> Callable[[], Access]:
    """A function that reads the configuration, again whenever it is called.

    The order is that of the controllers that people know: an explicit file, ``$KUBECONFIG``, the service
    account of the pod, the file in the home directory.
    """

    def load() -> Access:
        chosen = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG", "")
        if not chosen and not context and os.environ.get(IN_CLUSTER):
            return _checked(_of_service_account, "service account of the pod", workers)
        paths = chosen or DEFAULT_KUBECONFIG
        return _checked(lambda into: _of_kubeconfig(paths, context, into), paths, workers)

    return load


def _checked(read: Callable[[Any], None], name: str, workers: int) -> Access:
    from kubernetes.client import Configuration
    from kubernetes.utils.keepalive import tcp_keepalive_socket_options

    configuration: Any = Configuration()
    configuration.connection_pool_maxsize = workers + SPARE_CONNECTIONS
    configuration.retries = False
    configuration.socket_options = tcp_keepalive_socket_options(**KEEPALIVE)
    try:
        read(configuration)
    except InvalidKubeconfig:
        raise
    except Exception as error:
        # Odd content makes the loaders raise anything, and their texts would be printed with the chain.
        raise InvalidKubeconfig(f"{name}: {_told(error)}") from None
    parts = urlsplit(configuration.host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidKubeconfig(
            f"{name}: cluster.server: expected an http or https URL, found {configuration.host!r}"
        )
    return Access(configuration, name)


def _of_service_account(configuration: Any) -> None:
    from kubernetes.config import load_incluster_config

    loader: Any = load_incluster_config
    loader(client_configuration=configuration)


def _of_kubeconfig(paths: str, context: str | None, configuration: Any) -> None:
    from kubernetes.config import kube_config

    files = [os.path.expanduser(path) for path in paths.split(os.pathsep) if path]
    if not any(os.path.exists(file) for file in files):
        raise InvalidKubeconfig(f"{paths}: expected a kubeconfig, found no file")
    merged = kube_config.KubeConfigMerger(paths).config
    # An empty base path would make the paths in the file relative to the working directory.
    loader = kube_config.KubeConfigLoader(merged, active_context=context, config_base_path=None)
    loader.load_and_set(configuration)
    _check_plugin(merged, loader.current_context, configuration, paths)


def _check_plugin(merged: Any, context: Any, configuration: Any, paths: str) -> None:
    """The loader logs that a plugin failed and goes on without a credential; every call would be refused."""
    name = context["context"].get("user") or ""
    user = merged["users"].get_with_name(name, safe=True) if name else None
    expected = user is not None and user["user"] is not None and "exec" in user["user"]
    if expected and not configuration.api_key and not configuration.cert_file:
        raise InvalidKubeconfig(
            f"{paths}: user {name}: expected a credential from its exec plugin, found none"
        )


def _told(error: Exception) -> str:
    """The error without what it may quote of the file."""
    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        return f"expected YAML, found a fault{where}"
    if isinstance(error, OSError):
        return f"{error.filename or 'configuration'}: {error.strerror or 'cannot be read'}"
    if isinstance(error, (TypeError, LookupError, AttributeError)):
        return "expected a kubeconfig, found other content"
    return " ".join(str(error).partition("{")[0].split())


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""
