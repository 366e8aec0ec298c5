"""Faults below the log: locks, full and failing disks, forks, and what they leave behind."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from store import connecting
from store.chain import verify
from store.errors import LogUnavailable, UndecodableEvent, UnknownEventType
from store.locking import FileLock
from store.log import SqlEventLog
from store.opening import open_log
from store.records import History
from store.statements import Statements
from tests.store.samples import OTHER, STREAM, SteppingClock, some_changes


def impatient(url: str) -> SqlEventLog:
    log = open_log(url, SteppingClock(), create=True, timeout_seconds=0.05)
    assert isinstance(log, SqlEventLog)
    return log


def test_lock_excludes_a_second_holder(tmp_path: Path) -> None:
    first, second = (FileLock(str(tmp_path / "lock"), 0.01) for _ in range(2))
    first.acquire()

    with pytest.raises(TimeoutError, match=r"lock is held by another process for more than 0\.01 s"):
        second.acquire()
    first.release()
    second.acquire()

    first.close()
    second.close()


def test_waiting_writer_gets_the_lock(tmp_path: Path) -> None:
    first, second = (FileLock(str(tmp_path / "lock"), 10.0) for _ in range(2))
    first.acquire()
    waiter = threading.Thread(target=second.acquire)

    waiter.start()
    first.release()
    waiter.join(timeout=10.0)

    assert not waiter.is_alive()
    first.close()
    second.close()


def test_writer_locked_out_for_too_long_gives_up(url: str) -> None:
    with impatient(url) as first, impatient(url) as second:
        with (
            first.database.writing(),
            pytest.raises(LogUnavailable, match="by another process"),
        ):
            second.append(STREAM, some_changes(1), expected_version=0)

        second.append(STREAM, some_changes(1), expected_version=0)
        assert len(first.read_all()) == 1


def test_foreign_transaction_is_waited_for_in_vain(url: str, tmp_path: Path) -> None:
    """Another program, say the sqlite3 shell, knows nothing of the lock file."""
    with impatient(url) as log:
        foreign = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")

        with pytest.raises(LogUnavailable, match="locked by another process for too long"):
            log.append(STREAM, some_changes(1), expected_version=0)

        foreign.close()
        log.append(STREAM, some_changes(1), expected_version=0)


def test_sound_library_needs_no_lock_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "WAL_RESET_FIXED", (0,))

    with impatient(url) as log:
        log.append(STREAM, some_changes(1), expected_version=0)

    assert not (tmp_path / "log.db.lock").exists()


def test_affected_library_locks_every_transaction(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "WAL_RESET_FIXED", (99,))
    with impatient(url) as log:
        outside = FileLock(str(tmp_path / "log.db.lock"), 0.0)
        with log.database.writing(), pytest.raises(TimeoutError):
            outside.acquire()

        outside.acquire()
        with pytest.raises(LogUnavailable, match="held by another process"):
            log.append(STREAM, some_changes(1), expected_version=0)
        outside.release()
        outside.close()


def test_uncommitted_events_are_invisible(url: str) -> None:
    """A reader at position 1 must find nothing, and later everything: no position is ever skipped."""
    with impatient(url) as writer, impatient(url) as reader:
        writer.append(STREAM, some_changes(1), expected_version=0)
        pages = reader.subscribe(after=1)
        with writer.database.writing() as cursor:
            cursor.execute(
                "INSERT INTO events SELECT 2, stream, 2, type, schema_version, at, recorded_at, epoch, "
                "cause, 'id', data, hash FROM events"
            )
            seen_during = next(pages)

        assert seen_during == []
        assert [record.position for record in next(pages)] == [2]


def test_full_disk_leaves_the_log_as_it_was(sql_log: SqlEventLog) -> None:
    sql_log.append(STREAM, some_changes(1), expected_version=0)
    with sql_log.database.reading() as cursor:
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(LogUnavailable, match=r"log\.db: the disk is full"):
        sql_log.append(STREAM, some_changes(500, 2), expected_version=1)

    assert len(sql_log.read_all()) == 1
    with sql_log.database.reading() as cursor:
        cursor.execute("PRAGMA max_page_count = 100000")
    sql_log.append(STREAM, some_changes(500, 2), expected_version=1)
    assert verify(sql_log) == []


def test_read_only_log_can_be_read(url: str, sql_log: SqlEventLog) -> None:
    sql_log.append(STREAM, some_changes(2), expected_version=0)

    with open_log(
        url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true", SteppingClock(), create=False
    ) as log:
        assert log.events(STREAM) == some_changes(2)
        with pytest.raises(LogUnavailable, match="it is read-only"):
            log.append(STREAM, some_changes(1, 3), expected_version=2)


class FailingDriver:
    """The driver's connection, but COMMIT meets a failing disk."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def commit(self) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def test_nothing_is_written_after_a_failed_commit(url: str, sql_log: SqlEventLog) -> None:
    sql_log.append(STREAM, some_changes(1), expected_version=0)
    driver = sql_log.database._driver
    sql_log.database._driver = FailingDriver(driver)
    with pytest.raises(LogUnavailable, match="the disk reports an I/O error"):
        sql_log.append(STREAM, some_changes(1, 2), expected_version=1)
    sql_log.database._driver = driver

    with pytest.raises(LogUnavailable, match="nothing more is written until it is opened anew"):
        sql_log.append(STREAM, some_changes(1, 2), expected_version=1)

    with open_log(url, SteppingClock(), create=False) as log:
        log.append(STREAM, some_changes(1, 2), expected_version=1)
        assert verify(log) == []


