"""Bring the tables of a log to the revision of this code."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from store import schema
from store.connecting import check_revision, connect, found_revision
from store.database import Database
from store.errors import SchemaTooOld
from store.opening import TIMEOUT_SECONDS


def current(url: str) -> str | None:
    """The revision of a log's tables, None for an empty database; raises `LogUnavailable`."""
    database = _open(url)
    try:
        return found_revision(database)
    finally:
        database.close()


def migrate(url: str) -> tuple[str | None, str]:
    """Migrate a log, all steps or none, and return the revisions before and after.

    Raises:
        LogUnavailable: The log is not there or cannot be written.
        SchemaTooNew: A newer release wrote the log; nothing was touched.
    """
    database = _open(url)
    try:
        return _migrate(database), schema.REVISION
    finally:
        database.close()


def _migrate(database: Database) -> str | None:
    found = found_revision(database)
    if found is not None:
        try:
            check_revision(database.label, found)
        except SchemaTooOld:
            pass
        else:
            return found
    with database.writing():
        settings = configuration()
        settings.attributes["connection"] = database.connection
        command.upgrade(settings, schema.REVISION)
    return found


def configuration() -> Config:
    """Alembic's settings; no ini file is needed."""
    settings = Config()
    settings.set_main_option("script_location", "store:migrations")
    settings.set_main_option("path_separator", "os")
    return settings


def revisions() -> tuple[str, ...]:
    """The revisions of the scripts, oldest first."""
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    return tuple(reversed([script.revision for script in scripts]))


def _open(url: str) -> Database:
    return connect(url, create=False, synchronous="FULL", timeout_seconds=TIMEOUT_SECONDS)
