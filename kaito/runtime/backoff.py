"""How long to wait before a retry: the arithmetic of client-go, with time and randomness passed in.

``now`` is monotonic seconds, as everywhere in queue, reflector and limiters; delays are seconds. Nothing
here waits: the caller schedules. The only source of randomness is the generator a caller hands over.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from random import Random
from typing import Protocol

NANOSECONDS = 1_000_000_000

ITEM_BASE_SECONDS = 0.005
ITEM_CAP_SECONDS = 1000.0
"""Per-item backoff of client-go's default controller limiter: 5 ms, doubling, at most 1000 s."""

BUCKET_RATE = 10.0
BUCKET_BURST = 100
"""Overall bucket of the same limiter: 10 retries a second, 100 at once."""

REFLECTOR_BASE_SECONDS = 0.8
REFLECTOR_CAP_SECONDS = 30.0
REFLECTOR_FACTOR = 2.0
REFLECTOR_RESET_SECONDS = 120.0
"""Backoff of client-go's reflector: 800 ms doubling to 30 s, forgotten after 2 healthy minutes."""


def whole_nanosecond(at: float) -> float:
    """The time rounded up to a nanosecond, so that a clock that counts those can stand exactly at it.

    A wake-up time between two ticks would be rounded down by such a clock; the caller, woken too early by
    a fraction of a tick, would be sent to sleep for no time at all, again and again.
    """
    return math.ceil(at * NANOSECONDS) / NANOSECONDS


class RateLimiter(Protocol):
    """Says how long a key has to wait for its next attempt, and counts the attempts."""

    def when(self, key: Hashable, now: float) -> float: ...

    def forget(self, key: Hashable) -> None: ...

    def num_requeues(self, key: Hashable) -> int: ...


class ItemBackoff:
    """Per key: base, twice the base, four times the base, and so on up to the cap; in whole nanoseconds."""

    def __init__(
        self, base_seconds: float = ITEM_BASE_SECONDS, cap_seconds: float = ITEM_CAP_SECONDS
    ) -> None:
        self._base = _nanoseconds("base_seconds", base_seconds)
        self._cap = _nanoseconds("cap_seconds", cap_seconds)
        self._failures: dict[Hashable, int] = {}

    def when(self, key: Hashable, now: float) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # A shift by more than 63 exceeds every cap that fits 64 bits and would only cost memory.
        return min(self._base << min(failures, 63), self._cap) / NANOSECONDS

    def forget(self, key: Hashable) -> None:
        self._failures.pop(key, None)

    def num_requeues(self, key: Hashable) -> int:
        return self._failures.get(key, 0)


class TokenBucket:
    """One bucket for all keys. A token may be taken in advance: the delay is the time until it is there."""

    def __init__(self, rate: float = BUCKET_RATE, burst: int = BUCKET_BURST) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"rate and burst: expected positive numbers, found {rate} and {burst}")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._last: float | None = None

    def when(self, key: Hashable, now: float) -> float:
        elapsed = 0.0 if self._last is None else now - self._last
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate) - 1.0
        self._last = now
        return int(max(0.0, -self._tokens) / self._rate * NANOSECONDS) / NANOSECONDS

    def forget(self, key: Hashable) -> None:
        """A token once taken is not given back."""

    def num_requeues(self, key: Hashable) -> int:
        return 0


class MaxOfLimiters:
    """The longest of the delays of several limiters; each of them counts the attempt."""

    def __init__(self, limiters: Sequence[RateLimiter]) -> None:
        if not limiters:
            raise ValueError("limiters: expected at least one, found none")
        self._limiters = tuple(limiters)

    def when(self, key: Hashable, now: float) -> float:
        return max([limiter.when(key, now) for limiter in self._limiters])

    def forget(self, key: Hashable) -> None:
        for limiter in self._limiters:
            limiter.forget(key)

    def num_requeues(self, key: Hashable) -> int:
        return max(limiter.num_requeues(key) for limiter in self._limiters)


def classic_limiter() -> MaxOfLimiters:
    """The limiter of the published operator: per-item backoff and the overall bucket, whichever is longer."""
    return MaxOfLimiters([ItemBackoff(), TokenBucket()])


class ReflectorBackoff:
    """Waits between attempts of one reflector: 0.8 s doubling to 30 s, each plus up to as much again.

    The jitter is client-go's: a uniform draw from [delay, 2 x delay), so that a wait is never near zero.
    It deviates from client-go in one point: health is counted from the end of the last wait, not from its
    start, because a wait at the cap takes half of the two minutes and would pass for health.
    """

    def __init__(
        self,
        random: Random,
        *,
        base_seconds: float = REFLECTOR_BASE_SECONDS,
        cap_seconds: float = REFLECTOR_CAP_SECONDS,
        reset_seconds: float = REFLECTOR_RESET_SECONDS,
    ) -> None:
        self._random = random
        self._base = base_seconds
        self._cap = cap_seconds
        self._reset = reset_seconds
        self._delay = base_seconds
        self._waited_until: float | None = None

    def next_delay(self, now: float, *, at_least: float = 0.0) -> float:
        """Seconds to wait from ``now``; ``at_least`` is what the server asked for (Retry-After)."""
        if self._waited_until is not None and now - self._waited_until > self._reset:
            self._delay = self._base
        delay = max(at_least, self._delay * (1.0 + self._random.random()))
        self._delay = min(self._cap, self._delay * REFLECTOR_FACTOR)
        self._waited_until = now + delay
        return delay


def _nanoseconds(field: str, seconds: float) -> int:
    if seconds <= 0:
        raise ValueError(f"{field}: expected a positive number of seconds, found {seconds}")
    return round(seconds * NANOSECONDS)
