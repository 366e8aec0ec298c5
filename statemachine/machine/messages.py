"""What a failed launch says: the condition's message, and the retry time read back from it.

The class and its numbers come first and the cloud's own text last, because a message is cut at the published
length. The retry time is part of the message: it survives every copy of the condition, and whoever shows the
Machine to another controller reads it back with `retry_at`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from statemachine.machine.observations import PoolFault

CUT_AT: Final = 800
"""Characters; the published length of a launch failure, after which it says ``...``."""

CAPACITY_GIVEN_UP: Final = "all requested instance types were unavailable during launch"
"""The published text, to the letter: Kaito takes it, and nothing else, as the end of all attempts."""

_RETRY: Final = re.compile(r"next attempt at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


def failure(fault: PoolFault, retry_at: datetime | None) -> str:
    """``family F, limit L, used U, needed N; next attempt at T; CODE: text``, as far as it is known."""
    parts = [_numbers(fault), _next(retry_at), _text(fault)]
    return cut("; ".join(part for part in parts if part))


def with_retry(text: str, retry_at: datetime | None) -> str:
    """A text of our own, with the time of the next attempt."""
    return cut("; ".join(part for part in (text, _next(retry_at)) if part))


def retry_at(message: str) -> datetime | None:
    """When the next attempt is due, as the message says; None when it says nothing."""
    found = _RETRY.search(message)
    return datetime.fromisoformat(found[1]) if found else None


def cut(message: str) -> str:
    return message if len(message) <= CUT_AT else message[:CUT_AT] + "..."


def _numbers(fault: PoolFault) -> str:
    named = (("limit", fault.limit), ("used", fault.used), ("needed", fault.needed))
    counts = [f"{name} {count}" for name, count in named if count is not None]
    return ", ".join([f"family {fault.family}"] * bool(fault.family) + counts)


def _next(at: datetime | None) -> str:
    """Whole seconds, rounded up: nobody is told a time at which nothing happens yet."""
    if at is None:
        return "no further attempt until the spec changes"
    whole = at.replace(microsecond=0) + timedelta(seconds=bool(at.microsecond))
    return f"next attempt at {whole.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _text(fault: PoolFault) -> str:
    return ": ".join(part for part in (fault.code, fault.message) if part)
