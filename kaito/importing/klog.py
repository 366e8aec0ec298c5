"""klog lines: ``I0405 18:29:58.945820       1 machine.go:109] "msg" key="value" n=1``.

The year is missing. Values are quoted as Go quotes them, bare up to the next blank, or, when they span
lines, written as ``key=<``, indented lines and `` >``; the reader joins those lines before it parses them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from kaito.importing.entries import ANY_YEAR, NO_FIELDS, Entry, Malformed

_LOOKS_LIKE = re.compile(r"[IWEF]\d{4} \d\d:")
_HEADER = re.compile(r"([IWEF])(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6}) +\d+ ([^\s:\]]+):\d+\] ?", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_FIELD = re.compile(
    r' ([^\s="]+)=(?:("(?:[^"\\]|\\.)*")(?=\s|$)|<\n((?:\t[^\n]*\n)*) >|([^\s"]\S*)|(?=\s|$))'
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def looks_like(text: str) -> bool:
    return _LOOKS_LIKE.match(text) is not None


def is_open(text: str) -> bool:
    """Whether the value of the last key goes on over the next lines."""
    return text.endswith("=<")


def parse(text: str, *, whole: bool = True) -> Entry:
    """Parse one line.

    Args:
        whole: Whether a line break ended the line. Without one, only a line that ends in a closed quote can
            be trusted to be all there.

    Raises:
        Malformed: The header, a time or a quoted value is cut or makes no sense.
    """
    header = _HEADER.match(text)
    if header is None:
        raise Malformed("the header of a klog line is cut or malformed")
    level, month, day, hour, minute, second, micros, origin = header.groups()
    try:
        at = datetime(
            ANY_YEAR, int(month), int(day), int(hour), int(minute), int(second), int(micros), tzinfo=UTC
        )
    except ValueError as error:
        raise Malformed(f"expected a month, day and time, found {text[1:21]!r}") from error
    message, fields = _body(text, header.end())
    if not whole and not text.endswith('"'):
        raise Malformed("the last line is cut")
    return Entry(at, message, origin, fields, dated=False, severe=level in "EF")


def _body(text: str, start: int) -> tuple[str, dict[str, str]]:
    if text[start : start + 1] != '"':
        return text[start:], {}
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        raise Malformed("the quoted message does not end")
    return _unquote(quoted[0]), _fields(text, quoted.end())


def _fields(text: str, position: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    while (match := _FIELD.match(text, position)) is not None:
        key, quoted, lines, bare = match.groups()
        fields[key] = _unquote(quoted) if quoted else _unindent(lines) if lines else bare or ""
        position = match.end()
    # Go structures print with blanks inside; what follows them is left alone, but a quote must be closed.
    rest = text[position:]
    if rest and _QUOTED.sub("", rest).count('"'):
        raise Malformed("a quoted value does not end")
    return fields or dict(NO_FIELDS)


def _unindent(lines: str) -> str:
    return "\n".join(line[1:] for line in lines.splitlines())


def _unquote(quoted: str) -> str:
    inner = quoted[1:-1]
    return _ESCAPE.sub(_unescape, inner) if "\\" in inner else inner


def _unescape(match: re.Match[str]) -> str:
    two, four, eight, octal, plain = match.groups()
    if plain is not None:
        return _PLAIN_ESCAPES.get(plain, plain)
    point = int(octal, 8) if octal else int(two or four or eight, 16)
    return chr(point) if point < 0x110000 and not 0xD800 <= point < 0xE000 else "\ufffd"
