"""What every event log promises; one suite over all of them."""

from __future__ import annotations

from datetime import timedelta, timezone

import msgspec
import pytest

from statemachine.events import Event, MachineWaitSlowed, WorkerNodesChosen
from store.chain import verify
from store.errors import StaleEpoch, UnknownEventType, WrongExpectedVersion
from store.jsonlines import export
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.records import Appended, EventLog, History, StreamHead
from tests.store.samples import (
    ALL_TYPES,
    OTHER,
    SIBLING,
    START,
    STREAM,
    SteppingClock,
    a_change,
    sample,
    some_changes,
)

AnyLog = SqlEventLog | MemoryEventLog


class Unregistered(Event, frozen=True, kw_only=True, gc=False):
    """An event type no codec knows."""


def test_log_satisfies_the_port(log: AnyLog) -> None:
    port: EventLog = log

    assert port.read_all() == []


def test_appended_events_are_read_back(log: AnyLog) -> None:
    events = some_changes(3)

    log.append(STREAM, events, expected_version=0, epoch=4, cause="reconcile 1")

    records = log.read(STREAM)
    assert [record.event for record in records] == events
    assert [record.version for record in records] == [1, 2, 3]
    assert [record.position for record in records] == [1, 2, 3]
    assert {(record.type, record.schema_version, record.epoch, record.cause) for record in records} == {
        ("SpecChanged", 1, 4, "reconcile 1")
    }
    assert {record.recorded_at for record in records} == {START}


def test_every_event_type_is_kept(log: AnyLog) -> None:
    events = [sample(type_) for type_ in ALL_TYPES]

    log.append(STREAM, events, expected_version=0)

    assert log.events(STREAM) == events
    assert [record.type for record in log.read(STREAM)] == [type_.__name__ for type_ in ALL_TYPES]


def test_append_answers_version_and_position(log: AnyLog) -> None:
    log.append(STREAM, some_changes(2), expected_version=0)

    answer = log.append(OTHER, some_changes(3), expected_version=0)

    assert answer == Appended(version=3, position=5)


def test_conflicting_append_changes_nothing(log: AnyLog) -> None:
    log.append(STREAM, some_changes(2), expected_version=0)

    with pytest.raises(WrongExpectedVersion) as refused:
        log.append(STREAM, [a_change(9)], expected_version=1)

    assert (refused.value.expected, refused.value.actual) == (1, 2)
    assert len(log.read_all()) == 2


@pytest.mark.parametrize("expected", [-1, 1, 3])
def test_append_beyond_the_end_is_refused(log: AnyLog, expected: int) -> None:
    with pytest.raises(WrongExpectedVersion):
        log.append(STREAM, [a_change()], expected_version=expected)

    assert log.read_all() == []


def test_repeated_append_is_answered_alike(log: AnyLog) -> None:
    first = log.append(STREAM, some_changes(2), expected_version=0, command_id="c1")
    log.append(OTHER, some_changes(1), expected_version=0)
    log.append(STREAM, some_changes(1, 3), expected_version=2)

    repeated = log.append(STREAM, some_changes(2), expected_version=0, command_id="c1")

    assert repeated == first
    assert len(log.read_all()) == 4


def test_repeat_is_recognised_without_command_id(log: AnyLog) -> None:
    first = log.append(STREAM, some_changes(2), expected_version=0)

    assert log.append(STREAM, some_changes(2), expected_version=0) == first


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_events_is_no_repeat(log: AnyLog, count: int) -> None:
    log.append(STREAM, some_changes(2), expected_version=0, command_id="c1")
    log.append(STREAM, some_changes(2, 3), expected_version=2, command_id="c2")

    with pytest.raises(WrongExpectedVersion):
        log.append(STREAM, some_changes(count), expected_version=0, command_id="c1")


def test_another_command_is_no_repeat(log: AnyLog) -> None:
    log.append(STREAM, some_changes(1), expected_version=0, command_id="c1")

    with pytest.raises(WrongExpectedVersion):
        log.append(STREAM, some_changes(1), expected_version=0, command_id="c2")


def test_same_command_in_another_stream_is_new(log: AnyLog) -> None:
    log.append(STREAM, some_changes(1), expected_version=0, command_id="c1")

    log.append(OTHER, some_changes(1), expected_version=0, command_id="c1")

    first, second = log.read_all()
    assert first.event_id != second.event_id


