"""Metrics about Machines: how long their phases take, and the published counters of their milestones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from kaito.history.machine_phases import machine_phase
from kaito.runtime.machines.keys import PROVISIONER, STREAM_PREFIX
from kaito.telemetry.attempts import Attempts, instance_type_label, outcome_in_machine
from kaito.telemetry.lives import Aggregate, Listener
from kaito.telemetry.workspaces import PHASE_BUCKETS
from statemachine.machine import events as mev
from statemachine.machine.replay import advance
from statemachine.machine.state import Machine

MACHINES: Aggregate[Machine] = Aggregate(
    prefix=STREAM_PREFIX,
    types=frozenset(mev.MACHINE_EVENTS),
    empty=Machine,
    advance=advance,
    phase=lambda state: machine_phase(state).value,
    is_over=lambda state: state.is_over,
)

CREATED, LAUNCHED, REGISTERED, INITIALIZED, TERMINATED = (
    "created",
    "launched",
    "registered",
    "initialized",
    "terminated",
)
MILESTONES = {
    CREATED: "Machines that the provisioner met for the first time.",
    LAUNCHED: "Machines whose agent pool the cloud finished creating.",
    REGISTERED: "Machines whose node came into the cluster.",
    INITIALIZED: "Machines whose node became ready with all that was asked for.",
    TERMINATED: "Machines that are gone, with their agent pools.",
}
"""The published counters ``karpenter_machines_<milestone>``."""

PROVISIONED, DELETED, COLLECTED = "provisioned", "deleted", "garbage_collected"
REASONS = {CREATED: (PROVISIONED,), TERMINATED: (DELETED, COLLECTED)}
"""Values of ``reason`` where the published counter has that label."""

NO_REASON = ("",)


class MachineMetrics(Listener[Machine], Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Attempts(registry)
        self._seconds = Histogram(
            "kaito_machine_phase_seconds",
            "How long Machines were in a phase, counted when the phase ends.",
            ["phase", "instance_type"],
            buckets=PHASE_BUCKETS,
            registry=registry,
        )
        self._milestones: Counter[tuple[str, str]] = Counter()
        registry.register(self)

    # --- from the lives -----------------------------------------------------------------------------

    def happened(self, event: Any, state: Machine) -> None:
        if (outcome := outcome_in_machine(event, state)) is not None:
            size = event.vm_size if isinstance(event, mev.PoolCreationRequested) else state.vm_size
            self._attempts.count(size or state.vm_size, outcome)
        if (milestone := milestone_of(event, state)) is not None:
            self._milestones[milestone] += 1

    def phase_ended(self, phase: str, seconds: float, state: Machine) -> None:
        self._seconds.labels(phase, instance_type_label(state.vm_size)).observe(seconds)

    def changed(self, stream: str, state: Machine | None) -> None:
        pass

    # --- to Prometheus ------------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        """Counters without ``_total``, as they were published; the format has such only as untyped."""
        for milestone, text in MILESTONES.items():
            has_reason = milestone in REASONS
            names = ["reason", "provisioner"] if has_reason else ["provisioner"]
            family = UnknownMetricFamily(f"karpenter_machines_{milestone}", text, labels=names)
            for reason in REASONS.get(milestone, NO_REASON):
                values = [reason, PROVISIONER] if has_reason else [PROVISIONER]
                family.add_metric(values, self._milestones[milestone, reason])
            yield family

    def describe(self) -> Iterable[Metric]:
        return self.collect()


def milestone_of(event: mev.MachineEvent, state: Machine) -> tuple[str, str] | None:
    """The milestone that an event is, and its reason; ``state`` is the one before it."""
    match event:
        case mev.MachineAccepted():
            return CREATED, PROVISIONED
        case mev.MachineLaunchCompleted():
            return LAUNCHED, ""
        case mev.NodeRegistered():
            return REGISTERED, ""
        case mev.NodeInitialized() if state.initialized_at is None:
            return INITIALIZED, ""
        case mev.MachineRemoved():
            return TERMINATED, COLLECTED if state.removal else DELETED
        case _:
            return None
