"""Durations as people write and read them: ``4m``, ``1h30m``, ``500ms``; ages as kubectl prints them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
"""Microseconds, from the largest unit to the smallest."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)

EXPECTED = "a duration such as 4m, 240s, 1h30m or 500ms"


def parse(text: str) -> timedelta:
    """Read a duration; the units stand from large to small, each at most once.

    Raises:
        ValueError: The text is no duration; says what was expected and found.
    """
    parts = _PART.findall(text) if _WHOLE.fullmatch(text) else []
    order = [list(_UNITS).index(unit) for _, unit in parts]
    if not parts or order != sorted(set(order)):
        raise ValueError(f"expected {EXPECTED}, found {text!r}")
    try:
        return timedelta(microseconds=int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts)))
    except (OverflowError, ValueError):
        raise ValueError(f"expected {EXPECTED}, found {text!r}, which is too long") from None


def exact(duration: timedelta) -> str:
    """The duration to the microsecond, such that `parse` reads it back; none below zero."""
    return _written(duration // timedelta(microseconds=1))


def rounded(duration: timedelta, digits: int = 0) -> str:
    """The duration for readers: ``4m18s``, or with one digit ``4m17.6s`` and ``0.7s``."""
    step = 10 ** (6 - digits)
    return _written((duration // timedelta(microseconds=1) + step // 2) // step * step, short=False)


def floored(duration: timedelta) -> str:
    """The whole seconds that have passed: ``11m39s``."""
    return _written(duration // timedelta(seconds=1) * 1_000_000)


def of_seconds(seconds: float) -> str:
    """A limit or a usual duration given in seconds, to the second; below one second, to the millisecond."""
    duration = timedelta(seconds=seconds)
    return (
        rounded(duration)
        if seconds >= 1
        else exact(timedelta(milliseconds=duration // timedelta(milliseconds=1)))
    )


def age(duration: timedelta) -> str:
    """The age as kubectl prints it (its `HumanDuration`): ``51s``, ``4m2s``, ``16m``, ``2d3h``."""
    seconds = duration // timedelta(seconds=1)
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _pair(hours // 24, "d", hours % 24, "h")
    if hours < 17_520:
        return f"{hours // 24}d"
    years, days = divmod(hours // 24, 365)
    return _pair(years, "y", days, "d") if hours < 70_080 else f"{years}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def _written(microseconds: int, *, short: bool = True) -> str:
    """Days, hours, minutes and decimal seconds; with ``short`` milliseconds alone where they suffice."""
    if short and 0 < microseconds < 1_000_000 and microseconds % 1000 == 0:
        return f"{microseconds // 1000}ms"
    parts = []
    for unit in ("d", "h", "m"):
        count, microseconds = divmod(microseconds, _UNITS[unit])
        parts.append(f"{count}{unit}" if count else "")
    if microseconds or not any(parts):
        parts.append(f"{Decimal(microseconds).scaleb(-6).normalize():f}s")
    return "".join(parts)
