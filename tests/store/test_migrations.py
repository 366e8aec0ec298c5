"""The scripts and the tables of today agree, and migrating is all or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from store import schema
from store.errors import LogUnavailable, SchemaTooNew
from store.migrations.runner import current, migrate, revisions
from store.opening import open_log
from tests.store.samples import STREAM, SteppingClock, some_changes


def tables(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return [(name, " ".join(sql.split()) if sql else "") for name, sql in found]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.db"
    path.touch()
    return path


def test_scripts_bear_the_known_revisions() -> None:
    assert revisions() == schema.REVISIONS


def test_empty_database_is_migrated(empty: Path) -> None:
    assert migrate(f"sqlite:///{empty}") == (None, schema.REVISION)

    assert current(f"sqlite:///{empty}") == schema.REVISION
    with open_log(f"sqlite:///{empty}", SteppingClock(), create=False) as log:
        log.append(STREAM, some_changes(1), expected_version=0)


def test_scripts_make_the_tables_of_today(empty: Path, url: str, tmp_path: Path) -> None:
    migrate(f"sqlite:///{empty}")
    open_log(url, SteppingClock(), create=True).close()

    assert tables(empty) == tables(tmp_path / "log.db")


def test_scripts_and_metadata_agree(empty: Path) -> None:
    migrate(f"sqlite:///{empty}")
    engine = create_engine(f"sqlite:///{empty}")

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    engine.dispose()

    assert differences == []


def test_migrating_twice_changes_nothing(empty: Path) -> None:
    migrate(f"sqlite:///{empty}")

    assert migrate(f"sqlite:///{empty}") == (schema.REVISION, schema.REVISION)


def test_failed_migration_leaves_nothing(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no space for an index")

    monkeypatch.setattr(Operations, "create_index", refuse)
    with pytest.raises(OSError, match="no space"):
        migrate(f"sqlite:///{empty}")
    monkeypatch.undo()

    assert tables(empty) == []
    assert migrate(f"sqlite:///{empty}") == (None, schema.REVISION)


def test_newer_log_is_not_migrated(url: str, tmp_path: Path) -> None:
    open_log(url, SteppingClock(), create=True).close()
    connection = sqlite3.connect(tmp_path / "log.db")
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()

    with pytest.raises(SchemaTooNew, match="0999"):
        migrate(url)

    assert current(url) == "0999"


def test_missing_log_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="no log at"):
        migrate(f"sqlite:///{tmp_path}/none.db")

    assert list(tmp_path.iterdir()) == []
