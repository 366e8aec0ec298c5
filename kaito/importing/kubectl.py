"""Tables of ``kubectl get workspace -w`` and ``kubectl get machines -w``.

A cell starts where its column starts, shifted by the cells before it that were wider than their column. An
age counts from the object's creation and is rounded down to the unit it shows.
"""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

from kaito.importing.entries import Malformed

_HEADING = re.compile(r"\S+(?:\s+|$)")
_AGE = re.compile(r"(?:(\d{1,3})y)?(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?", re.ASCII)
_UNITS = (365 * 86400, 86400, 3600, 60, 1)
_GAP = 3
"""Blanks that kubectl puts between two cells."""


class Column(msgspec.Struct, frozen=True):
    name: str
    width: int
    """From its start to the start of the next column."""


class Age(msgspec.Struct, frozen=True):
    """At least ``lower`` and less than ``lower + precision``."""

    lower: timedelta
    precision: timedelta


def parse_header(text: str) -> tuple[Column, ...] | None:
    """The columns of a table that this import reads, None for any other line."""
    if not text.startswith(("NAME ", "NAMESPACE ")):
        return None
    columns = tuple(Column(match[0].strip(), len(match[0])) for match in _HEADING.finditer(text))
    names = {column.name for column in columns}
    known = "INFERENCEREADY" in names or {"NODE", "READY"} <= names
    return columns if known and {"NAME", "AGE"} <= names else None


def parse_row(columns: tuple[Column, ...], text: str) -> dict[str, str]:
    """The cells by column name.

    Raises:
        Malformed: The cells do not stand where the header puts them.
    """
    cells: dict[str, str] = {}
    start = 0
    for column in columns:
        match = _HEADING.match(text, start)
        cell = match[0].strip() if match else ""
        cells[column.name] = cell
        start += max(column.width, len(cell) + _GAP) if cell else column.width
    if not cells["NAME"] or not cells["AGE"] or text[start:].strip():
        raise Malformed("the cells do not stand under the columns of the table's header")
    return cells


def parse_age(text: str) -> Age:
    """Read an age as kubectl prints it: ``51s``, ``4m2s``, ``16m``, ``2d3h``.

    Raises:
        Malformed: It is not an age.
    """
    match = _AGE.fullmatch(text)
    if match is None or not any(match.groups()):
        raise Malformed(f"expected an age such as 4m2s, found {text[:20]!r}")
    lower = sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS, strict=True) if count)
    return Age(timedelta(seconds=lower), timedelta(seconds=_precision(lower)))


def _precision(seconds: int) -> int:
    """The unit kubectl rounds an age down to: its `HumanDuration`."""
    minutes = seconds // 60
    if minutes < 10:
        return 1
    if minutes < 8 * 60:
        return 60
    return 3600 if seconds < 8 * 86400 else 86400
