"""What telemetry costs an append: metrics and Events observed, against the log alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.conftest import Compare
from kaito.clock import WallClock
from kaito.telemetry.notices import about_workspace
from kaito.telemetry.processes import OperatorTelemetry
from kaito.telemetry.recorder import OPERATOR, Recorder
from store.opening import open_log
from store.records import Appended, StoredEvent
from tests.builders import a_history

Say = Callable[..., None]

NOW = datetime(2024, 4, 5, tzinfo=UTC)
HISTORY: list[StoredEvent] = list(a_history(1, deleted=True))
LIVES = 500
APPENDS = LIVES * len(HISTORY)
STORED_LIVES = 40

MOST_MICROSECONDS = 50


class NoLog:
    """Takes everything and does nothing, so that what is measured is what observes it."""

    def __init__(self) -> None:
        self._positions = count(1)

    def append(self, stream: str, events: Sequence[StoredEvent], **options: Any) -> Appended:
        return Appended(options["expected_version"] + len(events), next(self._positions))


class NoApi:
    """Keeps no Event; the recorder that it is for is never started, and its queue has room for all."""


def observed(log: Any) -> Any:
    telemetry = OperatorTelemetry(WallClock())
    recorder = Recorder(
        NoApi(),  # type: ignore[arg-type]  # never called
        about_workspace,
        WallClock(),
        telemetry.registry,
        component=OPERATOR,
        instance="bench",
        queued=APPENDS * 100,
    )
    return telemetry.observed(log, [recorder])


NUMBERS = count()


def live(log: Any, lives: int) -> None:
    """Whole lives, one event an append: the costliest way to write them."""
    for number in islice(NUMBERS, lives):
        stream = f"workspace/default/w{number}/u{number}"
        for version, event in enumerate(HISTORY):
            log.append(stream, [event], expected_version=version, cause="reconcile")


# The fastest round: what observes is nothing but computing, and a busy machine only adds to it.
def test_observing_an_append_is_cheap(benchmark: Any, say: Say) -> None:
    def anew() -> tuple[tuple[Any, int], dict[str, Any]]:
        return (observed(NoLog()), LIVES), {}

    benchmark.pedantic(live, setup=anew, rounds=15)

    microseconds = benchmark.stats.stats.min / APPENDS * 1e6
    say("microseconds that observing adds to an append", microseconds, f"<= {MOST_MICROSECONDS}")
    assert microseconds <= MOST_MICROSECONDS


# Without an fsync for each commit: that of a shared disk would hide what is to be seen.
def test_append_with_telemetry_against_without(tmp_path: Path, compare: Compare, say: Say) -> None:
    with (
        open_log(f"sqlite:///{tmp_path}/with.db", lambda: NOW, create=True, synchronous="NORMAL") as first,
        open_log(
            f"sqlite:///{tmp_path}/without.db", lambda: NOW, create=True, synchronous="NORMAL"
        ) as second,
    ):
        watched = observed(first)

        ours, theirs = compare(
            lambda: live(watched, STORED_LIVES), lambda: live(second, STORED_LIVES), rounds=9
        )

    say("append to a file with telemetry / without", ours / theirs)
