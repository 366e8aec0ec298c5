"""The fold: what events make of a Machine, and what they may not do."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.errors import IllegalTransition
from statemachine.machine import events as ev
from statemachine.machine.replay import apply, fold
from statemachine.machine.state import Machine, PoolPhase
from statemachine.state import BlockedReason, ConditionStatus, Stage
from tests.builders import at
from tests.statemachine.machine.builders import (
    NAME,
    NODE,
    PROVIDER_ID,
    a_failure,
    a_history,
    a_launch,
    a_machine,
    a_registration,
    a_request,
    a_submission,
    a_termination,
    an_acceptance,
)
from tests.statemachine.machine.story import said

HISTORIES = {
    "ready": a_history(),
    "failed": [an_acceptance(), a_request(), a_failure()],
    "failed while being created": [an_acceptance(), a_request(), a_submission(), a_failure()],
    "deleted": [*a_history(), *a_termination()],
    "twice": [*a_history(), *a_termination(), an_acceptance(at=at(5000), uid="another")],
}
every_history = pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())

IMPORTED = [
    ev.PoolCreationRequested(at=at(0), machine=NAME, pool=NAME),
    ev.MachineLaunchCompleted(at=at(258), machine=NAME, provider_id=PROVIDER_ID),
    ev.PoolDeletionRequested(at=at(3000), machine=NAME, pool=NAME),
    ev.NodeRemoved(at=at(3033), machine=NAME, node=NODE),
    ev.MachineRemoved(at=at(3034), machine=NAME),
]


def test_ordinary_life_ends_ready() -> None:
    machine = fold(a_history())

    assert [said(machine.launched)[0], said(machine.registered)[0], said(machine.initialized)[0]] == [
        "True"
    ] * 3
    assert said(machine.ready) == ("True", "", "")
    assert (machine.node, machine.provider_id) == (NODE, PROVIDER_ID)


def test_conditions_exist_from_the_first_event() -> None:
    machine = fold([an_acceptance()])

    assert said(machine.launched) == ("Unknown", "Launching", f"agent pool {NAME} is to be created")
    assert said(machine.registered) == ("False", "MachineNotLaunched", "Machine is not launched")
    assert said(machine.initialized) == ("False", "MachineNotLaunched", "Machine is not launched")
    assert said(machine.ready) == ("False", "MachineNotLaunched", "Machine is not launched")


@every_history
def test_fold_equals_apply_by_apply(history: list[ev.MachineEvent]) -> None:
    machine = Machine()

    for event in history:
        machine = apply(machine, event)

    assert machine == fold(history)


@given(data=st.data(), history=st.sampled_from(list(HISTORIES.values())))
def test_fold_resumes_from_any_snapshot(data: st.DataObject, history: list[ev.MachineEvent]) -> None:
    cut = data.draw(st.integers(0, len(history)))

    stored = msgspec.json.decode(msgspec.json.encode(fold(history[:cut])), type=Machine)

    assert fold(history[cut:], stored) == fold(history)


@every_history
def test_fold_leaves_its_start_alone(history: list[ev.MachineEvent]) -> None:
    start = fold(history[:2])
    before = msgspec.json.encode(start)

    fold(history[2:], start)

    assert msgspec.json.encode(start) == before


@pytest.mark.parametrize("first", range(len(IMPORTED)))
def test_imported_logs_fold_wherever_they_begin(first: int) -> None:
    machine = fold(IMPORTED[first:])

    assert machine.stage is Stage.GONE
    assert machine.is_over


def test_imported_machine_was_launched() -> None:
    machine = fold(IMPORTED[:2])

    assert said(machine.launched)[0] == "True"
    assert said(machine.ready) == ("False", "NodeNotFound", "Node not registered with cluster")


def test_next_life_inherits_nothing() -> None:
    machine = fold([*a_history(), *a_termination(), an_acceptance(uid="another")])

    assert machine == fold([an_acceptance(uid="another")])


def test_time_of_a_condition_moves_with_its_text() -> None:
    """As published for this object, unlike a condition of the Workspace."""
    failed = [a_request(), a_failure(5), a_request(2, 605), a_failure(606, attempt=2, message="still none")]

    machine = a_machine(failed)

    assert (machine.launched.message, machine.launched.since) == ("still none", at(606))


def test_time_of_a_condition_stays_with_its_text() -> None:
    machine = a_machine([a_request(), a_failure(5), a_request(2, 605), a_failure(606, attempt=2)])

    assert machine.launched.since == at(5)


def test_failures_in_a_row_are_counted_by_class() -> None:
    quota = [a_request(), a_failure(), a_request(2, 700), a_failure(700)]
    other = a_failure(1400, reason=BlockedReason.THROTTLED)

    assert a_machine(quota).failures == 2
    assert a_machine([*quota, a_request(3, 1400), other]).failures == 1


def test_a_usable_node_ends_all_failures() -> None:
    failed = [a_request(), a_failure()]
    ready = [
        a_request(2, 700),
        a_submission(700),
        ev.MachineLaunchCompleted(at=at(900), machine=NAME, provider_id=""),
        a_registration(900),
        ev.NodeInitialized(at=at(900), machine=NAME, node=NODE),
    ]

    machine = a_machine([*failed, *ready])

    assert (machine.blocked, machine.failures, machine.retry_at) == ("", 0, None)


def test_failed_attempt_stays_visible_while_asking_again() -> None:
    """A cloud that refuses at once must not make the condition flap."""
    machine = a_machine([a_request(), a_failure(), a_request(2, 700)])

    assert machine.launched.status is ConditionStatus.FALSE
    assert a_machine([a_request(), a_failure(), a_request(2, 700), a_submission(701)]).launched.status is (
        ConditionStatus.UNKNOWN
    )


def test_pool_that_failed_is_spoiled() -> None:
    machine = a_machine([a_request(), a_submission(), a_failure()])

    assert machine.phase is PoolPhase.SPOILED


# --- what a fold refuses ----------------------------------------------------------------------------


def test_registration_without_a_pool_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="NodeRegistered is not possible for Pool in state NONE"):
        a_machine([a_registration()])


def test_an_attempt_is_not_decided_twice() -> None:
    with pytest.raises(IllegalTransition, match="PoolCreationRequested"):
        a_machine([a_request(), a_failure(), a_request()])


def test_drain_of_a_live_machine_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="DrainStarted is not possible for Stage in state Live"):
        fold([*a_launch(), ev.DrainStarted(at=at(300), machine=NAME, nodes=(NODE,))])


def test_condition_that_lacks_a_row_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="NodeInitialized is not possible for initialized"):
        fold([*a_history(), ev.NodeInitialized(at=at(300), machine=NAME, node=NODE)])


def test_foreign_event_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="Event is not possible for Machine in state Absent"):
        fold([ev.Event(at=at(0))])  # type: ignore[list-item]  # what a log must not hold
