"""From a Machine to a created pool: intents, answers, failures by class, and what is asked again when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.limits import MachineLimits
from statemachine.machine.messages import CAPACITY_GIVEN_UP, retry_at
from statemachine.machine.observations import MachineOutcome, OperationState, PoolFault, PoolState
from statemachine.machine.replay import fold
from statemachine.machine.state import PoolPhase
from statemachine.observations import Result
from statemachine.state import BlockedReason, Stage
from tests.builders import EPOCH, SKU, at
from tests.statemachine.machine.builders import (
    CREATE_URL,
    DELETE_URL,
    NAME,
    NO_SKU,
    QUOTA,
    STOCK_OUT,
    SUBMIT,
    a_bare_node,
    a_deleting_picture,
    a_fault,
    a_launched_picture,
    a_picture,
    a_pod,
    a_pool,
    accepted,
    an_answer,
    an_object,
    ended,
    read,
    refused,
)
from tests.statemachine.machine.story import Story, asked, kinds, only, said, submitted

FOREIGN = a_pool(PoolState.SUCCEEDED, owner="", owner_uid="")


def blocked(fault: PoolFault = QUOTA, seconds: float = 5) -> Story:
    """A Machine whose first PUT was refused."""
    story = Story()
    story.sees()
    story.hears(refused(fault), seconds)
    return story


# --- the ordinary way -------------------------------------------------------------------------------


def test_intent_is_logged_with_the_first_picture() -> None:
    first = Story().sees()

    assert kinds(first) == ["MachineAccepted", "PoolCreationRequested"]
    request = first.events[1]
    assert isinstance(request, ev.PoolCreationRequested)
    assert (request.pool, request.attempt, request.vm_size, request.os_disk_gb) == (NAME, 1, SKU, 50)
    assert asked(first) == ["WriteStatus", "SubmitPool"]
    assert first.commands[1] == SUBMIT


def test_finalizer_comes_before_the_pool() -> None:
    first = Story().sees(a_picture(machine=an_object(has_finalizer=False)))

    assert asked(first) == ["AddFinalizer", "WriteStatus", "SubmitPool"]


def test_operation_is_recorded_and_looked_at() -> None:
    story = submitted()

    looked = story.sees(seconds=1)

    assert story.state.operation == CREATE_URL
    assert only(looked.commands, cmd.ReadOperation) == [cmd.ReadOperation(url=CREATE_URL)]


def test_operation_under_way_is_no_news() -> None:
    story = submitted()

    heard = story.hears(ended(OperationState.IN_PROGRESS), 20)

    assert heard.events == ()


def test_looks_are_ten_to_thirty_seconds_apart() -> None:
    story, waits = submitted(), set()

    for minute in range(26):
        polled = at(60 * minute)
        stepped = story.sees(a_picture(polled_at=polled), 60 * minute)
        assert asked(stepped) == ["WriteStatus"]
        assert stepped.wake_at is not None
        waits.add((stepped.wake_at - polled).total_seconds())

    assert all(10 <= wait <= 30 for wait in waits)
    assert len(waits) > 20


def test_looks_are_due_at_their_time() -> None:
    story = submitted()

    early = story.sees(a_picture(polled_at=at(0)), 9)
    late = story.sees(a_picture(polled_at=at(0)), 31)

    assert only(early.commands, cmd.ReadOperation) == []
    assert only(late.commands, cmd.ReadOperation) != []


def test_node_in_sight_hastens_the_look() -> None:
    story = submitted()

    stepped = story.sees(a_picture(nodes=(a_bare_node(ready=False),), polled_at=at(10)), 15)

    assert only(stepped.commands, cmd.ReadOperation) != []


def test_success_of_the_operation_launches() -> None:
    story = submitted()

    story.hears(ended(), 258)

    assert said(story.state.launched) == ("True", "", "")
    assert said(story.state.registered) == ("False", "NodeNotFound", "Node not registered with cluster")


def test_crash_before_the_call_repeats_it() -> None:
    story = Story()
    first = story.sees()

    again = Story(fold(story.log)).sees(seconds=60)

    assert again.events == ()
    assert again.commands == first.commands


def test_quiet_resync_writes_nothing() -> None:
    story = submitted()
    story.hears(ended(), 258)
    story.sees(a_launched_picture(), 258)
    status = only(story.last.commands, cmd.WriteStatus)[0]
    written = replace(
        an_object().status,
        conditions=status.conditions,
        node=status.node,
        provider_id=status.provider_id,
        capacity=status.capacity,
        allocatable=status.allocatable,
    )

    quiet = story.sees(a_launched_picture(machine=an_object(status=written)), 86400)

    assert (quiet.events, quiet.commands, quiet.wake_at) == ((), (), None)


# --- lost answers and lost logs ---------------------------------------------------------------------


@pytest.mark.parametrize("state", [PoolState.CREATING, PoolState.UPDATING, PoolState.UNKNOWN])
def test_own_pool_under_way_is_success_in_progress(state: PoolState) -> None:
    story = Story()
    story.sees()

    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=a_pool(state)), 60)

    assert kinds(story.last) == ["PoolFound"]
    assert story.state.phase is PoolPhase.CREATING
    assert only(story.sees(seconds=61).commands, cmd.ReadPool) == [cmd.ReadPool()]


def test_own_pool_that_is_done_is_a_launch() -> None:
    story = Story()
    story.sees()

    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=a_pool(PoolState.SUCCEEDED)), 60)

    assert kinds(story.last) == ["PoolFound", "MachineLaunchCompleted"]


def test_pool_of_an_earlier_life_goes_first() -> None:
    story = Story()
    story.sees()

    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=a_pool(owner_uid="an earlier life")), 1)
    stepped = story.sees(seconds=1)

    assert kinds(stepped) == ["PoolDeletionRequested"]
    assert only(stepped.commands, cmd.DeletePool) == [cmd.DeletePool()]
    story.hears(read(None, cmd.DeletePool()), 2)
    assert kinds(story.sees(seconds=2)) == ["PoolCreationRequested"]


def test_own_pool_that_is_leaving_is_awaited() -> None:
    story = Story()
    story.sees()

    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=a_pool(PoolState.DELETING)), 1)
    story.sees(seconds=1)
    story.hears(an_answer(cmd.DeletePool(), pool=a_pool(PoolState.DELETING)), 1)

    assert story.state.phase is PoolPhase.LEAVING
    assert only(story.sees(seconds=2).commands, cmd.DeletePool) == []


def test_foreign_pool_is_never_touched() -> None:
    story = Story()
    story.sees()

    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=FOREIGN), 1)

    status, reason, message = said(story.state.launched)
    assert (status, reason) == ("False", "ConfigurationInvalid")
    assert f"PoolExists: agent pool {NAME} exists and belongs to somebody else" in message
    assert asked(story.sees(seconds=2)) == ["WriteStatus"]


def test_foreign_pool_that_is_gone_heals() -> None:
    story = Story()
    story.sees()
    story.hears(an_answer(SUBMIT, Result.REFUSED, pool=FOREIGN), 1)

    again = story.sees(seconds=600)

    assert kinds(again) == ["PoolCreationRequested"]


def test_create_that_comes_late_is_undone() -> None:
    story = blocked(NO_SKU)

    story.hears(read(a_pool(PoolState.SUCCEEDED)), 600)
    stepped = story.sees(seconds=600)

    assert kinds(stepped) == ["PoolDeletionRequested"]
    assert asked(stepped)[-1] == "DeletePool"


def test_lost_operation_leaves_the_word_to_the_pool() -> None:
    story = submitted()

    story.hears(ended(OperationState.LOST), 60)

    assert kinds(story.last) == ["PoolOperationEnded"]
    assert only(story.sees(seconds=61).commands, cmd.ReadPool) == [cmd.ReadPool()]
    story.hears(read(a_pool(PoolState.SUCCEEDED)), 62)
    assert kinds(story.last) == ["MachineLaunchCompleted"]


def test_preempted_operation_leaves_the_word_to_the_pool() -> None:
    story = submitted()
    preempted = a_fault(BlockedReason.OPERATION_IN_PROGRESS, code="AKSOperationPreempted")

    story.hears(ended(OperationState.FAILED, fault=preempted), 60)

    assert kinds(story.last) == ["PoolOperationEnded"]


def test_pool_that_vanishes_is_asked_for_again() -> None:
    story = submitted()
    story.hears(ended(OperationState.LOST), 60)

    story.hears(read(None), 62)

    assert said(story.state.launched)[1] == "ProviderFault"
    assert story.state.retry_at is not None
    assert kinds(story.sees(seconds=120)) == ["PoolCreationRequested"]


def test_operation_of_an_earlier_attempt_is_ignored() -> None:
    story = submitted()

    heard = story.hears(ended(OperationState.FAILED, url="another"), 60)

    assert heard.events == ()


# --- failures ---------------------------------------------------------------------------------------


def test_quota_is_told_with_its_numbers() -> None:
    story = blocked(QUOTA)

    status, reason, message = said(story.state.launched)

    assert (status, reason) == ("False", "QuotaExceeded")
    assert message.startswith("family standardNCSv3Family, limit 100, used 96, needed 64; next attempt at 20")
    assert message.endswith(f"; OperationNotAllowed: {QUOTA.message}")
    assert story.state.retry_at is not None
    assert retry_at(message) == story.state.retry_at.replace(microsecond=0) + timedelta(seconds=1)
    assert said(story.state.ready) == said(story.state.launched)


def test_quota_heals_without_a_touch() -> None:
    story = blocked(QUOTA)
    wait = story.sees(seconds=6)

    assert wait.wake_at is not None
    assert only(wait.commands, cmd.SubmitPool) == []
    story.sees(seconds=660)
    story.hears(accepted(), 661)
    assert said(story.state.launched)[0] == "Unknown"


def test_refusal_at_the_put_leaves_nothing_to_delete() -> None:
    story = blocked(QUOTA)

    assert story.state.phase is PoolPhase.NONE


@pytest.mark.parametrize("how", [OperationState.FAILED, OperationState.CANCELED])
def test_failed_operation_has_its_pool_deleted(how: OperationState) -> None:
    story = submitted()

    story.hears(ended(how, fault=STOCK_OUT), 90)
    stepped = story.sees(seconds=90)

    assert said(story.state.launched)[1] == "InsufficientCapacity"
    assert kinds(stepped) == ["PoolDeletionRequested"]
    assert asked(stepped)[-1] == "DeletePool"


@pytest.mark.parametrize("state", [PoolState.FAILED, PoolState.CANCELED])
def test_failed_pool_is_deleted_too(state: PoolState) -> None:
    story = submitted()
    story.hears(ended(OperationState.LOST), 60)

    story.hears(read(a_pool(state, fault=STOCK_OUT)), 61)

    assert said(story.state.launched)[1] == "InsufficientCapacity"
    assert story.state.phase is PoolPhase.SPOILED


def test_failure_without_words_is_a_launch_failure() -> None:
    story = submitted()

    story.hears(ended(OperationState.FAILED), 60)

    assert said(story.state.launched)[:2] == ("False", "LaunchFailed")


def test_hold_off_outlasts_the_deletion() -> None:
    story = submitted()
    story.hears(ended(OperationState.FAILED, fault=STOCK_OUT), 90)
    story.sees(seconds=90)
    story.hears(read(None, cmd.DeletePool()), 91)

    waiting, due = story.sees(seconds=3600), story.sees(seconds=4060)

    assert kinds(waiting) == []
    assert kinds(due) == ["PoolCreationRequested"]


def test_terminal_fault_ends_all_attempts() -> None:
    story = blocked(NO_SKU)

    for seconds in (60, 3600, 86400, 8640000):
        assert only(story.sees(seconds=seconds).commands, cmd.SubmitPool) == []
    assert "no further attempt until the spec changes" in story.state.launched.message


def test_new_spec_opens_a_terminal_verdict() -> None:
    story = blocked(NO_SKU)

    edited = story.sees(a_picture(machine=an_object(generation=2, vm_size="Standard_NC6s_v3")), 60)

    assert kinds(edited) == ["MachineSpecChanged", "PoolCreationRequested"]
    (submission,) = only(edited.commands, cmd.SubmitPool)
    assert submission.vm_size == "Standard_NC6s_v3"


def test_missing_permission_is_asked_for_again() -> None:
    """It is granted without touching the Machine, so no fault of this class is terminal."""
    story = blocked(a_fault(BlockedReason.NOT_AUTHORIZED, terminal=True))

    assert kinds(story.sees(seconds=600)) == ["PoolCreationRequested"]


def test_class_outside_the_closed_set_is_a_launch_failure() -> None:
    story = blocked(PoolFault(reason="SomethingNew", code="X", message="y"))

    assert said(story.state.launched)[:2] == ("False", "LaunchFailed")


def test_retry_after_is_kept_to_whatever_its_length() -> None:
    throttled = a_fault(BlockedReason.THROTTLED, retry_after_seconds=7200)
    story = blocked(throttled)

    assert story.state.retry_at is not None
    assert at(7205) <= story.state.retry_at <= at(7205 + 720)
    assert only(story.sees(seconds=7204).commands, cmd.SubmitPool) == []


def test_capacity_is_given_up_in_the_published_words() -> None:
    story = blocked(STOCK_OUT, seconds=0)
    limit = MachineLimits().capacity_limit

    before = story.sees(seconds=limit - 1)
    story.hears(refused(STOCK_OUT), limit - 1)
    given_up = story.sees(seconds=limit)

    assert kinds(before) == ["PoolCreationRequested"]
    assert kinds(given_up) == ["LaunchGivenUp"]
    assert said(story.state.launched) == ("False", "InsufficientCapacity", CAPACITY_GIVEN_UP)
    assert CAPACITY_GIVEN_UP == "all requested instance types were unavailable during launch"
    assert only(story.sees(seconds=10 * limit).commands, cmd.SubmitPool) == []


def test_being_busy_does_not_end_a_stock_out() -> None:
    story = blocked(STOCK_OUT, seconds=0)
    story.sees(seconds=5000)
    story.hears(refused(a_fault(BlockedReason.OPERATION_IN_PROGRESS)), 5000)
    story.sees(seconds=6000)
    story.hears(refused(STOCK_OUT), 6000)

    assert story.state.capacity_since == at(0)


def test_refused_spec_is_never_submitted() -> None:
    wrong = a_picture(machine=an_object(refused="no requirement for instance type"))
    story = Story()

    first = story.sees(wrong)

    assert kinds(first) == ["MachineAccepted", "MachineSpecRefused"]
    assert said(story.state.launched) == (
        "False",
        "ConfigurationInvalid",
        "no requirement for instance type",
    )
    assert asked(first) == ["WriteStatus"]
    assert kinds(story.sees(wrong, 60)) == []


def test_newer_provisioner_may_accept_the_spec() -> None:
    story = Story()
    story.sees(a_picture(machine=an_object(refused="size unknown")))

    assert kinds(story.sees(seconds=60)) == ["MachineSpecChanged", "PoolCreationRequested"]


# --- limits -----------------------------------------------------------------------------------------


def test_creation_that_never_ends_is_given_up() -> None:
    story = submitted(seconds=0)

    waiting, over = story.sees(seconds=1799), story.sees(seconds=1800)

    assert kinds(waiting) == []
    assert kinds(over) == ["PoolCreationTimedOut", "PoolDeletionRequested"]
    assert said(story.state.launched)[1] == "ProviderFault"
    assert f"agent pool {NAME} is not created after 1800 s" in story.state.launched.message


def test_wake_up_is_announced_for_the_launch_limit() -> None:
    story = submitted(seconds=0)

    stepped = story.sees(a_picture(polled_at=at(1799.5)), 1799.5)

    assert stepped.wake_at == at(1800)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A cluster that was stopped for eight hours has lost nothing."""
    story = submitted(seconds=0)
    eight_hours = 8 * 3600.0

    woken = story.sees(a_picture(watched_since=at(eight_hours)), eight_hours)
    over = story.sees(a_picture(watched_since=at(eight_hours)), eight_hours + 1800)

    assert kinds(woken) == []
    assert kinds(over) == ["PoolCreationTimedOut", "PoolDeletionRequested"]


