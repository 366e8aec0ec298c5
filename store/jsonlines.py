"""The log as JSON Lines: one event a line, in global order.

A line holds every column under its name, in table order, and the event's data as an object. Equal logs give
equal bytes, and an import takes back exactly those: positions, versions and hashes are checked line by line,
and nothing is written unless all of them are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from store.chain import Checker, Verifiable
from store.envelope import Row
from store.errors import LinesRefused, UndecodableEvent


class Extendable(Verifiable, Protocol):
    """A log that takes in rows of another one."""

    def extend(self, rows: Iterable[Row]) -> int: ...


class Imported(NamedTuple):
    """How many events an import added, and how many of its lines the log held already."""

    added: int
    known: int


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line as it is read; ``data`` keeps its bytes, for they are part of the hash."""

    position: int
    stream: str
    version: int
    type: str
    schema_version: int
    at: str
    recorded_at: str
    epoch: int
    cause: str
    event_id: str
    data: msgspec.Raw
    hash: str

    def row(self) -> Row:
        columns = [getattr(self, name) for name in Row._fields]
        return Row._make(columns)._replace(data=bytes(self.data).decode())


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


def export(log: Verifiable, *, after: int = 0) -> Iterator[bytes]:
    """The lines of a log, each with its line feed.

    Raises:
        UndecodableEvent: A stored row cannot be written as JSON; verifying the log tells more.
    """
    for row in log.rows(after=after):
        try:
            yield _encode({**row._asdict(), "data": _raw(row.data)}) + b"\n"
        except (UnicodeError, msgspec.MsgspecError, TypeError, AttributeError) as error:
            raise UndecodableEvent(str(row.type), f"position {row.position}: {error}") from error


def import_lines(log: Extendable, lines: Iterable[bytes], source: str = "") -> Imported:
    """Append the events of an export to a log that is empty or a beginning of it, all or none.

    Args:
        source: What error messages call the lines, for example the file's name.

    Raises:
        LinesRefused: A line is not an event, does not follow the one before it, or differs from the log.
    """
    rows = _checked(log, lines, source)
    try:
        added = log.extend(rows)
    except LinesRefused as error:
        raise LinesRefused(error.line, error.why, source) from error
    return Imported(added, len(rows) - added)


def _checked(log: Extendable, lines: Iterable[bytes], source: str) -> list[Row]:
    checker = Checker(log.codec)
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = _decode(line).row()
        except (msgspec.DecodeError, UnicodeError) as error:
            raise LinesRefused(number, f"not an exported event: {error}", source) from error
        for finding in checker.check(row):
            raise LinesRefused(number, finding.what, source)
        rows.append(row)
    return rows


def _raw(data: str) -> msgspec.Raw:
    """The stored text as it is, if it is JSON: text that is not would break the line."""
    msgspec.json.decode(data)
    return msgspec.Raw(data.encode())
