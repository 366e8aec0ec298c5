"""The AKS service behind the calls: agent pools of one cluster and the operations that change them.

Its verbs are those of the REST API, with its rules and refusals. Both faces of the simulated cloud stand on
them: `simulator.azure.arm`, the port in process, and `simulator.azure.http`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec

from kaito.runtime.pools import PoolState
from simulator.azure import quota, refusals, requests
from simulator.azure.fates import Fate, Fates
from simulator.azure.gate import Gate
from simulator.azure.intervals import Alternation
from simulator.azure.machines import Machines
from simulator.azure.model import AgentPool, Document, Names, document_of
from simulator.azure.operations import Kind, Operations, RunningOperation
from simulator.azure.quota import Quotas, Shortage
from simulator.azure.refusals import Refusal
from simulator.azure.requests import Requested
from simulator.azure.scenario import AzureScenario, PresentPool
from simulator.azure.stockouts import Stock
from simulator.azure.switchboard import Switchboard
from simulator.azure.throttling import Throttle
from simulator.engine import Engine
from simulator.process import Delays
from simulator.profile import Profile
from simulator.randomness import Generators

NEWEST_API = "2026-08-01"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb answers: the HTTP status, the pool as it is then, and the operation that was begun."""

    status: int
    document: Document | None = None
    operation: str = ""


class Page(msgspec.Struct, frozen=True):
    """Some pools; ``next`` is the name after which the next page begins, empty on the last one."""

    items: tuple[Document, ...]
    next: str = ""


