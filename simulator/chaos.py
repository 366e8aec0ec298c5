"""A fault campaign: seeded worlds in which everything fails for a while, and must come to rest afterwards.

Each run has two halves. In the first, the processes crash and their calls fail, watches stall, the cloud
refuses, loses and delays, and people interfere. Then the faults end, and within a bounded time pools,
Machines and slots of living Workspaces must be the same, and stay so.
`python -m simulator.chaos SEED` repeats one run.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import msgspec

from kaito.runtime.keys import NAME_LABEL, NAMESPACE_LABEL, POOL_LABEL
from kaito.runtime.ports import MACHINES, NODES, WORKSPACES, ApiError, NotFound, Object, Resource
from kaito.runtime.translation import is_deleting
from simulator.azure.refusals import Dropped, Garbled, Refusal
from simulator.azure.scripts import Fail, Fault, Hang, Lose, Refuse, Take
from simulator.faults import RandomFaults
from simulator.laboratory import Laboratory
from statemachine.machine import events as ev

T = TypeVar("T")

SIZE, FAMILY = "Standard_NC12s_v3", "standardNCSv3Family"
FORBIDDEN_SIZE = "Standard_NC24s_v3"
"""A size that this subscription may not have."""

FOREIGN = ("ws0foreign01", "gpupool")
"""Pools of somebody else; the first has a name that a Machine could have."""

BOUND = timedelta(hours=30)
"""From the end of the faults to rest. The longest hold-off is 4.4 h, and a stock-out may repeat it."""
CHECK_EVERY = timedelta(minutes=10)
STEADY = timedelta(minutes=40)
"""How long the rest must last: longer than every period of the collector and every recheck."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run. ``fired`` counts faults by what they were, ``digest`` names the whole log."""

    seed: int | str
    violations: tuple[str, ...]
    fired: Counter[str]
    crashes: int
    creates: int
    events: int
    reconciles: int
    hours: float
    """Virtual, from the start to the proof of rest."""
    ownerless_gpu_seconds: float
    digest: str

    @property
    def repeat(self) -> str:
        """The line that repeats the run."""
        return _repeat(self.seed)

    def __str__(self) -> str:
        found = "; ".join(self.violations) or "no violation"
        return f"seed {self.seed}: {found} (repeat: {self.repeat})"


def run_one(seed: int | str) -> Verdict:
    """One world of the campaign, from its seed alone. What is raised bears the line that repeats it."""
    try:
        return _Run(seed).run()
    except Exception as error:
        error.add_note(f"repeat: {_repeat(seed)}")
        raise


def _repeat(seed: int | str) -> str:
    return f"python -m simulator.chaos {seed}"