def test_fork_is_refused_in_the_child(sql_log: SqlEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)

    with pytest.raises(LogUnavailable, match="open it again after a fork"):
        sql_log.read_all()
    with pytest.raises(LogUnavailable, match="open it again after a fork"):
        sql_log.append(STREAM, some_changes(1), expected_version=0)


def test_threads_share_a_log(sql_log: SqlEventLog) -> None:
    def write(stream: str) -> None:
        for version in range(25):
            sql_log.append(stream, some_changes(1, version), expected_version=version)
            sql_log.read(stream)

    writers = [threading.Thread(target=write, args=(f"machine/m{number}",)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [record.position for record in sql_log.read_all()] == list(range(1, 101))
    assert verify(sql_log) == []


def test_forgotten_log_closes_under_the_lock(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "WAL_RESET_FIXED", (99,))
    log = impatient(url)
    log.append(STREAM, some_changes(1), expected_version=0)
    attempts = []
    attempt = FileLock.attempt
    monkeypatch.setattr(FileLock, "attempt", lambda lock: attempts.append(lock.path) or attempt(lock))

    del log
    gc.collect()

    assert attempts == [str(tmp_path / "log.db.lock")]
    assert not (tmp_path / "log.db-wal").exists()


def test_forgotten_log_waits_for_nobody(url: str, tmp_path: Path) -> None:
    """Whoever holds the lock has the file open, so this is not the last connection to close."""
    log = open_log(url, SteppingClock(), create=True)
    holder = FileLock(str(tmp_path / "log.db.lock"), 0.0)
    holder.acquire()

    del log
    gc.collect()

    holder.close()
    open_log(url, SteppingClock(), create=False).close()


@pytest.mark.parametrize("statement", ["data = CAST(x'FF7B' AS TEXT)", "data = '{'", "type = 'Nonsense'"])
def test_poison_in_one_stream_leaves_the_others(sql_log: SqlEventLog, statement: str) -> None:
    sql_log.append(STREAM, some_changes(2), expected_version=0)
    sql_log.append(OTHER, some_changes(2), expected_version=0)
    with sql_log.database.writing() as cursor:
        cursor.execute(f"UPDATE events SET {statement} WHERE position = 2")

    for poisoned in (sql_log.read, sql_log.events):
        with pytest.raises(
            (UndecodableEvent, UnknownEventType), match=r"cannot be read|no event type Nonsense"
        ):
            poisoned(STREAM)

    assert sql_log.events(OTHER) == some_changes(2)
    assert [head.version for head in sql_log.streams()] == [2, 2]


@pytest.mark.parametrize("statement", ["data = CAST(x'FF7B' AS TEXT)", "data = '{'", "type = 'Nonsense'"])
def test_poison_ends_its_own_history_only(sql_log: SqlEventLog, statement: str) -> None:
    sql_log.append(STREAM, some_changes(3), expected_version=0)
    sql_log.append(OTHER, some_changes(2), expected_version=0)
    with sql_log.database.writing() as cursor:
        cursor.execute(f"UPDATE events SET {statement} WHERE position = 2")

    healthy, poisoned = sql_log.histories()

    assert healthy == History(OTHER, some_changes(2))
    assert (poisoned.stream, poisoned.events) == (STREAM, some_changes(1))
    assert isinstance(poisoned.poison, UndecodableEvent | UnknownEventType)


def test_every_statement_compiles_for_postgresql() -> None:
    class Engine:
        dialect = postgresql.dialect()

    statements = vars(Statements(Engine()))  # type: ignore[arg-type]

    assert statements
    for statement in statements.values():
        assert "?" not in statement.sql
    assert "%(stream)s" in statements["stream_rows"].sql
    values = ("workspace/a/b/c", 4)
    arguments = statements["stream_rows"]._arranged(values)
    assert arguments == {"stream": values[0], "after": values[1]}
