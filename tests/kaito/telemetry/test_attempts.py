"""Attempts and milestones: the counts of a run are those of its log."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from kaito.clock import WallClock
from kaito.telemetry.attempts import OUTCOMES, instance_type_label, outcome_in_machine, outcome_in_workspace
from kaito.telemetry.machines import MILESTONES, milestone_of
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry
from statemachine.events import WORKSPACE_EVENTS
from statemachine.machine.events import MACHINE_EVENTS
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine
from statemachine.state import BlockedReason
from store.memory import MemoryEventLog
from tests.kaito import lives
from tests.kaito.telemetry.worlds import World
from tests.store.samples import sample

ATTEMPTS = "kaito_provisioning_attempts_total"


def attempts(registry: CollectorRegistry) -> dict[str, int]:
    """By outcome, instance types added up."""
    found: Counter[str] = Counter()
    for metric in registry.collect():
        for each in metric.samples:
            if each.name == ATTEMPTS:
                found[each.labels["outcome"]] += int(each.value)
    return dict(found)


@pytest.mark.parametrize("seed", range(4))
def test_attempts_and_milestones_equal_the_log(seed: int) -> None:
    world = World(seed).run()
    machines: Counter[str] = Counter()
    milestones: Counter[str] = Counter()
    workspaces: Counter[str] = Counter()

    for history in world.log.histories("machine/"):
        state = Machine()
        for event in history.events:
            machines.update(filter(None, [outcome_in_machine(event, state)]))  # type: ignore[arg-type]  # of its stream
            milestones.update([found[0]] if (found := milestone_of(event, state)) else [])  # type: ignore[arg-type]
            state = fold((event,), state)  # type: ignore[arg-type]
    for history in world.log.histories("workspace/"):
        workspaces.update(filter(None, map(outcome_in_workspace, history.events)))  # type: ignore[arg-type]

    text = generate_latest(world.provisioner.registry).decode()
    assert attempts(world.provisioner.registry) == dict(machines)
    assert attempts(world.operator.registry) == dict(workspaces)
    assert milestones["launched"] > 0
    for name in MILESTONES:
        lines = [line for line in text.splitlines() if line.startswith(f"karpenter_machines_{name}{{")]
        assert sum(float(line.split()[-1]) for line in lines) == milestones[name]


def test_outcomes_are_a_closed_set() -> None:
    of_workspace = {outcome_in_workspace(sample(type_)) for type_ in WORKSPACE_EVENTS}  # type: ignore[arg-type]
    of_machine = {outcome_in_machine(sample(type_), Machine()) for type_ in MACHINE_EVENTS}  # type: ignore[arg-type]

    assert of_workspace | of_machine <= {*OUTCOMES, None}
    assert {reason.value for reason in BlockedReason} <= set(OUTCOMES)


@pytest.mark.parametrize("reason", list(BlockedReason))
def test_blocked_launch_is_counted_by_its_reason(reason: str) -> None:
    telemetry = OperatorTelemetry(WallClock())
    log = telemetry.observed(MemoryEventLog(lambda: lives.START))

    events = [*lives.PROVISIONED[:3], lives.launch_failed(60, reason, "why", 660)]
    log.append(lives.STREAM, events, expected_version=0)

    assert attempts(telemetry.registry) == {"Started": 1, reason: 1}


@pytest.mark.parametrize(
    ("written", "label"),
    [("Standard_NC12s_v3", "Standard_NC12s_v3"), ("", ""), ("anybody's text", "other"), ("x" * 999, "other")],
)
def test_instance_types_are_bounded(written: str, label: str) -> None:
    assert instance_type_label(written) == label


def test_published_counters_keep_their_names() -> None:
    text = generate_latest(ProvisionerTelemetry(WallClock()).registry).decode()

    assert 'karpenter_machines_launched{provisioner="default"} 0.0' in text
    assert 'karpenter_machines_terminated{provisioner="default",reason="garbage_collected"} 0.0' in text
    assert "karpenter_machines_launched_total" not in text
