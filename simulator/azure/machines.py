"""The virtual machines of the pools: made, taken away, evicted, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from simulator.azure.model import AgentPool, Names, Vm
from simulator.azure.scenario import AzureScenario
from simulator.engine import Engine
from simulator.machines import scale_set_name
from simulator.randomness import Generators

Why = Literal["deleted", "evicted"]
OnVm = Callable[[AgentPool, Vm], object]
OnVmGone = Callable[[AgentPool, Vm, Why], object]

_HOUR = 3600.0
_REIMAGES = 40
"""A machine's index, where it is not the first, lies below this; from 10 on it is told in letters."""


class Machines:
    """Every machine that ever was is in ``all``, in the order of their making.

    ``on_vm`` is called when a machine that will join starts, ``on_notice`` when its eviction is announced,
    ``on_vm_gone`` when it is no more.
    """

    def __init__(self, engine: Engine, generators: Generators, names: Names, scenario: AzureScenario) -> None:
        self.all: list[Vm] = []
        self.on_vm: OnVm = _ignore
        self.on_notice: OnVm = _ignore
        self.on_vm_gone: OnVmGone = _ignore
        self._engine = engine
        self._generators = generators
        self._names = names
        self._scenario = scenario
        self.by_chance = True

    def new_scale_set(self, pool: str) -> str:
        return scale_set_name(pool, self._generators.generator("machine.node_name").randrange(10**8))

    def scale(self, pool: AgentPool, count: int, zone: str, *, join: bool) -> None:
        """Make machines, or take the last ones away, until the pool has so many."""
        while len(pool.vms) > count:
            self._end(pool.vms[-1], "deleted")
        while len(pool.vms) < count:
            self._start(pool, zone, join=join)

    def evict(self, vm: Vm) -> None:
        """Announce the eviction, and take the machine and some of its size after the notice."""
        self._announce(vm)
        spot = self._scenario.spot
        together = self._generators.generator("azure.spot.together")
        for other in self.all:
            alike = other is not vm and other.spot and other.size == vm.size and other.ended_at is None
            if alike and spot.together.happens(together):
                delay = spot.together_within.sample(together)
                self._engine.schedule(delay, partial(self._announce, other))

    def end_chances(self) -> None:
        """No eviction by chance any more; machines begin with index 0 and join once and in time."""
        self.by_chance = False

    def _start(self, pool: AgentPool, zone: str, *, join: bool) -> None:
        index = self._next_index(pool)
        vm = Vm(
            home=pool,
            size=pool.asked.vm_size,
            index=index,
            zone=zone,
            spot=pool.asked.spot,
            scale_set=pool.scale_set,
            provider_id=self._names.provider_id(pool.scale_set, index),
            tags=dict(pool.asked.tags),
            began_at=self._engine.now(),
            joins=join,
        )
        pool.vms.append(vm)
        self.all.append(vm)
        if vm.spot:
            self._await_eviction(vm)
        if join:
            self.on_vm(pool, vm)

    def _next_index(self, pool: AgentPool) -> int:
        if pool.vms:
            return pool.vms[-1].index + 1
        random = self._generators.generator("azure.vm_index")
        above = self._scenario.failures.index_above_zero.happens(random)
        return random.randrange(1, _REIMAGES) if above and self.by_chance else 0

    def _await_eviction(self, vm: Vm) -> None:
        per_hour = self._scenario.spot.evictions_per_hour
        if per_hour > 0:
            seconds = self._generators.generator("azure.spot").expovariate(per_hour / _HOUR)
            self._engine.schedule(seconds, lambda: self._evict_by_chance(vm))

    def _evict_by_chance(self, vm: Vm) -> None:
        if self.by_chance:
            self.evict(vm)

    def _announce(self, vm: Vm) -> None:
        if vm.ended_at is not None:
            return
        self.on_notice(vm.home, vm)
        notice = self._scenario.spot.notice.sample(self._generators.generator("azure.spot.notice"))
        self._engine.schedule(notice, lambda: self._end(vm, "evicted"))

    def _end(self, vm: Vm, why: Why) -> None:
        """The pool of an evicted machine stays as it was: Azure reports no error for it."""
        if vm.ended_at is not None:
            return
        vm.ended_at = self._engine.now()
        vm.home.vms.remove(vm)
        if vm.joins:
            self.on_vm_gone(vm.home, vm, why)


def _ignore(*_: object) -> None:
    return None
