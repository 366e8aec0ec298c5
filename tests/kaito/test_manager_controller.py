"""Workers on one queue: woken when there is work, never two on one key, and ended in good order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Event, Lock
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.manager.controller import Controller
from kaito.runtime.ports import MACHINES
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import Outcome
from store.errors import StaleEpoch
from tests.kaito.live import DEADLINE_SECONDS, a_machine, until

SUCCESS = Reconciled(Outcome.SUCCESS)


class Bench:
    """A controller whose reconciles do what a test says.

    Attributes:
        ran: The keys of the reconciles that ended, in order.
        failures: What was told to end the process.
        together: The most reconciles of one key that were seen at once.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures: list[BaseException] = []
        self.together = 0
        self._inside: dict[str, int] = {}
        self._lock = Lock()
        self._controller: Controller[str] | None = None

    def start(self, act: Callable[[str], Reconciled], workers: int = 2) -> Controller[str]:
        def reconcile(key: str) -> Reconciled:
            self._enter(key, 1)
            try:
                return act(key)
            finally:
                self._enter(key, -1)
                self.ran.append(key)

        def keys_of(resource: Any, old: Any, new: Any, caches: Any) -> list[str]:
            return [(new or old)["metadata"]["name"]]

        self._controller = Controller("test", {}, keys_of, reconcile, WallClock(), workers=workers)
        self._controller.start(self.failures.append)
        return self._controller

    def _enter(self, key: str, step: int) -> None:
        with self._lock:
            self._inside[key] = self._inside.get(key, 0) + step
            self.together = max(self.together, self._inside[key])

    def close(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            assert self._controller.join(DEADLINE_SECONDS) == []


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_added_key_is_reconciled(bench: Bench) -> None:
    controller = bench.start(lambda key: SUCCESS)

    controller.add("a")

    until(lambda: bench.ran == ["a"])


def test_noticed_object_is_reconciled(bench: Bench) -> None:
    controller = bench.start(lambda key: SUCCESS)

    controller.notice(MACHINES, None, a_machine("ws1"))

    until(lambda: bench.ran == ["ws1"])


def test_one_key_is_never_in_two_hands(bench: Bench) -> None:
    controller = bench.start(lambda key: SUCCESS, workers=8)

    for _ in range(200):
        controller.add("a")
        controller.add("b")
    until(lambda: {"a", "b"} <= set(bench.ran))

    assert bench.together == 1


def test_key_added_in_work_runs_again(bench: Bench) -> None:
    inside, go_on = Event(), Event()

    def wait(key: str) -> Reconciled:
        inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        return SUCCESS

    controller = bench.start(wait)
    controller.add("a")
    assert inside.wait(DEADLINE_SECONDS)

    controller.add("a")
    go_on.set()

    until(lambda: bench.ran == ["a", "a"])


def test_exception_is_logged_and_retried(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Reconciled | Exception] = [KeyError("spec"), ValueError("odd"), SUCCESS]

    def fail_first(key: str) -> Reconciled:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.start(fail_first, workers=1).add("a")
    until(lambda: bench.ran == ["a", "a", "a"])

    defects = [record for record in caplog.records if record.message == "reconcile failed"]
    assert [record.kaito_fields for record in defects] == [{"controller": "test", "key": "a"}] * 2
    assert [record.exc_info[0] for record in defects] == [KeyError, ValueError]
    assert bench.failures == []


def test_error_in_one_key_delays_no_other(bench: Bench) -> None:
    def fail_a(key: str) -> Reconciled:
        return Reconciled(Outcome.ERROR, error="no") if key == "a" else SUCCESS

    controller = bench.start(fail_a, workers=1)
    controller.add("a")
    controller.add("b")

    until(lambda: "b" in bench.ran and bench.ran.count("a") > 3)


def test_idle_worker_takes_delayed_key_of_busy_one(bench: Bench) -> None:
    """The worker that waited for the delayed key may be the one that gets the long one."""
    held, go_on = Event(), Event()

    def act(key: str) -> Reconciled:
        if key == "long":
            held.set()
            assert go_on.wait(DEADLINE_SECONDS)
        if key == "later" and "later" not in bench.ran:
            return Reconciled(Outcome.REQUEUE_AFTER, 0.2)
        return SUCCESS

    controller = bench.start(act, workers=2)
    controller.add("later")
    until(lambda: bench.ran == ["later"])
    controller.add("long")
    assert held.wait(DEADLINE_SECONDS)

    until(lambda: bench.ran == ["later", "later"])
    go_on.set()


def test_terminal_error_is_not_repeated(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    controller = bench.start(lambda key: Reconciled(Outcome.TERMINAL_ERROR, error="poison"), workers=1)

    controller.add("a")
    until(lambda: bench.ran == ["a"])
    controller.add("b")
    until(lambda: bench.ran == ["a", "b"])

    until(lambda: len(caplog.records) == 2)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_lone_failure_is_no_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")
    answers = [Reconciled(Outcome.ERROR, error="modified")] * 2 + [SUCCESS]
    controller = bench.start(lambda key: answers.pop(0), workers=1)

    controller.add("a")
    until(lambda: len(bench.ran) == 3)

    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]


def test_stale_epoch_is_told_and_ends_worker(bench: Bench) -> None:
    def stale(key: str) -> Reconciled:
        raise StaleEpoch(1, 2)

    bench.start(stale, workers=1).add("a")

    until(lambda: bench.failures)
    assert [str(failure) for failure in bench.failures] == ["epoch 1 is over: epoch 2 leads"]


def test_stop_hands_out_no_further_key(bench: Bench) -> None:
    inside, go_on = Event(), Event()

    def wait(key: str) -> Reconciled:
        inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        return SUCCESS

    controller = bench.start(wait, workers=1)
    controller.add("a")
    controller.add("b")
    assert inside.wait(DEADLINE_SECONDS)

    controller.stop()
    assert controller.join(0.01) == ["a"]
    go_on.set()

    assert controller.join(DEADLINE_SECONDS) == []
    assert bench.ran == ["a"]