def test_older_epoch_is_refused(log: AnyLog) -> None:
    log.append(STREAM, [a_change(1)], expected_version=0, epoch=7)

    with pytest.raises(StaleEpoch) as refused:
        log.append(SIBLING, [a_change(2)], expected_version=0, epoch=6)

    assert (refused.value.epoch, refused.value.highest) == (6, 7)
    assert len(log.read_all()) == 1


def test_equal_and_newer_epochs_are_accepted(log: AnyLog) -> None:
    for version, epoch in enumerate((0, 3, 3, 12)):
        log.append(STREAM, [a_change(version)], expected_version=version, epoch=epoch)

    assert [record.epoch for record in log.read(STREAM)] == [0, 3, 3, 12]
    assert log.highest_epoch("workspace") == 12


def test_epochs_of_families_are_independent(log: AnyLog) -> None:
    log.append(STREAM, [a_change(1)], expected_version=0, epoch=7)

    log.append(OTHER, [a_change(2)], expected_version=0, epoch=1)

    assert (log.highest_epoch("workspace"), log.highest_epoch("machine")) == (7, 1)


def test_new_leader_shuts_former_one_out(log: AnyLog) -> None:
    log.append(STREAM, [a_change(1)], expected_version=0, epoch=1)

    log.lead("workspace", 2)

    with pytest.raises(StaleEpoch):
        log.append(STREAM, [a_change(2)], expected_version=1, epoch=1)
    with pytest.raises(StaleEpoch):
        log.lead("workspace", 1)
    log.lead("workspace", 2)
    assert log.highest_epoch("workspace") == 2


def test_deposed_leader_gets_no_answer_to_a_repeat(log: AnyLog) -> None:
    """Its append is there, but it must not act on it: the newer leader has loaded the stream since."""
    log.append(STREAM, [a_change(1)], expected_version=0, epoch=1, command_id="c1")
    log.append(STREAM, [a_change(2)], expected_version=1, epoch=2)

    with pytest.raises(StaleEpoch):
        log.append(STREAM, [a_change(1)], expected_version=0, epoch=1, command_id="c1")


def test_refused_append_does_not_raise_the_fence(log: AnyLog) -> None:
    with pytest.raises(WrongExpectedVersion):
        log.append(STREAM, [a_change()], expected_version=5, epoch=9)

    assert log.highest_epoch("workspace") == 0


def test_empty_append_writes_nothing(log: AnyLog) -> None:
    log.append(OTHER, some_changes(3), expected_version=0)
    log.append(STREAM, some_changes(2), expected_version=0)

    assert log.append(STREAM, [], expected_version=2, epoch=5) == Appended(2, 5)
    assert log.append("machine/none", [], expected_version=0) == Appended(0, 0)
    with pytest.raises(WrongExpectedVersion):
        log.append(STREAM, [], expected_version=1)
    assert len(log.read_all()) == 5


def test_unregistered_event_is_refused(log: AnyLog) -> None:
    with pytest.raises(UnknownEventType):
        log.append(STREAM, [a_change(), Unregistered(at=START)], expected_version=0)  # type: ignore[list-item]

    assert log.read_all() == []


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(a_change(at=START.replace(tzinfo=None)), id="naive time"),
        pytest.param(a_change(at=START.astimezone(timezone(timedelta(hours=2)))), id="other zone"),
        pytest.param(a_change(generation="1"), id="text for a number"),  # type: ignore[arg-type]
        pytest.param(
            MachineWaitSlowed(at=START, slot=0, machine="m", elapsed_seconds=float("nan")), id="not a number"
        ),
        pytest.param(WorkerNodesChosen(at=START, nodes=["a"]), id="list for a tuple"),  # type: ignore[arg-type]
        pytest.param(sample(WorkerNodesChosen).__class__(at=START, nodes=("\ud800",)), id="lone surrogate"),
    ],
)
def test_event_that_would_not_come_back_is_refused(log: AnyLog, event: Event) -> None:
    with pytest.raises(ValueError, match=r"cannot be stored|aware and UTC|surrogates"):
        log.append(STREAM, [a_change(), event], expected_version=0)  # type: ignore[list-item]

    assert log.read_all() == []


