"""Which AKS cluster the provisioner works for and as whom: read from the published environment variables.

Everything is checked before the first call, and every fault is told at once, a line each. This module loads
nothing of the Azure SDK.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from kaito.api.errors import describe
from kaito.process.forms import InvalidConfiguration

PUBLIC, CHINA, US_GOVERNMENT = "AzurePublicCloud", "AzureChinaCloud", "AzureUSGovernment"

CLOUD_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "azurepubliccloud": PUBLIC,
        "azurecloud": PUBLIC,
        "azurechinacloud": CHINA,
        "azureusgovernment": US_GOVERNMENT,
        "azureusgovernmentcloud": US_GOVERNMENT,
    }
)
"""Names of clouds, in lower case; the Azure CLI and the Go SDK spell two of them differently."""

AUTHORITY_HOSTS: Mapping[str, str] = MappingProxyType(
    {
        "login.microsoftonline.com": PUBLIC,
        "login.windows.net": PUBLIC,
        "login.chinacloudapi.cn": CHINA,
        "login.partner.microsoftonline.cn": CHINA,
        "login.microsoftonline.us": US_GOVERNMENT,
    }
)
"""Hosts that issue tokens, and the cloud that each of them issues for."""

OLDEST_API_VERSION = "2024-09-01"
"""The first stable version whose agent pools honour ``If-None-Match``. An older one would take a create-only
PUT for an update and overwrite a pool that is not ours."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RESOURCE_GROUP = re.compile(r"[-\w.()]{0,89}[-\w()]")
_CLUSTER = re.compile(r"[a-z0-9]([-\w]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_TENANT = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}", re.IGNORECASE)
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)


class AzureConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """One AKS cluster and the identity that works on its agent pools; holds no secret.

    Without ``federated_token_file`` the managed identity of the machine is used. ``endpoint`` is that of a
    simulated cloud on this machine, to which no credential is sent; empty for the cloud's own.

    An empty ``api_version`` is the one that the installed SDK was made for. It is preferred to the 2023-07-01
    of the published provisioner, which knows neither the create-only PUT nor a pool's
    ``status.provisioningError``; another one is for clouds that get versions later.
    """

    subscription_id: str
    resource_group: str
    cluster_name: str
    tenant_id: str
    node_resource_group: str = ""
    location: str = ""
    client_id: str = ""
    federated_token_file: str = ""
    authority_host: str = ""
    cloud: str = PUBLIC
    api_version: str = ""
    endpoint: str = ""


VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "subscription_id": "ARM_SUBSCRIPTION_ID",
        "resource_group": "ARM_RESOURCE_GROUP",
        "cluster_name": "AZURE_CLUSTER_NAME",
        "tenant_id": "AZURE_TENANT_ID",
        "node_resource_group": "AZURE_NODE_RESOURCE_GROUP",
        "location": "LOCATION",
        "client_id": "AZURE_CLIENT_ID",
        "federated_token_file": "AZURE_FEDERATED_TOKEN_FILE",
        "authority_host": "AZURE_AUTHORITY_HOST",
        "cloud": "ARM_CLOUD",
        "api_version": "AZURE_API_VERSION",
        "endpoint": "KAITO_ARM_ENDPOINT",
    }
)
"""The environment variable of each field; all but the last two are published ones."""

_REQUIRED: Mapping[str, tuple[re.Pattern[str], str]] = MappingProxyType(
    {
        "subscription_id": (_UUID, "the id of a subscription (a UUID)"),
        "resource_group": (_RESOURCE_GROUP, "the name of the cluster's resource group"),
        "cluster_name": (_CLUSTER, "the name of the AKS cluster"),
        "tenant_id": (_TENANT, "a tenant id, as the workload identity webhook sets it"),
        "node_resource_group": (_RESOURCE_GROUP, "the name of the resource group of the cluster's nodes"),
    }
)


def read_configuration(
    environment: Mapping[str, str], flags: Mapping[str, str] = MappingProxyType({})
) -> AzureConfiguration:
    """The configuration in the environment; flags, by the name of their field, take precedence.

    Values are trimmed, and an empty one counts as absent.

    Raises:
        InvalidConfiguration: Something is missing or has the wrong form; tells all of it.
    """
    given = {
        field: (flags.get(field, "").strip() or environment.get(variable, "").strip())
        for field, variable in VARIABLES.items()
    }
    if faults := list(_faults(given)):
        raise InvalidConfiguration(faults)
    return AzureConfiguration(**{**given, "cloud": _cloud(given)})


def _faults(given: Mapping[str, str]) -> Iterator[str]:
    for field, (pattern, expected) in _REQUIRED.items():
        if not pattern.fullmatch(given[field]):
            yield _fault(field, expected, given[field])
    if given["federated_token_file"] and not given["client_id"]:
        yield _fault("client_id", "the client id that the token file is for", "")
    yield from _cloud_faults(given)
    version = given["api_version"]
    if version and not (_API_VERSION.fullmatch(version) and version >= OLDEST_API_VERSION):
        yield _fault("api_version", f"a version from {OLDEST_API_VERSION} on", version)
    if given["endpoint"] and not _is_loopback(given["endpoint"]):
        expected = "a simulated cloud of this machine, such as http://127.0.0.1:8090"
        yield _fault("endpoint", expected, given["endpoint"])


def _cloud_faults(given: Mapping[str, str]) -> Iterator[str]:
    """A token file must never go to another cloud's authority, so the two settings have to agree."""
    named, host = given["cloud"], given["authority_host"]
    if named and named.lower() not in CLOUD_NAMES:
        yield _fault("cloud", f"{PUBLIC}, {CHINA} or {US_GOVERNMENT}", named)
    elif host and _issuer(host) is None:
        yield _fault("authority_host", f"https:// and one of {', '.join(sorted(AUTHORITY_HOSTS))}", host)
    elif named and host and _issuer(host) != CLOUD_NAMES[named.lower()]:
        yield _fault("authority_host", f"an authority of {CLOUD_NAMES[named.lower()]}", host)


def _cloud(given: Mapping[str, str]) -> str:
    named = CLOUD_NAMES.get(given["cloud"].lower())
    return named or _issuer(given["authority_host"]) or PUBLIC


def _issuer(authority_host: str) -> str | None:
    """The cloud for which this host issues tokens; None for an address that is not one of them over TLS."""
    try:
        parts = urlsplit(authority_host)
    except ValueError:
        return None
    plain = parts.scheme == "https" and parts.path in ("", "/") and not parts.query
    return AUTHORITY_HOSTS.get(parts.netloc.lower()) if plain else None


def _is_loopback(url: str) -> bool:
    """Whether a URL is plain HTTP to this machine: nothing else may be talked to without credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    here = parts.hostname in ("127.0.0.1", "::1", "localhost") and "@" not in parts.netloc
    bare = parts.path in ("", "/") and not parts.query
    return parts.scheme == "http" and here and port is not None and bare


def _fault(field: str, expected: str, found: str) -> str:
    return f"{VARIABLES[field]}: expected {expected}, found {describe(found or None)}"
