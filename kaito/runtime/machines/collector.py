"""The collector's rounds: look at everything live, decide by the core's `collection`, act on little.

Each act repeats its proof with a live read just before: a pool goes only while its Machine is absent and the
pool bears our tag, a Machine only while it is the same and still unready.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from kaito.runtime.cache import labels_of
from kaito.runtime.machines.keys import FINALIZER, NAME_LABEL, POOL_LABEL
from kaito.runtime.machines.translation import pool_reading
from kaito.runtime.pools import AgentPools, PoolError, PoolNotFound
from kaito.runtime.ports import MACHINES, NODES, ApiError, Clock, KubeApi, NotFound, Object, Resource
from kaito.runtime.translation import conditions_of, is_deleting
from statemachine.machine.collection import (
    Collection,
    CollectionLimits,
    MachineSighting,
    Memory,
    NodeSighting,
    Removal,
    Round,
    collect,
)
from statemachine.machine.commands import ReadPool
from statemachine.machine.observations import (
    MachineObservation,
    MachineOutcome,
    PoolReading,
    RemovalGranted,
)
from statemachine.observations import Result
from statemachine.state import NodeLossCause

Tell = Callable[[str, MachineObservation], object]
"""Steps one Machine with an observation, as `MachineReconciler.reconcile` does."""


LIMITS = CollectionLimits()


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did, for logs and tests; ``failures`` are the texts of calls that went wrong."""

    pools: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


class Collector:
    def __init__(
        self,
        api: KubeApi,
        pools: AgentPools,
        tell: Tell,
        clock: Clock,
        limits: CollectionLimits = LIMITS,
    ) -> None:
        self._api = api
        self._pools = pools
        self._tell = tell
        self._clock = clock
        self._limits = limits
        self._memory = Memory()

    def collect(self) -> Collected:
        """One round; it never waits, and a call that fails leaves the rest of the round alone."""
        failures: list[str] = []
        seen = self._look(failures)
        found = collect(self._memory, seen, self._limits)
        self._memory = found.memory
        done = self._act(found, failures)
        return msgspec.structs.replace(done, held=found.held, failures=tuple(failures))

    # --- looking ------------------------------------------------------------------------------------

    def _look(self, failures: list[str]) -> Round:
        at = self._clock.now()
        # Machines after pools: a pool that is listed had a Machine before, unless it is an orphan.
        pools = self._pool_readings(failures)
        machines = self._list(MACHINES, failures)
        nodes = self._list(NODES, failures)
        by_pool = {labels_of(node).get(POOL_LABEL, ""): node for node in nodes or ()}
        return Round(
            at=at,
            pools=pools,
            machines=None if machines is None else tuple(_sighting(m, by_pool) for m in machines),
            nodes=None if nodes is None else tuple(_node_sighting(node) for node in nodes),
        )

    def _pool_readings(self, failures: list[str]) -> tuple[PoolReading, ...] | None:
        try:
            return tuple(pool_reading(pool, self._clock.now()) for pool in self._pools.list())
        except PoolError as error:
            failures.append(f"agent pools: {error}")
            return None

    def _list(self, resource: Resource, failures: list[str]) -> list[Object] | None:
        """Every object with our label, all pages of one snapshot; None when that failed."""
        try:
            page = self._api.list(resource, label_selector=NAME_LABEL, limit=500)
            items = list(page.items)
            while page.continue_:
                page = self._api.list(
                    resource, label_selector=NAME_LABEL, limit=500, continue_=page.continue_
                )
                items += page.items
        except ApiError as error:
            failures.append(f"{resource.plural}: {error.message}")
            return None
        return items

    # --- acting -------------------------------------------------------------------------------------

    def _act(self, found: Collection, failures: list[str]) -> Collected:
        for name in found.rereads:
            self._try(failures, name, self._reread)
        grants = {removal.machine: removal for removal in found.removals}

        def grant(name: str) -> bool:
            return self._grant(grants[name])

        return Collected(
            pools=tuple(name for name in found.pools if self._try(failures, name, self._delete_pool)),
            machines=tuple(name for name in grants if self._try(failures, name, grant)),
            nodes=tuple(name for name in found.nodes if self._try(failures, name, self._delete_node)),
        )

    def _try(self, failures: list[str], name: str, act: Callable[[str], bool]) -> bool:
        try:
            return act(name)
        except (ApiError, PoolError) as error:
            failures.append(f"{name}: {error}")
            return False

    def _machine(self, name: str) -> Object | None:
        try:
            return self._api.get(MACHINES, name)
        except NotFound:
            return None

    def _delete_pool(self, name: str) -> bool:
        if self._machine(name) is not None:
            return False
        try:
            pool = self._pools.get(name)
            if pool.owner != name:
                return False
            self._pools.begin_delete(name)
        except PoolNotFound:
            return False
        return True

    def _reread(self, name: str) -> bool:
        """The Machine is told what a live read of its pool says, once it is due."""
        try:
            reading = pool_reading(self._pools.get(name), self._clock.now())
        except PoolNotFound:
            self._tell(name, MachineOutcome(command=ReadPool(), result=Result.NOT_FOUND))
            return True
        self._tell(name, MachineOutcome(command=ReadPool(), result=Result.DONE, pool=reading))
        return True

    def _grant(self, removal: Removal) -> bool:
        live = self._machine(removal.machine)
        if live is None or live["metadata"].get("uid") != removal.uid or _is_true(live, "Ready"):
            return False
        grant = RemovalGranted(uid=removal.uid, cause=removal.cause, since=removal.since)
        self._tell(removal.machine, grant)
        return True

    def _delete_node(self, name: str) -> bool:
        with contextlib.suppress(NotFound):
            metadata = self._api.get(NODES, name)["metadata"]
            kept = [other for other in metadata.get("finalizers") or () if other != FINALIZER]
            changed = {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}
            self._api.patch(NODES, name, {"metadata": changed})
            self._api.delete(NODES, name, uid=metadata["uid"])
            return True
        return False


def _is_true(object_: Object, kind: str) -> bool:
    return conditions_of(object_).get(kind, {}).get("status") == "True"


def _sighting(machine: Object, nodes: dict[str, Object]) -> MachineSighting:
    name = machine["metadata"]["name"]
    return MachineSighting(
        name=name,
        uid=machine["metadata"].get("uid", ""),
        launched=_is_true(machine, "MachineLaunched"),
        registered=_is_true(machine, "MachineRegistered"),
        deleting=is_deleting(machine),
        node_cause=_cause(nodes.get(name)),
    )


def _cause(node: Object | None) -> str:
    if node is None:
        return NodeLossCause.GONE
    if is_deleting(node):
        return NodeLossCause.DELETING
    return "" if _is_true(node, "Ready") else NodeLossCause.NOT_READY


def _node_sighting(node: Object) -> NodeSighting:
    pool = labels_of(node).get(POOL_LABEL, "")
    return NodeSighting(name=node["metadata"]["name"], pool=pool, deleting=is_deleting(node))
