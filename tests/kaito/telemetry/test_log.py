"""The log with a stopwatch: it answers as before, and every event is shown once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.telemetry.log import ObservedLog
from kaito.telemetry.processes import OperatorTelemetry
from store.errors import LogUnavailable, StaleEpoch, StoreError, WrongExpectedVersion
from store.memory import MemoryEventLog
from store.records import Appended, StoredEvent
from tests.kaito import lives

COUNT = "kaito_log_append_seconds_count"


class Witness:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        self.seen.append((stream, version, len(events)))


class Failing:
    """A log whose next appends fail, after or before they were written."""

    def __init__(self, log: MemoryEventLog) -> None:
        self.log = log
        self.errors: list[StoreError] = []
        self.lose_answer = False

    def append(self, stream: str, events: Any, **options: Any) -> Appended:
        if self.lose_answer:
            self.log.append(stream, events, **options)
        if self.errors:
            self.lose_answer = False
            raise self.errors.pop(0)
        return self.log.append(stream, events, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


class Bench:
    def __init__(self) -> None:
        self.failing = Failing(MemoryEventLog(lambda: lives.START))
        self.telemetry = OperatorTelemetry(WallClock())
        self.witness = Witness()
        self.log: ObservedLog = self.telemetry.observed(self.failing, [self.witness])  # type: ignore[arg-type]  # a log by delegation

    def append(self, count: int = 1, version: int = 0, **options: Any) -> Appended:
        events = lives.READY[version : version + count]
        return self.log.append(lives.STREAM, events, expected_version=version, **options)

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(name, labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_append_is_timed_and_shown(bench: Bench) -> None:
    appended = bench.append(3)

    assert appended == Appended(3, 3)
    assert bench.witness.seen == [(lives.STREAM, 0, 3)]
    assert bench.value(COUNT) == 1
    assert bench.value("kaito_log_position") == 3


def test_append_of_nothing_is_nobodys_business(bench: Bench) -> None:
    bench.append(0)

    assert bench.witness.seen == []
    assert bench.value(COUNT) == 0


def test_repeated_append_is_shown_once(bench: Bench) -> None:
    bench.append(3, command_id="c")
    again = bench.append(3, command_id="c")

    assert again == Appended(3, 3)
    assert bench.witness.seen == [(lives.STREAM, 0, 3)]
    assert (
        bench.value("kaito_provisioning_attempts_total", instance_type="Standard_NC12s_v3", outcome="Started")
        == 1
    )


def test_append_with_lost_answer_is_shown_when_answered(bench: Bench) -> None:
    bench.failing.errors, bench.failing.lose_answer = [LogUnavailable("the answer was lost")], True

    with pytest.raises(LogUnavailable):
        bench.append(3, command_id="c")
    seen = list(bench.witness.seen)
    bench.append(3, command_id="c")

    assert seen == []
    assert bench.witness.seen == [(lives.STREAM, 0, 3)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WrongExpectedVersion("s", 1, 2), "WrongExpectedVersion"),
        (StaleEpoch(1, 2), "StaleEpoch"),
        (LogUnavailable("the disk is full"), "LogUnavailable"),
        (StoreError("?"), "Other"),
    ],
)
def test_refused_append_is_counted_by_kind(bench: Bench, error: StoreError, kind: str) -> None:
    bench.failing.errors = [error]

    with pytest.raises(type(error)):
        bench.append()

    assert bench.value("kaito_log_append_errors_total", kind=kind) == 1
    assert bench.value(COUNT) == 0
    assert bench.witness.seen == []


def test_defect_of_an_observer_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
            raise KeyError(stream)

    telemetry, witness = OperatorTelemetry(WallClock()), Witness()
    log = telemetry.observed(MemoryEventLog(lambda: lives.START), [Broken(), witness])

    with caplog.at_level(logging.ERROR):
        appended = log.append(lives.STREAM, lives.READY[:2], expected_version=0)

    assert appended.version == 2
    assert witness.seen == [(lives.STREAM, 0, 2)]
    assert "append was not observed" in caplog.text


def test_stream_that_cannot_be_folded_is_set_aside(bench: Bench) -> None:
    bench.append(3)

    bench.log.append(lives.STREAM, [lives.usable()], expected_version=3)
    bench.log.append(lives.STREAM, [lives.usable()], expected_version=4)

    assert bench.telemetry.lives.state(lives.STREAM) is None
    assert [version for _, version, _ in bench.witness.seen] == [0, 3, 4]


def test_reads_are_those_of_the_log(bench: Bench) -> None:
    bench.append(3)

    inner = bench.failing.log
    assert bench.log.read(lives.STREAM, after=1) == inner.read(lives.STREAM, after=1)
    assert bench.log.read_all(after=1, limit=1) == inner.read_all(after=1, limit=1)
    assert next(bench.log.subscribe()) == next(inner.subscribe())
    assert bench.log.streams("workspace/") == inner.streams("workspace/")
    assert bench.log.head(lives.STREAM) == inner.head(lives.STREAM)
