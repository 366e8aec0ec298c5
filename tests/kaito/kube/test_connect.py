"""Where the configuration comes from, and what is said of one that cannot be used."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito.kube import connect
from kaito.kube.access import SPARE_CONNECTIONS, InvalidKubeconfig
from kaito.runtime.ports import PODS, Unavailable
from tests.kaito.kube.certificates import Authority
from tests.kaito.kube.conftest import TOKEN
from tests.kaito.kube.loopback import Loopback

Kubeconfig = Callable[..., Path]
URL = "https://10.0.0.1:6443"
POD = {"kind": "Pod"}


def authorization(server: Loopback) -> str:
    return server.asked[-1].headers.get("authorization", "")


def asks(server: Loopback, **arguments: Any) -> str:
    """The credential that a new client sends."""
    server.answers(200, POD)
    client = connect(**arguments)
    client.get(PODS, "p")
    client.close()
    return authorization(server)


def a_plugin(folder: Path, script: str) -> dict[str, Any]:
    file = folder / "plugin"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(file)}}


def credential_of(token: str) -> str:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token},
    }
    return f"echo '{json.dumps(answer)}'"


# Where it is found


def test_explicit_file_is_read(server: Loopback, kubeconfig: Kubeconfig) -> None:
    assert asks(server, kubeconfig=kubeconfig(server.url)) == f"Bearer {TOKEN}"


def test_environment_names_the_file(
    server: Loopback, kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(server.url)))

    assert asks(server) == f"Bearer {TOKEN}"


def test_home_directory_comes_last(
    server: Loopback, kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(server.url).rename(tmp_path / ".kube" / "config")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert asks(server) == f"Bearer {TOKEN}"


def test_context_is_chosen_by_name(server: Loopback, kubeconfig: Kubeconfig) -> None:
    path = kubeconfig(URL)
    config = json.loads(path.read_text())
    config["clusters"].append({"name": "other", "cluster": {"server": server.url}})
    config["users"].append({"name": "other", "user": {"token": "other-token"}})
    config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "other"}})
    path.write_text(json.dumps(config))

    assert asks(server, kubeconfig=path, context="other") == "Bearer other-token"


@pytest.fixture
def service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The token file of a pod that runs in the cluster."""
    from kubernetes.config import incluster_config

    token = tmp_path / "token"
    token.write_text("pod-token\n")
    Authority(tmp_path, "ca")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return token


def test_pod_uses_its_service_account(
    service_account: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "own.crt"))
    with Loopback(Authority(tmp_path, "own").server()) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))

        assert asks(server) == "Bearer pod-token"


def test_explicit_file_goes_before_the_pod(
    server: Loopback, kubeconfig: Kubeconfig, service_account: Path
) -> None:
    assert asks(server, kubeconfig=kubeconfig(server.url)) == f"Bearer {TOKEN}"


def test_pod_without_token_is_told(service_account: Path) -> None:
    service_account.unlink()

    with pytest.raises(
        InvalidKubeconfig, match=r"^service account of the pod: Service token file does not exist"
    ):
        connect()


def test_nothing_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, kaito.kube, kaito.cli\n"
        "sys.exit(any(name.split('.')[0] in ('kubernetes', 'urllib3') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_connections_are_sized_and_kept_alive(kubeconfig: Kubeconfig) -> None:
    client = connect(kubeconfig(URL), workers=7)

    settings = client._transport._identities.current().pool.connection_pool_kw

    assert settings["maxsize"] == 7 + SPARE_CONNECTIONS
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in settings["socket_options"]
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in settings["socket_options"]


# Credentials


