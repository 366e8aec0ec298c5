"""Durations, gauges and counts say what the log says: live, after a restart, and after another leader."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.clock import WallClock
from kaito.telemetry.lives import Lives
from kaito.telemetry.machines import MACHINES
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry
from kaito.telemetry.workspaces import WORKSPACES
from store.memory import MemoryEventLog
from tests.builders import EPOCH, SKU, at
from tests.kaito import lives
from tests.kaito.telemetry.recomputing import (
    condition_counts,
    exported_conditions,
    exported_durations,
    less,
    machine_durations,
    workspace_durations,
)
from tests.kaito.telemetry.worlds import World, batches
from tests.kaito.test_history_phases import STORIES
from tests.statemachine.machine.builders import NAME, a_failure, a_request, an_acceptance

A_MOMENT = timedelta(microseconds=1)
"""At the very instant of an event, what it began has not lasted yet."""

WORKSPACE_SECONDS, MACHINE_SECONDS = "kaito_workspace_phase_seconds", "kaito_machine_phase_seconds"


@pytest.mark.parametrize("seed", range(6))
def test_exported_durations_equal_the_log(seed: int) -> None:
    world = World(seed).run()

    now = world.engine.now()
    assert exported_durations(world.operator.registry, WORKSPACE_SECONDS) == workspace_durations(
        world.log, now
    )
    assert exported_durations(world.provisioner.registry, MACHINE_SECONDS) == machine_durations(
        world.log, now
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_conditions_equal_the_log_at_any_time(seed: int) -> None:
    world = World(seed)
    seen: list[bool] = []

    def compare() -> None:
        seen.append(exported_conditions(world.operator.registry) == condition_counts(world.log))

    world.run(then=compare)

    assert len(seen) > 50
    assert all(seen)


@given(data=st.data())
def test_restart_shows_the_truth_and_counts_on(data: st.DataObject) -> None:
    events, _ = data.draw(st.sampled_from(list(STORIES.values())))
    cut = data.draw(st.integers(0, len(events)))
    log = MemoryEventLog(lambda: lives.START)
    lives.write(log, events[:cut])
    before = workspace_durations(log, events[max(cut - 1, 0)].at + A_MOMENT)
    telemetry = OperatorTelemetry(WallClock())

    telemetry.seed(log)
    found = exported_conditions(telemetry.registry)
    observed = telemetry.observed(log)
    for version, event in enumerate(events[cut:], start=cut):
        observed.append(lives.STREAM, [event], expected_version=version)

    whole = workspace_durations(log, events[-1].at + A_MOMENT)
    assert cut == 0 or found == condition_counts_of(events[:cut])
    assert exported_durations(telemetry.registry, WORKSPACE_SECONDS) == less(whole, before)
    assert exported_conditions(telemetry.registry) == condition_counts(log)


def condition_counts_of(events: object) -> dict[tuple[str, str], int]:
    log = MemoryEventLog(lambda: lives.START)
    lives.write(log, events)  # type: ignore[arg-type]  # stories are tuples of events
    return condition_counts(log)


def test_machine_restart_counts_on() -> None:
    world = World(3).run()
    records = world.log.read_all(limit=10**6)
    half = len(records) // 2
    log = MemoryEventLog(world.engine.now)
    telemetry = ProvisionerTelemetry(WallClock())

    for batch in batches(records[:half]):
        log.append(batch[0].stream, [each.event for each in batch], expected_version=batch[0].version - 1)
    before = machine_durations(log, records[half - 1].event.at)
    telemetry.seed(log)
    observed = telemetry.observed(log)
    for batch in batches(records[half:]):
        observed.append(
            batch[0].stream, [each.event for each in batch], expected_version=batch[0].version - 1
        )

    whole = machine_durations(log, world.engine.now())
    assert exported_durations(telemetry.registry, MACHINE_SECONDS) == less(whole, before)


def test_what_another_leader_appended_is_not_counted() -> None:
    log = MemoryEventLog(lambda: lives.START)
    telemetry = OperatorTelemetry(WallClock())
    telemetry.seed(log)
    observed = telemetry.observed(log)
    observed.append(lives.STREAM, lives.READY[:2], expected_version=0)

    log.append(lives.STREAM, lives.READY[2:7], expected_version=2)
    observed.append(lives.STREAM, lives.READY[7:], expected_version=7)

    exported = exported_durations(telemetry.registry, WORKSPACE_SECONDS)
    assert {phase for phase, _ in exported} == {"nodes → workload", "inference"}
    assert exported_conditions(telemetry.registry) == condition_counts(log)


def test_attempt_refused_at_its_instant_ends_no_phase() -> None:
    """The refusal is a second append: what the first one began has lasted for no time."""
    log = MemoryEventLog(lambda: EPOCH)
    telemetry = ProvisionerTelemetry(WallClock())
    observed = telemetry.observed(log)
    stream = f"{MACHINES.prefix}{NAME}"
    observed.append(stream, [an_acceptance()], expected_version=0)
    for attempt, second in enumerate((10, 700, 1400, 2100), start=1):
        observed.append(stream, [a_request(attempt, second)], expected_version=2 * attempt - 1)
        observed.append(stream, [a_failure(second, attempt=attempt)], expected_version=2 * attempt)
    observed.append(stream, [a_request(5, 2800)], expected_version=9)

    exported = exported_durations(telemetry.registry, MACHINE_SECONDS)

    assert exported == {("accepted", SKU): (1, 10.0), ("before the next attempt", SKU): (1, 2790.0)}
    assert exported == less(machine_durations(log, at(2801)), {("pool creation", SKU): (1, 1.0)})


def test_life_that_is_over_is_forgotten() -> None:
    log = MemoryEventLog(lambda: lives.START)
    telemetry = OperatorTelemetry(WallClock())
    observed = telemetry.observed(log)

    lives.write(observed, lives.DELETED)  # type: ignore[arg-type]  # the ports agree in what is used

    tracked: Lives[object] = telemetry.lives
    assert tracked.state(lives.STREAM) is None
    assert exported_conditions(telemetry.registry) == {}


def test_seed_leaves_out_what_is_over() -> None:
    log = MemoryEventLog(lambda: lives.START)
    lives.write(log, lives.DELETED)
    lives.write(log, lives.READY, "workspace/default/falcon/uid-2")
    telemetry = OperatorTelemetry(WallClock())

    telemetry.seed(log)

    assert telemetry.lives.state(lives.STREAM) is None
    assert telemetry.lives.state("workspace/default/falcon/uid-2") is not None
    assert telemetry.registry.get_sample_value("kaito_log_position") == log.last_position()
    assert WORKSPACES.prefix == "workspace/"
