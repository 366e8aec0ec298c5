"""The event log against bare sqlite3 and against the eventsourcing library.

Bare sqlite3 reads and writes the same rows, all columns, with the same pragmas and into the same tables with
the same indexes. What we do on top of it is hashing, identities, version, epoch and lock when writing, and
decoding and folding when reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import pytest
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import DatetimeAsISO, JSONTranscoder, Mapper
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from benchmarks.conftest import Compare
from statemachine.events import WORKSPACE_EVENTS
from statemachine.replay import fold
from store.codec import EVENTS
from store.envelope import GENESIS, Row, batch, seal
from store.log import SqlEventLog
from store.opening import open_log
from store.records import StoredEvent
from tests.builders import a_history

Say = Callable[..., None]

EVENTS_READ = 1_000_000
EVENTS_MAPPED = 100_000
"""What the eventsourcing library reads; a million would take a minute a round. Compared per event."""

CONCURRENT = 20
"""Streams that grow side by side, so that the rows of one stream do not lie together in the file."""

NOW = datetime(2024, 4, 5, tzinfo=UTC)
HISTORIES: list[list[StoredEvent]] = [list(a_history(nodes, deleted=True)) for nodes in (1, 1, 2, 1, 3)]


def histories() -> Iterator[tuple[str, list[StoredEvent]]]:
    """Streams without end, each the life of a Workspace of one to three nodes."""
    for number in count():
        yield f"workspace/default/w{number}/u{number}", HISTORIES[number % len(HISTORIES)]


def interleaved(groups: list[tuple[str, list[StoredEvent]]], position: int) -> list[Row]:
    """The rows of these streams, five events of each in turn, as appends would make them."""
    rows: list[Row] = []
    last: dict[str, str] = {}
    for first in range(0, max(len(history) for _, history in groups), 5):
        for stream, history in groups:
            events = history[first : first + 5]
            sealed = seal(
                batch(EVENTS, stream, events, first, ""),
                stream,
                version=first,
                position=position + len(rows),
                previous=last.get(stream, GENESIS),
                recorded_at=NOW,
                epoch=1,
                cause="reconcile",
            )
            rows += sealed
            if sealed:
                last[stream] = sealed[-1].hash
    return rows


def opened(path: Path, synchronous: str = "FULL") -> SqlEventLog:
    log = open_log(f"sqlite:///{path}", lambda: NOW, create=True, synchronous=synchronous)
    assert isinstance(log, SqlEventLog)
    return log


def bare(path: Path) -> sqlite3.Connection:
    """A connection to an empty log's tables, set as ours is."""
    opened(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


INSERT = f"INSERT INTO events VALUES ({', '.join('?' * len(Row._fields))})"


# --- reading ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a million events."""
    path = tmp_path_factory.mktemp("filled") / "log.db"
    source, position = histories(), 0
    with opened(path, "NORMAL") as log:
        while position < EVENTS_READ:
            with log.database.writing() as cursor:
                for _ in range(50):
                    rows = interleaved(list(islice(source, CONCURRENT)), position)
                    position += len(rows)
                    cursor.executemany(INSERT, rows)
    return path


def read_bare(path: Path, columns: str = "*") -> int:
    connection = sqlite3.connect(path)
    rows = sum(1 for _ in connection.execute(f"SELECT {columns} FROM events ORDER BY position"))
    connection.close()
    return rows


def replay(log: SqlEventLog) -> int:
    """Fold every stream of the log."""
    replayed = 0
    for history in log.histories():
        fold(history.events)  # type: ignore[arg-type]
        replayed += len(history.events)
    return replayed


def test_replay_against_bare_read(filled: Path, compare: Compare, say: Say) -> None:
    with opened(filled) as log:
        assert replay(log) == read_bare(filled) >= EVENTS_READ

        ours, theirs = compare(lambda: replay(log), lambda: read_bare(filled), rounds=3)

    say("replay of 1 M events / bare read of the same rows", ours / theirs, "<= 3")
    say("replayed events a second, millions", EVENTS_READ / ours / 1e6)
    assert ours / theirs <= 3


def mapped_class(type_: type) -> type:
    """The library's event of the same name; it keeps its fields in the instance's dict."""
    created = type(type_.__name__, (DomainEvent,), {"__module__": __name__})
    globals()[type_.__name__] = created
    return created


class Library:
    """The eventsourcing library's own recorder and mapper over the same events, ids UUIDs as usual."""

    def __init__(self, path: Path) -> None:
        transcoder = JSONTranscoder()
        transcoder.register(DatetimeAsISO())
        self.mapper: Mapper[Any] = Mapper(transcoder)
        self.datastore = SQLiteDatastore(str(path))
        self.recorder = SQLiteApplicationRecorder(self.datastore)
        self.recorder.create_table()
        self.ids: list[UUID] = []

    def fill(self, count: int) -> None:
        classes = {type_: mapped_class(type_) for type_ in WORKSPACE_EVENTS}
        written = 0
        for stream, history in histories():
            id_ = uuid5(NAMESPACE_URL, stream)
            events = [mapped(classes, id_, version, event) for version, event in enumerate(history, 1)]
            self.recorder.insert_events([self.mapper.to_stored_event(event) for event in events])
            self.ids.append(id_)
            written += len(events)
            if written >= count:
                return

    def streams(self) -> int:
        """Read and map stream by stream, as the library's repository does to rebuild an aggregate."""
        read = 0
        for id_ in self.ids:
            events = [self.mapper.to_domain_event(stored) for stored in self.recorder.select_events(id_)]
            read += len(events)
        return read

    def pages(self) -> int:
        """Read and map in global order, in pages far larger than the library's default of ten."""
        start, read = 1, 0
        while page := self.recorder.select_notifications(start, 5000):
            events = [self.mapper.to_domain_event(notification) for notification in page]
            read += len(events)
            start = page[-1].id + 1
        return read


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    library = Library(tmp_path_factory.mktemp("library") / "library.db")
    library.fill(EVENTS_MAPPED)
    yield library
    library.datastore.close()


def mapped(classes: dict[Any, type], id_: UUID, version: int, event: StoredEvent) -> Any:
    fields = {
        name: value if isinstance(value, datetime) else msgspec.to_builtins(value)
        for name, value in msgspec.structs.asdict(event).items()
    }
    created = object.__new__(classes[type(event)])
    created.__dict__.update(
        {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()},
        originator_id=id_,
        originator_version=version,
    )
    return created


@pytest.mark.parametrize("way", ["streams", "pages"])
def test_replay_against_the_eventsourcing_library(
    filled: Path, library: Library, compare: Compare, say: Say, way: str
) -> None:
    """The promise is about the same job, stream by stream; its quickest way is shown too."""
    read = getattr(library, way)
    mapped = read()
    assert mapped >= EVENTS_MAPPED
    with opened(filled) as log:
        ours, theirs = compare(lambda: replay(log), read, rounds=3)

    gain = (theirs / mapped) / (ours / EVENTS_READ)
    promise = 3.0 if way == "streams" else 2.0
    say(f"eventsourcing reading and mapping by {way} / our replay, time per event", gain, f">= {promise}")
    assert gain >= promise


# --- writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "appends", "rounds", "promise"), [(1, 50, 60, 1.5), (100, 10, 30, 2.5)], ids=["one", "hundred"]
)
def test_append_against_bare_insert(
    tmp_path: Path, compare: Compare, say: Say, size: int, appends: int, rounds: int, promise: float
) -> None:
    """Both grow a log of their own by the same rows, in turns."""
    streams = (f"workspace/default/w{number}/u{number}" for number in count())
    events = (HISTORIES[1] * 6)[:size]
    connection, position = bare(tmp_path / "bare.db"), 0
    stream, rows = "", []

    def prepare() -> None:
        nonlocal stream, rows, position
        stream = next(streams)
        rows = []
        last = GENESIS
        for turn in range(appends):
            new = batch(EVENTS, stream, events, turn * size, "")
            made = seal(
                new,
                stream,
                version=turn * size,
                position=position,
                previous=last,
                recorded_at=NOW,
                epoch=1,
                cause="reconcile",
            )
            position, last = position + size, made[-1].hash
            rows.append(made)

    def insert() -> None:
        for made in rows:
            connection.execute("BEGIN IMMEDIATE")
            if size == 1:
                connection.execute(INSERT, made[0])
            else:
                connection.executemany(INSERT, made)
            connection.execute("COMMIT")

    def append() -> None:
        for turn in range(appends):
            log.append(stream, events, expected_version=turn * size, epoch=1, cause="reconcile")

    with opened(tmp_path / "ours.db") as log:
        ours, theirs = compare(append, insert, rounds=rounds, before=prepare)
        written = list(log.rows())
    assert written == list(connection.execute("SELECT * FROM events ORDER BY position"))
    connection.close()

    say(f"append of {size} a transaction / bare insert of the same rows", ours / theirs, f"<= {promise}")
    say(f"appends of {size} a second", appends / ours)
    assert ours / theirs <= promise
