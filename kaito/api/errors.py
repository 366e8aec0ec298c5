"""Errors of reading objects.

Exception
├── InvalidObject    one object does not have the form of its kind
└── InputError       files that a user gave cannot be read; one line a fault (also a `Problem` of the command)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kaito.problems import Problem

_LONGEST_VALUE = 80


class Finding(NamedTuple):
    """One fault of one object: where, what should stand there, what stands there."""

    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}expected {self.expected}, found {self.found}"


class InvalidObject(Exception):
    """``findings`` holds every fault, in order of the fields."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = list(findings)


class InputError(Problem):
    """``messages`` are lines ``FILE:LINE: FIELD: expected …, found …``."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


def describe(value: Any) -> str:
    """A value in a message: scalars as JSON writes them and cut to one line, containers by their kind."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{printable(value)}"'
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case int() if value.bit_length() > 256:
            return "a number of 78 digits or more"
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """The text on one line, and of a long one only the beginning and the end."""
    safe = one_line(text)
    return safe if len(safe) <= _LONGEST_VALUE else f"{safe[:50]}…{safe[-20:]}"


def one_line(text: str) -> str:
    """The text with everything escaped that a terminal would not show as a character."""
    return text if text.isprintable() else ascii(text)[1:-1]
