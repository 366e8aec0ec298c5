"""The agent pools of an AKS cluster, through the Azure SDK.

Each verb is one request. Nothing is awaited: an operation is submitted, and its URL comes back for whoever
wants to ask later. Nothing is retried, since back-off belongs to the controller, which has a log of it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import msgspec
from azure.core import MatchConditions
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool, AgentPoolManagedClusterAgentPoolProfileProperties
from azure.mgmt.containerservice.operations import AgentPoolsOperations

from kaito.provisioner import answers, clients
from kaito.provisioner.configuration import AzureConfiguration
from kaito.provisioner.credentials import new_credential
from kaito.runtime.faults import POOL_EXISTS, fault_of
from kaito.runtime.pool_reading import operation_of, pool_of
from kaito.runtime.pools import (
    OWNER_TAG,
    Operation,
    OperationState,
    Pool,
    PoolFault,
    PoolNotFound,
    PoolRefused,
    PoolSpec,
    PoolUnanswered,
)
from kaito.runtime.ports import Clock
from statemachine.state import BlockedReason

POOL_NAME = re.compile(r"[a-z][a-z0-9]{0,11}", re.ASCII)
"""AKS's rule for pools of Linux nodes (spec/provisioner.md §3.1)."""
DISK_GB = range(30, 2049)

_LOGGER = logging.getLogger(__name__)


def connect(configuration: AzureConfiguration, clock: Clock) -> AzureAgentPools:
    """The agent pools of the configured cluster. Makes no call; the first one fetches a token.

    Raises:
        InvalidConfiguration: The token file cannot be read.
    """
    endpoint = clients.endpoint_of(configuration)
    credential = new_credential(configuration)
    authentication = None if endpoint.scope else clients.Anonymous()

    def new_client() -> ContainerServiceClient:
        return clients.new_client(configuration, endpoint, credential, clock, authentication=authentication)

    return AzureAgentPools(configuration, endpoint, new_client, credential.close)


