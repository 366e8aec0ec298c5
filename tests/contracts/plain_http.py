"""The port to agent pools over plain HTTP, with nothing but the standard library.

It shows that the HTTP face of the virtual ARM keeps the port's contract without the help of the shipped
client, so that a difference between the two is the client's.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from kaito.runtime.fault_texts import error_in
from kaito.runtime.faults import error_of
from kaito.runtime.pool_reading import operation_of, pool_of
from kaito.runtime.pools import (
    Operation,
    OperationState,
    Pool,
    PoolError,
    PoolNotFound,
    PoolSpec,
    PoolUnanswered,
)

CLUSTER = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/kaito/providers"
    "/Microsoft.ContainerService/managedClusters/kaito"
)
TIMEOUT_SECONDS = 10.0


class Response:
    """What came back: the headers by lower-case name, and the body, which may be no JSON."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise PoolUnanswered(f"HTTP {self.status} with a body that is no JSON") from error


def send(method: str, url: str, body: Any = None, **headers: str) -> Response:
    """One request, one answer; a status that is no success is an answer, too."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(url, data, named, method=method)
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as found:
            return _response(found.status, found)
    except HTTPError as error:
        with error:
            return _response(error.code, error)


def _response(status: int, found: Any) -> Response:
    return Response(status, {name.lower(): value for name, value in found.headers.items()}, found.read())


class PlainPools:
    """`AgentPools` of the cluster behind this endpoint."""

    def __init__(self, endpoint: str, api_version: str = "2023-07-01") -> None:
        self._pools = f"{endpoint}{CLUSTER}/agentPools"
        self._query = f"?api-version={api_version}"

    def begin_create(self, spec: PoolSpec) -> Operation:
        properties = {
            "count": 1,
            "vmSize": spec.vm_size,
            "osType": "Linux",
            "osDiskSizeGB": spec.os_disk_gb,
            "type": "VirtualMachineScaleSets",
            "nodeLabels": dict(spec.labels),
            "nodeTaints": list(spec.taints),
            "tags": dict(spec.tags),
            "availabilityZones": list(spec.zones),
        }
        answer = self._call("PUT", self._url(spec.name), {"properties": properties}, if_none_match="*")
        answer.json()
        return Operation(url=answer.headers["azure-asyncoperation"])

    def get(self, name: str) -> Pool:
        return pool_of(self._call("GET", self._url(name)).json())

    def list(self) -> list[Pool]:
        found: list[Pool] = []
        url: str | None = self._pools + self._query
        while url:
            page = self._call("GET", url).json()
            found += [pool_of(document) for document in page["value"]]
            url = page.get("nextLink")
        return sorted(found, key=lambda pool: pool.name)

    def begin_delete(self, name: str) -> Operation:
        answer = self._call("DELETE", self._url(name))
        if answer.status == 204:
            raise PoolNotFound(name)
        return Operation(url=answer.headers["azure-asyncoperation"])

    def operation(self, url: str) -> Operation:
        try:
            return operation_of(url, self._call("GET", url).json())
        except PoolNotFound:
            return Operation(url=url, state=OperationState.LOST)

    def _url(self, name: str) -> str:
        return f"{self._pools}/{name}{self._query}"

    def _call(self, method: str, url: str, body: Any = None, **headers: str) -> Response:
        try:
            answer = send(method, url, body, **headers)
        except (OSError, http.client.HTTPException) as error:
            raise PoolUnanswered(str(error)) from error
        if answer.status >= 400:
            raise _error(answer)
        return answer


def _error(answer: Response) -> PoolError:
    told = error_in(answer.body)
    retry_after = answer.headers.get("retry-after")
    if told is None:
        return error_of(answer.status, retry_after=retry_after)
    return error_of(answer.status, told.code, told.message, told.details, retry_after)
