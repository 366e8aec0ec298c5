"""Only who leads may change the world: the ports with a question before each write.

The event log refuses the appends of a former leader by their epoch. The API server and the cloud know no
epoch, so there a leader asks itself: a process that was stopped for a minute in the middle of a reconcile
finds its lease expired by its own clock and sends nothing more. What is left is the moment between the
question and the request, and against that stand UIDs, resourceVersions and derived names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kaito.runtime.pools import AgentPools, Operation, Pool, PoolSpec
from kaito.runtime.ports import KubeApi, Object, Page, Resource
from store.errors import StaleEpoch

Check = Callable[[], object]
"""Raises `LeadershipLost` unless this process leads."""


class Leader(Protocol):
    """Whoever knows whether this process leads."""

    def check(self) -> None:
        """Raises `LeadershipLost` unless it does."""
        ...


class LeadershipLost(StaleEpoch):
    """The lease was lost or has expired; whoever leads now has, or may soon have, a higher epoch."""

    def __init__(self, epoch: int, why: str) -> None:
        super().__init__(epoch, epoch)
        self.args = (f"leadership of epoch {epoch} lost: {why}",)


class LedApi(KubeApi):
    """The Kubernetes API of a leader: reads pass, writes ask first."""

    def __init__(self, api: KubeApi, check: Check) -> None:
        self._api = api
        self._check = check

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._api.get(resource, name, namespace)

    def list(self, resource: Resource, namespace: str = "", **options: Any) -> Page:
        return self._api.list(resource, namespace, **options)

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        self._check()
        return self._api.create(resource, body, namespace, dry_run=dry_run)

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        self._check()
        return self._api.update(resource, body, subresource=subresource, dry_run=dry_run)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        self._check()
        return self._api.patch(resource, name, patch, namespace, subresource=subresource, dry_run=dry_run)

    def delete(self, resource: Resource, name: str, namespace: str = "", **options: Any) -> Object:
        self._check()
        return self._api.delete(resource, name, namespace, **options)

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        self._check()
        self._api.evict(name, namespace, uid=uid)


def writing(api: KubeApi, leader: Leader | None) -> KubeApi:
    """The API for what writes: that of a leader, or as it is where a process needs none."""
    return api if leader is None else LedApi(api, leader.check)


class LedPools(AgentPools):
    """The agent pools of a leader."""

    def __init__(self, pools: AgentPools, check: Check) -> None:
        self._pools = pools
        self._check = check

    def begin_create(self, spec: PoolSpec) -> Operation:
        self._check()
        return self._pools.begin_create(spec)

    def get(self, name: str) -> Pool:
        return self._pools.get(name)

    def list(self) -> list[Pool]:
        return self._pools.list()

    def begin_delete(self, name: str) -> Operation:
        self._check()
        return self._pools.begin_delete(name)

    def operation(self, url: str) -> Operation:
        return self._pools.operation(url)
