"""The SDK's client with the pipeline that this adapter wants, and no other.

The SDK's own pipeline retries in place, sleeps on ``Retry-After``, follows redirects, and registers resource
providers in a loop without end. All of that would hold a worker and hide from the controller what happened,
so the policies are listed here one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
from azure.core import AzureClouds
from azure.core.credentials import TokenCredential
from azure.core.pipeline import PipelineRequest, PipelineResponse, policies
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.core.tools import get_arm_endpoints

from kaito.provisioner import answers
from kaito.provisioner.configuration import CHINA, US_GOVERNMENT, AzureConfiguration
from kaito.provisioner.credentials import CONNECT_SECONDS, READ_SECONDS
from kaito.runtime.pools import PoolUnanswered
from kaito.runtime.ports import Clock

Policy: TypeAlias = policies.HTTPPolicy[Any, Any] | policies.SansIOHTTPPolicy[Any, Any]
_Sans: TypeAlias = policies.SansIOHTTPPolicy[HttpRequest, HttpResponse]

_CLOUDS = {CHINA: AzureClouds.AZURE_CHINA_CLOUD, US_GOVERNMENT: AzureClouds.AZURE_US_GOVERNMENT}
_PORTS = {"https": 443, "http": 80}


class Endpoint(msgspec.Struct, frozen=True):
    """Where the Resource Manager of a cloud is, and the scope of the tokens that it takes; empty for none."""

    url: str
    scope: str

    def owns(self, url: object) -> bool:
        """Whether a URL leads to this endpoint; only there may a token go."""
        return isinstance(url, str) and _origin(url) == _origin(self.url) is not None


class OneEndpoint(_Sans):
    """Refuses to send a request anywhere else: a link of a page and an operation's URL come from outside."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        if not self._endpoint.owns(request.http_request.url):
            host = urlsplit(request.http_request.url).hostname
            raise PoolUnanswered(f"not followed: a link to {host}, away from {self._endpoint.url}")


class PlainAnswers(_Sans):
    """Raises our error for every response that is no success, before the SDK reads it.

    The SDK would log a stack trace for each body that is not JSON, and lose the code in the header. From a
    success it would raise, after the effect, when ``Retry-After`` is a date; so that one is taken away.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def on_response(
        self, request: PipelineRequest[HttpRequest], response: PipelineResponse[HttpRequest, HttpResponse]
    ) -> None:
        answer = response.http_response
        if answer.status_code >= 300:
            answer.read()
            raise answers.refusal(answer, self._clock.now())
        if not answer.headers.get("Retry-After", "0").isdigit():
            del answer.headers["Retry-After"]


class Anonymous(_Sans):
    """Sends no credential: a simulated cloud asks for none."""


def endpoint_of(configuration: AzureConfiguration) -> Endpoint:
    if configuration.endpoint:
        return Endpoint(configuration.endpoint.rstrip("/"), "")
    cloud = _CLOUDS.get(configuration.cloud, AzureClouds.AZURE_PUBLIC_CLOUD)
    known: Mapping[str, Any] = get_arm_endpoints(cloud)
    return Endpoint(known["resource_manager"].rstrip("/"), known["credential_scopes"][0])


def new_client(
    configuration: AzureConfiguration,
    endpoint: Endpoint,
    credential: TokenCredential,
    clock: Clock,
    *,
    authentication: Policy | None = None,
    **transport: Any,
) -> ContainerServiceClient:
    """A client whose every call is one request, answered within seconds or given up.

    Args:
        authentication: Instead of the SDK's bearer tokens, which are sent over TLS only.
        transport: Options of the SDK's HTTP transport.
    """
    options: dict[str, Any] = {
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    } | transport
    if configuration.api_version:
        options["api_version"] = configuration.api_version
    bearer = authentication or ARMChallengeAuthenticationPolicy(credential, endpoint.scope)
    return ContainerServiceClient(
        credential,
        configuration.subscription_id,
        endpoint.url,
        policies=_policies(endpoint, bearer, clock),
        **options,
    )


def _policies(endpoint: Endpoint, authentication: Policy, clock: Clock) -> list[Policy]:
    """In the order in which a request passes them; a response passes them the other way round."""
    return [
        policies.RequestIdPolicy(),
        policies.UserAgentPolicy(user_agent=f"kaito-provisioner/{metadata.version('kaito-operator')}"),
        policies.CustomHookPolicy(),
        PlainAnswers(clock),
        OneEndpoint(endpoint),
        authentication,
    ]


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None for anything that two parsers might read in two ways."""
    if not url.isascii() or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc or parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.hostname, port
