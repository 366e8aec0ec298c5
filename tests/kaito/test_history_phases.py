from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.history.phases import Span, phases, spells
from kaito.history.timeline import rows, tell
from kaito.problems import Problem
from statemachine import events as ev
from store.records import StoredEvent
from tests.kaito import lives
from tests.kaito.lives import at

Story = tuple[tuple[StoredEvent, ...], tuple[StoredEvent, ...]]

BLOCKED = (
    *lives.PROVISIONED[:3],
    lives.launch_failed(60, "QuotaExceeded", "Current Limit: 100", 660),
    ev.MachineLaunchResumed(at=at(660), slot=0, machine=lives.MACHINE),
    ev.ProvisioningResumed(at=at(660)),
    lives.launched(900),
)
TROUBLED = (
    *lives.READY,
    ev.InferenceDegraded(at=at(1000), ready=0, desired=1, reason="ReplicasNotReady", message="0 of 1"),
    lives.inferring(1060),
    ev.NodeLost(at=at(1100), slot=0, node=lives.NODE, cause="not ready"),
    lives.usable(1160),
    *lives.chosen(1160),
    ev.NodeLost(at=at(1200), slot=0, node=lives.NODE, cause="gone"),
    ev.MachineLost(at=at(1210), slot=0, machine=lives.MACHINE, cause="gone"),
    lives.requested(1230, attempt=2, machine="wsccc"),
)
REFUSED = (lives.created(), ev.SpecRefused(at=at(5), generation=1, message="no such preset"))
STORIES: dict[str, Story] = {
    "simulated": (lives.DELETED, ()),
    "imported": (lives.IMPORTED, lives.PROVISIONER),
    "two slots": (lives.TWO_SLOTS, ()),
    "blocked": (BLOCKED, ()),
    "troubled": (TROUBLED, ()),
    "refused": (REFUSED, ()),
}


def told(
    events: Sequence[StoredEvent], seconds: float, provisioner: Sequence[StoredEvent] = ()
) -> list[Span]:
    chronicle = lives.chronicle(events, provisioner).until(at(seconds))
    return list(phases(chronicle, at(seconds)))


def names_and_seconds(spans: Sequence[Span]) -> list[tuple[str, float]]:
    return [(span.name, span.duration.total_seconds()) for span in spans]


def test_simulated_life_shows_every_phase() -> None:
    spans = told(lives.DELETED, 3000)

    assert names_and_seconds(spans) == [
        ("accepted → created", 1),
        ("created → launched", 249),
        ("launched → ready", 10),
        ("ready → GPU usable", 10),
        ("nodes → workload", 5),
        ("inference", 700),
        ("serving", 1795),
        ("deletion", 65),
    ]
    assert not any(span.open for span in spans)


def test_inference_steps_follow_the_pods() -> None:
    inference = told(lives.DELETED, 3000)[5]

    steps = [("Scheduling", 4), ("Pulling", 420), ("Loading", 275)]
    assert names_and_seconds(inference.steps) == steps


def test_deletion_without_provisioner_shows_machine_then_finalizer() -> None:
    deletion = told(lives.DELETED, 3000)[-1]

    assert names_and_seconds(deletion.steps) == [("machine deletion", 64), ("finalizer", 1)]


def test_imported_launch_comes_from_the_machine() -> None:
    spans = told(lives.IMPORTED, 3000, lives.PROVISIONER)

    assert names_and_seconds(spans)[1:3] == [("created → launched", 257.5), ("launched → ready", 1.5)]


def test_imported_deletion_lasts_until_the_machine_is_gone() -> None:
    deletion = told(lives.IMPORTED, 3000, lives.PROVISIONER)[-1]

    assert names_and_seconds([deletion]) == [("deletion", 64)]
    steps = [("machine: drain", 30), ("machine: pool deletion", 33), ("machine: release", 1)]
    assert names_and_seconds(deletion.steps) == steps


def test_uncertain_readiness_widens_both_neighbours() -> None:
    inference, serving = told(lives.IMPORTED, 3000, lives.PROVISIONER)[5:7]

    assert (inference.shortest.total_seconds(), inference.longest.total_seconds()) == (697, 757)
    assert (serving.shortest.total_seconds(), serving.longest.total_seconds()) == (1750, 1810)


def test_slot_furthest_behind_gives_the_phase() -> None:
    spans = told(lives.TWO_SLOTS, 400)

    assert names_and_seconds(spans)[1:4] == [
        ("created → launched", 299),
        ("launched → ready", 10),
        ("ready → GPU usable", 10),
    ]


def test_blocked_time_is_a_step_of_the_launch() -> None:
    launching = told(BLOCKED, 950)[1]

    assert names_and_seconds(launching.steps) == [("blocked: QuotaExceeded", 600)]