def test_reading_continues_after_a_version(log: AnyLog) -> None:
    log.append(OTHER, some_changes(2), expected_version=0)
    log.append(STREAM, some_changes(4), expected_version=0)

    assert [record.version for record in log.read(STREAM, after=2)] == [3, 4]
    assert log.events(STREAM, after=3) == some_changes(1, 4)
    assert log.read(STREAM, after=4) == []
    assert log.read("machine/none") == []


def test_pages_follow_each_other(log: AnyLog) -> None:
    log.append(STREAM, some_changes(3), expected_version=0)
    log.append(OTHER, some_changes(2), expected_version=0)

    pages = [log.read_all(after=after, limit=2) for after in (0, 2, 4, 5)]

    assert [[record.position for record in page] for page in pages] == [[1, 2], [3, 4], [5], []]


def test_subscription_sees_later_appends(log: AnyLog) -> None:
    log.append(STREAM, some_changes(3), expected_version=0)
    pages = log.subscribe(after=1, limit=1)

    seen = [[record.position for record in next(pages)] for _ in range(3)]
    log.append(STREAM, some_changes(1, 4), expected_version=3)

    assert seen == [[2], [3], []]
    assert [record.position for record in next(pages)] == [4]
    assert next(pages) == []


def test_streams_come_in_order_of_birth(log: AnyLog) -> None:
    log.append("workspace/b/x/1", some_changes(1), expected_version=0)
    log.append("machine/m", some_changes(1), expected_version=0)
    log.append("workspace/a/y/2", some_changes(2), expected_version=0)
    log.append("workspace/b/x/1", some_changes(1, 2), expected_version=1)

    heads = log.streams()

    assert [(head.stream, head.version, head.position) for head in heads] == [
        ("workspace/b/x/1", 2, 5),
        ("machine/m", 1, 2),
        ("workspace/a/y/2", 2, 4),
    ]
    assert [head.stream for head in log.streams("workspace/a/")] == ["workspace/a/y/2"]
    assert log.streams("workspace/c") == []


@pytest.mark.parametrize("name", ["workspace/a_b/x/1", "workspace/a%b/x/1", "workspace/ü✓/x/1"])
def test_prefix_is_no_pattern(log: AnyLog, name: str) -> None:
    log.append(name, some_changes(1), expected_version=0)
    log.append("workspace/acb/x/1", some_changes(1), expected_version=0)

    assert [head.stream for head in log.streams(name[:14])] == [name]


def test_head_is_the_last_record(log: AnyLog) -> None:
    log.append(STREAM, some_changes(2), expected_version=0)
    log.append(OTHER, some_changes(1), expected_version=0)

    last = log.read(STREAM)[-1]

    assert log.head(STREAM) == StreamHead(STREAM, 2, 2, last.hash)
    assert log.head("machine/none") is None


def test_chain_binds_each_event_to_the_former(log: AnyLog) -> None:
    log.append(STREAM, some_changes(2), expected_version=0)
    log.append(STREAM, some_changes(1, 3), expected_version=2)

    hashes = [record.hash for record in log.read(STREAM)]

    assert len(set(hashes)) == 3
    assert verify(log) == []


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_histories_hold_every_stream_once(log: AnyLog, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr("store.log.PAGE", page)
    log.append("workspace/b/x/1", some_changes(3), expected_version=0)
    log.append("machine/m", some_changes(1), expected_version=0)
    log.append("workspace/a/y/2", some_changes(4), expected_version=0)
    log.append("workspace/b/x/1", some_changes(1, 4), expected_version=3)

    assert list(log.histories()) == [
        History("machine/m", some_changes(1)),
        History("workspace/a/y/2", some_changes(4)),
        History("workspace/b/x/1", some_changes(4)),
    ]
    assert [history.stream for history in log.histories("workspace/")] == [
        "workspace/a/y/2",
        "workspace/b/x/1",
    ]
    assert list(log.histories("workspace/c")) == []


def test_both_logs_hold_the_same_bytes(sql_log: SqlEventLog) -> None:
    memory = MemoryEventLog(SteppingClock())
    for log in (memory, sql_log):
        log.append(STREAM, [sample(type_) for type_ in ALL_TYPES], expected_version=0, epoch=1, cause="c")
        log.append(OTHER, some_changes(2), expected_version=0, epoch=2)

    assert list(export(sql_log)) == list(export(memory))
    assert sql_log.read_all() == memory.read_all()
    assert msgspec.json.encode(sql_log.read(OTHER)) == msgspec.json.encode(memory.read(OTHER))
