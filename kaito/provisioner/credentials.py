"""The identity that asks for tokens: workload identity where its token file is given, else managed identity.

Nothing is retried and nothing waits long here: back-off is the controller's, as for every other call.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from azure.identity import AzureAuthorityHosts, ManagedIdentityCredential, WorkloadIdentityCredential

from kaito.process.forms import InvalidConfiguration
from kaito.provisioner.configuration import (
    CHINA,
    US_GOVERNMENT,
    VARIABLES,
    AzureConfiguration,
)

CONNECT_SECONDS = 5
READ_SECONDS = 30

Credential: TypeAlias = WorkloadIdentityCredential | ManagedIdentityCredential

_AUTHORITIES = {CHINA: AzureAuthorityHosts.AZURE_CHINA, US_GOVERNMENT: AzureAuthorityHosts.AZURE_GOVERNMENT}


def new_credential(configuration: AzureConfiguration) -> Credential:
    """The credential; asks for no token yet.

    Raises:
        InvalidConfiguration: The token file cannot be read. Later, its absence would be told as a refusal by
            Azure, with a text that leads nowhere.
    """
    if not configuration.federated_token_file:
        return ManagedIdentityCredential(
            client_id=configuration.client_id or None,
            retry_total=0,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
    _check_token_file(configuration.federated_token_file)
    return WorkloadIdentityCredential(
        tenant_id=configuration.tenant_id,
        client_id=configuration.client_id,
        token_file_path=configuration.federated_token_file,
        authority=authority_of(configuration),
        retry_total=0,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )


def authority_of(configuration: AzureConfiguration) -> str:
    """Who issues the tokens: the host that was given, or else the one of the cloud."""
    known = _AUTHORITIES.get(configuration.cloud, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD)
    return configuration.authority_host.rstrip("/") or known


def _check_token_file(path: str) -> None:
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        variable = VARIABLES["federated_token_file"]
        raise InvalidConfiguration([f"{variable}: expected a file that can be read, found none at {path}"])
