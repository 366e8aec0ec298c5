"""Verification: is the log still what was appended?

Positions count without gaps through the log, versions without gaps through each stream, and each row's hash
covers all its columns and the hash before it (`store.envelope`). So a changed column, a missing row and
exchanged rows are found and named. Rows cut off the very end of the log leave no trace in it; for those,
compare with heads that were noted down elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from store.codec import Codec
from store.envelope import GENESIS, Row, chain_hash, timestamp
from store.errors import StoreError
from store.records import StreamHead

INTEGERS = ("position", "version", "schema_version", "epoch")

BEFORE_ALL = -(2**63)
"""Less than every position a database can hold, so that a row moved below 1 is looked at too."""


class Finding(NamedTuple):
    """Something that is wrong, and where; position 0 means the log as a whole."""

    position: int
    stream: str
    version: int
    what: str

    def __str__(self) -> str:
        if not self.position:
            return f"{self.stream}: {self.what}" if self.stream else self.what
        where = f"position {self.position}, {self.stream or 'unknown stream'}, version {self.version}"
        return f"{where}: {self.what}"


class Verifiable(Protocol):
    """A log that shows its rows as they are stored."""

    codec: Codec

    def rows(self, *, after: int = 0) -> Iterator[Row]: ...

    def damages(self) -> list[str]: ...


class _Stream:
    """Where a stream stands: its last version, and the hashes that may stand for it.

    Beside the stored hash, the one that should be there: when only the hash was changed, the next row still
    follows, and one change is one finding.
    """

    __slots__ = ("computed", "stored", "version")

    def __init__(self) -> None:
        self.version = 0
        self.stored = self.computed = GENESIS


class Checker:
    """Checks rows one after the other, in the order of their positions, from position 1."""

    def __init__(self, codec: Codec, anchors: Iterable[StreamHead] = ()) -> None:
        self._codec = codec
        self._anchors = {(anchor.stream, anchor.version): anchor for anchor in anchors}
        self._met: dict[tuple[str, int], str] = {}
        self._position = 0
        self._streams: dict[str, _Stream] = {}

    def check(self, row: Row) -> list[Finding]:
        """What is wrong with this row, given the rows before it."""
        wrong_types = [name for name in row._fields if type(getattr(row, name)) is not _type_of(name)]
        if wrong_types:
            self._position = row.position if type(row.position) is int else self._position + 1
            return [_finding(row, f"{', '.join(wrong_types)}: a value of another type", self._position)]
        found = self._check_position(row)
        found += self._check_chain(row)
        return [_finding(row, what) for what in found + self._check_data(row)]

    def anchored(self) -> list[Finding]:
        """Which anchors the rows did not meet, after the last row."""
        return [
            Finding(anchor.position, anchor.stream, anchor.version, self._missed(anchor))
            for key, anchor in self._anchors.items()
            if self._met.get(key) != anchor.hash
        ]

    def _missed(self, anchor: StreamHead) -> str:
        if (anchor.stream, anchor.version) in self._met:
            return f"version {anchor.version} is not the event that was there"
        last = self._streams[anchor.stream].version if anchor.stream in self._streams else 0
        return f"ends at version {last}, though version {anchor.version} was there"

    def _check_position(self, row: Row) -> list[str]:
        expected, self._position = self._position + 1, row.position
        if row.position == expected:
            return []
        if row.position < expected:
            return [f"out of order: position {expected} expected"]
        missing = f"{expected}" if row.position == expected + 1 else f"{expected} to {row.position - 1}"
        return [f"position {missing} is missing before it"]

    def _check_chain(self, row: Row) -> list[str]:
        stream = self._streams.setdefault(row.stream, _Stream())
        expected, stream.version = stream.version + 1, row.version
        computed = _hash(stream.stored, row)
        follows = row.hash in (computed, _hash(stream.computed, row))
        stream.stored, stream.computed = row.hash, computed
        if (row.stream, row.version) in self._anchors:
            self._met[row.stream, row.version] = row.hash
        if row.version != expected:
            return [f"version {expected} of the stream expected"]
        return (
            [] if follows else ["the hash does not fit: this row was changed, or the one before it exchanged"]
        )

    def _check_data(self, row: Row) -> list[str]:
        try:
            event = self._codec.decode(row.type, row.schema_version, row.data)
            at = timestamp(event.at)
        except (StoreError, ValueError) as error:
            return [str(error)]
        return [] if at == row.at else [f"the column at says {row.at}, the event {at}"]


def verify(log: Verifiable, anchors: Iterable[StreamHead] = ()) -> list[Finding]:
    """Everything that is wrong with a log; empty when it is as it was appended.

    Args:
        anchors: Heads that were noted down outside the log, to find out whether its end was cut off.
    """
    checker = Checker(log.codec, anchors)
    found: list[Finding] = []
    try:
        for row in log.rows(after=BEFORE_ALL):
            found += checker.check(row)
        damages = log.damages()
    except StoreError as error:
        return [*found, Finding(0, "", 0, str(error))]
    found += [Finding(0, "", 0, damage) for damage in damages]
    return found + checker.anchored()


def _type_of(name: str) -> type:
    return int if name in INTEGERS else str


def _finding(row: Row, what: str, position: int = 0) -> Finding:
    stream = row.stream if isinstance(row.stream, str) else ""
    version = row.version if isinstance(row.version, int) else 0
    return Finding(position or row.position, stream, version, what)


def _hash(previous: str, row: Row) -> str:
    """Empty where the row holds text that is not UTF-8, so that no stored hash fits."""
    try:
        return chain_hash(previous, row[:-1])
    except (UnicodeError, msgspec.MsgspecError, OverflowError):
        return ""
