"""URLs into databases, and databases into ones that hold a log of the right schema."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from store import schema
from store.database import WAL_RESET_FIXED, Database
from store.errors import LogUnavailable, SchemaTooNew, SchemaTooOld
from store.locking import FileLock

SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")
"""The SQLite settings under which a killed process loses nothing; OFF is not offered."""

POSTGRESQL = ("postgres", "postgresql")
"""Written without a driver, they mean psycopg."""


def connect(url: str, *, create: bool, synchronous: str, timeout_seconds: float) -> Database:
    """Open the database of a log URL; see `opening.open_log`."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed, create, synchronous, timeout_seconds)
    return Database(_engine(parsed), parsed.render_as_string(hide_password=True), None)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LogUnavailable(
            f"{url}: not a log URL; expected one like sqlite:///kaito.db or postgresql://host/name"
        ) from None
    if parsed.drivername in POSTGRESQL:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise LogUnavailable(f"{url}: {parsed.drivername} is not supported; expected sqlite or postgresql")
    return parsed


def _engine(url: URL, **arguments: Any) -> Engine:
    try:
        return create_engine(url, poolclass=NullPool, **arguments)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        missing = getattr(error, "name", None) or str(error)
        raise LogUnavailable(
            f"{url.render_as_string(hide_password=True)}: the driver is not installed: {missing}"
        ) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise LogUnavailable(f"{url.render_as_string(hide_password=True)}: {error}") from error


def _connect_sqlite(url: URL, create: bool, synchronous: str, timeout_seconds: float) -> Database:
    label = url.render_as_string()
    chosen = str(url.query.get("synchronous", synchronous)).upper()
    if chosen not in SYNCHRONOUS:
        raise LogUnavailable(f"{label}: synchronous is expected to be one of {SYNCHRONOUS}, found {chosen}")
    url = url.difference_update_query(["synchronous"])
    path = _path(url)
    _require_place(label, path, create)
    engine = _engine(
        url,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": timeout_seconds},
    )
    event.listen(engine, "connect", _settings(chosen))
    return Database(engine, label, _lock(label, path, timeout_seconds))


def _lock(label: str, path: str, timeout_seconds: float) -> FileLock | None:
    """The lock an affected library needs.

    Where neither the right to make the lock file nor a lock file is given, SQLite cannot make its own files
    beside the log either, so nothing is written from here and reading needs no lock.
    """
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return None
    try:
        return FileLock(f"{path}.lock", timeout_seconds)
    except OSError as error:
        if os.access(os.path.dirname(path) or ".", os.W_OK):
            raise LogUnavailable(f"{label}: {path}.lock cannot be made: {error.strerror}") from error
        return None


def _path(url: URL) -> str:
    """The file of an SQLite URL, also of ``sqlite:///file:name.db?mode=ro&uri=true``."""
    return (url.database or "").removeprefix("file:")


def _require_place(label: str, path: str, create: bool) -> None:
    if os.path.isdir(path):
        raise LogUnavailable(f"{label}: {path} is a directory; expected a file")
    if os.path.exists(path):
        if not os.access(path, os.R_OK):
            raise LogUnavailable(f"{label}: {path} cannot be read: permission denied")
        return
    if not create:
        raise LogUnavailable(f"no log at {path}")
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise LogUnavailable(f"{label}: the directory {directory} does not exist")
    if not os.access(directory, os.W_OK):
        raise LogUnavailable(f"{label}: the directory {directory} cannot be written: permission denied")


def _settings(synchronous: str) -> Any:
    """What every SQLite connection is set to. WAL is a property of the file, which may be read-only."""

    def apply(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_READONLY":
                    raise

    return apply


def found_revision(database: Database) -> str | None:
    """The revision of the tables, None for an empty database.

    Raises:
        LogUnavailable: The database has tables, and they are not a log's.
    """
    with database.reading():
        tables = set(inspect(database.connection).get_table_names())
        if schema.revision_table.name in tables and schema.events.name in tables:
            return database.connection.execute(schema.revision_table.select()).scalar()
    if tables:
        raise LogUnavailable(
            f"{database.label}: holds tables of another program: {', '.join(sorted(tables))}"
        )
    return None


def require_schema(database: Database, *, create: bool) -> None:
    """Make the tables where there are none and ``create`` allows it; refuse tables of another revision."""
    found = found_revision(database)
    if found is None and create:
        create_tables(database)
        return
    if found is None:
        raise LogUnavailable(f"{database.label}: no log in this database; it is empty")
    check_revision(database.label, found)


def check_revision(label: str, found: str) -> None:
    """Raise `SchemaTooOld` or `SchemaTooNew` unless ``found`` is the revision of this code."""
    known = schema.REVISION
    if found == known:
        return
    if found in schema.REVISIONS:
        raise SchemaTooOld(
            f"{label}: its tables are of revision {found}, the code needs {known}: run `kaito log migrate`",
            found,
            known,
        )
    raise SchemaTooNew(
        f"{label}: its tables are of revision {found}, written by a newer release; this one knows {known}",
        found,
        known,
    )


def create_tables(database: Database) -> None:
    """Make the tables of the present revision in one transaction, unless another process was faster.

    They are the same as those the migrations make, which a test compares; loading Alembic for an empty
    database would take longer than everything else.
    """
    with database.writing() as cursor:
        if found_revision(database) is not None:
            return
        for table in (*schema.metadata.sorted_tables, schema.revision_table):
            cursor.execute(str(CreateTable(table).compile(dialect=database.engine.dialect)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                cursor.execute(str(CreateIndex(index).compile(dialect=database.engine.dialect)))
        insert = schema.revision_table.insert().values(version_num=schema.REVISION)
        database.connection.execute(insert)
