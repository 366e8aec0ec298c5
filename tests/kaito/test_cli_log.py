from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kaito.cli import run
from store.opening import open_log
from tests.kaito import lives

Kaito = Callable[..., tuple[int, str, str]]
REFERENCE = Path(__file__).resolve().parents[1] / "data" / "reference-run"


@pytest.fixture
def kaito(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Kaito:
    """Runs a command line in an empty directory; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAITO_LOG_URL", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        captured = capsysbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    return call


def write_log(path: str = "kaito.db") -> None:
    with open_log(f"sqlite:///{path}", lambda: lives.START, create=True) as log:
        lives.write(log, lives.DELETED)


def test_export_restores_to_equal_bytes(kaito: Kaito) -> None:
    write_log()

    kaito("log", "export", "first.jsonl")
    code, out, _ = kaito("log", "import", "first.jsonl", "--log", "sqlite:///other.db")
    kaito("log", "export", "second.jsonl", "--log", "sqlite:///other.db")

    assert (code, out) == (0, f"{len(lives.DELETED)} events added\n")
    assert Path("first.jsonl").read_bytes() == Path("second.jsonl").read_bytes()


def test_export_prints_one_object_a_line(kaito: Kaito) -> None:
    write_log()

    _, out, _ = kaito("log", "export")

    positions = [json.loads(line)["position"] for line in out.splitlines()]
    assert positions == list(range(1, len(lives.DELETED) + 1))


def test_second_restore_adds_nothing(kaito: Kaito) -> None:
    write_log()
    kaito("log", "export", "log.jsonl")

    _, out, _ = kaito("log", "import", "log.jsonl")

    assert out == f"0 events added, {len(lives.DELETED)} were there already\n"


def test_failed_export_leaves_no_file(kaito: Kaito) -> None:
    code, _, err = kaito("log", "export", "log.jsonl")

    assert (code, err) == (2, "error: no log at kaito.db\n")
    assert list(Path().iterdir()) == []


def test_export_and_logs_do_not_mix(kaito: Kaito) -> None:
    write_log()
    kaito("log", "export", "log.jsonl")

    code, _, err = kaito("log", "import", "log.jsonl", str(REFERENCE / "workspace.log"))

    assert code == 2
    assert err == "error: log.jsonl: is an export of a log; expected it alone, found 2 files\n"


def test_changed_export_is_refused_whole(kaito: Kaito) -> None:
    write_log()
    kaito("log", "export", "log.jsonl")
    lines = Path("log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    Path("log.jsonl").write_text("".join([*lines[:4], *lines[5:]]), encoding="utf-8")

    code, _, err = kaito("log", "import", "log.jsonl", "--log", "sqlite:///other.db")

    assert code == 2
    assert err.startswith("error: log.jsonl:5: ")
    with open_log("sqlite:///other.db", lambda: lives.START, create=True) as log:
        assert log.read_all() == []


def test_verify_of_a_sound_log_counts_it(kaito: Kaito) -> None:
    write_log()

    assert kaito("log", "verify") == (0, f"ok: {len(lives.DELETED)} events in 1 stream\n", "")


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("UPDATE events SET data = replace(data, 'falcon', 'fal_on') WHERE position = 1", "position 1,"),
        ("UPDATE events SET cause = 'nobody' WHERE position = 7", "position 7,"),
        ("DELETE FROM events WHERE position = 5", "position 5 is missing"),
    ],
)
def test_verify_names_what_was_changed(kaito: Kaito, statement: str, position: str) -> None:
    write_log()
    connection = sqlite3.connect("kaito.db")
    connection.execute(statement)
    connection.commit()
    connection.close()

    code, out, err = kaito("log", "verify")

    assert (code, err) == (1, "")
    assert position in out


def test_migrate_of_a_present_log_changes_nothing(kaito: Kaito) -> None:
    write_log()

    code, out, _ = kaito("log", "migrate")

    assert code == 0
    assert out.startswith("already at revision ")


def test_log_of_a_newer_release_is_refused(kaito: Kaito) -> None:
    write_log()
    connection = sqlite3.connect("kaito.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    for verb in (
        ["status"],
        ["log", "verify"],
        ["log", "migrate"],
        ["log", "import", str(REFERENCE / "workspace.log")],
    ):
        code, out, err = kaito(*verb)

        assert (code, out) == (2, "")
        assert "9999" in err
        assert err.count("\n") == 1


def test_import_reports_what_it_added(kaito: Kaito) -> None:
    files = [str(path) for path in sorted(REFERENCE.iterdir()) if path.name != "README.md"]

    code, out, _ = kaito("log", "import", *files)
    _, again, _ = kaito("log", "import", *files)

    assert code == 0
    assert "machine/wsb42f9cb5f: 5 events added" in out
    assert "machine/wsb42f9cb5f: 0 events added, 5 were there already" in again


def test_broken_file_imports_nothing(kaito: Kaito) -> None:
    whole = (REFERENCE / "gpu-provisioner.log").read_bytes()
    Path("cut.log").write_bytes(whole[: whole.index(b"launched machine") + 8])

    code, _, err = kaito("log", "import", "cut.log")

    assert code == 2
    assert err.startswith("error: cut.log:")
    assert err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["cut.log"]


def test_partial_import_takes_what_made_sense(kaito: Kaito) -> None:
    whole = (REFERENCE / "gpu-provisioner.log").read_bytes()
    Path("cut.log").write_bytes(whole[: whole.index(b"launched machine") + 8])

    code, out, err = kaito("log", "import", "--partial", "cut.log")

    assert code == 0
    assert "machine/wsb42f9cb5f: 1 event added" in out
    assert "read in part: cut.log:" in err


def test_lines_not_understood_are_shown_on_request(kaito: Kaito) -> None:
    whole = (REFERENCE / "gpu-provisioner.log").read_text(encoding="utf-8")
    Path("odd.log").write_text(f"{whole}what is this\n", encoding="utf-8")
    number = whole.count("\n") + 1

    _, out, err = kaito("log", "import", "-v", "odd.log")

    assert "1 not understood" in out
    assert f"odd.log:{number}: not understood" in err
    assert err.rstrip().endswith("what is this")


def test_missing_file_is_named(kaito: Kaito) -> None:
    code, _, err = kaito("log", "import", "absent.log")

    assert code == 2
    assert err.startswith("error: absent.log: ")
    assert list(Path().iterdir()) == []
