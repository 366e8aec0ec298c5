"""The HTTP face of the virtual ARM: the REST API of agent pools, as a Starlette application.

The shipped client library runs against it over a socket. Addresses are matched without regard to case, as
ARM does. Any token is accepted, also none. Under ``/admin`` are the switches of the cloud.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from simulator.azure.admin import admin_routes
from simulator.azure.arm import VirtualArm
from simulator.azure.model import Document
from simulator.azure.pacing import Pacer
from simulator.azure.refusals import Dropped, Garbled, Refusal, by_arm
from simulator.azure.scripts import Verb
from simulator.azure.service import AgentPoolService, Answer

ABORT = "kaito.abort"
"""The key of a connection's scope under which the server puts what resets it."""

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]
_POOLS = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers"
    r"/Microsoft\.ContainerService/managedClusters/(?P<cluster>[^/]+)/agentPools"
    r"(/(?P<pool>[^/]+)(?P<abort>/abort)?)?/?",
    re.IGNORECASE,
)
_OPERATIONS = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/providers/Microsoft\.ContainerService"
    r"/locations/(?P<location>[^/]+)/(?P<kind>operations|operationresults)/(?P<id>[^/]+)/?",
    re.IGNORECASE,
)
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


def application(arm: VirtualArm, pacer: Pacer) -> Starlette:
    """The whole server; ``pacer`` moves the virtual time of ``arm`` while it runs."""
    api = _Api(arm.service, pacer)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(pacer.follow())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    routes = [
        Mount("/admin", routes=admin_routes(arm, pacer)),
        Route("/{path:path}", api.handle, methods=_METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class _Api:
    """From requests to the verbs of the service, and back."""

    def __init__(self, service: AgentPoolService, pacer: Pacer) -> None:
        self._service = service
        self._pacer = pacer
        self._requests = 0

    async def handle(self, request: Request) -> Response:
        body = await request.body()
        with self._pacer.lock:
            self._pacer.catch_up()
            verb, answer = _verb(request), self._answer(request, body)
            self._requests += 1
            answer.headers["x-ms-request-id"] = f"{self._requests:032x}"
            answer.headers.update(self._service.throttle.headers(verb))
        answer.headers["x-ms-correlation-request-id"] = answer.headers["x-ms-request-id"]
        if client_id := request.headers.get("x-ms-client-request-id"):
            answer.headers["x-ms-client-request-id"] = client_id
        return answer

    def _answer(self, request: Request, body: bytes) -> Response:
        try:
            api_version = _api_version(request)
            if found := _POOLS.fullmatch(request.url.path):
                self._check_place(found.groupdict())
                return self._pools(request, found, body, api_version)
            if found := _OPERATIONS.fullmatch(request.url.path):
                self._check_subscription(found["subscription"])
                return self._operation(request, found["kind"].lower(), found["id"])
            raise by_arm(404, "InvalidResourceType", "The resource type could not be found.")
        except Refusal as refusal:
            return _refused(refusal)
        except Garbled as garbled:
            return Response(garbled.body, garbled.status, media_type="text/html")
        except Dropped:
            return _Reset()

    def _pools(self, request: Request, found: re.Match[str], body: bytes, api_version: str) -> Response:
        pool, method = found["pool"], request.method
        if pool is None and method == "GET":
            return self._list(request, api_version)
        if pool is not None and found["abort"] and method == "POST":
            return self._begun(request, self._service.abort(pool))
        if pool is not None and not found["abort"]:
            if method == "GET":
                return JSONResponse(self._service.get(pool, api_version=api_version))
            if method == "PUT":
                return self._put(request, pool, body, api_version)
            if method == "DELETE":
                match = request.headers.get("if-match", "")
                return self._begun(request, self._service.delete(pool, if_match=match))
        raise by_arm(405, "MethodNotAllowed", f"The method {method} is not allowed on this resource.")

    def _put(self, request: Request, pool: str, body: bytes, api_version: str) -> Response:
        answer = self._service.put(
            pool,
            _decoded(body),
            if_none_match=request.headers.get("if-none-match", ""),
            if_match=request.headers.get("if-match", ""),
            api_version=api_version,
        )
        return self._begun(request, answer)

    def _list(self, request: Request, api_version: str) -> Response:
        page = self._service.list(_query(request, "$skiptoken"), api_version=api_version)
        document: Document = {"value": list(page.items)}
        if page.next:
            link = f"{_origin(request)}{request.url.path}?api-version={api_version}"
            document["nextLink"] = f"{link}&$skiptoken={quote(page.next)}"
        return JSONResponse(document)

    def _begun(self, request: Request, answer: Answer) -> Response:
        """A 200 or 201 with the resource, a 202 without; both tell where to ask for the operation."""
        body = b"" if answer.document is None else json.dumps(answer.document).encode()
        response = Response(body, answer.status, media_type="application/json" if body else None)
        if answer.operation:
            path = self._service.names.operation_path
            response.headers["azure-asyncoperation"] = _origin(request) + path(answer.operation)
            if answer.status == 202:
                result = path(answer.operation, "operationresults")
                response.headers["location"] = _origin(request) + result
        return response

    def _operation(self, request: Request, kind: str, id_: str) -> Response:
        if request.method != "GET":
            raise by_arm(405, "MethodNotAllowed", f"The method {request.method} is not allowed.")
        document = self._service.operation(id_)
        if kind == "operations":
            return JSONResponse(document)
        return Response(status_code=202 if document["status"] == "InProgress" else 204)

    def _check_place(self, place: Mapping[str, str]) -> None:
        """404 where it is another subscription, group or cluster than the one that is simulated."""
        cluster = self._service.names.cluster
        self._check_subscription(place["subscription"])
        if place["group"].lower() != cluster.resource_group.lower():
            text = f"Resource group '{place['group']}' could not be found."
            raise by_arm(404, "ResourceGroupNotFound", text)
        if place["cluster"].lower() != cluster.name.lower():
            resource = f"Microsoft.ContainerService/managedClusters/{place['cluster']}"
            text = f"The Resource '{resource}' under resource group '{place['group']}' was not found."
            raise by_arm(404, "ResourceNotFound", text)

    def _check_subscription(self, subscription: str) -> None:
        if subscription.lower() != self._service.names.cluster.subscription.lower():
            text = f"The subscription '{subscription}' could not be found."
            raise by_arm(404, "SubscriptionNotFound", text)


class _Reset(Response):
    """No answer at all: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        abort: Callable[[], None] = scope[ABORT]
        abort()
        while (await receive())["type"] != "http.disconnect":
            pass


def _verb(request: Request) -> Verb:
    """The bucket that counts the request, for the header; a precise verb is the service's matter."""
    verbs: dict[str, Verb] = {"PUT": "put", "POST": "abort", "DELETE": "delete"}
    return verbs.get(request.method, "get")


def _refused(refusal: Refusal) -> Response:
    headers = {"x-ms-error-code": refusal.complaint.code}
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(refusal.retry_after_seconds)
    return JSONResponse(refusal.document(), refusal.status, headers=headers)


def _api_version(request: Request) -> str:
    found = _query(request, "api-version")
    if not found:
        text = "The api-version query parameter (?api-version=) is required for all requests."
        raise by_arm(400, "MissingApiVersionParameter", text)
    if not _API_VERSION.fullmatch(found):
        raise by_arm(400, "InvalidApiVersionParameter", f"The api-version '{found}' is invalid.")
    return found


def _query(request: Request, name: str) -> str:
    """A parameter of the query, whose name has no case."""
    values = [value for key, value in request.query_params.multi_items() if key.lower() == name]
    return values[0] if values else ""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = "The request content was invalid and could not be deserialized."
        raise by_arm(400, "InvalidRequestContent", text) from None


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"
