"""The event log in memory: the same answers as `SqlEventLog`, for simulations and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from threading import RLock
from types import TracebackType

from store.codec import EVENTS, Codec
from store.envelope import GENESIS, Batch, Row, batch, record, seal
from store.errors import LinesRefused, StaleEpoch, WrongExpectedVersion
from store.records import Appended, History, Record, StoredEvent, StreamHead, family_of


class MemoryEventLog:
    """An `EventLog` that lives as long as the object.

    Args:
        now: Gives ``recorded_at``; the simulator passes virtual time, so that equal runs write equal bytes.
    """

    def __init__(self, now: Callable[[], datetime], codec: Codec = EVENTS) -> None:
        self.codec = codec
        self._now = now
        self._rows: list[Row] = []
        self._records: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._fences: dict[str, int] = {}
        self._threads = RLock()

    def __enter__(self) -> MemoryEventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held that would have to be let go."""

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
        """See `EventLog.append`. Without events it writes nothing and checks version and epoch."""
        new = batch(self.codec, stream, events, expected_version, command_id)
        with self._threads:
            self._check_epoch(family_of(stream), epoch)
            history = self._streams.get(stream, [])
            if len(history) != expected_version:
                return _repeated(history, stream, new, expected_version)
            if events:
                rows = seal(
                    new,
                    stream,
                    version=expected_version,
                    position=len(self._rows),
                    previous=history[-1].hash if history else GENESIS,
                    recorded_at=self._now(),
                    epoch=epoch,
                    cause=cause,
                )
                self._take(rows, events)
            return Appended(expected_version + len(events), self._position_of(stream))

    def extend(self, rows: Iterable[Row]) -> int:
        """See `SqlEventLog.extend`."""
        incoming = list(rows)
        with self._threads:
            for known, row in zip(self._rows, incoming, strict=False):
                if known != row:
                    raise LinesRefused(
                        known.position, f"position {known.position} of the log holds another event"
                    )
            fresh = incoming[len(self._rows) :]
            self._take(fresh, [self.codec.decode(row.type, row.schema_version, row.data) for row in fresh])
            return len(fresh)

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        return self._streams.get(stream, [])[max(after, 0) :]

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        start = max(after, 0)
        return self._records[start : start + limit]

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        while True:
            page = self.read_all(after=after, limit=limit)
            if page:
                after = page[-1].position
            yield page

    def events(self, stream: str, *, after: int = 0) -> list[StoredEvent]:
        """The events of one stream without their envelopes."""
        return [record.event for record in self.read(stream, after=after)]

    def histories(self, prefix: str = "") -> Iterator[History]:
        """Every stream whose name starts with ``prefix``, sorted by name."""
        for stream in sorted(self._streams):
            if stream.startswith(prefix):
                yield History(stream, self.events(stream))

    def streams(self, prefix: str = "") -> list[StreamHead]:
        with self._threads:
            return [_head(history) for name, history in self._streams.items() if name.startswith(prefix)]

    def head(self, stream: str) -> StreamHead | None:
        history = self._streams.get(stream)
        return _head(history) if history else None

    def lead(self, family: str, epoch: int) -> None:
        with self._threads:
            self._check_epoch(family, epoch)
            self._fences[family] = epoch

    def highest_epoch(self, family: str) -> int:
        return self._fences.get(family, 0)

    def _check_epoch(self, family: str, epoch: int) -> None:
        highest = self._fences.get(family, 0)
        if epoch < highest:
            raise StaleEpoch(epoch, highest)

    def last_position(self) -> int:
        """The position of the newest event, 0 in an empty log."""
        return len(self._rows)

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        """The rows as a database would hold them, in global order."""
        yield from self._rows[max(after, 0) :]

    def damages(self) -> list[str]:
        """Nothing lies below the rows that could be damaged."""
        return []

    def _take(self, rows: Sequence[Row], events: Sequence[StoredEvent]) -> None:
        for row, event in zip(rows, events, strict=True):
            stored = record(row, event)
            self._rows.append(row)
            self._records.append(stored)
            self._streams.setdefault(row.stream, []).append(stored)
            family = family_of(row.stream)
            self._fences[family] = max(self._fences.get(family, 0), row.epoch)

    def _position_of(self, stream: str) -> int:
        history = self._streams.get(stream)
        return history[-1].position if history else 0


def _repeated(history: Sequence[Record], stream: str, new: Batch, expected: int) -> Appended:
    """Answer a repeated append with what it wrote, or refuse the expected version."""
    last = expected + len(new.ids)
    stored = history[expected:last]
    if new.ids and [record.event_id for record in stored] == new.ids:
        return Appended(last, stored[-1].position)
    raise WrongExpectedVersion(stream, expected, len(history))


def _head(history: Sequence[Record]) -> StreamHead:
    last = history[-1]
    return StreamHead(last.stream, last.version, last.position, last.hash)
