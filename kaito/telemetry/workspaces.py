"""Metrics about Workspaces: how long their phases take, and how they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kaito.history.chronicle import Provision
from kaito.history.phases import phase_of
from kaito.runtime.keys import STREAM_PREFIX
from kaito.runtime.repository import is_settled
from kaito.telemetry.attempts import Attempts, instance_type_label, outcome_in_workspace
from kaito.telemetry.lives import Aggregate, Listener
from statemachine.events import WORKSPACE_EVENTS
from statemachine.replay import advance
from statemachine.state import ConditionStatus, ConditionType, Stage, Workspace
from statemachine.tables import FIELDS

PHASE_BUCKETS = (1, 5, 10, 30, 60, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 3600, 14400, 86400)
"""Seconds: from what takes no time to speak of, over the usual minutes and the published limit of 240, to a
serving day."""

STATUSES = tuple(status for status in ConditionStatus if status is not ConditionStatus.ABSENT)

# Reading the value of an Enum member costs more than all else here; a member is its value's equal.
_FIELDS = tuple((kind.value, FIELDS[kind]) for kind in ConditionType)
_ABSENT = ConditionStatus.ABSENT


class _Alone:
    """A Workspace of which only its own stream is known."""

    provisions: ClassVar[Mapping[str, Provision]] = {}

    __slots__ = ("state",)

    def __init__(self, state: Workspace) -> None:
        self.state = state


WORKSPACES: Aggregate[Workspace] = Aggregate(
    prefix=STREAM_PREFIX,
    types=frozenset(WORKSPACE_EVENTS),
    empty=Workspace,
    advance=advance,
    phase=lambda state: phase_of(_Alone(state)).value,
    is_over=is_settled,
)
"""Phases come from the Workspace's own stream alone: the operator does not see what a provisioner appends."""


class WorkspaceMetrics(Listener[Workspace], Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Attempts(registry)
        self._seconds = Histogram(
            "kaito_workspace_phase_seconds",
            "How long Workspaces were in a phase, counted when the phase ends; named as by kaito timeline.",
            ["phase", "instance_type"],
            buckets=PHASE_BUCKETS,
            registry=registry,
        )
        self._written: dict[str, tuple[tuple[str, str], ...]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        registry.register(self)

    # --- from the lives -----------------------------------------------------------------------------

    def happened(self, event: Any, state: Workspace) -> None:
        if (outcome := outcome_in_workspace(event)) is not None:
            self._attempts.count(state.instance_type, outcome)

    def phase_ended(self, phase: str, seconds: float, state: Workspace) -> None:
        self._seconds.labels(phase, instance_type_label(state.instance_type)).observe(seconds)

    def changed(self, stream: str, state: Workspace | None) -> None:
        before, now = self._written.get(stream, ()), _conditions(state)
        if now == before:
            return
        self._counts.subtract(before)
        self._counts.update(now)
        if now:
            self._written[stream] = now
        else:
            del self._written[stream]

    # --- to Prometheus ------------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "kaito_workspace_condition",
            "Workspaces that exist, by condition and its status.",
            labels=["type", "status"],
        )
        for kind in ConditionType:
            for status in STATUSES:
                family.add_metric([kind.value, status.value], self._counts[kind.value, status.value])
        yield family

    def describe(self) -> Iterable[Metric]:
        return self.collect()


def _conditions(state: Workspace | None) -> tuple[tuple[str, str], ...]:
    """Type and status of every condition of an object that exists."""
    if state is None or state.stage is Stage.GONE:
        return ()
    found = [(kind, getattr(state, field).status) for kind, field in _FIELDS]
    return tuple([each for each in found if each[1] is not _ABSENT])
