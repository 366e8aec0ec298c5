"""Settings of a process from environment variables and flags: checked together, every fault told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from kaito import durations
from kaito.api.errors import describe
from kaito.problems import Problem

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
"""As Go's strconv.ParseBool reads them."""


class InvalidConfiguration(Problem):
    """``messages`` are lines ``VARIABLE: expected …, found …``, one for each fault."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


class Address(NamedTuple):
    """Where to listen: all addresses for an empty host."""

    host: str
    port: int


class Form(msgspec.Struct, frozen=True):
    """How a setting is read: ``read`` raises ValueError for what is not ``expected``.

    ``variable`` names it in messages; where ``flag_only`` is set it is a flag, and no variable is read.
    """

    variable: str
    expected: str
    read: Callable[[str], object]
    flag_only: bool = False


def read_forms(
    forms: Mapping[str, Form], environment: Mapping[str, str], flags: Mapping[str, str]
) -> tuple[dict[str, object], list[str]]:
    """The settings that were given, by field, and a line for each that cannot be read.

    Flags, by the name of their field, take precedence. Values are trimmed, and an empty one counts as absent.
    """
    found: dict[str, object] = {}
    faults: list[str] = []
    for field, form in forms.items():
        text = flags.get(field, "").strip()
        if not text and not form.flag_only:
            text = environment.get(form.variable, "").strip()
        if not text:
            continue
        try:
            found[field] = form.read(text)
        except ValueError:
            faults.append(f"{form.variable}: expected {form.expected}, found {describe(text)}")
    return found, faults


def flag(variable: str) -> Form:
    return Form(variable, "true or false", _flag)


def port(variable: str) -> Form:
    return Form(variable, "a port from 0 to 65535", _port)


def rate(variable: str) -> Form:
    return Form(variable, "a number above 0", _rate)


def count(variable: str) -> Form:
    return Form(variable, "a whole number above 0", _count)


def seconds(variable: str, *, flag_only: bool = False) -> Form:
    """A duration above zero, read as seconds."""
    return Form(variable, durations.EXPECTED, _seconds, flag_only)


def whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueError
    return int(text)


def _flag(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _port(text: str) -> int:
    found = whole(text)
    if not 0 <= found <= 65535:
        raise ValueError
    return found


def _count(text: str) -> int:
    found = whole(text)
    if found < 1:
        raise ValueError
    return found


def _rate(text: str) -> float:
    found = float(text)
    if not 0 < found < float("inf"):
        raise ValueError
    return found


def _seconds(text: str) -> float:
    found = durations.parse(text).total_seconds()
    if found <= 0:
        raise ValueError
    return found