def test_pool_without_a_node_is_replaced() -> None:
    story = submitted()
    story.hears(ended(), 258)

    waiting, over = story.sees(seconds=258 + 899), story.sees(seconds=258 + 900)

    assert kinds(waiting) == []
    assert kinds(over) == ["NodeRegistrationTimedOut", "PoolDeletionRequested"]
    assert said(story.state.launched)[1] == "NodeBootstrapFailed"
    story.hears(accepted(DELETE_URL, cmd.DeletePool()), 1160)
    story.hears(ended(url=DELETE_URL), 1200)
    story.hears(read(None), 1201)
    assert kinds(story.sees(seconds=1202)) == ["PoolCreationRequested"]


def test_wait_for_a_node_starts_anew_after_duplicates() -> None:
    story = submitted()
    story.hears(ended(), 258)
    story.sees(a_launched_picture(nodes=(a_bare_node("a"), a_bare_node("b"))), 300)

    story.sees(seconds=1300)

    assert story.state.awaiting_since == at(1300)
    assert kinds(story.sees(seconds=2200)) == ["NodeRegistrationTimedOut", "PoolDeletionRequested"]


# --- lives of one name ------------------------------------------------------------------------------


def test_machine_of_the_same_name_starts_anew() -> None:
    story = submitted()
    later = an_object(uid="another", created_at=at(600))

    again = story.sees(a_picture(machine=later), 600)

    assert kinds(again) == ["MachineVanished", "MachineAccepted", "PoolCreationRequested"]
    assert (story.state.uid, story.state.attempt) == ("another", 1)