class _Run:
    """One world: what is drawn for it, what is done to it, and what came of it."""

    def __init__(self, seed: int | str) -> None:
        self._seed = seed
        self._random = Random(f"{seed}/chaos")
        draw = self._random
        self._faults_for = timedelta(minutes=draw.choice((40, 80, 160)))
        self._plan = RandomFaults(
            Random(f"{seed}/faults"),
            crash=draw.choice((0.0, 0.002, 0.02)),
            fail=draw.choice((0.0, 0.02, 0.1, 0.5)),
        )
        self._fired: Counter[str] = Counter()
        self._scripts = draw.choice((0.0, 0.2, 0.5))
        self.lab = Laboratory(
            seed,
            self._plan,
            _cloud(draw),
            downtime=lambda: draw.choice((0.1, 5.0, 40.0, 400.0)),
            before_put=self._script_operation,
        )
        self._acting = True
        self._intentions = 0
        """What the user is still going to do."""

    # --- the run

    def run(self) -> Verdict:
        self._arrange_user()
        self._arrange_interference()
        self.lab.start()
        self.lab.run(self._faults_for)
        self._end_faults()
        self._settle()
        return self._verdict()

    def _end_faults(self) -> None:
        self._acting = False
        self._plan.end()
        arm = self.lab.arm
        arm.end_faults()
        arm.set_quota(FAMILY, None)
        for watch in self.lab.cluster.watches():
            watch.resume()

    def _settle(self) -> None:
        """Wait for rest and for a proof that it lasts; the user removes what can never come to be."""
        end = self.lab.engine.now() + BOUND
        while self._is_moving() and self.lab.engine.now() < end:
            self.lab.run(CHECK_EVERY)
            self._remove_hopeless()
            self._remove_doubles()
        self.lab.run(STEADY)
        self.lab.checker.look()
        self.lab.checker.check_rest()

    def _is_moving(self) -> bool:
        return self._intentions > 0 or bool(self.lab.checker.unsettled())

    def _remove_hopeless(self) -> None:
        for workspace in self.lab.cluster.list(WORKSPACES).items:
            slots = self.lab.checker.workspace(workspace).slots
            machines = [self.lab.checker.machine(slot.machine) for slot in slots if slot.machine]
            if any(machine.terminal for machine in machines):
                self._fired["terminal verdict"] += 1
                self._delete(workspace["metadata"]["name"])

    def _remove_doubles(self) -> None:
        """Two nodes of one Machine need somebody to say which is the false one: here the later."""
        nodes = sorted(self.lab.cluster.list(NODES).items, key=lambda node: node["metadata"]["name"])
        seen: set[str] = set()
        for node in nodes:
            pool = node["metadata"].get("labels", {}).get(POOL_LABEL, "")
            if pool in seen and not is_deleting(node):
                self.lab.cluster.delete(NODES, node["metadata"]["name"])
                self._fired["double of a node removed by hand"] += 1
            seen.add(pool)

    def _verdict(self) -> Verdict:
        lab = self.lab
        self._count_plan()
        self._count_log()
        heads = [head.hash for head in lab.log.streams()]
        return Verdict(
            seed=self._seed,
            violations=tuple(lab.checker.violations),
            fired=self._fired,
            crashes=sum(process.lives - 1 for process in lab.processes),
            creates=sum(1 for call in lab.arm.journal if call.verb == "put" and call.done),
            events=lab.log.last_position(),
            reconciles=sum(process.reconciles + process.controller.reconciles for process in lab.processes),
            hours=lab.engine.monotonic() / 3600,
            ownerless_gpu_seconds=lab.checker.ownerless_gpu_seconds(),
            digest=hashlib.sha256("".join(heads).encode()).hexdigest(),
        )

    def _count_plan(self) -> None:
        for (port, family), count in sorted(self._plan.fired.items()):
            self._fired[f"{port}: {family}"] += count

    def _count_log(self) -> None:
        """Failures of launches by the classes that the provisioner told apart, and what else it saw."""
        for record in self.lab.log.read_all(limit=10_000_000):
            event = record.event
            if isinstance(event, ev.PoolCreationFailed | ev.PoolDeletionFailed):
                self._fired[f"{record.type}: {event.reason}"] += 1
            elif isinstance(event, _TELLING):
                self._fired[f"seen: {record.type}"] += 1

    # --- the user

    def _arrange_user(self) -> None:
        for number in range(self._random.randint(1, 4)):
            self._arrange_workspace(f"w{number}", self._random.uniform(0, 1200))

    def _arrange_workspace(self, name: str, created_at: float) -> None:
        draw = self._random
        size = FORBIDDEN_SIZE if draw.random() < 0.05 else SIZE
        body = a_workspace(name, count=draw.randint(1, 3), size=size)
        self._intend(created_at, lambda: self.lab.cluster.create(WORKSPACES, body, "default"))
        if draw.random() < 0.5:
            deleted_at = created_at + draw.uniform(0, 3600)
            self._intend(deleted_at, lambda: self._delete(name))
            if draw.random() < 0.3:
                self._intend(deleted_at + 0.5, lambda: self._recreate(name, body))

    def _intend(self, seconds: float, act: Callable[[], object]) -> None:
        """What the user does at a time, also after the faults."""

        def done() -> None:
            self._intentions -= 1
            act()

        self._intentions += 1
        self._at(seconds, done)

    def _delete(self, name: str) -> None:
        with suppress(ApiError):
            self.lab.cluster.delete(WORKSPACES, name, "default")

    def _recreate(self, name: str, body: Object) -> None:
        """As soon as the name is free; a user repeats the command until it goes through."""
        try:
            self.lab.cluster.create(WORKSPACES, body, "default")
        except ApiError:
            self._intend(20.0, lambda: self._recreate(name, body))
        else:
            self._fired["recreated under the same name"] += 1

    # --- interference

    def _arrange_interference(self) -> None:
        draw = self._random
        acts = (
            self._stall_watches,
            self._cut_watches,
            self._forget_history,
            self._kill,
            self._drop_quota,
            self._run_out,
            self._release,
            self._delete_pool,
            self._evict,
            self._delete_node,
            self._delete_machine,
            self._strip_finalizer,
            self._claim_foreign_name,
        )
        for _ in range(draw.randint(0, 12)):
            act = draw.choice(acts)
            self._at(draw.uniform(60, self._faults_for.total_seconds()), partial(self._interfere, act))

    def _at(self, seconds: float, callback: Callable[[], object]) -> None:
        self.lab.engine.schedule(seconds, callback)

    def _interfere(self, act: Callable[[], bool]) -> None:
        if self._acting and act():
            self._fired[f"interference: {act.__name__.lstrip('_')}"] += 1

    def _one(self, items: Sequence[T]) -> T | None:
        return self._random.choice(items) if items else None

    def _stall_watches(self) -> bool:
        """The caches of one kind stand still for a while, with no sign of it."""
        process = self._random.choice(self.lab.processes)
        watch = self._one([each for each in process.api.opened if not each.ended])
        if watch is None:
            return False
        watch.stall()
        self._at(self._random.choice((20.0, 120.0, 900.0)), watch.resume)
        return True

    def _cut_watches(self) -> bool:
        watches = [each for process in self.lab.processes for each in process.api.opened]
        for watch in watches:
            watch.cut()
        return bool(watches)

    def _forget_history(self) -> bool:
        """Every watch breaks and what it could resume from is gone: 410, so all is listed anew."""
        self.lab.cluster.compact()
        return self._cut_watches()

    def _kill(self) -> bool:
        self._random.choice(self.lab.processes).kill()
        return True

    def _drop_quota(self) -> bool:
        self.lab.arm.set_quota(FAMILY, self._random.choice((0, 12, 30)))
        return True

    def _run_out(self) -> bool:
        self.lab.arm.run_out(SIZE, for_seconds=self._random.uniform(60, 7200))
        return True

    def _release(self) -> bool:
        """Operations that hung end after all, perhaps long after they were given up."""
        hangs = bool(self.lab.arm.service.operations.hanging())
        self.lab.arm.release()
        return hangs

    def _delete_pool(self) -> bool:
        """Somebody deletes one of our pools in the portal."""
        name = self._one(self.lab.checker.pool_names())
        if name is None:
            return False
        with suppress(Refusal, Dropped, Garbled):
            self.lab.arm.service.delete(name)
            self.lab.checker.taken[name] += 1
            return True
        return False

    def _evict(self) -> bool:
        """A virtual machine goes and its pool stays."""
        name = self._one(self.lab.checker.pool_names())
        if name is None or not self.lab.arm.service.pools[name].vms:
            return False
        self.lab.arm.evict(name)
        return True

    def _delete_node(self) -> bool:
        return self._delete_one(NODES)

    def _delete_machine(self) -> bool:
        return self._delete_one(MACHINES)

    def _delete_one(self, resource: Resource) -> bool:
        found = self._one(self.lab.cluster.list(resource).items)
        if found is None:
            return False
        self.lab.cluster.delete(resource, found["metadata"]["name"])
        return True

    def _strip_finalizer(self) -> bool:
        """Somebody deletes a Machine by force; its pool is nobody's for a while."""
        found = self._one(self.lab.cluster.list(MACHINES).items)
        if found is None:
            return False
        name = found["metadata"]["name"]
        self.lab.checker.excused.add(name)
        self.lab.cluster.patch(MACHINES, name, {"metadata": {"finalizers": []}})
        with suppress(NotFound):
            self.lab.cluster.delete(MACHINES, name)
        return True

    def _claim_foreign_name(self) -> bool:
        """Somebody makes a Machine of the name that a foreign pool has, and takes it back in the end."""
        name, labels = FOREIGN[0], {NAME_LABEL: "stranger", NAMESPACE_LABEL: "default"}
        if self.lab.checker.by_hand:
            return False
        self.lab.checker.by_hand.add(name)
        size = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [SIZE]}
        body = {"metadata": {"name": name, "labels": labels}, "spec": {"requirements": [size]}}
        self.lab.cluster.create(MACHINES, body)
        self._intend(self._random.uniform(10, 4000), lambda: self._take_back(name))
        return True

    def _take_back(self, name: str) -> None:
        with suppress(NotFound):
            self.lab.cluster.delete(MACHINES, name)

    # --- the cloud

    def _script_operation(self, pool: str) -> None:
        """Decide, for one PUT in some, what becomes of it."""
        if self._acting and self._random.random() < self._scripts:
            name = self._random.choice(sorted(_FATES))
            self.lab.arm.fail(_FATES[name], "put", pool)
            self._fired[f"launch: {name}"] += 1
            if self._random.random() < 0.3:
                self.lab.arm.fail(self._random.choice((Hang(), Lose(), _FAILS)), "delete", pool)
                self._fired["deletion: by script"] += 1


