"""What the metrics have to say, computed anew from a whole log with the tools of `kaito timeline`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

from prometheus_client import CollectorRegistry

from kaito.history.chronicle import Chronicle
from kaito.history.machine_phases import machine_phases
from kaito.history.phases import Span, phases
from statemachine.machine.replay import fold as fold_machine
from statemachine.projection import conditions
from statemachine.replay import fold
from statemachine.state import Stage
from store.memory import MemoryEventLog

Durations: TypeAlias = dict[tuple[str, str], tuple[int, float]]
"""By phase and instance type: how many, and how many seconds together."""


def workspace_durations(log: MemoryEventLog, at: datetime) -> Durations:
    def spans() -> Iterator[tuple[Span, str]]:
        for history in log.histories("workspace/"):
            chronicle = Chronicle(history.stream, tuple(log.read(history.stream)))
            for span in phases(chronicle, at):
                yield span, chronicle.state().instance_type

    return _added(spans())


def machine_durations(log: MemoryEventLog, at: datetime) -> Durations:
    def spans() -> Iterator[tuple[Span, str]]:
        for history in log.histories("machine/"):
            for span in machine_phases(history.events, at):
                yield span, fold_machine(history.events).vm_size

    return _added(spans())


def condition_counts(log: MemoryEventLog) -> dict[tuple[str, str], int]:
    """Workspaces that exist, by condition and status, where there are any."""
    counts: Counter[tuple[str, str]] = Counter()
    for history in log.histories("workspace/"):
        state = fold(history.events)
        if state.stage is not Stage.GONE:
            counts.update((kind, str(found.status)) for kind, found in conditions(state).items())
    return dict(counts)


def exported_durations(registry: CollectorRegistry, name: str) -> Durations:
    counts: dict[tuple[str, str], float] = {}
    sums: dict[tuple[str, str], float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            labels = (sample.labels.get("phase", ""), sample.labels.get("instance_type", ""))
            if sample.name == f"{name}_count":
                counts[labels] = sample.value
            if sample.name == f"{name}_sum":
                sums[labels] = round(sample.value, 3)
    return {labels: (int(count), sums[labels]) for labels, count in counts.items()}


def exported_conditions(registry: CollectorRegistry) -> dict[tuple[str, str], int]:
    samples = [each for metric in registry.collect() for each in metric.samples]
    return {
        (each.labels["type"], each.labels["status"]): int(each.value)
        for each in samples
        if each.name == "kaito_workspace_condition" and each.value
    }


def less(whole: Durations, part: Durations) -> Durations:
    """What came after the part."""
    left = {
        labels: (count - part.get(labels, (0, 0))[0], round(seconds - part.get(labels, (0, 0))[1], 3))
        for labels, (count, seconds) in whole.items()
    }
    return {labels: found for labels, found in left.items() if found[0]}


def _added(spans: Iterable[tuple[Span, str]]) -> Durations:
    found: Durations = {}
    for span, size in spans:
        if not span.open:
            count, seconds = found.get((span.name, size), (0, 0.0))
            found[span.name, size] = (count + 1, seconds + span.duration.total_seconds())
    return {labels: (count, round(seconds, 3)) for labels, (count, seconds) in found.items()}
