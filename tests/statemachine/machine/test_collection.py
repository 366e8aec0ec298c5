"""What the collector may do, after how many rounds, and what it must never do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from statemachine.machine.observations import PoolReading, PoolState
from statemachine.state import NodeLossCause
from tests.builders import EPOCH, at
from tests.statemachine.machine.builders import a_pool, a_sighting

OLD = EPOCH - timedelta(days=1)


def a_named_pool(name: str = "wsa", **changes: Any) -> PoolReading:
    ordinary = {"name": name, "owner": name, "created_at": OLD}
    return a_pool(**{"state": PoolState.SUCCEEDED, **ordinary, **changes})


def a_round(minutes: float, **changes: Any) -> Round:
    ordinary: dict[str, Any] = {"pools": (), "machines": (), "nodes": ()}
    return Round(**{"at": at(60 * minutes), **ordinary, **changes})


def rounds(
    pictures: Iterable[dict[str, Any]], every: float = 2, limits: CollectionLimits | None = None
) -> list[Collection]:
    """One collection a round, each with the memory of the one before."""
    memory, found = Memory(), []
    for number, picture in enumerate(pictures):
        found.append(collect(memory, a_round(every * number, **picture), limits or CollectionLimits()))
        memory = found[-1].memory
    return found


def always(count: int, **picture: Any) -> list[dict[str, Any]]:
    return [picture] * count


def first(found: Sequence[Collection], what: Callable[[Collection], Any]) -> int | None:
    """The number of the round in which something was found first."""
    return next((number for number, collection in enumerate(found) if what(collection)), None)


def unready(name: str = "wsa", **changes: Any) -> MachineSighting:
    return a_sighting(name, **{"node_cause": NodeLossCause.NOT_READY, **changes})


# --- pools ------------------------------------------------------------------------------------------


def test_orphan_pool_goes_on_the_second_round() -> None:
    found = rounds(always(2, pools=(a_named_pool(),)))

    assert [collection.pools for collection in found] == [(), ("wsa",)]


def test_pool_with_a_machine_stays() -> None:
    found = rounds(always(30, pools=(a_named_pool(),), machines=(a_sighting("wsa"),)))

    assert first(found, lambda c: c.pools) is None


@pytest.mark.parametrize("owner", ["", "another"])
def test_pool_without_our_tag_is_nobodys_business(owner: str) -> None:
    found = rounds(always(60, pools=(a_named_pool(owner=owner),)))

    assert first(found, lambda c: c.pools) is None


def test_pool_that_is_leaving_is_left_alone() -> None:
    found = rounds(always(30, pools=(a_named_pool(state=PoolState.DELETING),)))

    assert first(found, lambda c: c.pools) is None


def test_young_pool_is_left_alone() -> None:
    found = rounds(always(5, pools=(a_named_pool(created_at=at(0)),)))

    assert first(found, lambda c: c.pools) == 3


@pytest.mark.parametrize("created_at", [None, at(86400 * 365)])
def test_pool_of_unknown_age_counts_as_young(created_at: datetime | None) -> None:
    found = rounds(always(5, pools=(a_named_pool(created_at=created_at),)))

    assert first(found, lambda c: c.pools) == 3


@pytest.mark.parametrize("missing", ["pools", "machines"])
def test_failed_list_does_nothing(missing: str) -> None:
    picture = {"pools": (a_named_pool(),), "machines": ()}
    found = rounds([picture, {**picture, missing: None}, picture])

    assert [bool(collection.pools) for collection in found] == [False, False, True]


def test_machine_that_appears_clears_its_pool() -> None:
    orphan, owned = {"pools": (a_named_pool(),)}, {"machines": (a_sighting("wsa"),)}
    found = rounds([orphan, {**orphan, **owned}, orphan, orphan])

    assert [bool(collection.pools) for collection in found] == [False, False, False, True]


def test_few_pools_go_in_one_round() -> None:
    owned = [f"wsx{number}" for number in range(20)]
    pools = tuple(a_named_pool(name) for name in [*"abcde", *owned])
    found = rounds(always(2, pools=pools, machines=tuple(a_sighting(name) for name in owned)))

    assert found[1].pools == ("a", "b", "c")


def test_empty_list_of_machines_is_not_believed_at_once() -> None:
    """Somebody's cache was empty, or the resource definition was installed anew."""
    found = rounds(always(29, pools=tuple(a_named_pool(f"ws{number}") for number in range(10))))

    assert first(found, lambda c: c.pools) is None
    assert found[-1].held == ("10 of 10 agent pools have no Machine: deletion held back",)


def test_a_real_leak_ends_at_last() -> None:
    found = rounds(always(40, pools=tuple(a_named_pool(f"ws{number}") for number in range(10))))

    began = first(found, lambda c: c.pools)
    assert began == 30
    assert len(found[began].pools) == 3


# --- machines ---------------------------------------------------------------------------------------


def healthy(count: int = 9) -> tuple[MachineSighting, ...]:
    return tuple(a_sighting(f"wsh{number}") for number in range(count))


def test_unready_machine_goes_after_ten_minutes() -> None:
    well, ill = {"machines": (*healthy(), a_sighting("wsa"))}, {"machines": (*healthy(), unready())}
    found = rounds([well, *[ill] * 8])

    assert first(found, lambda c: c.removals) == 6
    assert found[6].removals == (
        Removal(machine="wsa", uid="uid-wsa", cause="node is not ready", since=at(120)),
    )