_FAILS = Fail(code="InternalServerError", message="An internal error occurred", after_seconds=45)
_FATES: dict[str, Fault] = {
    "service fails": _FAILS,
    "canceled": Fail(status="Canceled", code="OperationPreempted", message="preempted", after_seconds=20),
    "out of stock": Fail(
        code="AllocationFailed", message="Allocation failed. We do not have sufficient capacity"
    ),
    "bootstrap fails": Fail(
        code="VMExtensionProvisioningError",
        message="VM has reported a failure when processing extension 'vmssCSE'. exit status=50",
        after_seconds=200,
        machine_stays=True,
    ),
    "hangs": Hang(),
    "lost": Lose(),
    "lost, seen running": Lose(seen_as="running"),
    "slow": Take(seconds=2400),
    "not authorized": Refuse(
        status=403, code="AuthorizationFailed", message="The client does not have authorization"
    ),
    "busy": Refuse(status=409, code="OperationNotAllowed", message="there's an in progress create operation"),
    "service unavailable": Refuse(status=503, code="ServiceUnavailable", message="try again"),
}

_TELLING = (
    ev.PoolFound,
    ev.StalePoolFound,
    ev.PoolOperationEnded,
    ev.PoolCreationTimedOut,
    ev.PoolVanished,
    ev.NodesDuplicated,
    ev.NodeRegistrationTimedOut,
    ev.NodeBecameUnready,
    ev.MachineRemovalRequested,
    ev.MachineRemovalWithdrawn,
    ev.MachineVanished,
)


