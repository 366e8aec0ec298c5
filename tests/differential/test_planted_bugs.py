"""A comparison that finds no known bug has shown nothing: each is planted, and a program must betray it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kaito.runtime.ports import Object, WatchNotification
from simulator import deletion, paging, watching, writing
from simulator.kinds import Kind
from simulator.metadata import ObjectMeta
from simulator.selectors import Selection
from simulator.storage import Change
from tests.differential.calls import Program
from tests.differential.ledger import read_ledger
from tests.differential.programs import programs
from tests.differential.regressions import PROGRAMS
from tests.differential.servers import RealServer
from tests.differential.trial import Trials, Unexplained

pytestmark = pytest.mark.real_server

BUDGET = 400
"""So many at most, until one betrays the bug."""

Plant = Callable[[pytest.MonkeyPatch], None]


def stale_writes_are_taken(patch: pytest.MonkeyPatch) -> None:
    original = writing.check_preconditions

    def checked(kind: Kind, meta: ObjectMeta, current: Object) -> None:
        if meta.resource_version.isdecimal():
            meta.resource_version = current["metadata"]["resourceVersion"]
        original(kind, meta, current)

    patch.setattr(writing, "check_preconditions", checked)


def content_counts_for_no_generation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writing, "_same_content", lambda *_: True)


def watches_lose_removals(patch: pytest.MonkeyPatch) -> None:
    original = watching._seen_through

    def seen(selection: Selection, change: Change) -> WatchNotification | None:
        return None if change.new is None else original(selection, change)

    patch.setattr(watching, "_seen_through", seen)


def finalizers_hold_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deletion, "finalizers_after", lambda *_: [])


def main_writes_take_the_status(patch: pytest.MonkeyPatch) -> None:
    original = writing.updated

    def updated(kind: Kind, body: Object, meta: ObjectMeta, current: Object) -> Object:
        new = original(kind, body, meta, current)
        return {**new, "status": body["status"]} if "status" in body else new

    patch.setattr(writing, "updated", updated)


def pages_repeat_their_last_item(patch: pytest.MonkeyPatch) -> None:
    original = paging.bisect_right
    patch.setattr(paging, "bisect_right", lambda keys, start: original(keys, start) - 1)


PLANTS: tuple[Plant, ...] = (
    stale_writes_are_taken,
    content_counts_for_no_generation,
    watches_lose_removals,
    finalizers_hold_nothing,
    main_writes_take_the_status,
    pages_repeat_their_last_item,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_bug_is_betrayed(real: RealServer, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    # A count and a ledger of its own: what a bug needs must not count as needed.
    trials = Trials(real, read_ledger(), prefix="b")
    plant(monkeypatch)

    @settings(
        max_examples=BUDGET,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(program=programs())
    def campaign(program: Program) -> None:
        trials.run(program)

    def search() -> None:
        campaign()
        # What takes a row of calls on one list is left to the programs that were written for it.
        for program in PROGRAMS.values():
            trials.run(program)

    with pytest.raises(Unexplained) as betrayed:
        search()
    # It was the bug: without it the same program finds nothing that is not explained.
    monkeypatch.undo()
    trials.run(betrayed.value.program)
