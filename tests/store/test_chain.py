"""Tampering, one way after the other, is found and named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.chain import Finding, verify
from store.codec import Codec
from store.envelope import GENESIS, Row, chain_hash
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import open_log
from tests.store.samples import OTHER, STREAM, SteppingClock, some_changes

UNFIT = "the hash does not fit"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A log of seven events: positions 1 to 4 and 7 in one stream, 5 and 6 in another."""
    path = tmp_path / "log.db"
    with open_log(f"sqlite:///{path}", SteppingClock(), create=True) as log:
        log.append(STREAM, some_changes(4), expected_version=0, epoch=1, cause="reconcile 1")
        log.append(OTHER, some_changes(2), expected_version=0, epoch=1, cause="reconcile 2")
        log.append(STREAM, some_changes(1, 5), expected_version=4, epoch=2, cause="reconcile 3")
    return path


def tampered(path: Path, *statements: str) -> list[Finding]:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    with open_log(f"sqlite:///{path}", SteppingClock(), create=False) as log:
        return verify(log)


def places(findings: list[Finding]) -> list[tuple[int, int]]:
    return [(finding.position, finding.version) for finding in findings]


def test_untouched_log_verifies(file: Path) -> None:
    assert tampered(file) == []


CHANGES = {
    "stream": "stream = stream || 'x'",
    "version": "version = 30",
    "type": "type = 'LimitsChanged'",
    "schema_version": "schema_version = 2",
    "at": "at = '2024-04-05T18:29:55.123457Z'",
    "recorded_at": "recorded_at = '2024-04-05T18:29:52.123457Z'",
    "epoch": "epoch = 0",
    "cause": "cause = 'reconcile 9'",
    "event_id": "event_id = replace(event_id, substr(event_id, 1, 1), 'g')",
    "data": "data = replace(data, '3', '4')",
    "data of another type": "data = CAST(data AS BLOB)",
    "data that is no JSON": "data = 'x' || data",
    "data that is no UTF-8": "data = CAST(x'FF' || CAST(data AS BLOB) AS TEXT)",
    "cause with a zero byte": "cause = cause || char(0)",
    "epoch that is no number": "epoch = 'one'",
    "hash": "hash = replace(hash, substr(hash, 1, 1), 'g')",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("position", [1, 3, 7])
def test_changed_column_is_found_at_its_position(file: Path, change: str, position: int) -> None:
    findings = tampered(file, f"UPDATE events SET {change} WHERE position = {position}")

    assert findings
    assert findings[0].position == position


@pytest.mark.parametrize("column", [name for name in CHANGES if name not in ("stream", "version")])
def test_one_changed_value_is_blamed_on_one_row(file: Path, column: str) -> None:
    findings = tampered(file, f"UPDATE events SET {CHANGES[column]} WHERE position = 3")

    assert {finding.position for finding in findings} <= {3, 4}
    assert findings[0].stream == STREAM
    assert findings[0].version == 3


def test_deleted_row_in_the_middle_is_named(file: Path) -> None:
    findings = tampered(file, "DELETE FROM events WHERE position = 3")

    assert [str(finding) for finding in findings] == [
        f"position 4, {STREAM}, version 4: position 3 is missing before it",
        f"position 4, {STREAM}, version 4: version 3 of the stream expected",
    ]


def test_deleted_end_of_a_stream_leaves_a_gap(file: Path) -> None:
    findings = tampered(file, "DELETE FROM events WHERE position = 6")

    assert [str(finding) for finding in findings] == [
        f"position 7, {STREAM}, version 5: position 6 is missing before it"
    ]


def test_deleted_stream_leaves_a_gap(file: Path) -> None:
    (finding,) = tampered(file, f"DELETE FROM events WHERE stream = '{OTHER}'")

    assert finding.what == "position 5 to 6 is missing before it"


def test_deleted_end_of_the_log_needs_an_anchor(file: Path) -> None:
    with open_log(f"sqlite:///{file}", SteppingClock(), create=False) as log:
        anchors = log.streams()
    assert tampered(file, "DELETE FROM events WHERE position = 7") == []

    with open_log(f"sqlite:///{file}", SteppingClock(), create=False) as log:
        (finding,) = verify(log, anchors)

    assert (finding.position, finding.stream, finding.version) == (7, STREAM, 5)
    assert finding.what == "ends at version 4, though version 5 was there"


def test_rewritten_history_differs_from_its_anchor(file: Path) -> None:
    """A log written anew has a sound chain; only a head noted elsewhere shows the difference."""
    with open_log(f"sqlite:///{file}", SteppingClock(), create=False) as log:
        anchors = log.streams()
    forged = MemoryEventLog(SteppingClock())
    forged.append(STREAM, some_changes(5), expected_version=0, epoch=1)
    forged.append(OTHER, some_changes(2), expected_version=0, epoch=1)

    findings = verify(forged, anchors)

    assert verify(forged) == []
    assert {(finding.stream, finding.what) for finding in findings} == {
        (STREAM, "version 5 is not the event that was there"),
        (OTHER, "version 2 is not the event that was there"),
    }


def swapped(column: str, first: int, second: int) -> tuple[str, ...]:
    """Exchange one column of two rows, by way of a value that no row has."""
    aside = {"position": "99", "version": "99", "event_id": "'aside'"}.get(column, "'aside'")
    kept = "(SELECT value FROM kept WHERE position = {})"
    return (
        f"CREATE TEMP TABLE kept AS SELECT position, {column} AS value FROM events",
        f"UPDATE events SET {column} = {aside} WHERE position = {first}",
        f"UPDATE events SET {column} = {kept.format(first)} WHERE position = {second}",
        f"UPDATE events SET {column} = {kept.format(second)} WHERE {column} = {aside}",
    )


@pytest.mark.parametrize(("first", "second"), [(2, 3), (1, 4), (4, 5), (6, 7)])
@pytest.mark.parametrize("column", ["position", "data", "event_id", "hash"])
def test_swapped_rows_are_named(file: Path, column: str, first: int, second: int) -> None:
    findings = tampered(file, *swapped(column, first, second))

    assert {first, second} <= {finding.position for finding in findings}


@pytest.mark.parametrize("position", [0, -3, 8, 100])
def test_moved_last_row_is_found(file: Path, position: int) -> None:
    findings = tampered(file, f"UPDATE events SET position = {position} WHERE position = 7")

    assert position in {finding.position for finding in findings}


def test_column_at_must_agree_with_the_event() -> None:
    """Not tampering but a wrong writer: the hash fits, the index column tells another time."""

    log = MemoryEventLog(SteppingClock())
    log.append(STREAM, some_changes(1), expected_version=0)
    row = next(log.rows())._replace(at="2024-04-05T00:00:00.000000Z")

    (finding,) = verify(Shown(log.codec, [row._replace(hash=chain_hash(GENESIS, row[:-1]))]))

    assert finding.what.startswith("the column at says 2024-04-05T00:00:00.000000Z")


def test_event_of_an_unknown_type_is_a_finding() -> None:
    log = MemoryEventLog(SteppingClock())
    log.append(STREAM, some_changes(1), expected_version=0)
    log.codec = Codec()

    (finding,) = verify(log)

    assert finding.what == "no event type SpecChanged of schema version 1 is known"


def test_lowered_fence_is_found(file: Path) -> None:
    (finding,) = tampered(file, "UPDATE fences SET epoch = 1")

    assert str(finding) == "the fence of workspace stands at epoch 1, though epoch 2 has written"


@given(data=st.data())
def test_any_changed_character_is_found(data: st.DataObject) -> None:
    """One character of one text column, or one of a number's neighbours, anywhere in the log."""
    log = MemoryEventLog(SteppingClock())
    log.append(STREAM, some_changes(3), expected_version=0, cause="reconcile 1")
    rows = list(log.rows())
    place = data.draw(st.integers(0, len(rows) - 1), "row")
    column = data.draw(st.sampled_from(Row._fields), "column")
    rows[place] = rows[place]._replace(**{column: data.draw(_neighbours(getattr(rows[place], column)))})

    findings = verify(Shown(log.codec, rows))

    assert rows[place].position in {finding.position for finding in findings}


class Shown:
    """Rows as a log would show them."""

    def __init__(self, codec: Codec, rows: list[Row]) -> None:
        self.codec = codec
        self._rows = rows

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        return iter(self._rows)

    def damages(self) -> list[str]:
        return []


def _neighbours(value: object) -> st.SearchStrategy[object]:
    if isinstance(value, int):
        return st.integers(-5, 99).filter(lambda other: other != value)
    text = str(value)
    changed = st.builds(
        lambda at, character: text[:at] + character + text[at + 1 :],
        st.integers(0, max(len(text) - 1, 0)),
        st.characters(exclude_categories=("Cs",)),
    )
    return changed.filter(lambda other: other != text)


def test_damaged_file_is_a_finding(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = content.rindex(b"SpecChanged") + 3
    content[place] ^= 0x01
    file.write_bytes(content)

    with open_log(f"sqlite:///{file}", SteppingClock(), create=False) as log:
        assert isinstance(log, SqlEventLog)
        findings = verify(log)

    assert len({finding.position for finding in findings}) == 1
    assert any(UNFIT in finding.what for finding in findings)


@pytest.mark.parametrize("name", ["events", "sqlite_autoindex_events_1"])
def test_broken_page_is_a_finding(file: Path, name: str) -> None:
    connection = sqlite3.connect(file)
    (page,) = connection.execute(f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'").fetchone()
    connection.close()
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : (page - 1) * 4096 + 16] = b"\xff" * 16
    file.write_bytes(content)

    with open_log(f"sqlite:///{file}", SteppingClock(), create=False) as log:
        findings = verify(log)

    assert findings
    assert {finding.position for finding in findings} == {0}