def test_token_file_is_read(server: Loopback, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("file-token\n")

    assert asks(server, kubeconfig=kubeconfig(server.url, {"tokenFile": "token"})) == "Bearer file-token"


def test_plugin_is_run(server: Loopback, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    user = a_plugin(tmp_path, credential_of("plugin-token"))

    assert asks(server, kubeconfig=kubeconfig(server.url, user)) == "Bearer plugin-token"


def test_name_and_password_are_sent(server: Loopback, kubeconfig: Kubeconfig) -> None:
    expected = base64.b64encode(b"me:secret").decode()

    found = asks(server, kubeconfig=kubeconfig(server.url, {"username": "me", "password": "secret"}))

    assert found == f"Basic {expected}"


def test_user_without_credential_is_anonymous(server: Loopback, kubeconfig: Kubeconfig) -> None:
    assert asks(server, kubeconfig=kubeconfig(server.url, {})) == ""


def test_proxy_of_the_cluster_is_used(server: Loopback, kubeconfig: Kubeconfig) -> None:
    server.answers(200, POD)
    client = connect(kubeconfig("http://cluster.invalid", **{"proxy-url": server.url}))

    client.get(PODS, "p")

    assert server.asked[0].headers["host"] == "cluster.invalid"
    client.close()


# TLS


def test_server_of_a_known_authority_is_trusted(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Loopback(authority.server()) as server:
        path = kubeconfig(server.url, **{"certificate-authority": str(authority.file)})

        assert asks(server, kubeconfig=path) == f"Bearer {TOKEN}"


def test_authority_may_stand_in_the_file(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    inline = base64.b64encode(authority.file.read_bytes()).decode()
    with Loopback(authority.server()) as server:
        path = kubeconfig(server.url, **{"certificate-authority-data": inline})

        assert asks(server, kubeconfig=path) == f"Bearer {TOKEN}"


def test_foreign_server_gets_no_credential(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    known, foreign = Authority(tmp_path, "known"), Authority(tmp_path, "foreign")
    with Loopback(foreign.server()) as server:
        server.answers(200, POD)
        client = connect(kubeconfig(server.url, **{"certificate-authority": str(known.file)}))

        with pytest.raises(Unavailable, match="the server's certificate is not trusted"):
            client.get(PODS, "p")

        assert server.asked == []
        client.close()


def test_client_certificate_is_presented(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server()
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = authority.pair("client", 3)
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    with Loopback(context) as server:
        path = kubeconfig(server.url, user, **{"certificate-authority": str(authority.file)})

        assert asks(server, kubeconfig=path) == ""


# What cannot be used


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"

    with pytest.raises(InvalidKubeconfig, match=f"^{path}: expected a kubeconfig, found no file$"):
        connect(path)


BROKEN: dict[str, str] = {
    "empty": "",
    "not YAML": "users: [\n  - {token: canary-token-7f3a",
    "a list": "[canary-token-7f3a]",
    "a word": "canary-token-7f3a",
    "no context": "clusters: []\ncontexts: []\nusers: []\n",
    "a token alone": "users: [{name: u, user: {token: canary-token-7f3a}}]\n",
    "users as a word": "current-context: x\nclusters: []\ncontexts: []\nusers: canary-token-7f3a\n",
    "users without names": "current-context: x\nusers: [{user: {token: canary-token-7f3a}}]\n",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_file_is_told_on_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)

    with pytest.raises(InvalidKubeconfig) as caught:
        connect(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.exit_code == 2


def a_config(**changes: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": URL}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **changes,
    }


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "context that is not there": (a_config(**{"current-context": "y"}), "name y in"),
    "cluster that is not there": (
        a_config(contexts=[{"name": "x", "context": {"cluster": "other", "user": "u"}}]),
        "name other in",
    ),
    "two of a name": (a_config(clusters=[{"name": "c", "cluster": {}}] * 2), "cluster.server"),
    "no server": (a_config(clusters=[{"name": "c", "cluster": {"proxy-url": "x"}}]), "cluster.server"),
    "odd server": (a_config(clusters=[{"name": "c", "cluster": {"server": "ftp://x"}}]), "'ftp://x'"),
    "no host": (a_config(clusters=[{"name": "c", "cluster": {"server": "https://"}}]), "'https:"),
    "no authority": (
        a_config(clusters=[{"name": "c", "cluster": {"server": URL, "certificate-authority": "none.crt"}}]),
        "none.crt",
    ),
    "authority that is not base64": (
        a_config(clusters=[{"name": "c", "cluster": {"server": URL, "certificate-authority-data": "?"}}]),
        "certificate-authority",
    ),
    "authority that is no certificate": (
        a_config(clusters=[{"name": "c", "cluster": {"server": URL, "certificate-authority-data": "eHh4"}}]),
        "certificate-authority",
    ),
    "token of two lines": (a_config(users=[{"name": "u", "user": {"token": f"{TOKEN}\nX: 1"}}]), "one line"),
    "token file that is not there": (a_config(users=[{"name": "u", "user": {"tokenFile": "none"}}]), "none"),
    "client certificate that is none": (
        a_config(
            users=[{"name": "u", "user": {"client-certificate-data": "eHh4", "client-key-data": "eHh4"}}]
        ),
        "client-certificate",
    ),
    "user as a word": (a_config(users=[{"name": "u", "user": TOKEN}]), ""),
}  # fmt: skip


@pytest.mark.parametrize(("config", "told"), FAULTS.values(), ids=FAULTS)
def test_fault_is_told_without_a_secret(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))

    with pytest.raises(InvalidKubeconfig) as caught:
        connect(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None or TOKEN not in str(caught.value.__cause__)


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", f"echo '{json.dumps({'status': {}})}'"])
def test_plugin_that_fails_is_named(
    kubeconfig: Kubeconfig, tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = kubeconfig(URL, a_plugin(tmp_path, script))

    with pytest.raises(InvalidKubeconfig, match=r"user u: expected a credential from its exec plugin"):
        connect(path)


def test_unknown_context_is_named(kubeconfig: Kubeconfig) -> None:
    with pytest.raises(InvalidKubeconfig, match="name prod in"):
        connect(kubeconfig(URL), context="prod")


def test_unreadable_file_is_named(kubeconfig: Kubeconfig) -> None:
    path = kubeconfig(URL)
    path.unlink()
    path.mkdir()

    with pytest.raises(InvalidKubeconfig, match="Is a directory"):
        connect(path)


def test_nothing_shows_the_credential(kubeconfig: Kubeconfig) -> None:
    client = connect(kubeconfig(URL))
    transport = client._transport
    identities = transport._identities

    shown = [repr(each) for each in (client, transport, identities, identities.current(), identities._access)]

    assert [each for each in shown if TOKEN in each] == []
    assert URL in repr(client)
