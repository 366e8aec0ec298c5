"""The virtual ARM behind the port: agent pools in process and in virtual time, without a socket.

A call takes no virtual time. What a PUT or DELETE takes to be accepted is counted into its operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from kaito.runtime.faults import error_of
from kaito.runtime.pool_reading import operation_of, pool_of
from kaito.runtime.pools import Operation, OperationState, Pool, PoolNotFound, PoolSpec, PoolUnanswered
from simulator.azure.gate import Call
from simulator.azure.loading import load
from simulator.azure.model import Oddity, Vm
from simulator.azure.refusals import Dropped, Garbled, Refusal
from simulator.azure.scenario import AzureScenario, PresentPool
from simulator.azure.scripts import Fault, Script, Verb
from simulator.azure.service import AgentPoolService, Answer
from simulator.engine import Engine
from simulator.profile import Profile
from simulator.randomness import Generators

ENDPOINT = "https://management.azure.com"


class VirtualArm:
    """`AgentPools` on the simulated cloud, and the switches of that cloud.

    ``service`` holds what it is made of: quotas, stock, switchboard, throttle, machines.
    """

    def __init__(
        self,
        engine: Engine,
        generators: Generators,
        profile: Profile,
        scenario: AzureScenario | None = None,
    ) -> None:
        self.service = AgentPoolService(engine, generators, profile, scenario or load("calm"))
        self._engine = engine

    # --- the port

    def begin_create(self, spec: PoolSpec) -> Operation:
        with _translated():
            return self._begun(self.service.put(spec.name, _body(spec), if_none_match="*"))

    def get(self, name: str) -> Pool:
        with _translated():
            return pool_of(self.service.get(name))

    def list(self) -> list[Pool]:
        found: list[Pool] = []
        after = ""
        with _translated():
            while True:
                page = self.service.list(after)
                found += [pool_of(document) for document in page.items]
                after = page.next
                if not after:
                    return found

    def begin_delete(self, name: str) -> Operation:
        with _translated():
            answer = self.service.delete(name)
        if answer.status == 204:
            raise PoolNotFound(f"agent pool {name} is not there")
        return self._begun(answer)

    def operation(self, url: str) -> Operation:
        try:
            with _translated():
                return operation_of(url, self.service.operation(operation_id(url)))
        except PoolNotFound:
            return Operation(url=url, state=OperationState.LOST)

    # --- switches

    def fail(
        self,
        fault: Fault,
        verb: Verb | Literal["any"] = "any",
        pool: str = "*",
        *,
        times: int | None = 1,
        skip: int = 0,
    ) -> None:
        """Let the next so many fitting calls, or the operations that they begin, fail in this way."""
        self.service.switchboard.add(Script(fault=fault, verb=verb, pool=pool, times=times, skip=skip))

    def set_quota(self, family: str, limit: int | None, used: int = 0) -> None:
        """Set a quota in cores; None lifts it."""
        self.service.quotas.set(family, limit, used)

    def run_out(self, size: str, zone: str = "", for_seconds: float | None = None) -> None:
        self.service.stock.run_out(size, zone, for_seconds)

    def restock(self, size: str, zone: str = "") -> None:
        self.service.stock.restock(size, zone)

    def add_pool(self, name: str, **fields: Any) -> None:
        """A pool of somebody else, as a `PresentPool`."""
        self.service.add_pool(PresentPool(name=name, **fields))

    def make_odd(self, name: str, oddity: Oddity) -> None:
        """Let the pool's document be one that is hard to read."""
        self.service.pools[name].oddity = oddity

    def evict(self, name: str) -> None:
        """Take the machines of a pool after the usual notice, as Azure takes spot machines."""
        pool = self.service.pools[name]
        for vm in list(pool.vms):
            self.service.machines.evict(vm)

    def release(self) -> None:
        """Let every operation that hangs succeed now."""
        self.service.release()

    def end_faults(self) -> None:
        """Nothing fails any more by script or chance; quota and throttling stay."""
        self.service.end_faults()

    # --- what a run is judged by

    @property
    def journal(self) -> deque[Call]:
        """Every call, the last ones where there were very many."""
        return self.service.gate.journal

    @property
    def vms(self) -> Sequence[Vm]:
        """Every machine that ever was."""
        return self.service.machines.all

    def gpu_seconds(self, until: datetime | None = None) -> float:
        """GPU-seconds billed so far, or up to a time."""
        end = until or self._engine.now()
        return sum(vm.gpu_seconds(end) for vm in self.vms)

    def _begun(self, answer: Answer) -> Operation:
        return Operation(url=ENDPOINT + self.service.names.operation_path(answer.operation))


def operation_id(url: str) -> str:
    """The id in the URL of an operation or of its result."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _body(spec: PoolSpec) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "count": 1,
        "vmSize": spec.vm_size,
        "osType": "Linux",
        "osDiskSizeGB": spec.os_disk_gb,
        "type": "VirtualMachineScaleSets",
        "mode": "User",
        "nodeLabels": dict(spec.labels),
        "nodeTaints": list(spec.taints),
        "tags": dict(spec.tags),
        "availabilityZones": list(spec.zones),
    }
    return {"properties": properties}


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the simulated cloud as those of the port, through the catalogue that production uses."""
    try:
        yield
    except Refusal as refusal:
        told = refusal.complaint
        raise error_of(
            refusal.status, told.code, told.message, told.details, refusal.retry_after_seconds
        ) from refusal
    except Dropped as dropped:
        raise PoolUnanswered(str(dropped)) from dropped
    except Garbled as garbled:
        if garbled.status >= 400:
            raise error_of(garbled.status) from garbled
        raise PoolUnanswered(f"HTTP {garbled.status} with a body that cannot be read") from garbled