class AgentPoolService:
    """Every verb passes the gate first and may raise `Refusal`, `Dropped` or `Garbled`."""

    def __init__(
        self, engine: Engine, generators: Generators, profile: Profile, scenario: AzureScenario
    ) -> None:
        self.scenario = scenario
        self.names = Names(scenario.cluster)
        self.quotas = Quotas(scenario.quota)
        self.stock = Stock(scenario.stockouts, generators, engine.monotonic)
        self.throttle = Throttle(scenario.throttling, engine.monotonic)
        self.switchboard = Switchboard(scenario.script, scenario.calls, generators, engine.monotonic)
        self.gate = Gate(engine, self.switchboard, self.throttle, scenario.outages, generators)
        self.operations = Operations(engine.now)
        self.machines = Machines(engine, generators, self.names, scenario)
        self.pools: dict[str, AgentPool] = {}
        self._engine = engine
        self._ids = generators.generator("azure.ids")
        self._fates = Fates(scenario, Delays(profile, generators), generators, self.stock)
        spells = scenario.background
        random = generators.generator("azure.background")
        self._background = Alternation(spells, random) if spells is not None else None
        for present in scenario.pools:
            self.add_pool(present)

    def now(self) -> datetime:
        return self._engine.now()

    # --- the verbs of the REST API

    def put(
        self,
        name: str,
        body: object,
        *,
        if_none_match: str = "",
        if_match: str = "",
        api_version: str = NEWEST_API,
    ) -> Answer:
        """Create a pool, or update one; ``if_none_match`` of ``*`` makes it create-only."""
        effect = partial(self._put, name, body, if_none_match, if_match, api_version)
        return self.gate.call("put", name, effect)

    def get(self, name: str, *, api_version: str = NEWEST_API) -> Document:
        return self.gate.call("get", name, lambda: self._document(self._existing(name), api_version))

    def list(self, after: str = "", *, api_version: str = NEWEST_API) -> Page:
        """A page of all pools, sorted by name, from the one after ``after`` on."""
        return self.gate.call("list", "", lambda: self._page(after, api_version))

    def delete(self, name: str, *, if_match: str = "") -> Answer:
        return self.gate.call("delete", name, lambda: self._delete(name, if_match))

    def abort(self, name: str) -> Answer:
        """Cancel the operation under way on the pool."""
        return self.gate.call("abort", name, lambda: self._abort(name))

    def operation(self, id_: str) -> Document:
        known = self.operations.find(id_)
        pool = known.pool if known is not None else ""
        return self.gate.call("operation", pool, lambda: self._operation(id_))

    # --- what tests, scenarios and the admin endpoint do from outside

    def add_pool(self, present: PresentPool) -> None:
        """A pool that somebody else made; its machines are no concern of this simulation."""
        asked = Requested(
            vm_size=present.vm_size, count=present.count, mode=present.mode, tags=dict(present.tags)
        )
        self.pools[present.name] = AgentPool(
            name=present.name, asked=asked, state=PoolState.SUCCEEDED, etag=self._new_id()
        )

    def release(self) -> None:
        """Let every operation that hangs succeed now."""
        for operation in self.operations.hanging():
            pool = self.pools.get(operation.pool)
            if pool is not None:
                self._finish(pool, operation, Fate(seconds=0, machines=operation.kind == "create"))

    def end_faults(self) -> None:
        """From now on nothing fails by script or chance: the second half of a run that must come to rest.

        Quota, throttling and what has begun already stay as they are; operations that hang end.
        """
        self.switchboard.end()
        self.stock.end()
        self.gate.end_outages()
        self.machines.end_chances()
        self._fates.end_chances()
        self._background = None
        self.release()

    # --- put

    def _put(self, name: str, body: object, if_none_match: str, if_match: str, api_version: str) -> Answer:
        asked = requests.read(name, body)
        pool = self.pools.get(name)
        self._check_preconditions(name, pool, if_none_match, if_match)
        self._check_idle(pool)
        self._check_policy(name, asked)
        if pool is None and len(self.pools) >= self.scenario.pool_limit:
            raise refusals.too_many_pools(self.scenario.pool_limit)
        if pool is not None and pool.asked.vm_size != asked.vm_size:
            raise refusals.property_change("properties.vmSize")
        added = max(0, asked.count - (len(pool.vms) if pool else 0))
        shortage = self._shortage(asked, added)
        made = self._made(name, asked) if pool is None else self._changed(pool, asked)
        makes = added > 0 and (pool is None or bool(pool.scale_set))
        scripted = self.switchboard.on_operation("put", name)
        fate = self._fates.of_create(asked, shortage, scripted) if makes else self._fates.of_update(scripted)
        operation = self._begin(made, "create" if makes else "update", fate)
        return Answer(
            status=201 if pool is None else 200,
            document=self._document(made, api_version),
            operation=operation.id,
        )

    def _check_preconditions(
        self, name: str, pool: AgentPool | None, if_none_match: str, if_match: str
    ) -> None:
        if if_none_match not in ("", "*"):
            raise refusals.invalid_parameter("If-None-Match", f"expected *, found {if_none_match}")
        unwanted = if_none_match and pool is not None and pool.state != PoolState.DELETING
        if unwanted or not _matches(pool, if_match):
            raise refusals.precondition_failed(name)

    def _check_idle(self, pool: AgentPool | None) -> None:
        """One operation at a time on a pool, and none while AKS works on the whole cluster."""
        if pool is not None and pool.state == PoolState.DELETING:
            raise refusals.only_deletion_is_allowed(pool.name)
        if pool is not None and pool.busy:
            raise refusals.pool_operation_in_progress(pool.name, str(pool.state))
        self._check_background()

    def _check_background(self) -> None:
        if self._background is not None and self._background.is_bad(self._engine.monotonic()):
            raise refusals.cluster_operation_in_progress()

    def _check_policy(self, name: str, asked: Requested) -> None:
        location = self.scenario.cluster.location
        if self.scenario.refused_by == "policy":
            raise refusals.refused_by_policy(self.names.pool_id(name))
        if self.scenario.refused_by == "role":
            raise refusals.refused_by_role(self.names.pool_id(name), "write")
        if asked.vm_size in self.scenario.unavailable_sizes:
            raise refusals.size_not_allowed(asked.vm_size, location)

    def _shortage(self, asked: Requested, added: int) -> Shortage | None:
        """A lack of quota that the operation will tell; one that the call tells is raised."""
        shortage = self.quotas.shortage(asked.vm_size, added, asked.spot, self.pools.values())
        if shortage is None or self.scenario.quota.told == "operation":
            return shortage
        told = quota.complaint(shortage, self.scenario.quota.form, self.scenario.cluster.location)
        raise Refusal(409 if told.code == "OperationNotAllowed" else 400, told)

    def _made(self, name: str, asked: Requested) -> AgentPool:
        pool = AgentPool(name=name, asked=asked, state=PoolState.CREATING, etag="")
        pool.scale_set = self.machines.new_scale_set(name)
        self.pools[name] = pool
        return pool

    def _changed(self, pool: AgentPool, asked: Requested) -> AgentPool:
        pool.asked = asked
        pool.state = PoolState.UPDATING
        return pool

    # --- delete and abort

    def _delete(self, name: str, if_match: str) -> Answer:
        pool = self.pools.get(name)
        if pool is None and self.scenario.delete_of_missing == 204:
            return Answer(status=204)
        pool = self._existing(name)
        if not _matches(pool, if_match):
            raise refusals.precondition_failed(name)
        if self.scenario.refused_by == "role":
            raise refusals.refused_by_role(self.names.pool_id(name), "delete")
        if pool.busy and pool.state != PoolState.DELETING and self.scenario.delete_preempts:
            self._cancel(pool, by_delete=True)
        if pool.busy:
            raise refusals.pool_operation_in_progress(name, str(pool.state))
        self._check_background()
        self._check_last_system_pool(pool)
        pool.state = PoolState.DELETING
        fate = self._fates.of_delete(self.switchboard.on_operation("delete", name))
        return Answer(status=202, operation=self._begin(pool, "delete", fate).id)

    def _check_last_system_pool(self, pool: AgentPool) -> None:
        others = [each for each in self.pools.values() if each.asked.mode == "System" and each is not pool]
        if pool.asked.mode == "System" and not others:
            raise refusals.last_system_pool()

    def _abort(self, name: str) -> Answer:
        pool = self._existing(name)
        if not pool.busy:
            raise refusals.by_aks(400, "NoRunningOperation", f"Agent pool {name} has no running operation.")
        self._cancel(pool, by_delete=False)
        aborting = RunningOperation(
            id=self._new_id(), pool=name, kind="update", started_at=self._engine.now()
        )
        self.operations.add(aborting)
        self.operations.end(aborting, "Succeeded")
        return Answer(status=202, operation=aborting.id)

    def _cancel(self, pool: AgentPool, *, by_delete: bool) -> None:
        operation = self.operations[pool.operation]
        if operation.notice is not None:
            self._engine.cancel(operation.notice)
        error = refusals.preempted(by_delete)
        self._finish(pool, operation, Fate(seconds=0, status="Canceled", error=error, machines=False))

    # --- operations

    def _begin(self, pool: AgentPool, kind: Kind, fate: Fate) -> RunningOperation:
        operation = RunningOperation(
            id=self._new_id(), pool=pool.name, kind=kind, started_at=self._engine.now(), seen_as=fate.seen_as
        )
        self.operations.add(operation)
        pool.operation, pool.busy, pool.error = operation.id, True, None
        pool.etag = self._new_id()
        if kind != "delete" and pool.scale_set:
            pool.hold_cores()
        if fate.seconds is not None:
            end: Callable[[], None] = partial(self._finish, pool, operation, fate)
            operation.notice = self._engine.schedule(fate.seconds, end)
        return operation

    def _finish(self, pool: AgentPool, operation: RunningOperation, fate: Fate) -> None:
        self.operations.end(operation, fate.status, fate.error)
        pool.busy, pool.error, pool.etag = False, fate.error, self._new_id()
        succeeded = fate.status == "Succeeded"
        if operation.kind == "delete" and succeeded:
            self._remove(pool)
            return
        pool.state = PoolState(fate.status)
        if operation.kind == "create" and fate.machines:
            self.machines.scale(pool, pool.asked.count, fate.zone, join=succeeded)
        elif operation.kind == "update" and succeeded and pool.scale_set:
            self.machines.scale(pool, pool.asked.count, "", join=True)
        if operation.kind == "create" and not pool.vms:
            pool.cores_held = 0

    def _remove(self, pool: AgentPool) -> None:
        del self.pools[pool.name]
        self.machines.scale(pool, 0, "", join=False)
        pool.cores_held = 0

    def _operation(self, id_: str) -> Document:
        found = self.operations.find(id_)
        if found is None:
            raise refusals.operation_not_found(id_)
        return found.document()

    # --- reading

    def _existing(self, name: str) -> AgentPool:
        pool = self.pools.get(name)
        if pool is None:
            raise refusals.pool_not_found(self.names.pool_id(name))
        return pool

    def _document(self, pool: AgentPool, api_version: str) -> Document:
        return document_of(pool, self.names.pool_id(pool.name), api_version)

    def _page(self, after: str, api_version: str) -> Page:
        names = sorted(name for name in self.pools if name > after)
        shown = names[: self.scenario.page_size]
        items = tuple(self._document(self.pools[name], api_version) for name in shown)
        return Page(items, shown[-1] if len(names) > len(shown) else "")

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))


def _matches(pool: AgentPool | None, if_match: str) -> bool:
    """If-Match: ``*`` wants a pool, a tag the very state that it names."""
    if not if_match:
        return True
    return pool is not None and if_match.strip('"') in ("*", pool.etag)
