"""The waits between attempts: client-go's arithmetic to the nanosecond, jitter from a passed generator."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.backoff import (
    ItemBackoff,
    MaxOfLimiters,
    ReflectorBackoff,
    TokenBucket,
    classic_limiter,
)

# 5 ms doubled seventeen times is 655.36 s; the eighteenth would be 1310.72 s and meets the cap.
ITEM_DELAYS = [0.005 * 2**exponent for exponent in range(18)] + [1000.0, 1000.0]


def test_item_delays_double_to_cap() -> None:
    backoff = ItemBackoff()

    delays = [backoff.when("a", now=0.0) for _ in ITEM_DELAYS]

    assert delays == pytest.approx(ITEM_DELAYS, abs=0.5e-9)


def test_item_delays_stay_at_cap_for_ever() -> None:
    backoff = ItemBackoff()
    for _ in range(10_000):
        backoff.when("a", now=0.0)

    assert backoff.when("a", now=0.0) == 1000.0
    assert backoff.num_requeues("a") == 10_001


def test_items_fail_independently() -> None:
    backoff = ItemBackoff()
    backoff.when("a", now=0.0)
    backoff.when("a", now=0.0)

    assert backoff.when("b", now=0.0) == 0.005
    assert (backoff.num_requeues("a"), backoff.num_requeues("b")) == (2, 1)


def test_forgotten_item_starts_over() -> None:
    backoff = ItemBackoff()
    backoff.when("a", now=0.0)
    backoff.when("a", now=0.0)

    backoff.forget("a")

    assert backoff.num_requeues("a") == 0
    assert backoff.when("a", now=0.0) == 0.005


def test_bucket_allows_burst_then_rate() -> None:
    bucket = TokenBucket(rate=10.0, burst=100)

    delays = [bucket.when(index, now=5.0) for index in range(103)]

    assert delays[:100] == [0.0] * 100
    assert delays[100:] == pytest.approx([0.1, 0.2, 0.3], abs=1e-8)


def test_bucket_refills_with_time_up_to_burst() -> None:
    bucket = TokenBucket(rate=10.0, burst=2)
    for _ in range(4):
        bucket.when("a", now=0.0)  # two in advance

    assert bucket.when("a", now=0.25) == pytest.approx(0.05, abs=1e-8)
    assert [bucket.when("a", now=1000.0) for _ in range(3)] == pytest.approx([0.0, 0.0, 0.1], abs=1e-8)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60))
def test_bucket_never_exceeds_its_rate(gaps: list[float]) -> None:
    bucket = TokenBucket(rate=4.0, burst=3)
    now, allowed = 0.0, []

    for gap in gaps:
        now += gap
        allowed.append(now + bucket.when("a", now))

    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= 3 + 4.0 * (allowed[last] - allowed[first]) + 1e-6


def test_max_of_limiters_is_longest() -> None:
    limiter = MaxOfLimiters([ItemBackoff(), TokenBucket(rate=1.0, burst=1)])

    delays = [limiter.when("a", now=0.0) for _ in range(3)]

    assert delays == pytest.approx([0.005, 1.0, 2.0], abs=1e-8)
    assert limiter.num_requeues("a") == 3


def test_max_of_limiters_forgets_in_all() -> None:
    limiter = MaxOfLimiters([ItemBackoff(), ItemBackoff(1.0, 10.0)])
    limiter.when("a", now=0.0)

    limiter.forget("a")

    assert limiter.num_requeues("a") == 0
    assert limiter.when("a", now=0.0) == 1.0


def test_classic_limiter_is_item_and_bucket() -> None:
    limiter = classic_limiter()

    delays = [limiter.when(f"key-{index}", now=0.0) for index in range(102)]

    assert delays[:101] == [0.005] * 100 + [pytest.approx(0.1)]
    assert delays[101] == pytest.approx(0.2)


def test_reflector_waits_double_with_jitter_to_cap() -> None:
    backoff = ReflectorBackoff(Random("jitter"))
    now, waits = 0.0, []

    for _ in range(9):
        waits.append(backoff.next_delay(now))
        now += waits[-1]

    bases = [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
    assert all(base <= wait < 2 * base for base, wait in zip(bases, waits, strict=True))


def test_reflector_jitter_spreads_over_whole_range() -> None:
    waits = [ReflectorBackoff(Random(f"jitter/{seed}")).next_delay(0.0) for seed in range(200)]

    assert min(waits) < 0.85
    assert max(waits) > 1.55


def test_reflector_jitter_comes_from_generator() -> None:
    waits = [ReflectorBackoff(Random(7)).next_delay(0.0) for _ in range(2)]

    assert waits[0] == waits[1] == 0.8 * (1.0 + Random(7).random())


def test_reflector_backoff_resets_after_two_healthy_minutes() -> None:
    backoff = ReflectorBackoff(Random(0))
    for _ in range(6):
        last = backoff.next_delay(now=0.0)

    assert backoff.next_delay(now=last + 120.0) >= 30.0
    assert backoff.next_delay(now=10_000.0) < 1.6


def test_reflector_wait_itself_is_not_health() -> None:
    backoff = ReflectorBackoff(Random(0))
    for _ in range(6):
        backoff.next_delay(now=0.0)

    waited = backoff.next_delay(now=0.0, at_least=500.0)

    assert waited == 500.0
    assert backoff.next_delay(now=waited + 1.0) >= 30.0


@pytest.mark.parametrize(("field", "limits"), [("base_seconds", (0.0, 1.0)), ("cap_seconds", (1.0, -1.0))])
def test_item_limits_that_cannot_be_are_refused(field: str, limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=f"{field}: expected a positive number of seconds"):
        ItemBackoff(*limits)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (1.0, 0)])
def test_bucket_that_never_allows_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate and burst: expected positive numbers"):
        TokenBucket(rate, burst)


def test_max_of_no_limiter_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        MaxOfLimiters([])
