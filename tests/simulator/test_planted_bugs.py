"""A campaign that cannot find a known bug has shown nothing: each is planted, and a world must betray it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kaito.runtime.machines.reconciler import MachineReconciler
from kaito.runtime.pools import OWNER_TAG, Operation, Pool, PoolNotFound, PoolSpec, PoolState
from kaito.runtime.streams import Streams
from simulator.chaos import run_one
from simulator.faults import FaultyPools
from simulator.operator import Provisioner
from statemachine import decision

WORLDS = 60
"""So many at most, until one betrays the bug."""

Plant = Callable[[pytest.MonkeyPatch], None]


def pools_that_leave_count_as_gone(patch: pytest.MonkeyPatch) -> None:
    """The Machine is released as soon as the deletion of its pool was submitted."""
    original = FaultyPools.get

    def got(self: FaultyPools, name: str) -> Pool:
        pool = original(self, name)
        if pool.state is PoolState.DELETING:
            raise PoolNotFound(name)
        return pool

    patch.setattr(FaultyPools, "get", got)


def every_pool_counts_as_ours(patch: pytest.MonkeyPatch) -> None:
    original = FaultyPools.get

    def got(self: FaultyPools, name: str) -> Pool:
        return msgspec.structs.replace(original(self, name), tags={OWNER_TAG: name})

    patch.setattr(FaultyPools, "get", got)


def names_change_with_each_call(patch: pytest.MonkeyPatch) -> None:
    """What a clock in the name does: a pool that is asked for again is another one."""
    original, made = FaultyPools.begin_create, iter(range(10**6))

    def begun(self: FaultyPools, spec: PoolSpec) -> Operation:
        name = f"ws{next(made):09d}"
        return original(self, msgspec.structs.replace(spec, name=name, tags={**spec.tags, OWNER_TAG: name}))

    patch.setattr(FaultyPools, "begin_create", begun)


def nobody_collects(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Provisioner, "collect_regularly", lambda self: None)


def a_start_forgets_open_stories(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MachineReconciler, "unfinished", lambda self: [])


def intents_stay_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Acts without writing first: what was decided is lost with the process."""
    original = Streams.append

    def appended(self: Any, stream: str, events: Any, state: Any, **options: Any) -> Any:
        kept = [event for event in events if not type(event).__name__.endswith("CreationRequested")]
        return original(self, stream, kept, state, **options)

    patch.setattr(Streams, "append", appended)


def workspaces_never_replace_a_machine(patch: pytest.MonkeyPatch) -> None:
    original = decision._request

    def requested(draft: Any, slot: Any) -> None:
        if slot.attempt == 0:
            original(draft, slot)

    patch.setattr(decision, "_request", requested)


PLANTS = (
    pools_that_leave_count_as_gone,
    every_pool_counts_as_ours,
    names_change_with_each_call,
    nobody_collects,
    a_start_forgets_open_stories,
    intents_stay_in_memory,
    workspaces_never_replace_a_machine,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_bug_is_betrayed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert any(run_one(seed).violations for seed in range(WORLDS))
