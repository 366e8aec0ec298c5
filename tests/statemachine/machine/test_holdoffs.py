"""Hold-offs by class, jitter that only adds, and the texts that carry them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.machine import messages
from statemachine.machine.holdoffs import (
    DELETION_CAP,
    HOLD_OFFS,
    JITTER,
    attempt_at,
    blocked_reason,
    deletion_at,
    fraction,
    hold_off,
    is_terminal,
    poll_at,
)
from statemachine.machine.limits import MachineLimits
from statemachine.machine.observations import PoolFault
from statemachine.state import BlockedReason
from tests.builders import EPOCH, at
from tests.statemachine.machine.builders import NO_SKU, QUOTA, UID, a_fault

# The published error catalogue: the hold-off it suggests for the first failure of a class.
PUBLISHED = {
    BlockedReason.QUOTA_EXCEEDED: timedelta(minutes=10),
    BlockedReason.INSUFFICIENT_CAPACITY: timedelta(hours=1),
    BlockedReason.SKU_NOT_AVAILABLE: timedelta(hours=1),
    BlockedReason.OPERATION_IN_PROGRESS: timedelta(seconds=30),
    BlockedReason.PROVIDER_FAULT: timedelta(seconds=30),
}

reasons = st.sampled_from(BlockedReason)
counts = st.integers(1, 1000)
told = st.one_of(st.none(), st.floats(0, 1e6))


def test_every_class_has_a_hold_off() -> None:
    assert set(HOLD_OFFS) == set(BlockedReason)


@pytest.mark.parametrize(("reason", "first"), PUBLISHED.items())
def test_first_hold_off_is_the_published_one(reason: BlockedReason, first: timedelta) -> None:
    assert hold_off(reason, 1) == first


def test_busy_pools_double_to_five_minutes() -> None:
    waits = [hold_off(BlockedReason.OPERATION_IN_PROGRESS, count).total_seconds() for count in range(1, 7)]

    assert waits == [30, 60, 120, 240, 300, 300]


def test_quota_of_zero_is_asked_about_seldom() -> None:
    assert hold_off(BlockedReason.QUOTA_EXCEEDED, 1, limit=0) == timedelta(hours=1)
    assert hold_off(BlockedReason.QUOTA_EXCEEDED, 1, limit=100) == timedelta(minutes=10)


@given(reason=reasons, failures=counts)
def test_hold_off_never_shrinks_nor_exceeds_its_cap(reason: BlockedReason, failures: int) -> None:
    now, later = hold_off(reason, failures), hold_off(reason, failures + 1)

    assert timedelta(0) < HOLD_OFFS[reason].first <= now <= later <= HOLD_OFFS[reason].cap


@given(reason=reasons, failures=counts, seconds=told, attempt=counts)
def test_no_attempt_comes_before_it_is_allowed(
    reason: BlockedReason, failures: int, seconds: float | None, attempt: int
) -> None:
    fault = a_fault(reason, retry_after_seconds=seconds)

    wait = attempt_at(fault, failures, EPOCH, UID, attempt) - EPOCH

    asked_for = timedelta(seconds=seconds or 0)
    delay = asked_for if seconds is not None and reason == "Throttled" else hold_off(reason, failures)
    longest = max(delay, asked_for)
    assert longest <= wait <= longest * (1 + JITTER)


@given(reason=reasons, failures=counts)
def test_deletion_is_repeated_within_minutes(reason: BlockedReason, failures: int) -> None:
    wait = deletion_at(a_fault(reason), failures, EPOCH, UID) - EPOCH

    assert wait <= DELETION_CAP * (1 + JITTER)


def test_deletion_keeps_to_retry_after() -> None:
    fault = a_fault(BlockedReason.THROTTLED, retry_after_seconds=7200)

    assert deletion_at(fault, 1, EPOCH, UID) >= at(7200)


def test_jitter_is_derived_and_spread() -> None:
    drawn = [fraction(UID, "attempt", count) for count in range(1000)]

    assert drawn == [fraction(UID, "attempt", count) for count in range(1000)]
    assert all(0 <= value < 1 for value in drawn)
    assert 0.45 < sum(drawn) / 1000 < 0.55
    assert fraction("a", 1) == 0.46560970971150173


@given(seconds=st.floats(0, 1e6), jitter=st.floats(0, 1))
def test_next_look_lies_within_its_spread(seconds: float, jitter: float) -> None:
    limits = MachineLimits(poll_after=20, poll_jitter=jitter)

    wait = (poll_at(UID, at(seconds), limits) - at(seconds)).total_seconds()

    assert 20 * (1 - jitter) - 1e-3 <= wait <= 20 * (1 + jitter) + 1e-3


def test_looks_without_jitter_are_regular() -> None:
    limits = MachineLimits(poll_after=30, poll_jitter=0)

    assert poll_at(UID, at(7), limits) == at(37)


def test_only_another_spec_helps_a_terminal_fault() -> None:
    assert is_terminal(NO_SKU)
    assert not is_terminal(QUOTA)
    assert not is_terminal(a_fault(BlockedReason.NOT_AUTHORIZED, terminal=True))


def test_unknown_class_falls_into_the_closed_set() -> None:
    assert blocked_reason("Quux") is BlockedReason.LAUNCH_FAILED
    assert [blocked_reason(str(reason)) for reason in BlockedReason] == list(BlockedReason)


# --- texts ------------------------------------------------------------------------------------------


def test_message_tells_numbers_time_and_the_clouds_words() -> None:
    assert messages.failure(QUOTA, at(605.5)) == (
        "family standardNCSv3Family, limit 100, used 96, needed 64; next attempt at 2024-04-05T18:40:04Z; "
        "OperationNotAllowed: exceeding approved standardNCSv3Family Cores quota"
    )


def test_message_without_numbers_is_short() -> None:
    fault = PoolFault(reason=BlockedReason.PROVIDER_FAULT, code="InternalServerError", message="try again")

    assert messages.failure(fault, at(0)) == (
        "next attempt at 2024-04-05T18:29:58Z; InternalServerError: try again"
    )


def test_quota_of_zero_is_told() -> None:
    assert "limit 0, used 0, needed 24" in messages.failure(a_fault(limit=0, used=0, needed=24), at(0))


def test_final_verdict_says_so() -> None:
    message = messages.failure(NO_SKU, None)

    assert message.startswith("no further attempt until the spec changes; VMSizeNotSupported: ")
    assert messages.retry_at(message) is None


def test_long_words_are_cut_and_numbers_kept() -> None:
    message = messages.failure(a_fault(limit=100, used=96, needed=64, message="x" * 2000), at(600))

    assert len(message) == messages.CUT_AT + 3
    assert message.endswith("x...")
    assert message.startswith("limit 100, used 96, needed 64")
    assert messages.retry_at(message) == at(600)


@given(seconds=st.floats(0, 1e8), text=st.text(max_size=50))
def test_retry_time_is_read_back(seconds: float, text: str) -> None:
    due = at(seconds)

    found = messages.retry_at(messages.failure(a_fault(message=text), due))

    assert found is not None
    assert timedelta(0) <= found - due < timedelta(seconds=1)


def test_other_messages_hold_no_time() -> None:
    assert messages.retry_at("all requested instance types were unavailable during launch") is None
