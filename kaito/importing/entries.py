"""One parsed log line, whatever its format, and the reading of time stamps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

ANY_YEAR = 2000
"""Stands in a time stamp without a year until it is dated; a leap year, so that 29 February fits."""

NO_FIELDS: Mapping[str, Any] = {}


class Malformed(Exception):
    """The line begins like a line of its format and does not go on like one; says what was expected."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A log line.

    ``dated`` is False when the format carries no year, ``exact`` is False when it shows whole seconds only.
    ``origin`` is the source file of a klog line, the logger of a JSON line. ``severe`` marks errors, which a
    stack trace may follow.
    """

    at: datetime
    message: str
    origin: str = ""
    fields: Mapping[str, Any] = NO_FIELDS
    dated: bool = True
    exact: bool = True
    severe: bool = False


def parse_time(text: object) -> datetime:
    """An RFC 3339 time with its offset, or seconds since 1970, as aware UTC; nanoseconds are cut.

    Raises:
        Malformed: It is neither.
    """
    try:
        if isinstance(text, str):
            at = datetime.fromisoformat(text)
            if at.tzinfo is not None:
                return at if at.tzinfo is UTC else at.astimezone(UTC)
        elif isinstance(text, (int, float)) and not isinstance(text, bool):
            return datetime.fromtimestamp(text, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Malformed(f"expected a time with its offset, found {str(text)[:40]!r}")