def test_losses_after_ready_are_phases_of_their_own() -> None:
    spans = told(TROUBLED, 1300)

    assert names_and_seconds(spans)[6:] == [
        ("serving", 25),
        ("degraded", 60),
        ("serving", 40),
        ("node lost", 60),
        ("serving", 40),
        ("node lost", 10),
        ("machine lost", 20),
        ("accepted → created", 70),
    ]


def test_refused_spec_waits_for_another() -> None:
    assert names_and_seconds(told(REFUSED, 100)) == [("accepted → created", 5), ("spec refused", 95)]


def test_last_phase_of_a_living_workspace_is_open() -> None:
    spans = told(lives.READY, 1000)

    assert [span.open for span in spans] == [False] * (len(spans) - 1) + [True]
    assert spans[-1].end == at(1000)


@given(st.sampled_from(sorted(STORIES)), st.floats(0, 4000, allow_nan=False))
def test_phases_fill_the_age_without_gap(name: str, seconds: float) -> None:
    events, provisioner = STORIES[name]
    chronicle = lives.chronicle(events, provisioner).until(at(seconds))

    timeline = tell(chronicle, at(seconds))

    spans = timeline.phases
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert all(span.start < span.end for span in spans)
    assert sum(span.seconds for span in spans) == pytest.approx(timeline.total_seconds)
    assert not spans or (spans[0].start, spans[-1].end) == (lives.START, timeline.end)
    assert timeline.end == at(seconds) if timeline.open else timeline.end <= at(seconds)
    for span in spans:
        assert all(span.start <= step.start < step.end <= span.end for step in span.steps)


@given(st.sampled_from(sorted(STORIES)), st.floats(0, 4000, allow_nan=False))
def test_spells_of_a_condition_do_not_overlap(name: str, seconds: float) -> None:
    events, provisioner = STORIES[name]

    found = spells(lives.chronicle(events, provisioner).until(at(seconds)), at(seconds))

    for runs in found.values():
        assert all(before.end == after.start for before, after in pairwise(runs))
        assert all((a.status, a.reason) != (b.status, b.reason) for a, b in pairwise(runs))


def test_spells_tell_each_status_and_reason() -> None:
    found = spells(lives.chronicle(BLOCKED).until(at(950)), at(950))["MachineReady"]

    assert [(spell.status, spell.reason, (spell.end - spell.start).total_seconds()) for spell in found] == [
        ("Unknown", "MachinePending", 0.2),
        ("Unknown", "CreateMachinePending", 59.8),
        ("False", "QuotaExceeded", 600),
        ("Unknown", "CreateMachinePending", 290),
    ]


def test_table_indents_steps_and_ends_with_total() -> None:
    chronicle = lives.chronicle(lives.IMPORTED, lives.PROVISIONER)

    table = rows(tell(chronicle, at(3000)))

    assert ("inference", "18:34:23.000", "18:46:00.000", "11m37s–12m37s", "697–757") in table
    assert ("  machine: drain", "19:16:10.000", "19:16:40.000", "30s", "30.0") in table
    assert table[-1] == ("total", "", "", "47m14s", "2834.0")


def test_stream_that_cannot_be_folded_names_the_event() -> None:
    chronicle = lives.chronicle([lives.created(), lives.launched(5)])

    with pytest.raises(Problem, match=r"cannot be folded: MachineLaunched .*\(version 2, position 2\)"):
        tell(chronicle, at(10))


def test_nothing_is_known_before_the_creation() -> None:
    with pytest.raises(Problem, match="default/falcon did not exist yet at 2024-04-05T18:29:59Z"):
        lives.chronicle(lives.READY).until(at(-1))


def test_trouble_of_inference_is_a_step() -> None:
    crash = ev.InferenceTroubled(at=at(300), reason="ImagePullError", message="not found")
    events = [*lives.DEPLOYED, crash, lives.progressed(400, "Loading")]
    late = ev.InferenceWaitTimedOut(at=at(2075), elapsed_seconds=1800)

    inference = told([*events, late], 2100)[-1]

    steps = [("ImagePullError", 100), ("Loading", 1675), ("timed out", 25)]
    assert names_and_seconds(inference.steps) == steps


def test_phase_that_lasts_no_time_is_left_out() -> None:
    events = [*lives.PROVISIONED[:4], lives.ready(250), lives.usable(260), *lives.chosen(260)]

    spans = told(events, 300)

    assert [span.name for span in spans[1:]] == [
        "created → launched",
        "ready → GPU usable",
        "nodes → workload",
    ]


def test_event_with_an_earlier_clock_keeps_its_place() -> None:
    events = [lives.created(), lives.requested(10), lives.made(8), lives.launched(20)]

    spans = told(events, 30)

    assert names_and_seconds(spans) == [
        ("accepted → created", 10),
        ("created → launched", 10),
        ("launched → ready", 10),
    ]
