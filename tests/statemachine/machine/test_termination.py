"""From the deletion timestamp to the end of the finalizer, from every state and with every answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from statemachine.machine import commands as cmd
from statemachine.machine.observations import MachinePicture, OperationState, PoolState
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine, PoolPhase
from statemachine.observations import Result
from statemachine.state import BlockedReason, Stage
from tests.builders import at
from tests.statemachine.machine.builders import (
    DELETE_URL,
    NAME,
    NODE,
    a_deleting_picture,
    a_failure,
    a_fault,
    a_history,
    a_launch,
    a_node,
    a_picture,
    a_pod,
    a_pool,
    a_request,
    a_submission,
    accepted,
    an_acceptance,
    an_answer,
    an_object,
    ended,
    read,
    refused,
)
from tests.statemachine.machine.story import Story, asked, kinds, only, said

DELETE = cmd.DeletePool()
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."
DELETING = an_object(deleting=True)
EVICT = cmd.EvictPod(namespace="default", name="falcon-0", uid="uid-falcon-0")


def ready() -> Story:
    return Story(fold(a_history()))


def no_node(**changes: object) -> MachinePicture:
    return a_picture(**{"machine": DELETING, **changes})


def drained(seconds: float = 3000) -> Story:
    """The pool is to be deleted and nothing else is left."""
    story = ready()
    story.sees(no_node(), seconds)
    return story


# --- the ordinary way -------------------------------------------------------------------------------


def test_drain_comes_first() -> None:
    story = ready()

    first = story.sees(a_deleting_picture(nodes=(a_node(),), pods=(a_pod(),)), 3000)

    assert kinds(first) == ["TerminationStarted", "DrainStarted"]
    assert asked(first) == ["WriteStatus", "CordonNode", "EvictPod"]
    assert said(story.state.terminating) == ("True", "Draining", "draining")


def test_pool_goes_when_no_pod_is_left() -> None:
    story = ready()
    story.sees(a_deleting_picture(pods=(a_pod(),)), 3000)

    stepped = story.sees(a_deleting_picture(), 3031)

    assert kinds(stepped) == ["DrainCompleted", "PoolDeletionRequested"]
    assert asked(stepped) == ["WriteStatus", "DeletePool"]


def test_uncordoned_node_is_not_drained() -> None:
    story = ready()

    stepped = story.sees(a_deleting_picture(nodes=(a_node(),)), 3000)

    assert kinds(stepped) == ["TerminationStarted", "DrainStarted"]
    assert "DeletePool" not in asked(stepped)


def test_deletion_is_submitted_once() -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)

    for seconds in range(3002, 3300, 10):
        stepped = story.sees(no_node(), seconds)
        assert "DeletePool" not in asked(stepped)
        story.hears(ended(OperationState.IN_PROGRESS, DELETE_URL), seconds)


def test_success_is_believed_to_a_live_read_only() -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)

    over = story.hears(ended(url=DELETE_URL), 3033)
    looked = story.sees(no_node(), 3033)
    gone = story.hears(read(None), 3034)

    assert kinds(over) == ["PoolOperationEnded"]
    assert only(looked.commands, cmd.ReadPool) == [cmd.ReadPool()]
    assert kinds(gone) == ["PoolRemoved"]


def test_pool_that_is_not_there_is_gone() -> None:
    story = drained()

    story.hears(read(None, DELETE), 3001)

    assert story.state.cleared


def test_nodes_go_after_the_pool() -> None:
    story = ready()
    story.sees(a_deleting_picture(), 3000)
    before = story.sees(a_deleting_picture(), 3001)
    story.hears(read(None, DELETE), 3002)

    after = story.sees(a_deleting_picture(), 3003)

    assert not {"DeleteNode", "RemoveNodeFinalizer", "RemoveFinalizer"} & set(asked(before))
    assert asked(after) == ["WriteStatus", "DeleteNode", "RemoveNodeFinalizer"]


def test_finalizer_goes_last() -> None:
    story = drained()
    story.hears(read(None, DELETE), 3002)

    released = story.sees(no_node(), 3003)

    assert kinds(released) == ["NodeRemoved", "MachineReleased"]
    assert asked(released)[-1] == "RemoveFinalizer"
    gone = story.sees(a_picture(machine=None), 3004)
    assert kinds(gone) == ["MachineRemoved"]
    assert (story.state.is_over, gone.wake_at) == (True, None)


def test_late_pool_keeps_the_finalizer() -> None:
    story = drained()
    story.hears(read(None, DELETE), 3002)
    story.sees(no_node(), 3003)

    story.hears(an_answer(cmd.RemoveFinalizer(), Result.REFUSED, pool=a_pool()), 3004)
    stepped = story.sees(no_node(), 3004)

    assert kinds(stepped) == ["PoolDeletionRequested"]
    assert asked(stepped) == ["WriteStatus", "DeletePool"]


def test_foreign_pool_does_not_keep_the_finalizer() -> None:
    story = drained()

    story.hears(an_answer(DELETE, Result.REFUSED, pool=a_pool(PoolState.SUCCEEDED, owner="")), 3001)

    assert story.state.cleared


# --- drain ------------------------------------------------------------------------------------------


def evicted(*pods: object) -> list[str]:
    stepped = ready().sees(a_deleting_picture(pods=pods), 3000)
    return [command.name for command in only(stepped.commands, cmd.EvictPod)]


def test_critical_pods_go_last() -> None:
    critical, other = a_pod("dns", critical=True), a_pod("falcon-0")

    assert evicted(critical, other) == ["falcon-0"]
    assert evicted(critical) == ["dns"]
    assert evicted(critical, a_pod("falcon-0", deletion_at=at(3030))) == []


def test_pods_that_stay_are_not_waited_for() -> None:
    story = ready()
    story.sees(a_deleting_picture(pods=(a_pod("plugin", stays=True),)), 3000)

    stepped = story.sees(a_deleting_picture(pods=(a_pod("plugin", stays=True),)), 3001)

    assert story.state.drained
    assert "EvictPod" not in asked(stepped)


def test_pod_that_does_not_die_is_left_behind() -> None:
    story = ready()
    stuck = a_deleting_picture(pods=(a_pod(deletion_at=at(3030)),))
    story.sees(stuck, 3000)

    waiting = story.sees(stuck, 3089)
    over = story.sees(stuck, 3090)

    assert waiting.wake_at == at(3090)
    assert kinds(over) == ["DrainCompleted", "PoolDeletionRequested"]


def test_budget_is_respected_and_named() -> None:
    story = ready()
    picture = a_deleting_picture(pods=(a_pod(),))
    story.sees(picture, 3000)

    story.hears(an_answer(EVICT, Result.REFUSED, message=BUDGET), 3000)
    again = story.sees(picture, 3005)

    assert said(story.state.terminating) == (
        "True",
        "DrainBlocked",
        f"draining; evictions refused: default/falcon-0: {BUDGET}",
    )
    assert only(again.commands, cmd.EvictPod) == [EVICT]
    assert story.hears(an_answer(EVICT, Result.REFUSED, message=BUDGET), 3005).events == ()
    assert "DeletePool" not in asked(again)


def test_drain_limit_ends_a_blocked_drain() -> None:
    story = ready()
    picture = a_deleting_picture(pods=(a_pod(),))
    story.sees(picture, 3000)

    waiting, over = story.sees(picture, 3000 + 1799), story.sees(picture, 3000 + 1800)

    assert kinds(waiting) == []
    assert kinds(over) == ["DrainCompleted", "PoolDeletionRequested"]
    assert over.events[0].pods == ("default/falcon-0",)  # type: ignore[union-attr]  # the first of the two


def test_drain_ends_when_its_node_is_gone() -> None:
    story = ready()
    story.sees(a_deleting_picture(pods=(a_pod(),)), 3000)

    assert kinds(story.sees(no_node(), 3001)) == ["DrainCompleted", "PoolDeletionRequested"]


def test_creation_is_not_looked_at_during_a_drain() -> None:
    story = Story(fold([an_acceptance(), a_request(), a_submission()]))

    stepped = story.sees(a_deleting_picture(pods=(a_pod(),)), 60)

    assert asked(stepped) == ["WriteStatus", "EvictPod"]


def test_nothing_is_drained_after_its_pool() -> None:
    story = Story(fold([an_acceptance(), a_request(), a_submission(), a_failure()]))
    story.sees(seconds=60)
    story.sees(a_deleting_picture(nodes=(a_node(),), pods=(a_pod(),)), 61)
    story.hears(read(None, DELETE), 62)

    stepped = story.sees(a_deleting_picture(nodes=(a_node(),), pods=(a_pod(),)), 63)

    assert asked(stepped) == ["WriteStatus", "DeleteNode", "RemoveNodeFinalizer"]


def test_both_duplicates_are_drained() -> None:
    story = ready()

    stepped = story.sees(a_deleting_picture(nodes=(a_node(), a_node("b"))), 3000)

    assert [command.node for command in only(stepped.commands, cmd.CordonNode)] == [NODE, "b"]


# --- answers that do not help -----------------------------------------------------------------------


def test_refused_deletion_is_repeated_after_a_while() -> None:
    story = drained()
    story.hears(refused(a_fault(BlockedReason.OPERATION_IN_PROGRESS), DELETE), 3001)

    waiting, due = story.sees(no_node(), 3002), story.sees(no_node(), 3040)

    assert said(story.state.terminating)[1] == "OperationInProgress"
    assert "DeletePool" not in asked(waiting)
    assert waiting.wake_at is not None
    assert "DeletePool" in asked(due)


def test_terminal_fault_does_not_end_a_deletion() -> None:
    story = drained()
    for _ in range(6):
        story.hears(refused(a_fault(BlockedReason.NOT_AUTHORIZED, terminal=True), DELETE), 3001)
        assert story.state.delete_at is not None
        assert story.state.delete_at - at(3001) <= timedelta(minutes=5.5)


@pytest.mark.parametrize("how", [OperationState.FAILED, OperationState.CANCELED])
def test_failed_deletion_is_submitted_again(how: OperationState) -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)

    story.hears(ended(how, DELETE_URL), 3030)

    assert kinds(story.last) == ["PoolDeletionFailed"]
    assert "DeletePool" in asked(story.sees(no_node(), 3200))


@pytest.mark.parametrize("state", [PoolState.SUCCEEDED, PoolState.FAILED, PoolState.CANCELED])
def test_deletion_without_effect_is_submitted_again(state: PoolState) -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)
    story.hears(ended(OperationState.LOST, DELETE_URL), 3030)

    story.hears(read(a_pool(state)), 3031)

    assert kinds(story.last) == ["PoolDeletionFailed"]


@pytest.mark.parametrize("state", [PoolState.DELETING, PoolState.UPDATING, PoolState.UNKNOWN])
def test_pool_on_its_way_out_is_waited_for(state: PoolState) -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)
    story.hears(ended(OperationState.LOST, DELETE_URL), 3030)

    assert story.hears(read(a_pool(state)), 3031).events == ()


def test_pool_is_not_asked_while_its_operation_tells() -> None:
    """Right after a deletion is accepted, a pool may still say what it said before."""
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)

    assert story.hears(read(a_pool(PoolState.SUCCEEDED)), 3002).events == ()


def test_deletion_that_never_ends_is_submitted_again() -> None:
    story = drained()
    story.hears(accepted(DELETE_URL, DELETE), 3001)

    over = story.sees(no_node(), 3001 + 1800)

    assert kinds(over) == ["PoolDeletionFailed"]


# --- from every state -------------------------------------------------------------------------------

STARTS = {
    "accepted": [an_acceptance()],
    "requested": [an_acceptance(), a_request()],
    "refused": [an_acceptance(), a_request(), a_failure()],
    "refused for good": [an_acceptance(), a_request(), a_failure(retry_at=None)],
    "being created": [an_acceptance(), a_request(), a_submission()],
    "spoiled": [an_acceptance(), a_request(), a_submission(), a_failure()],
    "launched": a_launch(),
    "ready": a_history(),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_pool_is_asked_to_go_from_every_state(start: list[object]) -> None:
    story = Story(fold(start))  # type: ignore[arg-type]  # histories of events

    stepped = story.sees(no_node(), 3000)

    assert story.state.phase is PoolPhase.DOOMED
    assert asked(stepped)[-1] == "DeletePool"


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_every_state_ends_when_half_of_all_calls_fail(start: list[object]) -> None:
    story, seconds, calls = Story(fold(start)), 3000.0, 0  # type: ignore[arg-type]  # histories of events

    for _ in range(60):
        stepped = story.sees(no_node(), seconds)
        for command in stepped.commands:
            calls += 1
            fails = calls % 2 == 0
            if isinstance(command, cmd.DeletePool):
                fault = a_fault(BlockedReason.PROVIDER_FAULT)
                story.hears(refused(fault, DELETE) if fails else accepted(DELETE_URL, DELETE), seconds)
            elif isinstance(command, cmd.ReadOperation) and not fails:
                story.hears(ended(url=DELETE_URL), seconds)
            elif isinstance(command, cmd.ReadPool) and not fails:
                story.hears(read(None), seconds)
            elif isinstance(command, cmd.RemoveFinalizer) and not fails:
                story.sees(a_picture(machine=None), seconds)
        if story.state.is_over:
            break
        assert stepped.wake_at is not None
        seconds += max((stepped.wake_at - at(seconds)).total_seconds(), 0)

    assert story.state.stage is Stage.GONE
    assert story.state.is_over


def test_deletion_of_a_machine_never_met_ends() -> None:
    story = Story(Machine())

    first = story.sees(no_node(), 10)

    assert kinds(first) == ["MachineAccepted", "TerminationStarted", "PoolDeletionRequested"]
    assert said(story.state.terminating)[2] == f"agent pool {NAME} is to be deleted"
