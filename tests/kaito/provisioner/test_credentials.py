"""Who asks for tokens, whom it asks, and what is told when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential, WorkloadIdentityCredential

from kaito.provisioner import azure, clients, credentials
from kaito.provisioner.configuration import (
    CHINA,
    PUBLIC,
    US_GOVERNMENT,
    AzureConfiguration,
    InvalidConfiguration,
)
from kaito.runtime.pools import PoolRefused, PoolUnanswered
from tests.kaito.provisioner.azure_pools import CONFIGURATION, TENANT, FixedClock, azure_pools

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
NOWHERE = "https://127.0.0.1:1"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "azure-identity-token"
    path.write_text(JWT)
    return path


def with_identity(token_file: Path, **changes: str) -> AzureConfiguration:
    identity = {"client_id": "client-1", "federated_token_file": str(token_file)}
    return msgspec.structs.replace(CONFIGURATION, **(identity | changes))


class Refusing:
    """A credential that yields an error instead of a token."""

    def __init__(self, error: Exception, cause: Exception | None = None) -> None:
        self.error, self.cause = error, cause

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        raise self.error from self.cause


def test_token_file_means_workload_identity(token_file: Path) -> None:
    with credentials.new_credential(with_identity(token_file)) as credential:
        assert isinstance(credential, WorkloadIdentityCredential)


def test_without_token_file_identity_is_managed() -> None:
    with credentials.new_credential(CONFIGURATION) as credential:
        assert isinstance(credential, ManagedIdentityCredential)


def test_missing_token_file_is_told_first(tmp_path: Path) -> None:
    path = tmp_path / "absent"

    with pytest.raises(InvalidConfiguration) as caught:
        azure.connect(with_identity(path), FixedClock())

    expected = f"AZURE_FEDERATED_TOKEN_FILE: expected a file that can be read, found none at {path}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("kind", ["WorkloadIdentityCredential", "ManagedIdentityCredential"])
def test_tokens_are_asked_for_once_and_shortly(
    kind: str, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(credentials, kind, lambda **options: given.update(options))
    configuration = with_identity(token_file) if kind.startswith("Workload") else CONFIGURATION

    credentials.new_credential(configuration)

    assert (given["retry_total"], given["connection_timeout"], given["read_timeout"]) == (0, 5, 30)


def test_workload_identity_is_the_configured_one(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(credentials, "WorkloadIdentityCredential", lambda **options: given.update(options))

    credentials.new_credential(with_identity(token_file, cloud=CHINA))

    assert given["authority"] == "login.chinacloudapi.cn"
    assert (given["tenant_id"], given["client_id"]) == (TENANT, "client-1")
    assert given["token_file_path"] == str(token_file)


@pytest.mark.parametrize(
    ("cloud", "authority", "url", "scope"),
    [
        (
            PUBLIC,
            "login.microsoftonline.com",
            "https://management.azure.com",
            "https://management.azure.com/.default",
        ),
        (
            CHINA,
            "login.chinacloudapi.cn",
            "https://management.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
        ),
        (
            US_GOVERNMENT,
            "login.microsoftonline.us",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
        ),
    ],
)
def test_each_cloud_has_its_own_addresses(cloud: str, authority: str, url: str, scope: str) -> None:
    configuration = msgspec.structs.replace(CONFIGURATION, cloud=cloud)

    assert credentials.authority_of(configuration) == authority
    assert clients.endpoint_of(configuration) == clients.Endpoint(url, scope)


def test_given_authority_comes_first() -> None:
    host = "https://login.partner.microsoftonline.cn/"
    configuration = msgspec.structs.replace(CONFIGURATION, cloud=CHINA, authority_host=host)

    assert credentials.authority_of(configuration) == "https://login.partner.microsoftonline.cn"


def test_other_clouds_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SDK_CLOUD_CONF", "AZURE_CHINA_CLOUD")

    assert clients.endpoint_of(CONFIGURATION).url == "https://management.azure.com"


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
def test_refused_token_is_told_as_such(kind: type[ClientAuthenticationError]) -> None:
    text = f"AADSTS70021: No matching federated identity\r\n record found for {JWT}"
    pools = azure_pools(NOWHERE, credential=Refusing(kind(message=text)))

    with pytest.raises(PoolRefused) as caught:
        pools.list()
    pools.close()

    fault = caught.value.fault
    assert (fault.reason, fault.terminal) == ("NotAuthorized", False)
    assert fault.message == "AADSTS70021: No matching federated identity record found for [removed]"


def test_silent_issuer_is_no_answer() -> None:
    cause = ServiceRequestError("no route", error=OSError(113, "No route to host"))
    pools = azure_pools(NOWHERE, credential=Refusing(ClientAuthenticationError(message="failed"), cause))

    with pytest.raises(PoolUnanswered) as caught:
        pools.list()
    pools.close()

    assert str(caught.value) == "list: no token: No route to host"


def test_connected_adapter_has_made_no_call(token_file: Path) -> None:
    pools = azure.connect(with_identity(token_file), FixedClock())

    assert JWT not in repr(vars(pools))
    pools.close()
