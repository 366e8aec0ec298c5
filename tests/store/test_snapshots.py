"""Snapshots are a cache: never needed, never believed over the log."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.events import WorkspaceCreated
from statemachine.replay import fold
from statemachine.state import Workspace
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import open_log
from store.records import StoredEvent
from store.snapshots import Snapshot, Snapshots, fingerprint
from tests.store.samples import OTHER, START, STREAM, SteppingClock, a_change, sample, some_changes


def a_history(length: int) -> list[StoredEvent]:
    """A Workspace and as many changes of its spec as the length leaves room for."""
    created = sample(WorkspaceCreated)
    assert isinstance(created, WorkspaceCreated)
    return [created, *some_changes(length - 1, first=8)]


@pytest.fixture
def history(sql_log: SqlEventLog) -> list[StoredEvent]:
    events = a_history(5)
    sql_log.append(STREAM, events, expected_version=0)
    return events


def test_saved_state_is_loaded(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    state = fold(history[:3])
    snapshots = Snapshots(sql_log)

    assert snapshots.save(STREAM, 3, state)

    assert snapshots.load(STREAM) == Snapshot(3, state)
    assert snapshots.load(OTHER) is None


def test_later_snapshot_replaces_the_former(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    snapshots = Snapshots(sql_log)
    snapshots.save(STREAM, 3, fold(history[:3]))

    snapshots.save(STREAM, 5, fold(history))

    assert snapshots.load(STREAM) == Snapshot(5, fold(history))


@pytest.mark.parametrize("length", range(1, 6))
def test_snapshot_and_tail_fold_like_the_whole(
    sql_log: SqlEventLog, history: list[StoredEvent], length: int
) -> None:
    snapshots = Snapshots(sql_log)
    snapshots.save(STREAM, length, fold(history[:length]))

    snapshot = snapshots.load(STREAM)

    assert snapshot is not None
    assert fold(sql_log.events(STREAM, after=snapshot.version), snapshot.state) == fold(history)


def test_snapshot_ahead_of_its_stream_is_not_saved(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    snapshots = Snapshots(sql_log)

    assert not snapshots.save(STREAM, 6, fold(history))

    assert snapshots.load(STREAM) is None


def test_snapshot_ahead_of_its_stream_is_passed_over(
    sql_log: SqlEventLog, history: list[StoredEvent]
) -> None:
    snapshots = Snapshots(sql_log)
    snapshots.save(STREAM, 5, fold(history))
    with sql_log.database.writing() as cursor:
        cursor.execute("DELETE FROM events WHERE version = 5")

    assert snapshots.load(STREAM) is None


def test_snapshot_of_other_events_is_passed_over(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    """A log restored from a copy and continued has another event at the same version."""
    snapshots = Snapshots(sql_log)
    snapshots.save(STREAM, 5, fold(history))
    with sql_log.database.writing() as cursor:
        cursor.execute("DELETE FROM events WHERE version = 5")

    sql_log.append(STREAM, [a_change(99)], expected_version=4)

    assert snapshots.load(STREAM) is None


def test_snapshot_of_other_code_is_passed_over(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    Snapshots(sql_log, fold="1").save(STREAM, 5, fold(history))

    assert Snapshots(sql_log, fold="2").load(STREAM) is None
    assert Snapshots(sql_log, fold="1").load(STREAM) is not None
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize("state", ["{", '{"stage":"Nonsense"}', "[]"])
def test_unreadable_snapshot_is_passed_over(
    sql_log: SqlEventLog, history: list[StoredEvent], state: str
) -> None:
    snapshots = Snapshots(sql_log)
    snapshots.save(STREAM, 5, fold(history))
    with sql_log.database.writing() as cursor:
        cursor.execute("UPDATE snapshots SET state = ?", (state,))

    assert snapshots.load(STREAM) is None


def test_discarded_snapshots_are_gone(sql_log: SqlEventLog, history: list[StoredEvent]) -> None:
    sql_log.append(OTHER, a_history(2), expected_version=0)
    snapshots = Snapshots(sql_log)
    for stream, version in ((STREAM, 5), (OTHER, 2)):
        snapshots.save(stream, version, Workspace())

    snapshots.discard(STREAM)

    assert snapshots.load(STREAM) is None
    assert snapshots.load(OTHER) is not None
    snapshots.discard()
    assert snapshots.load(OTHER) is None


def test_snapshot_outlives_the_process(url: str) -> None:
    with open_log(url, SteppingClock(), create=True) as log:
        assert isinstance(log, SqlEventLog)
        log.append(STREAM, a_history(2), expected_version=0)
        Snapshots(log).save(STREAM, 2, fold(a_history(2)))

    with open_log(url, SteppingClock(), create=False) as log:
        assert isinstance(log, SqlEventLog)
        snapshot = Snapshots(log).load(STREAM)

    assert snapshot == Snapshot(2, fold(a_history(2)))


@given(st.integers(1, 12), st.data())
def test_state_survives_its_json(length: int, data: st.DataObject) -> None:
    """Whatever the cut, decoding the stored state and folding the tail gives the state of the whole."""
    history = a_history(length)
    log = MemoryEventLog(lambda: START)
    log.append(STREAM, history, expected_version=0)
    cut = data.draw(st.integers(0, length))

    stored = msgspec.json.decode(msgspec.json.encode(fold(history[:cut])), type=Workspace)

    assert fold(log.events(STREAM, after=cut), stored) == fold(history)
