"""One connection to the database behind a log: who may write when, and what its errors mean.

Two rules hold for every transaction that writes. It excludes all other writers from its first statement
on (``BEGIN IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL), so positions are handed out in commit
order. And on SQLite it holds an exclusive lock on ``<file>.lock`` where the library needs it: versions
3.7.0 to 3.51.2 can corrupt a WAL database when two connections write or checkpoint at the same moment (the
WAL-reset bug; Debian 12 ships 3.40.1). The automatic checkpoint runs inside COMMIT, and the last
connection to close checkpoints too, so both happen under the lock, as does the first access after opening,
which may have to recover the WAL of a killed process. Readers need no lock: a reader never checkpoints.

One connection serves all threads of a log, one transaction at a time. It must not be carried over a fork.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import RLock
from typing import Any
from weakref import finalize

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from store.errors import LogUnavailable
from store.locking import FileLock

WAL_RESET_FIXED = (3, 51, 3)
"""The first SQLite version without the WAL-reset bug."""

ADVISORY_LOCK = 0x6B6169746F
"""The PostgreSQL advisory lock of all writers: "kaito" in ASCII."""

BUSY = "it was locked by another process for too long"
CAUSES = {
    "SQLITE_BUSY": BUSY,
    "SQLITE_LOCKED": BUSY,
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_NOTADB": "the file is not an SQLite database",
    "SQLITE_CORRUPT": "the database is damaged",
    "SQLITE_IOERR": "the disk reports an I/O error",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_PERM": "permission denied",
}
"""SQLite's primary result codes in plain words."""


