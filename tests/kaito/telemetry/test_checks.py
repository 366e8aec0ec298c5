"""Checks mean something: each fails for what it is named after, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.manager.controller import Controller
from kaito.manager.informers import Informers
from kaito.runtime.ports import MACHINES, NODES
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import Outcome
from kaito.telemetry import checks
from kaito.telemetry.checks import LogWritable
from kaito.telemetry.processes import OperatorTelemetry
from store.errors import LogUnavailable, StaleEpoch
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import open_log
from tests.kaito import lives
from tests.kaito.live import DEADLINE_SECONDS, LiveCluster, until


class SetClock(WallClock):
    """Monotonic time as a test sets it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


# --- caches and threads -----------------------------------------------------------------------------


def test_caches_are_named_until_complete() -> None:
    informers = Informers(LiveCluster(), (MACHINES, NODES), WallClock(), "test")  # type: ignore[arg-type]  # by delegation
    check = checks.caches(informers)

    before = check()
    informers.start(lambda: None)
    until(lambda: check() == "")
    informers.stop()

    assert before == "machines: no answer; nodes: no answer"
    assert informers.join(DEADLINE_SECONDS, WallClock())
    assert checks.informer_threads(informers)() == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_informer_thread_that_ended_is_named() -> None:
    class Ending(LiveCluster):
        def list(self, *arguments: Any, **options: Any) -> Any:
            raise SystemExit  # the one way out that is no Exception

    informers = Informers(Ending(), (MACHINES,), WallClock(), "test")  # type: ignore[arg-type]  # by delegation

    informers.start(lambda: None)

    until(lambda: checks.informer_threads(informers)() == "informers have ended: machines")


def a_controller(clock: WallClock, act: Any) -> Controller[str]:
    return Controller("machine", {}, lambda *_: [], act, clock, workers=1)


def test_stuck_worker_is_told() -> None:
    clock, inside, go_on = SetClock(), Event(), Event()

    def wait(key: str) -> Reconciled:
        inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        return Reconciled(Outcome.SUCCESS)

    controller = a_controller(clock, wait)
    check = checks.workers([controller], bound_seconds=60)
    controller.start(lambda error: None)
    controller.add("ws1")
    assert inside.wait(DEADLINE_SECONDS)

    soon = check()
    clock.seconds += 61
    late = check()
    go_on.set()
    until(lambda: check() == "")
    controller.stop()

    assert soon == ""
    assert late == "a reconcile of machine has been running for 61 s"
    assert controller.join(DEADLINE_SECONDS) == []


def test_dead_worker_is_named() -> None:
    def stale(key: str) -> Reconciled:
        raise StaleEpoch(1, 2)

    controller = a_controller(WallClock(), stale)
    check = checks.workers([controller])
    controller.start(lambda error: None)

    controller.add("ws1")

    until(lambda: check() == "workers have ended: machine-1")
    controller.stop()
    assert check() == ""


def test_lease_check_is_the_electors_word() -> None:
    assert checks.lease(lambda: "")() == ""
    assert checks.lease(lambda: "the lease was lost")() == "the lease was lost"


# --- the log ----------------------------------------------------------------------------------------


class Bench:
    """A log and the check on it."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.clock = SetClock()
        self.telemetry = OperatorTelemetry(self.clock)
        self.check = LogWritable(log, self.telemetry.log, self.clock)
        self.observed = self.telemetry.observed(log)

    def settled(self) -> str:
        """What the check says once the log has answered."""
        self.clock.seconds += checks.FRESH_SECONDS
        self.check()
        until(lambda: not self.check.asking)
        return self.check()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[SqlEventLog]:
    log = open_log(f"sqlite:///{tmp_path}/log.db", lambda: lives.START, create=True)
    assert isinstance(log, SqlEventLog)
    yield log
    log.close()


def test_log_that_takes_events_is_writable(stored: SqlEventLog) -> None:
    bench = Bench(stored)

    assert bench.settled() == ""
    assert stored.last_position() == 0


def test_epoch_of_a_leader_does_not_matter(stored: SqlEventLog) -> None:
    stored.append(lives.STREAM, lives.READY, expected_version=0, epoch=7)

    assert Bench(stored).settled() == ""
    assert stored.last_position() == len(lives.READY)


def test_closed_log_is_not_writable(stored: SqlEventLog) -> None:
    bench = Bench(stored)
    bench.settled()

    stored.database.connection.close()

    assert bench.settled() != ""


def test_log_that_may_only_be_read_is_not_writable(stored: SqlEventLog) -> None:
    stored.database.connection.exec_driver_sql("PRAGMA query_only = ON")

    assert "it is read-only" in Bench(stored).settled()


def test_locked_log_is_told_in_time(stored: SqlEventLog) -> None:
    bench = Bench(stored)
    known = bench.settled()

    with stored.database.writing():
        bench.clock.seconds += checks.FRESH_SECONDS
        while_locked = bench.check()
        bench.clock.seconds += checks.PATIENCE_SECONDS + 1
        too_long = bench.check()

    assert known == while_locked == ""
    assert too_long.startswith("no answer for")
    until(lambda: bench.check() == "")


def test_failed_append_counts_for_a_while() -> None:
    class Full(MemoryEventLog):
        full = True

        def append(self, stream: str, events: Any, **options: Any) -> Any:
            if events and self.full:
                raise LogUnavailable("log.db: the disk is full")
            return super().append(stream, events, **options)

    log = Full(lambda: lives.START)
    bench = Bench(log)

    with pytest.raises(LogUnavailable):
        bench.observed.append(lives.STREAM, lives.READY, expected_version=0)
    failed = bench.settled()
    log.full = False
    bench.observed.append(lives.STREAM, lives.READY, expected_version=0)
    healed = bench.settled()

    assert failed == "an append failed: log.db: the disk is full"
    assert healed == ""


def test_failed_append_is_forgiven_in_time() -> None:
    bench = Bench(MemoryEventLog(lambda: lives.START))
    bench.telemetry.log.failed(LogUnavailable("once"), bench.clock.monotonic())

    bench.clock.seconds += checks.FAILURE_SECONDS

    assert bench.settled() == ""


def test_log_is_asked_once_in_a_while() -> None:
    class Counting(MemoryEventLog):
        asked = 0

        def append(self, *arguments: Any, **options: Any) -> Any:
            self.asked += 1
            return super().append(*arguments, **options)

    log = Counting(lambda: lives.START)
    bench = Bench(log)

    bench.settled()
    for _ in range(10):
        bench.check()

    assert log.asked == 1