def test_readiness_in_between_starts_the_time_anew() -> None:
    ill, well = {"machines": (*healthy(), unready())}, {"machines": (*healthy(), a_sighting("wsa"))}
    found = rounds([well, *[ill] * 4, well, *[ill] * 6])

    assert first(found, lambda c: c.removals) == 11


def test_failed_list_neither_adds_nor_removes_suspicion() -> None:
    ill, well = {"machines": (*healthy(), unready())}, {"machines": (*healthy(), a_sighting("wsa"))}
    found = rounds([well, ill, {"machines": None}, ill, ill, ill, ill])

    assert first(found, lambda c: c.removals) == 6


def test_node_that_somebody_deletes_goes_with_its_machine() -> None:
    going = unready(node_cause=NodeLossCause.DELETING)
    found = rounds([{"machines": (a_sighting("wsa"),)}, *always(3, machines=(going,))])

    assert first(found, lambda c: c.removals) == 2


@pytest.mark.parametrize("changes", [{"registered": False}, {"deleting": True}])
def test_machine_without_a_node_to_lose_is_not_removed(changes: dict[str, Any]) -> None:
    well = {"machines": (*healthy(), a_sighting("wsa"))}
    found = rounds([well, *always(60, machines=(*healthy(), unready(**changes)))])

    assert first(found, lambda c: c.removals) is None


def test_breaker_holds_when_many_are_unready() -> None:
    ill = tuple(unready(f"ws{number}") for number in range(6))
    found = rounds([{"machines": (*healthy(10),)}, *always(100, machines=(*healthy(4), *ill))])

    assert first(found, lambda c: c.removals) is None
    assert found[-1].held == ("6 of 10 Machines are unready together: removals held back",)


def test_few_machines_go_in_one_round() -> None:
    ill = tuple(unready(f"ws{number}") for number in range(5))
    well = tuple(a_sighting(f"ws{number}") for number in range(5))
    found = rounds([{"machines": (*healthy(30), *well)}, *always(8, machines=(*healthy(30), *ill))])

    assert len(found[6].removals) == 3


def test_vanished_pool_is_read_again() -> None:
    found = rounds(always(5, machines=(a_sighting("wsa"),)))

    assert first(found, lambda c: c.rereads) == 3
    assert found[3].rereads == ("wsa",)


@pytest.mark.parametrize("changes", [{"launched": False}, {"deleting": True}])
def test_machine_without_a_pool_to_miss_is_left_alone(changes: dict[str, Any]) -> None:
    found = rounds(always(30, machines=(a_sighting("wsa", **changes),)))

    assert first(found, lambda c: c.rereads) is None


def test_pool_that_came_late_is_read_again() -> None:
    found = rounds(always(5, pools=(a_named_pool(),), machines=(a_sighting("wsa", launched=False),)))

    assert first(found, lambda c: c.rereads) == 3


def test_pool_under_way_is_not_read_again() -> None:
    under_way = a_named_pool(state=PoolState.CREATING)
    found = rounds(always(30, pools=(under_way,), machines=(a_sighting("wsa", launched=False),)))

    assert first(found, lambda c: c.rereads) is None


# --- nodes ------------------------------------------------------------------------------------------


def test_node_of_neither_goes_after_a_while() -> None:
    found = rounds(always(5, nodes=(NodeSighting(name="n", pool="wsa"),)))

    assert first(found, lambda c: c.nodes) == 3


@pytest.mark.parametrize(
    "owner", [{"pools": (a_named_pool(owner=""),)}, {"machines": (a_sighting("wsa"),)}, {"nodes": None}]
)
def test_node_that_has_an_owner_stays(owner: dict[str, Any]) -> None:
    found = rounds(always(30, **{"nodes": (NodeSighting(name="n", pool="wsa"),), **owner}))

    assert first(found, lambda c: c.nodes) is None


# --- stopped clusters -------------------------------------------------------------------------------


def test_rounds_far_apart_are_not_consecutive() -> None:
    found = rounds(always(20, pools=(a_named_pool(),), nodes=(NodeSighting(name="n", pool="b"),)), every=30)

    assert first(found, lambda c: c.pools or c.nodes) is None


def test_clock_that_goes_back_starts_anew() -> None:
    begun = collect(Memory(), a_round(10, pools=(a_named_pool(),)))

    assert collect(begun.memory, a_round(9, pools=(a_named_pool(),))).pools == ()


@given(seed=st.integers(0, 10**6), count=st.integers(1, 40))
def test_thaw_in_any_order_loses_nothing(seed: int, count: int) -> None:
    """Stopped for eight hours, back within twenty minutes: the collector's memory is from before."""
    random = Random(seed)
    back_at = [random.uniform(0, 20) for _ in range(count)]
    names = [f"ws{number}" for number in range(count)]
    pools = tuple(a_named_pool(name) for name in names)
    stopped = [unready(name) if random.random() < 0.5 else a_sighting(name) for name in names]
    memory = collect(Memory(), a_round(0, pools=pools, machines=tuple(stopped))).memory

    for minute in range(0, 60, 2):
        machines = tuple(
            a_sighting(name) if minute >= back else unready(name)
            for name, back in zip(names, back_at, strict=True)
        )
        found = collect(memory, a_round(8 * 60 + minute, pools=pools, machines=machines))
        memory = found.memory
        assert (found.pools, found.removals, found.rereads, found.nodes) == ((), (), (), ())


def test_machine_that_does_not_come_back_is_removed_in_the_end() -> None:
    found = rounds(always(40, machines=(*healthy(), unready())))

    assert first(found, lambda c: c.removals) == 15