def _cloud(draw: Random) -> dict[str, Any]:
    """A cloud with foreign pools and chances of its own to fail, which end with `end_faults`."""

    def some(*chances: float) -> float:
        return draw.choice((0.0, 0.0, *chances))

    system = {"name": "nodepool1", "vm_size": "Standard_D4s_v5", "mode": "System", "count": 1}
    foreign = [{"name": name, "vm_size": SIZE, "count": 0} for name in FOREIGN]
    return {
        "name": "chaos",
        "pools": [system, *foreign],
        "delete_of_missing": draw.choice((204, 404)),
        "delete_preempts": draw.random() < 0.5,
        "unavailable_sizes": [FORBIDDEN_SIZE],
        "quota": {"told": draw.choice(("call", "operation"))},
        "stockouts": {"wrapped": draw.random() < 0.5},
        "failures": {
            "bootstrap": some(0.1),
            "service": some(0.1),
            "lost_operation": some(0.2),
            "node_never": some(0.1),
            "node_late": some(0.2),
            "node_twice": some(0.1),
            "index_above_zero": some(0.5),
        },
        "calls": {
            "error": some(0.1, 0.3),
            "reset_before": some(0.05),
            "reset_after": some(0.05),
            "garbage": some(0.05),
        },
        "throttling": {"enabled": draw.random() < 0.5, "tells_retry_after": draw.random() < 0.5},
    }


def a_workspace(name: str, *, count: int = 1, size: str = SIZE) -> Object:
    """A Workspace whose nodes no other one can use."""
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {"instanceType": size, "count": count, "labelSelector": {"matchLabels": {"apps": name}}},
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }


def main(arguments: Sequence[str]) -> int:
    """Run the seeds that are named; 1 when one of them violates a law."""
    verdicts = [run_one(int(seed)) for seed in arguments]
    for verdict in verdicts:
        print(verdict)
    return int(any(verdict.violations for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
