"""What controller-runtime would say of a controller, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest
from prometheus_client import generate_latest

from kaito.clock import WallClock
from kaito.manager.controller import Controller
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import Outcome
from kaito.telemetry.processes import ProvisionerTelemetry
from tests.kaito.live import DEADLINE_SECONDS, until

NAMES = [
    "controller_runtime_active_workers",
    "controller_runtime_max_concurrent_reconciles",
    "controller_runtime_reconcile_errors_total",
    "controller_runtime_reconcile_panics_total",
    "controller_runtime_reconcile_time_seconds",
    "controller_runtime_reconcile_total",
    "controller_runtime_terminal_reconcile_errors_total",
    "workqueue_adds_total",
    "workqueue_depth",
    "workqueue_longest_running_processor_seconds",
    "workqueue_queue_duration_seconds",
    "workqueue_retries_total",
    "workqueue_unfinished_work_seconds",
    "workqueue_work_duration_seconds",
]


class Bench:
    """One controller of the name ``test`` whose reconciles do what a test says."""

    def __init__(self) -> None:
        self.telemetry = ProvisionerTelemetry(WallClock())
        self.controller: Controller[str] | None = None

    def start(self, act: Callable[[str], Reconciled], workers: int = 2) -> Controller[str]:
        self.controller = Controller("test", {}, lambda *_: [], act, WallClock(), workers=workers)
        self.telemetry.controllers.watch(self.controller)
        self.controller.start(lambda error: None)
        return self.controller

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(name, {"controller": "test", **labels})

    def results(self) -> dict[str, float | None]:
        names = ("success", "error", "requeue", "requeue_after")
        return {name: self.value("controller_runtime_reconcile_total", result=name) for name in names}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ended(bench: Bench, count: int) -> None:
    """Wait for so many reconciles to be counted, then stop the workers."""
    seconds = "controller_runtime_reconcile_time_seconds_count"
    until(lambda: (bench.value(seconds) or 0) >= count)
    assert bench.controller is not None
    bench.controller.stop()
    assert bench.controller.join(DEADLINE_SECONDS) == []


def test_names_are_those_of_controller_runtime(bench: Bench) -> None:
    bench.start(lambda key: Reconciled(Outcome.SUCCESS))
    ended(bench, 0)

    lines = generate_latest(bench.telemetry.registry).decode().splitlines()
    found = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    ours = [name for name in found if name.startswith(("controller_runtime_", "workqueue_"))]
    assert sorted(name for name in ours if not name.endswith("_created")) == sorted(NAMES)


def test_results_are_counted_by_kind(bench: Bench) -> None:
    outcomes = {
        "done": Reconciled(Outcome.SUCCESS),
        "later": Reconciled(Outcome.REQUEUE_AFTER, 3600),
        "never": Reconciled(Outcome.TERMINAL_ERROR, error="poison"),
    }
    controller = bench.start(outcomes.__getitem__)

    for key in outcomes:
        controller.add(key)
    ended(bench, 3)

    assert bench.results() == {"success": 1, "error": 1, "requeue": 0, "requeue_after": 1}
    assert bench.value("controller_runtime_reconcile_errors_total") == 1
    assert bench.value("controller_runtime_terminal_reconcile_errors_total") == 1
    assert bench.value("controller_runtime_max_concurrent_reconciles") == 2
    assert bench.value("workqueue_adds_total", name="test") == 3
    assert bench.value("workqueue_retries_total", name="test") == 1
    assert bench.value("workqueue_queue_duration_seconds_count", name="test") == 3


def test_defect_counts_as_a_panic_and_an_error(bench: Bench) -> None:
    controller = bench.start(lambda key: Reconciled(Outcome(key)))

    controller.add("no outcome")
    ended(bench, 1)

    panics = bench.value("controller_runtime_reconcile_panics_total")
    assert panics is not None
    assert panics >= 1
    assert bench.value("controller_runtime_reconcile_errors_total") == panics


def test_reconcile_under_way_can_be_seen(bench: Bench) -> None:
    inside, go_on = Event(), Event()

    def wait(key: str) -> Reconciled:
        inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        return Reconciled(Outcome.SUCCESS)

    controller = bench.start(wait, workers=1)
    controller.add("a")
    assert inside.wait(DEADLINE_SECONDS)
    controller.add("b")

    try:
        assert bench.value("controller_runtime_active_workers") == 1
        assert bench.value("workqueue_depth", name="test", priority="0") == 1
        assert bench.value("workqueue_depth", name="test", priority="-100") == 0
        assert (bench.value("workqueue_longest_running_processor_seconds", name="test") or 0) > 0
        assert (bench.value("workqueue_unfinished_work_seconds", name="test") or 0) > 0
    finally:
        go_on.set()
    ended(bench, 2)
