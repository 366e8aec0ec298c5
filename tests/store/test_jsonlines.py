"""Export and import: the same bytes, all or nothing, and once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from statemachine.events import InferenceProgressed
from store.chain import verify
from store.errors import LinesRefused, StaleEpoch, UndecodableEvent
from store.jsonlines import Imported, export, import_lines
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from tests.store.samples import ALL_TYPES, OTHER, START, STREAM, SteppingClock, a_change, sample, some_changes

AnyLog = SqlEventLog | MemoryEventLog


@pytest.fixture
def lines() -> list[bytes]:
    """Five events in two streams."""
    log = MemoryEventLog(SteppingClock())
    log.append(STREAM, some_changes(2), expected_version=0, epoch=1, cause="reconcile 1")
    log.append(OTHER, some_changes(2), expected_version=0, epoch=1)
    log.append(STREAM, some_changes(1, 3), expected_version=2, epoch=2)
    return list(export(log))


def test_line_holds_envelope_and_data(lines: list[bytes]) -> None:
    first = json.loads(lines[0])

    assert list(first) == [
        "position",
        "stream",
        "version",
        "type",
        "schema_version",
        "at",
        "recorded_at",
        "epoch",
        "cause",
        "event_id",
        "data",
        "hash",
    ]
    assert first["data"] == {"at": "2024-04-05T18:29:53.123456Z", "generation": 1}
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)


def test_line_feeds_in_texts_stay_in_their_line(log: AnyLog) -> None:
    event = InferenceProgressed(at=START, phase="Pulling", message="one\ntwo\u2028three")
    log.append(STREAM, [event], expected_version=0)

    (line,) = export(log)

    assert line.count(b"\n") == 1
    assert json.loads(line)["data"]["message"] == "one\ntwo\u2028three"


def test_imported_log_is_the_exported_one(log: AnyLog) -> None:
    origin = MemoryEventLog(SteppingClock())
    origin.append(STREAM, [sample(type_) for type_ in ALL_TYPES], expected_version=0)

    imported = import_lines(log, export(origin))

    assert imported == Imported(len(ALL_TYPES), 0)
    assert log.read_all() == origin.read_all()
    assert list(export(log)) == list(export(origin))
    assert verify(log) == []


def test_second_import_adds_nothing(log: AnyLog, lines: list[bytes]) -> None:
    import_lines(log, lines)

    assert import_lines(log, lines) == Imported(0, 5)
    assert import_lines(log, lines[:2]) == Imported(0, 2)
    assert len(log.read_all()) == 5


def test_longer_export_adds_its_end(log: AnyLog, lines: list[bytes]) -> None:
    import_lines(log, lines[:3])

    assert import_lines(log, lines) == Imported(2, 3)
    assert list(export(log)) == lines


def test_import_raises_the_fence(log: AnyLog, lines: list[bytes]) -> None:
    import_lines(log, lines)

    assert (log.highest_epoch("workspace"), log.highest_epoch("machine")) == (2, 1)
    with pytest.raises(StaleEpoch):
        log.append("workspace/a/new/1", [a_change()], expected_version=0, epoch=1)


def test_imported_log_can_be_continued(log: AnyLog, lines: list[bytes]) -> None:
    import_lines(log, lines)

    log.append(STREAM, some_changes(1, 4), expected_version=3, epoch=2)

    assert verify(log) == []
    assert log.last_position() == 6


def test_foreign_log_is_refused(log: AnyLog, lines: list[bytes]) -> None:
    log.append("machine/mine", [a_change()], expected_version=0)

    with pytest.raises(LinesRefused, match=r"^copy\.jsonl:1: position 1 of the log holds another event$"):
        import_lines(log, lines, "copy.jsonl")

    assert len(log.read_all()) == 1


def edit(line: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(line) | changes, separators=(",", ":")).encode() + b"\n"


SPOILT: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int, str]] = {
    "half a line": (lambda lines: [*lines[:4], lines[4][:80]], 5, "not an exported event"),
    "an empty line": (lambda lines: [lines[0], b"\n", *lines[1:]], 2, "not an exported event"),
    "no JSON": (lambda lines: [*lines[:2], b"I0405 18:29:52 controller.go\n"], 3, "not an exported event"),
    "no UTF-8": (lambda lines: [lines[0].replace(b"reconcile", b"\xff")], 1, "not an exported event"),
    "a missing field": (lambda lines: [lines[0].replace(b'"epoch":1,', b"")], 1, "epoch"),
    "an unknown field": (lambda lines: [edit(lines[0], colour="red")], 1, "colour"),
    "a wrong type": (lambda lines: [edit(lines[0], version="1")], 1, "version"),
    "a missing line": (lambda lines: [*lines[:2], *lines[3:]], 3, "position 3 is missing before it"),
    "a later beginning": (lambda lines: lines[1:], 1, "position 1 is missing before it"),
    "exchanged lines": (lambda lines: [lines[1], lines[0]], 1, "position 1 is missing before it"),
    "a doubled line": (lambda lines: [lines[0], lines[0]], 2, "out of order"),
    "other data": (lambda lines: [lines[0].replace(b'"generation":1', b'"generation":8')], 1, "the hash"),
    "another cause": (lambda lines: [edit(lines[0], cause="x")], 1, "the hash"),
    "an unknown type": (lambda lines: [edit(lines[0], type="Nonsense")], 1, "the hash"),
}


@pytest.mark.parametrize(("spoil", "line", "why"), SPOILT.values(), ids=SPOILT)
def test_spoilt_lines_import_nothing(
    log: AnyLog, lines: list[bytes], spoil: Callable[[list[bytes]], list[bytes]], line: int, why: str
) -> None:
    with pytest.raises(LinesRefused, match=why) as refused:
        import_lines(log, spoil(lines), "copy.jsonl")

    assert refused.value.line == line
    assert str(refused.value).startswith(f"copy.jsonl:{line}: ")
    assert "\n" not in str(refused.value)
    assert log.read_all() == []


def test_export_of_damaged_data_is_refused(sql_log: SqlEventLog) -> None:
    sql_log.append(STREAM, some_changes(1), expected_version=0)
    with sql_log.database.writing() as cursor:
        cursor.execute("UPDATE events SET data = 'x'")

    with pytest.raises(UndecodableEvent, match="position 1"):
        list(export(sql_log))


def test_export_can_begin_later(log: AnyLog, lines: list[bytes]) -> None:
    import_lines(log, lines)

    assert list(export(log, after=3)) == lines[3:]
