"""What happens to a world beside its faults: stalled watches, killed processes, hands on pools and nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from random import Random
from typing import TypeVar

from kaito.runtime.keys import NAME_LABEL, NAMESPACE_LABEL
from kaito.runtime.ports import MACHINES, NODES, NotFound, Resource
from simulator.azure.refusals import Dropped, Garbled, Refusal
from simulator.bad_clouds import FAMILY, FOREIGN, SIZE
from simulator.laboratory import Laboratory

T = TypeVar("T")

Intend = Callable[[float, Callable[[], object]], None]


class Interference:
    """Acts at random times until `end`; each that found something to act on is counted.

    Args:
        intend: Lets a person do something later, also after the end.
    """

    def __init__(self, lab: Laboratory, random: Random, fired: Counter[str], intend: Intend) -> None:
        self._lab = lab
        self._random = random
        self._fired = fired
        self._intend = intend
        self._acting = True

    def end(self) -> None:
        self._acting = False

    def arrange(self, duration: timedelta) -> None:
        """Some acts within this time, drawn at random."""
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
            self._at(draw.uniform(60, duration.total_seconds()), partial(self._interfere, act))

    def _at(self, seconds: float, callback: Callable[[], object]) -> None:
        self._lab.engine.schedule(seconds, callback)

    def _interfere(self, act: Callable[[], bool]) -> None:
        if self._acting and act():
            self._fired[f"interference: {act.__name__.lstrip('_')}"] += 1

    def _one(self, items: Sequence[T]) -> T | None:
        return self._random.choice(items) if items else None

    def _stall_watches(self) -> bool:
        """The caches of one kind stand still for a while, with no sign of it."""
        process = self._random.choice(self._lab.processes)
        watch = self._one([each for each in process.api.opened if not each.ended])
        if watch is None:
            return False
        watch.stall()
        self._at(self._random.choice((20.0, 120.0, 900.0)), watch.resume)
        return True

    def _cut_watches(self) -> bool:
        watches = [each for process in self._lab.processes for each in process.api.opened]
        for watch in watches:
            watch.cut()
        return bool(watches)

    def _forget_history(self) -> bool:
        """Every watch breaks and what it could resume from is gone: 410, so all is listed anew."""
        self._lab.cluster.compact()
        return self._cut_watches()

    def _kill(self) -> bool:
        self._random.choice(self._lab.processes).kill()
        return True

    def _drop_quota(self) -> bool:
        self._lab.arm.set_quota(FAMILY, self._random.choice((0, 12, 30)))
        return True

    def _run_out(self) -> bool:
        self._lab.arm.run_out(SIZE, for_seconds=self._random.uniform(60, 7200))
        return True

    def _release(self) -> bool:
        """Operations that hung end after all, perhaps long after they were given up."""
        hangs = bool(self._lab.arm.service.operations.hanging())
        self._lab.arm.release()
        return hangs

    def _delete_pool(self) -> bool:
        """Somebody deletes one of our pools in the portal."""
        name = self._one(self._lab.checker.pool_names())
        if name is None:
            return False
        with suppress(Refusal, Dropped, Garbled):
            self._lab.arm.service.delete(name)
            self._lab.checker.taken[name] += 1
            return True
        return False

    def _evict(self) -> bool:
        """A virtual machine goes and its pool stays."""
        name = self._one(self._lab.checker.pool_names())
        if name is None or not self._lab.arm.service.pools[name].vms:
            return False
        self._lab.arm.evict(name)
        return True

    def _delete_node(self) -> bool:
        return self._delete_one(NODES)

    def _delete_machine(self) -> bool:
        return self._delete_one(MACHINES)

    def _delete_one(self, resource: Resource) -> bool:
        found = self._one(self._lab.cluster.list(resource).items)
        if found is None:
            return False
        self._lab.cluster.delete(resource, found["metadata"]["name"])
        return True

    def _strip_finalizer(self) -> bool:
        """Somebody deletes a Machine by force; its pool is nobody's for a while."""
        found = self._one(self._lab.cluster.list(MACHINES).items)
        if found is None:
            return False
        name = found["metadata"]["name"]
        self._lab.checker.excused.add(name)
        self._lab.cluster.patch(MACHINES, name, {"metadata": {"finalizers": []}})
        with suppress(NotFound):
            self._lab.cluster.delete(MACHINES, name)
        return True

    def _claim_foreign_name(self) -> bool:
        """Somebody makes a Machine of the name that a foreign pool has, and takes it back in the end."""
        name, labels = FOREIGN[0], {NAME_LABEL: "stranger", NAMESPACE_LABEL: "default"}
        if self._lab.checker.by_hand:
            return False
        self._lab.checker.by_hand.add(name)
        size = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [SIZE]}
        body = {"metadata": {"name": name, "labels": labels}, "spec": {"requirements": [size]}}
        self._lab.cluster.create(MACHINES, body)
        self._intend(self._random.uniform(10, 4000), lambda: self._take_back(name))
        return True

    def _take_back(self, name: str) -> None:
        with suppress(NotFound):
            self._lab.cluster.delete(MACHINES, name)