class AzureAgentPools:
    """`AgentPools` on Azure; may be used by many threads at once.

    The SDK's HTTP transport may not, so every thread gets a client and with it connections of its own. What
    they share is the credential, which keeps its tokens for all of them.
    """

    def __init__(
        self,
        configuration: AzureConfiguration,
        endpoint: clients.Endpoint,
        new_client: Callable[[], ContainerServiceClient],
        close_credential: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = (configuration.resource_group, configuration.cluster_name)
        self._endpoint = endpoint
        self._new_client = new_client
        self._close_credential = close_credential
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._clients: list[ContainerServiceClient] = []

    def close(self) -> None:
        """Close every connection. No call may be under way or follow."""
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()
        self._close_credential()

    def begin_create(self, spec: PoolSpec) -> Operation:
        _check(spec)
        with answers.translated(f"create {spec.name}"), _about_the_cluster():
            poller = self._agent_pools().begin_create_or_update(
                *self._address,
                spec.name,
                _body(spec),
                match_condition=MatchConditions.IfMissing,
                polling=False,
                cls=_response,
            )
            answer = _answer(poller.result())
        if answer.status_code == 200:
            # Only an update is answered in this way: the service did not honour the precondition.
            raise PoolRefused(fault_of(POOL_EXISTS, "a pool of this name exists, and it was updated"))
        return self._begun(answer)

    def get(self, name: str) -> Pool:
        _check_existing(name)
        with answers.translated(f"get {name}"):
            answer = _answer(self._agent_pools().get(*self._address, name, cls=_response))
        pool = pool_of(answers.document(answer))
        if pool.name.lower() != name:
            raise PoolUnanswered(f"get {name}: the answer is about something else")
        return msgspec.structs.replace(pool, name=name)

    def list(self) -> list[Pool]:
        pages = _Pages()
        with answers.translated("list"), _about_the_cluster():
            pager = self._agent_pools().list(*self._address, raw_response_hook=pages.take)
            deque(pager.by_page(), maxlen=0)
        return pages.pools()

    def begin_delete(self, name: str) -> Operation:
        _check_existing(name)
        with answers.translated(f"delete {name}"):
            poller = self._agent_pools().begin_delete(*self._address, name, polling=False, cls=_response)
            answer = _answer(poller.result())
        if answer.status_code == 204:
            raise PoolNotFound(f"there is no pool {name}")
        return self._begun(answer)

    def operation(self, url: str) -> Operation:
        """How far an operation is; one whose URL leads elsewhere, or is empty, is as good as lost."""
        if not self._endpoint.owns(url):
            return Operation(url=url, state=OperationState.LOST)
        try:
            with answers.translated("operation"):
                answer = self._client().send_request(HttpRequest("GET", url))
        except PoolNotFound:
            return Operation(url=url, state=OperationState.LOST)
        if answer.status_code == 202:
            return Operation(url=url)
        told = answers.document(answer)
        if not isinstance(told.get("status"), str):
            raise PoolUnanswered("operation: the answer has no status")
        return operation_of(url, told)

    def _agent_pools(self) -> AgentPoolsOperations:
        return self._client().agent_pools

    def _client(self) -> ContainerServiceClient:
        """The client of this thread."""
        client: ContainerServiceClient | None = getattr(self._mine, "client", None)
        if client is None:
            client = self._mine.client = self._new_client()
            with self._lock:
                self._clients.append(client)
        return client

    def _begun(self, answer: HttpResponse) -> Operation:
        """The operation that a response started; one that cannot be asked for is told by the pool alone."""
        url = answer.headers.get("Azure-AsyncOperation", "")
        if url and not self._endpoint.owns(url):
            _LOGGER.warning("an operation of %s is elsewhere and is not followed", answer.request.method)
            url = ""
        return Operation(url=url)


class _Pages:
    """The pages of a list as they come, checked: a page that cannot be read must not shorten the list.

    The SDK would take a page without ``value`` for an empty one, and follow links in a circle.
    """

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._links: set[str] = set()

    def take(self, page: PipelineResponse[HttpRequest, HttpResponse]) -> None:
        told = answers.document(page.http_response)
        entries, link = told.get("value"), told.get("nextLink") or ""
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not isinstance(link, str):
            raise PoolUnanswered("list: a page that is no list of agent pools")
        if link in self._links:
            raise PoolUnanswered("list: the pages lead in a circle")
        if link:
            self._links.add(link)
        for entry in entries:
            self._add(pool_of(entry))

    def pools(self) -> list[Pool]:
        return [self._pools[name] for name in sorted(self._pools)]

    def _add(self, pool: Pool) -> None:
        if not pool.name:
            # Any pool could be the one without a name, so the list would prove no other one absent.
            raise PoolUnanswered("list: an agent pool without a name")
        self._pools[pool.name] = pool


def _check(spec: PoolSpec) -> None:
    """Refuse what Azure would refuse, or worse: a disk of the wrong size is immutable later."""
    if not POOL_NAME.fullmatch(spec.name):
        raise _invalid(f"pool name: expected 1 to 12 of a-z and 0-9, a letter first, found {spec.name!r}")
    if spec.os_disk_gb and spec.os_disk_gb not in DISK_GB:
        raise _invalid(f"OS disk: expected 0 or 30 to 2048 GiB, found {spec.os_disk_gb}")


def _check_existing(name: str) -> None:
    """No pool can have a name that AKS does not allow, and none may reach a URL."""
    if not POOL_NAME.fullmatch(name):
        raise PoolNotFound(f"no pool can have the name {name!r}")


def _invalid(text: str) -> PoolRefused:
    return PoolRefused(fault_of("InvalidParameter", text))


@contextmanager
def _about_the_cluster() -> Iterator[None]:
    """A 404 where no pool was asked for is about the cluster, and proves the absence of no pool.

    It is not terminal: we run in that cluster, so the address may be wrong only for a while.
    """
    try:
        yield
    except PoolNotFound as error:
        reason = str(BlockedReason.CONFIGURATION_INVALID)
        fault = PoolFault(reason=reason, code="ResourceNotFound", message=f"the cluster: {error}")
        raise PoolRefused(fault) from error


def _body(spec: PoolSpec) -> AgentPool:
    properties = AgentPoolManagedClusterAgentPoolProfileProperties(
        count=1,
        vm_size=spec.vm_size,
        type_properties_type="VirtualMachineScaleSets",
        mode="User",
        os_type="Linux",
        os_disk_size_gb=spec.os_disk_gb,
        node_labels=dict(spec.labels),
        node_taints=list(spec.taints),
        tags={OWNER_TAG: spec.name, **spec.tags},
        availability_zones=list(spec.zones) or None,
    )
    return AgentPool(properties=properties)


def _response(
    response: PipelineResponse[HttpRequest, HttpResponse], _model: object, _headers: object
) -> HttpResponse:
    """What the SDK's ``cls`` hook hands out instead of its model: headers and body as they came."""
    return response.http_response


def _answer(result: object) -> HttpResponse:
    """The SDK types results as its models, which the hook above replaced."""
    return cast(HttpResponse, result)
