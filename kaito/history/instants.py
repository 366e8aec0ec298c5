"""Instants as users write them: RFC 3339, a time of day, an age of the Workspace, or ``now``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TypeAlias

from kaito import durations
from kaito.history.chronicle import Chronicle
from kaito.problems import Problem

Instant: TypeAlias = datetime | time | timedelta | None
"""A date and time, a time of day, a time since the creation; None for now."""

LIVE_WITHIN = timedelta(days=1)
"""A log whose last event is younger is still being written, so that "now" is the wall clock."""

EXPECTED = (
    "2024-04-05T18:34:10Z, 18:34:10 (UTC, on the day of the Workspace), 4m18s (after its creation) or now"
)

_DATED = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,9})?)?[Zz]?", re.ASCII)


def parse(text: str) -> Instant:
    """Read an instant; one without an offset is UTC.

    Raises:
        Problem: It is none; says what was expected.
    """
    try:
        if text == "now":
            return None
        if _DATED.fullmatch(text):
            dated = datetime.fromisoformat(text.upper())
            return dated.replace(tzinfo=UTC) if dated.tzinfo is None else dated.astimezone(UTC)
        if _TIME.fullmatch(text):
            return time.fromisoformat(text.rstrip("Zz"))
        return durations.parse(text.removeprefix("+"))
    except (ValueError, OverflowError):
        raise Problem(f"--at: expected {EXPECTED}; found {text!r}") from None


def resolve(instant: Instant, chronicle: Chronicle, now: datetime) -> datetime:
    """The instant in the history of this Workspace; ``now`` is what None means."""
    match instant:
        case None:
            return now
        case timedelta():
            return _added(chronicle.created_at, instant)
        case time():
            return _on_its_day(instant, chronicle)
        case _:
            return instant


def default_now(chronicle: Chronicle, log_end: datetime, wall: datetime) -> datetime:
    """The instant of a question that names none.

    The wall clock while the log is being written. A log of the past (imported, or of a simulation, whose time
    is virtual) is asked about its end, for nothing is known of later times.
    """
    end = max(log_end, chronicle.last_at)
    return wall if timedelta(0) <= wall - end < LIVE_WITHIN else end


def _added(start: datetime, duration: timedelta) -> datetime:
    try:
        return start + duration
    except OverflowError:
        raise Problem(
            f"--at: {durations.exact(duration)} after the creation is beyond the calendar"
        ) from None


def _on_its_day(instant: time, chronicle: Chronicle) -> datetime:
    """On the day of the creation; on the next one when the life crosses midnight and only then fits."""
    created = chronicle.created_at
    found = datetime.combine(created.date(), instant, UTC)
    tomorrow = found + timedelta(days=1)
    return tomorrow if found < created and tomorrow <= chronicle.last_at else found
