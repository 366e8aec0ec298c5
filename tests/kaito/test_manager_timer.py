"""Acts at intervals: repeated after a failure, ended by a stop or by a newer leader."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event

import pytest

from kaito.manager.timer import Timer
from store.errors import StaleEpoch
from tests.kaito.live import DEADLINE_SECONDS, until

Start = Callable[[Callable[[], None]], Timer]


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def start(failures: list[BaseException]) -> Iterator[Start]:
    started: list[Timer] = []

    def start(act: Callable[[], None]) -> Timer:
        timer = Timer("round", timedelta(milliseconds=1), act)
        started.append(timer)
        timer.start(failures.append)
        return timer

    yield start
    for timer in started:
        timer.stop()
        assert timer.join(DEADLINE_SECONDS)


def test_act_is_repeated_until_stop(start: Start) -> None:
    acts: list[int] = []
    timer = start(lambda: acts.append(1))
    until(lambda: len(acts) > 2)

    timer.stop()

    assert timer.join(DEADLINE_SECONDS)


def test_failure_of_round_is_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    acts: list[int] = []

    def fail_once() -> None:
        acts.append(1)
        if len(acts) == 1:
            raise KeyError("labels")

    start(fail_once)
    until(lambda: len(acts) > 1)

    (line,) = caplog.records
    assert (line.levelno, line.kaito_fields) == (logging.ERROR, {"timer": "round"})


def test_newer_leader_ends_rounds(start: Start, failures: list[BaseException]) -> None:
    def stale() -> None:
        raise StaleEpoch(1, 2)

    timer = start(stale)

    assert timer.join(DEADLINE_SECONDS)
    assert [type(failure) for failure in failures] == [StaleEpoch]


def test_stop_waits_for_round_under_way(start: Start) -> None:
    inside, go_on = Event(), Event()
    ended: list[int] = []

    def wait() -> None:
        inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        ended.append(1)

    timer = start(wait)
    assert inside.wait(DEADLINE_SECONDS)

    timer.stop()
    assert not timer.join(0.01)
    go_on.set()

    assert timer.join(DEADLINE_SECONDS)
    assert ended == [1]