def test_picture_of_an_earlier_life_says_nothing() -> None:
    story = Story()
    story.sees(a_picture(machine=an_object(uid="another", created_at=at(600))), 600)

    stale = story.sees(a_picture(machine=an_object(created_at=EPOCH)), 601)

    assert (stale.events, stale.commands) == ((), ())
    assert stale.wake_at is not None


def test_picture_of_a_machine_that_is_gone_says_nothing() -> None:
    story = Story()
    story.sees()
    story.sees(a_picture(machine=None), 60)
    story.hears(read(None, cmd.DeletePool()), 61)

    stale = story.sees(a_picture(), 62)

    assert (stale.events, stale.commands, stale.wake_at) == ((), (), None)


def test_imported_stream_is_taken_up() -> None:
    imported = fold([ev.PoolCreationRequested(at=at(0), machine=NAME, pool=NAME)])

    story = Story(imported)
    first = story.sees(seconds=1)

    assert kinds(first) == ["MachineRemoved", "MachineAccepted", "PoolCreationRequested"]


def test_removed_finalizer_does_not_leak_the_pool() -> None:
    story = submitted()

    gone = story.sees(a_picture(machine=None), 60)

    assert kinds(gone) == ["MachineVanished", "PoolDeletionRequested"]
    assert asked(gone) == ["DeletePool"]
    story.hears(read(None, cmd.DeletePool()), 61)
    assert (story.state.stage, story.state.is_over) == (Stage.GONE, True)
    assert story.sees(a_picture(machine=None), 62).wake_at is None


