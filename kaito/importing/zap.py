"""Console lines of zap, plain lines of Go's log package, and the stack traces between them.

zap separates time, level, logger, message and a JSON object by tabs; copied from a terminal they are runs of
blanks, of which the last before the object may be a single one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from kaito.importing.entries import NO_FIELDS, Entry, Malformed, parse_time

_LOOKS_LIKE = re.compile(r"\d{4}-\d\d-\d\dT\d|\d{4}/\d\d/\d\d \d", re.ASCII)
_CONSOLE = re.compile(
    r"(\d{4}-\d\d-\d\dT[^\s]+)\s+(DEBUG|INFO|WARN|ERROR|DPANIC|PANIC|FATAL)\s+(.*)", re.DOTALL
)
_PLAIN = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)? (.*)", re.ASCII)
_SEPARATOR = re.compile(r"\t| {2,}")
_OBJECT = re.compile(r"\s(?=\{)")
_FRAME = re.compile(
    r"[^\s:]+\.[^\s]+$|\s+\S*\.(?:go|s):\d+( \+0x[0-9a-f]+)?$|created by \S+|goroutine \d+ \[|\[signal "
)
_SEVERE = frozenset({"ERROR", "DPANIC", "PANIC", "FATAL"})


def looks_like(text: str) -> bool:
    return _LOOKS_LIKE.match(text) is not None


def is_frame(text: str) -> bool:
    """Whether this can be a line of a Go stack trace: a function, or its indented place in a file."""
    return _FRAME.match(text) is not None


def starts_trace(text: str) -> bool:
    return text.startswith(("panic: ", "fatal error: ", "goroutine "))


def parse(text: str, *, whole: bool = True) -> Entry:
    """Parse a line of either format.

    Raises:
        Malformed: The time, the level or the JSON object is cut or makes no sense.
    """
    if text[4] == "/":
        return _parse_plain(text, whole)
    match = _CONSOLE.match(text)
    if match is None:
        raise Malformed("expected a time, a level and a message")
    stamp, level, rest = match.groups()
    cut = _OBJECT.search(rest)
    if cut is None and not whole:
        raise Malformed("the last line is cut")
    fields = NO_FIELDS if cut is None else _decode(rest[cut.end() :])
    parts = _SEPARATOR.split(rest if cut is None else rest[: cut.start()].rstrip())
    origin = parts[0] if len(parts) > 1 else ""
    return Entry(parse_time(stamp), parts[-1], origin, fields, exact="." in stamp, severe=level in _SEVERE)


def _decode(text: str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(f"the JSON object at its end is cut or malformed ({error})") from None
    assert isinstance(fields, dict)  # it starts with a brace
    return fields


def _parse_plain(text: str, whole: bool) -> Entry:
    match = _PLAIN.match(text)
    if match is None or not whole:
        raise Malformed("the line is cut or malformed; expected a date, a time and a message")
    try:
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"expected a date and time, found {text[:19]!r}") from error
    return Entry(at, match[8], "log", exact=False)
