"""The adapter as tests wire it: a fixed clock, a token that must never come to light, and plain HTTP.

Production has no switch for plain HTTP: the SDK's authentication refuses to send a token over it. So tests
bring an authentication of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from kaito.provisioner.azure import AzureAgentPools
from kaito.provisioner.clients import Endpoint, new_client
from kaito.provisioner.configuration import AzureConfiguration
from kaito.runtime.pools import OWNER_TAG, PoolSpec

NOW = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)
CANARY = "canary-3f9c.token+of/this~test="
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-8888-7777-6666-555555555555"
SCOPE = "https://management.azure.com/.default"
CLUSTER = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai/providers/Microsoft.ContainerService"
    "/managedClusters/kaito-demo"
)
POOLS = f"{CLUSTER}/agentPools"
CONFIGURATION = AzureConfiguration(
    subscription_id=SUBSCRIPTION, resource_group="rg-ai", cluster_name="kaito-demo", tenant_id=TENANT
)


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class FixedToken(SansIOHTTPPolicy[Any, Any]):
    """Authenticates every request that reaches it."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {CANARY}"


class FixedCredential:
    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(CANARY, 4_102_444_800)


def azure_pools(
    url: str,
    configuration: AzureConfiguration = CONFIGURATION,
    *,
    credential: TokenCredential | None = None,
    **transport: Any,
) -> AzureAgentPools:
    """The adapter against ``url``; a ``credential`` brings the SDK's own authentication with it."""
    endpoint = Endpoint(url, SCOPE)
    authentication = None if credential else FixedToken()
    return AzureAgentPools(
        configuration,
        endpoint,
        lambda: new_client(
            configuration,
            endpoint,
            credential or FixedCredential(),
            FixedClock(),
            authentication=authentication,
            use_env_settings=False,
            **transport,
        ),
    )


def a_spec(name: str = "ws0123456ab", **changes: Any) -> PoolSpec:
    values: dict[str, Any] = {
        "vm_size": "Standard_NC12s_v3",
        "labels": {"kaito.sh/workspace": "falcon"},
        "taints": ("sku=gpu:NoSchedule",),
        "tags": {OWNER_TAG: name, "kaito.sh_machine-uid": "uid-1"},
    }
    return PoolSpec(name=name, **(values | changes))


def a_pool(name: str = "ws0123456ab", **properties: Any) -> dict[str, Any]:
    """A pool's document as ARM sends it."""
    known: dict[str, Any] = {
        "count": 1,
        "vmSize": "Standard_NC12s_v3",
        "mode": "User",
        "provisioningState": "Succeeded",
        "eTag": '"etag-1"',
        "nodeLabels": {"kaito.sh/workspace": "falcon"},
        "tags": {OWNER_TAG: name},
    }
    return {"id": f"{POOLS.lower()}/{name}", "name": name, "properties": known | properties}


def arm_error(code: str, message: str, **more: Any) -> Mapping[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def aks_error(code: str, message: str) -> Mapping[str, Any]:
    return {"code": code, "details": None, "message": message, "subcode": ""}