def test_pool_of_a_vanished_machine_is_left_to_the_collector() -> None:
    story = submitted()
    story.hears(ended(), 258)
    story.sees(a_launched_picture(), 258)

    gone = story.sees(a_picture(machine=None), 300)

    assert kinds(gone) == ["MachineVanished"]
    assert asked(gone) == ["ReadPool"]
    assert story.hears(read(a_pool()), 301).events == ()
    later = story.sees(a_picture(machine=None, polled_at=at(301)), 302)
    assert (later.commands, later.wake_at) == ((), at(601))
    assert kinds(story.hears(read(None), 601)) == ["PoolDeletionRequested", "PoolRemoved"]
    assert story.state.is_over


def test_vanished_machine_whose_end_was_asked_for_takes_its_pool_along() -> None:
    story = submitted()
    story.hears(ended(), 258)
    story.sees(a_launched_picture(), 258)
    story.sees(a_deleting_picture(pods=(a_pod(),)), 300)

    gone = story.sees(a_picture(machine=None), 301)

    assert kinds(gone) == ["MachineVanished", "PoolDeletionRequested"]
    assert asked(gone) == ["DeletePool"]


def test_answer_to_a_submission_nobody_awaits_is_ignored() -> None:
    story = submitted()

    assert story.hears(accepted("late"), 60).events == ()
    assert story.hears(MachineOutcome(command=SUBMIT, result=Result.NOT_FOUND), 61).events == ()
    assert story.state.operation == CREATE_URL
