"""The metrics of controllers and their queues, with the names, labels and buckets of controller-runtime.

What the queue counts itself is read from it when Prometheus asks; only durations are told as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kaito.manager.controller import Controller, Durations, Figures
from kaito.runtime.workqueue import DEFAULT_PRIORITY, LOW_PRIORITY, Outcome

RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
QUEUE_BUCKETS = tuple(float(f"1e{exponent}") for exponent in range(-8, 4))
"""Both controller-runtime's, in seconds."""

RESULTS = (Outcome.SUCCESS, Outcome.ERROR, Outcome.REQUEUE, Outcome.REQUEUE_AFTER)
"""The values of ``result``; a terminal error is an error among them."""


class _Durations(Durations):
    def __init__(self, queue: Histogram, work: Histogram, reconcile: Histogram) -> None:
        self._queue = queue
        self._work = work
        self._reconcile = reconcile

    def queued(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def worked(self, seconds: float) -> None:
        self._work.observe(seconds)
        self._reconcile.observe(seconds)


class ControllerMetrics(Collector):
    """Of all controllers that it was told to `watch`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._controllers: list[Controller[Any]] = []
        self._reconcile = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Length of time per reconciliation per controller",
            ["controller"],
            buckets=RECONCILE_BUCKETS,
            registry=registry,
        )
        self._queue = Histogram(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            ["name", "controller"],
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        self._work = Histogram(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes.",
            ["name", "controller"],
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def watch(self, controller: Controller[Any]) -> None:
        """Count what this controller does; to be said before it starts."""
        name = controller.name
        controller.durations = _Durations(
            self._queue.labels(name, name), self._work.labels(name, name), self._reconcile.labels(name)
        )
        self._controllers.append(controller)

    def collect(self) -> Iterable[Metric]:
        found = [(controller.name, controller.figures()) for controller in self._controllers]
        yield from _reconciles(found)
        yield from _queues(found)

    def describe(self) -> Iterable[Metric]:
        yield from _reconciles([])
        yield from _queues([])


_Found = Sequence[tuple[str, Figures]]


def _reconciles(found: _Found) -> Iterable[Metric]:
    total = CounterMetricFamily(
        "controller_runtime_reconcile_total",
        "Total number of reconciliations per controller",
        labels=["controller", "result"],
    )
    errors = _counter("reconcile_errors", "Total number of reconciliation errors per controller")
    terminal = _counter(
        "terminal_reconcile_errors", "Total number of terminal reconciliation errors per controller"
    )
    panics = _counter("reconcile_panics", "Total number of reconciliation panics per controller")
    most = _gauge("max_concurrent_reconciles", "Maximum number of concurrent reconciles per controller")
    active = _gauge("active_workers", "Number of currently used workers per controller")
    for name, figures in found:
        by_result = results(figures)
        for result, count in by_result.items():
            total.add_metric([name, result.value], count)
        errors.add_metric([name], by_result[Outcome.ERROR])
        terminal.add_metric([name], figures.outcomes.get(Outcome.TERMINAL_ERROR, 0))
        panics.add_metric([name], figures.panics)
        most.add_metric([name], figures.workers)
        active.add_metric([name], figures.in_work)
    return total, errors, terminal, panics, most, active


def results(figures: Figures) -> dict[Outcome, int]:
    """Reconciles by the four results that controller-runtime tells apart."""
    counts = {result: figures.outcomes.get(result, 0) for result in RESULTS}
    counts[Outcome.ERROR] += figures.outcomes.get(Outcome.TERMINAL_ERROR, 0)
    return counts


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"controller_runtime_{name}", text, labels=["controller"])


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"controller_runtime_{name}", text, labels=["controller"])


_QUEUE = ("name", "controller")


def _queues(found: _Found) -> Iterable[Metric]:
    depth = GaugeMetricFamily(
        "workqueue_depth",
        "Current depth of workqueue by workqueue and priority",
        labels=[*_QUEUE, "priority"],
    )
    adds = CounterMetricFamily("workqueue_adds", "Total number of adds handled by workqueue", labels=_QUEUE)
    retries = CounterMetricFamily(
        "workqueue_retries", "Total number of retries handled by workqueue", labels=_QUEUE
    )
    unfinished = GaugeMetricFamily(
        "workqueue_unfinished_work_seconds",
        "How many seconds of work has been done that is in progress and hasn't been observed by "
        "work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by "
        "observing the rate at which this increases.",
        labels=_QUEUE,
    )
    longest = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds",
        "How many seconds has the longest running processor for workqueue been running.",
        labels=_QUEUE,
    )
    for name, figures in found:
        queue = (name, name)
        depths = {DEFAULT_PRIORITY: 0, LOW_PRIORITY: 0, **figures.depths}
        for priority, keys in depths.items():
            depth.add_metric([*queue, str(priority)], keys)
        adds.add_metric(queue, figures.adds)
        retries.add_metric(queue, figures.retries)
        unfinished.add_metric(queue, figures.unfinished_seconds)
        longest.add_metric(queue, figures.longest_running_seconds)
    return depth, adds, retries, unfinished, longest
