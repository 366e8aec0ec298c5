"""The event log on SQLite or PostgreSQL.

Statements are SQLAlchemy Core, compiled once for the dialect and run on the driver's cursor. See
`store.database` for who may write when, and for the lock that SQLite's WAL-reset bug makes necessary: any
number of processes may append to one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Any

import msgspec

from store.codec import EVENTS, Codec
from store.database import Database
from store.envelope import GENESIS, Batch, Row, batch, record, seal
from store.errors import LinesRefused, StaleEpoch, StoreError, UndecodableEvent, WrongExpectedVersion
from store.records import Appended, History, Record, StoredEvent, StreamHead, family_of
from store.statements import Statement, Statements

PAGE = 1000
"""Rows fetched at once; a page is read under the lock that the threads of a log share."""

LAST_TEXT = "\U0010ffff"
"""Sorts behind every character, so that a prefix is the range up to prefix + LAST_TEXT."""


class SqlEventLog:
    """An `EventLog` in a database.

    Args:
        now: Gives ``recorded_at``; the simulator passes virtual time, so that equal runs write equal bytes.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], codec: Codec = EVENTS) -> None:
        self.database = database
        self.codec = codec
        self._now = now
        self._sql = Statements(database.engine)

    def __enter__(self) -> SqlEventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    # --- writing ------------------------------------------------------------------------------------

    def append(
        self,
        stream: str,
        events: Sequence[StoredEvent],
        *,
        expected_version: int,
        epoch: int = 0,
        cause: str = "",
        command_id: str = "",
    ) -> Appended:
        """See `EventLog.append`. Without events it writes nothing and checks version and epoch.

        When the disk fails during COMMIT itself, whether the events are stored is unknown; `LogUnavailable`
        is raised, and a repeat after opening the log anew finds out.
        """
        new = batch(self.codec, stream, events, expected_version, command_id)
        with self.database.writing() as cursor:
            family = family_of(stream)
            position, highest, version, last_hash = self._tip(cursor, family, stream)
            if epoch < highest:
                raise StaleEpoch(epoch, highest)
            if version != expected_version:
                return self._repeated(cursor, stream, new, expected_version, version)
            if not events:
                return Appended(version, self._position_of(cursor, stream, version))
            rows = seal(
                new,
                stream,
                version=version,
                position=position,
                previous=last_hash,
                recorded_at=self._now(),
                epoch=epoch,
                cause=cause,
            )
            self._insert(cursor, rows)
            if epoch > highest:
                self._raise_fence(cursor, family, epoch)
        return Appended(rows[-1].version, rows[-1].position)

    def lead(self, family: str, epoch: int) -> None:
        with self.database.writing() as cursor:
            highest = self._totals(cursor, family)[1]
            if epoch < highest:
                raise StaleEpoch(epoch, highest)
            if epoch > highest:
                self._raise_fence(cursor, family, epoch)

    def extend(self, rows: Iterable[Row]) -> int:
        """Take in rows of another log, from its position 1 on, and return how many were new.

        What is stored already has to be equal, or the rows a beginning of it; then the rest is appended, all
        or nothing. The caller has checked the rows against each other (see `chain.Checker`).

        Raises:
            LinesRefused: A row differs from the stored one; ``line`` is its position.
        """
        incoming = list(rows)
        with self.database.writing() as cursor:
            known = 0
            self._sql.all_rows.run(cursor, (0, len(incoming)))
            for known, row in enumerate(cursor, start=1):
                if tuple(row) != incoming[known - 1]:
                    raise LinesRefused(known, f"position {known} of the log holds another event")
            fresh = incoming[known:]
            if fresh:
                self._insert(cursor, fresh)
                for family, epoch in highest_epochs((row.stream, row.epoch) for row in fresh).items():
                    if epoch > self._totals(cursor, family)[1]:
                        self._raise_fence(cursor, family, epoch)
        return len(fresh)

    def _insert(self, cursor: Any, rows: Sequence[Row]) -> None:
        if len(rows) == 1:
            self._sql.add.run(cursor, rows[0])
        else:
            self._sql.add.run_many(cursor, rows)

    def _raise_fence(self, cursor: Any, family: str, epoch: int) -> None:
        self._sql.raise_epoch.run(cursor, (epoch, family))
        if cursor.rowcount == 0:
            self._sql.first_epoch.run(cursor, (epoch, family))

    def _tip(self, cursor: Any, family: str, stream: str) -> tuple[int, int, int, str]:
        """Last position of the log, highest epoch of the family, version and hash of the stream."""
        self._sql.tip.run(cursor, (family, stream))
        found = cursor.fetchone()
        if found is None:
            return *self._totals(cursor, family), 0, GENESIS
        position, epoch, version, last_hash = found
        return position, epoch or 0, version, last_hash

    def _totals(self, cursor: Any, family: str) -> tuple[int, int]:
        """Last position of the log and highest epoch of the family."""
        self._sql.totals.run(cursor, (family,))
        position, epoch = cursor.fetchone()
        return position or 0, epoch or 0

    def _repeated(self, cursor: Any, stream: str, new: Batch, expected: int, actual: int) -> Appended:
        """Answer a repeated append with what it wrote, or refuse the expected version."""
        last = expected + len(new.ids)
        if new.ids and last <= actual:
            self._sql.identities.run(cursor, (stream, expected, last))
            stored = cursor.fetchall()
            if [event_id for event_id, _ in stored] == new.ids:
                return Appended(last, stored[-1][1])
        raise WrongExpectedVersion(stream, expected, actual)

    def _position_of(self, cursor: Any, stream: str, version: int) -> int:
        self._sql.identities.run(cursor, (stream, version - 1, version))
        found = cursor.fetchone()
        return found[1] if found else 0

    # --- reading ------------------------------------------------------------------------------------

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        return self._records(self._sql.stream_rows, (stream, after))

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        return self._records(self._sql.all_rows, (after, limit))

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        while True:
            page = self.read_all(after=after, limit=limit)
            if page:
                after = page[-1].position
            yield page

    def events(self, stream: str, *, after: int = 0) -> list[StoredEvent]:
        """The events of one stream without their envelopes: what a fold needs, several times faster."""
        statement = self._sql.stream_data
        with self.database.reading() as cursor:
            statement.run(cursor, (stream, after))
            rows = self._fetch(cursor)
        decoders = self.codec.decoders
        try:
            return [decoders[type_, version](data) for type_, version, data in rows]
        except (KeyError, msgspec.DecodeError, TypeError):
            return [self.codec.decode(*row) for row in rows]

    def histories(self, prefix: str = "") -> Iterator[History]:
        """Every stream whose name starts with ``prefix``, sorted by name: for replaying many streams.

        Reads page by page, so a stream may have grown since a former page; each history is a beginning of its
        stream. An event that cannot be decoded ends its own history and no other.
        """
        last, version = prefix, 0
        rows: list[Any] = []
        while page := self._page(last, version, prefix + LAST_TEXT):
            last, version = page[-1][:2]
            rows += page
            complete = len(rows)
            while complete and rows[complete - 1][0] == last:
                complete -= 1
            yield from map(self._history, _by_stream(rows[:complete]))
            rows = rows[complete:]
        yield from map(self._history, _by_stream(rows))

    def _page(self, last: str, version: int, end: str) -> list[Any]:
        """The rows behind a version of a stream; text that is not UTF-8 is read a second, slower way."""
        values = (last, version, end, PAGE)
        try:
            with self.database.reading() as cursor:
                self._sql.histories.run(cursor, values)
                return self._fetch(cursor)
        except UndecodableEvent:
            with self.database.any_bytes() as cursor:
                self._sql.histories.run(cursor, values)
                return self._fetch(cursor)

    def _history(self, rows: Sequence[Any]) -> History:
        decoders = self.codec.decoders
        stream = rows[0][0]
        try:
            return History(stream, [decoders[type_, shape](data) for _, _, type_, shape, data in rows])
        except (KeyError, msgspec.DecodeError, UnicodeError, TypeError):
            return self._as_far_as_readable(stream, rows)

    def _as_far_as_readable(self, stream: str, rows: Sequence[Any]) -> History:
        events: list[StoredEvent] = []
        for _, _, type_, shape, data in rows:
            try:
                events.append(self.codec.decode(type_, shape, data))
            except StoreError as poison:
                return History(stream, events, poison)
        return History(stream, events)

    def streams(self, prefix: str = "") -> list[StreamHead]:
        with self.database.reading() as cursor:
            self._sql.heads.run(cursor, (prefix, prefix + LAST_TEXT))
            return [StreamHead(*row) for row in self._fetch(cursor)]

    def head(self, stream: str) -> StreamHead | None:
        with self.database.reading() as cursor:
            self._sql.head.run(cursor, (stream,))
            row = cursor.fetchone()
        return StreamHead(*row) if row else None

    def highest_epoch(self, family: str) -> int:
        with self.database.reading() as cursor:
            return self._totals(cursor, family)[1]

    def last_position(self) -> int:
        """The position of the newest event, 0 in an empty log."""
        with self.database.reading() as cursor:
            self._sql.last_position.run(cursor)
            return cursor.fetchone()[0] or 0

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        """The rows as they are stored, in global order, whatever has been done to them.

        Text that is not UTF-8 comes with lone surrogates in place of the offending bytes.
        """
        while True:
            with self.database.any_bytes() as cursor:
                self._sql.all_rows.run(cursor, (after, PAGE))
                page = cursor.fetchall()
            yield from map(Row._make, page)
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def damages(self) -> list[str]:
        """What is wrong below the rows: with the database itself, and with the fence."""
        found = self.database.damages()
        with self.database.reading() as cursor:
            self._sql.fences.run(cursor)
            fences = dict(cursor.fetchall())
            self._sql.epochs.run(cursor)
            stored = highest_epochs(row for row in cursor.fetchall() if isinstance(row[1], int))
        for family, epoch in sorted(stored.items()):
            if epoch > (fence := fences.get(family, 0)):
                found.append(
                    f"the fence of {family} stands at epoch {fence}, though epoch {epoch} has written"
                )
        return found

    def _records(self, statement: Statement, values: tuple[object, ...]) -> list[Record]:
        with self.database.reading() as cursor:
            statement.run(cursor, values)
            rows = [Row._make(row) for row in self._fetch(cursor)]
        decode = self.codec.decode
        return [record(row, decode(row.type, row.schema_version, row.data)) for row in rows]

    def _fetch(self, cursor: Any) -> list[Any]:
        try:
            rows: list[Any] = cursor.fetchall()
        except Exception as error:
            if "decode to UTF-8" in str(error):
                raise UndecodableEvent("event", f"{error}; verify the log") from error
            raise
        return rows


def highest_epochs(written: Iterable[tuple[str, int]]) -> dict[str, int]:
    """By family, from streams and the epochs that wrote to them."""
    found: dict[str, int] = {}
    for stream, epoch in written:
        family = family_of(stream)
        found[family] = max(found.get(family, 0), epoch)
    return found


def _by_stream(rows: Iterable[Any]) -> Iterator[list[Any]]:
    return (list(group) for _, group in groupby(rows, itemgetter(0)))