class Transaction:
    """The context of `Database.writing`; a class, because a generator would cost more than the locks."""

    __slots__ = ("_cursor", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor: Any = None

    def __enter__(self) -> Any:
        self._cursor = self._database.begin()
        return self._cursor

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._database.end(self._cursor, error)


class Database:
    """The connection, its lock, its transactions.

    Args:
        label: What error messages call the log: its URL without a password.
        lock: The lock between processes, where the library needs one.
    """

    def __init__(self, engine: Engine, label: str, lock: FileLock | None) -> None:
        self.engine = engine
        self.label = label
        self._lock = lock
        self._threads = RLock()
        self._process = os.getpid()
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._broken = ""
        self._in_transaction = False
        with self._between_processes(), self.translated():
            self.connection: Connection = engine.connect()
            self._driver: Any = self.connection.connection.driver_connection
            self._abandoned = finalize(self, _abandon, self.connection, lock, self._process)
            self._prepare()

    def _prepare(self) -> None:
        """Touch the file, so that a WAL left by a killed process is recovered now, under the lock."""
        if self.is_sqlite:
            self._driver.execute("SELECT count(*) FROM sqlite_master").fetchone()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A cursor; what it reads is committed, or written by the transaction around it."""
        with self._threads, self.translated():
            self._require_own_process()
            cursor = self._driver.cursor()
            try:
                yield cursor
            finally:
                cursor.close()
                if not self._in_transaction:
                    self._end_reading()

    def _end_reading(self) -> None:
        """Let go of the snapshot that reading took."""
        if self.connection.in_transaction():
            self.connection.rollback()
        elif not self.is_sqlite:
            self._driver.rollback()

    def writing(self) -> Transaction:
        """A cursor in a transaction that excludes all other writers; any exception rolls it back.

        When COMMIT itself fails with an I/O error, whether the transaction is on disk is unknown, and a
        repeated sync may be answered with success although the pages were dropped. So nothing more is
        written through this connection.
        """
        return Transaction(self)

    def begin(self) -> Any:
        """Take all locks in their order, threads before processes before the database's own."""
        self._threads.acquire()
        try:
            self._require_own_process()
            if self._lock is not None:
                self._lock.acquire()
            try:
                return self._begin()
            except BaseException:
                self._release_lock()
                raise
        except BaseException as error:
            self._threads.release()
            self._raise_translated(error)
            raise

    def end(self, cursor: Any, error: BaseException | None) -> None:
        """Commit, or roll back because of ``error``, and let go of all locks."""
        try:
            if error is None:
                self._commit()
        except BaseException as failure:
            error = failure
            raise
        finally:
            if error is not None:
                self._roll_back()
            self._in_transaction = False
            cursor.close()
            if self.connection.in_transaction():
                self.connection.rollback()
            self._release_lock()
            self._threads.release()
            self._raise_translated(error)

    def _begin(self) -> Any:
        if self._broken:
            raise LogUnavailable(
                f"{self.label}: {self._broken}; nothing more is written until it is opened anew"
            )
        cursor = self._driver.cursor()
        if self.is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        else:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        self._in_transaction = True
        return cursor

    def _commit(self) -> None:
        try:
            self._driver.commit()
        except sqlite3.Error as error:
            if _primary_code(error) == "SQLITE_IOERR":
                self._broken = "a commit failed with an I/O error"
            raise

    def _roll_back(self) -> None:
        """The error that led here is the one to report, not a second one."""
        with suppress(self._driver_error()):
            self._driver.rollback()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def any_bytes(self) -> Iterator[Any]:
        """A reading cursor that returns text which is not UTF-8 as well, as lone surrogates."""
        with self.reading() as cursor:
            if not self.is_sqlite:
                yield cursor
                return
            former, self._driver.text_factory = self._driver.text_factory, _lenient
            try:
                yield cursor
            finally:
                self._driver.text_factory = former

    def damages(self) -> list[str]:
        """What the database itself finds wrong with its pages and indexes."""
        if not self.is_sqlite:
            return []
        with self._threads:
            try:
                found = self._driver.execute("PRAGMA integrity_check").fetchall()
            except sqlite3.DatabaseError as error:
                return [str(error)]
        return [text for (text,) in found if text != "ok"]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn driver errors into `LogUnavailable` with one clear line."""
        try:
            yield
        except Exception as error:
            self._raise_translated(error)
            raise

    def _raise_translated(self, error: BaseException | None) -> None:
        """Raise `LogUnavailable` from an error of the driver, a lock or the file; pass others by."""
        if isinstance(error, DBAPIError):
            raise LogUnavailable(f"{self.label}: {explain(error.orig or error)}") from error
        if isinstance(error, self._driver_error()):
            raise LogUnavailable(f"{self.label}: {explain(error)}") from error
        if isinstance(error, TimeoutError | PermissionError):
            raise LogUnavailable(f"{self.label}: {error}") from error

    def close(self) -> None:
        """Close the connection; the last one of a file checkpoints its WAL, hence under the lock."""
        with self._threads:
            if self._abandoned.detach() is None or self._process != os.getpid():
                return
            with suppress(LogUnavailable), self._between_processes():
                self.connection.close()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    @contextmanager
    def _held(self, lock: FileLock) -> Iterator[None]:
        with self.translated():
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _between_processes(self) -> Any:
        return nullcontext() if self._lock is None else self._held(self._lock)

    def _require_own_process(self) -> None:
        if self._process != os.getpid():
            raise LogUnavailable(f"{self.label}: opened by another process; open it again after a fork")

    def _driver_error(self) -> type[Exception]:
        errors: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        return errors


def _abandon(connection: Connection, lock: FileLock | None, process: int) -> None:
    """Close what nobody closed, as its last reference goes or the process ends.

    This may run amid a transaction of another log on the same file, so it must not wait for the lock. Nor
    need it: whoever holds the lock has the file open, so this connection is not the last one and checkpoints
    nothing.
    A fork of the process that opened them leaves both alone: its copies are not its own.
    """
    if process != os.getpid():
        return
    if lock is not None:
        lock.attempt()
    connection.close()
    if lock is not None:
        lock.close()


def explain(error: BaseException) -> str:
    """One line on a driver's error, in plain words where its code is known."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    cause = CAUSES.get(_primary_code(error))
    return f"{cause} ({first_line})" if cause else first_line


def _primary_code(error: BaseException) -> str:
    """``SQLITE_IOERR_FSYNC`` and its like as ``SQLITE_IOERR``."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
