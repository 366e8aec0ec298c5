"""What opens, what does not, and what the one line says."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from store import connecting, schema
from store.errors import LogUnavailable, SchemaTooNew, SchemaTooOld
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import MEMORY, open_log
from tests.store.samples import START, STREAM, SteppingClock, some_changes


def pragma(log: SqlEventLog, name: str) -> object:
    with log.database.reading() as cursor:
        return cursor.execute(f"PRAGMA {name}").fetchone()[0]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("url", MEMORY)
def test_memory_urls_open_a_log_in_memory(url: str) -> None:
    with open_log(url, SteppingClock(), create=False) as log:
        assert isinstance(log, MemoryEventLog)


def test_events_outlive_the_log_object(url: str) -> None:
    with open_log(url, SteppingClock(), create=True) as log:
        log.append(STREAM, some_changes(2), expected_version=0)

    with open_log(url, SteppingClock(), create=False) as log:
        assert log.events(STREAM) == some_changes(2)


def test_closed_log_is_one_file_and_its_lock(url: str, tmp_path: Path) -> None:
    with open_log(url, SteppingClock(), create=True) as log:
        log.append(STREAM, some_changes(2), expected_version=0)

    assert set(files(tmp_path)) <= {"log.db", "log.db.lock"}


def test_closed_log_answers_with_one_line(url: str) -> None:
    log = open_log(url, SteppingClock(), create=True)
    log.close()
    log.close()

    with pytest.raises(LogUnavailable, match="closed"):
        log.append(STREAM, some_changes(1), expected_version=0)
    with pytest.raises(LogUnavailable, match="closed"):
        log.read_all()


@pytest.mark.parametrize(
    ("query", "argument", "expected"),
    [
        ("", "FULL", 2),
        ("", "NORMAL", 1),
        ("?synchronous=normal", "FULL", 1),
        ("?synchronous=FULL", "NORMAL", 2),
    ],
)
def test_synchronous_is_chosen(url: str, query: str, argument: str, expected: int) -> None:
    with open_log(url + query, SteppingClock(), create=True, synchronous=argument) as log:
        assert isinstance(log, SqlEventLog)
        assert pragma(log, "synchronous") == expected


def test_connection_is_set_to_be_durable(sql_log: SqlEventLog) -> None:
    settings = {name: pragma(sql_log, name) for name in ("journal_mode", "synchronous", "foreign_keys")}

    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert pragma(sql_log, "busy_timeout") == 10_000


def test_missing_log_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match=r"^no log at .*/kaito\.db$"):
        open_log(f"sqlite:///{tmp_path}/kaito.db", SteppingClock(), create=False)

    assert files(tmp_path) == []


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match=r"the directory .*/none does not exist"):
        open_log(f"sqlite:///{tmp_path}/none/kaito.db", SteppingClock(), create=True)

    assert files(tmp_path) == []


def test_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="is a directory; expected a file"):
        open_log(f"sqlite:///{tmp_path}", SteppingClock(), create=True)


def test_forbidden_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(LogUnavailable, match="cannot be written: permission denied"):
        open_log(f"sqlite:///{tmp_path}/kaito.db", SteppingClock(), create=True)


def refuse_lock_files(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    opening = os.open

    def refuse(path: str, *arguments: int) -> int:
        if str(path).endswith(".lock"):
            raise error
        return opening(path, *arguments)

    monkeypatch.setattr(connecting, "WAL_RESET_FIXED", (99,))
    monkeypatch.setattr(os, "open", refuse)


def test_full_disk_leaves_no_log_without_its_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_lock_files(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))

    with pytest.raises(LogUnavailable, match=r"log\.db\.lock cannot be made: No space left on device"):
        open_log(url, SteppingClock(), create=True)


def test_log_in_a_read_only_directory_can_be_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_log(url, SteppingClock(), create=True) as log:
        log.append(STREAM, some_changes(2), expected_version=0)
    refuse_lock_files(monkeypatch, OSError(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)

    with open_log(url, SteppingClock(), create=False) as log:
        assert log.events(STREAM) == some_changes(2)


def test_forbidden_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kaito.db").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(LogUnavailable, match=r"kaito\.db cannot be read: permission denied"):
        open_log(f"sqlite:///{tmp_path}/kaito.db", SteppingClock(), create=True)


@pytest.mark.parametrize("create", [True, False])
def test_other_file_is_refused_untouched(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to have a header\n" * 40)
    before = path.read_bytes()

    with pytest.raises(LogUnavailable, match="not an SQLite database"):
        open_log(f"sqlite:///{path}", SteppingClock(), create=create)

    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
def test_database_of_another_program_is_refused(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()

    with pytest.raises(LogUnavailable, match="tables of another program: songs"):
        open_log(f"sqlite:///{path}", SteppingClock(), create=create)


def test_empty_file_becomes_a_log_when_allowed(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    with pytest.raises(LogUnavailable, match="no log in this database; it is empty"):
        open_log(f"sqlite:///{path}", SteppingClock(), create=False)
    with open_log(f"sqlite:///{path}", SteppingClock(), create=True) as log:
        assert log.read_all() == []


def test_half_made_log_leaves_no_tables(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("killed between two tables")

    monkeypatch.setattr(connecting, "CreateIndex", refuse)
    with pytest.raises(OSError, match="killed between"):
        open_log(url, SteppingClock(), create=True)
    monkeypatch.undo()

    connection = sqlite3.connect(tmp_path / "log.db")
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == []


BAD_URLS = {
    "kaito.db": "not a log URL",
    "": "not a log URL",
    "mysql://localhost/kaito": "mysql is not supported; expected sqlite or postgresql",
    "sqlite+aiosqlite:///kaito.db": "sqlite\\+aiosqlite is not supported",
    "nonsense://x": "nonsense is not supported",
    "sqlite:///kaito.db?synchronous=OFF": "synchronous is expected to be one of",
}


@pytest.mark.parametrize(("url", "why"), BAD_URLS.items(), ids=BAD_URLS)
def test_bad_url_is_one_clear_line(
    url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(LogUnavailable, match=why) as refused:
        open_log(url, SteppingClock(), create=True)

    assert "\n" not in str(refused.value)
    assert files(tmp_path) == []


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(LogUnavailable, match="the driver is not installed: psycopg") as refused:
        open_log("postgresql://kaito:secret@localhost/kaito", SteppingClock(), create=True)

    assert "secret" not in str(refused.value)


def test_log_of_a_newer_release_is_refused_untouched(url: str, tmp_path: Path) -> None:
    open_log(url, SteppingClock(), create=True).close()
    stamp(tmp_path / "log.db", "0999")
    before = (tmp_path / "log.db").read_bytes()

    with pytest.raises(SchemaTooNew, match="revision 0999, written by a newer release") as error:
        open_log(url, SteppingClock(), create=True)

    assert (error.value.found, error.value.known) == ("0999", schema.REVISION)
    assert (tmp_path / "log.db").read_bytes() == before


def test_log_of_an_older_release_is_to_be_migrated(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log(url, SteppingClock(), create=True).close()
    monkeypatch.setattr(schema, "REVISIONS", ("0000", *schema.REVISIONS))
    stamp(tmp_path / "log.db", "0000")

    with pytest.raises(SchemaTooOld, match="run `kaito log migrate`") as error:
        open_log(url, SteppingClock(), create=True)

    assert (error.value.found, error.value.known) == ("0000", schema.REVISION)


def stamp(path: Path, revision: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()


def test_recorded_time_must_be_aware(url: str) -> None:
    with open_log(url, lambda: START.replace(tzinfo=None), create=True) as log:
        with pytest.raises(ValueError, match="recorded_at is expected to be aware and UTC"):
            log.append(STREAM, some_changes(1), expected_version=0)

        assert log.read_all() == []


def test_importing_the_module_loads_no_database_library() -> None:
    program = "import sys, store.opening; print('sqlalchemy' in sys.modules, 'alembic' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "False False"
