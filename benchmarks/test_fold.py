"""How fast the fold is: a million mixed events in memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

from statemachine import events as ev
from statemachine.events import WorkspaceEvent
from statemachine.replay import fold
from tests.builders import (
    a_creation,
    a_deletion,
    a_failure,
    a_history,
    a_machine_name,
    a_provisioning,
    a_request,
    a_serving,
    at,
)

EVENTS = 1_000_000
PROMISE = 1_000_000
"""Events a second, in the best of the rounds: the others measure who else used the machine."""
ROUNDS = 5


def slow_history(timed_out: bool) -> list[WorkspaceEvent]:
    """A Machine that is called slow and, maybe, failed before it succeeds."""
    machine = a_machine_name()
    created, launched = a_provisioning(launch_seconds=930)[:2], a_provisioning(launch_seconds=930)[2:]
    waits: list[WorkspaceEvent] = [
        ev.MachineWaitSlowed(at=at(240), slot=0, machine=machine, elapsed_seconds=240)
    ]
    if timed_out:
        waits.append(ev.MachineWaitTimedOut(at=at(900), slot=0, machine=machine, elapsed_seconds=900))
    return [a_creation(), *created, *waits, *launched, *a_serving(940), *a_deletion()]


def blocked_history() -> list[WorkspaceEvent]:
    """A Machine that quota holds up, twice, until somebody raises it."""
    machine, failure = a_machine_name(), a_failure()
    way = a_provisioning(launch_seconds=3600)
    failed = [
        ev.MachineLaunchFailed(
            at=at(seconds), slot=0, machine=machine, reason=failure.reason, message=failure.message
        )
        for seconds in (5, 65)
    ]
    resumed = [
        ev.MachineLaunchResumed(at=at(3500), slot=0, machine=machine),
        ev.ProvisioningResumed(at=at(3500)),
    ]
    return [a_creation(), *way[:2], *failed, *resumed, *way[2:], *a_serving(3700), *a_deletion(seconds=9000)]


def degraded_history() -> list[WorkspaceEvent]:
    """A crashing pod, a flapping node and a Machine that is lost and replaced."""
    second = a_machine_name(0, 2)
    return [
        *a_history(),
        ev.InferenceDegraded(at=at(2000), ready=0, desired=1, reason="ContainerOOMKilled", message="pod"),
        ev.InferenceTroubled(at=at(2060), reason="ContainerOOMKilled", message="pod restarted 2 times"),
        ev.InferenceBecameReady(at=at(2500), ready=1, desired=1),
        ev.NodeLost(at=at(3000), slot=0, node="node-0", cause="not ready"),
        ev.NodeBecameUsable(at=at(3060), slot=0, node="node-0"),
        ev.NodePluginsInstalled(at=at(3060), nodes=("node-0",)),
        ev.WorkerNodesChosen(at=at(3060), nodes=("node-0",)),
        ev.MachineLost(at=at(4000), slot=0, machine=a_machine_name(), cause="gone"),
        ev.ProvisioningResumed(at=at(4000)),
        a_request(0, 2, 4000),
        *a_provisioning(attempt=2)[1:],
        *a_deletion((second,), seconds=9000),
    ]


def lives() -> list[list[WorkspaceEvent]]:
    """The mixture: mostly ordinary lives of one to four nodes, some slow, blocked or degraded."""
    ordinary = [a_history(count, deleted=True) for count in (1, 1, 1, 2, 4)]
    return [
        *ordinary,
        slow_history(timed_out=False),
        slow_history(timed_out=True),
        blocked_history(),
        degraded_history(),
    ]


def million() -> Iterator[list[WorkspaceEvent]]:
    """Whole lives until there are a million events."""
    mixture, total = lives(), 0
    while total < EVENTS:
        for life in mixture:
            total += len(life)
            yield life


def seconds_to_fold(histories: list[list[WorkspaceEvent]]) -> float:
    """Process time of one pass, in seconds; the collector has nothing to do here and is switched off."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        for history in histories:
            fold(history)
        return time.process_time() - started
    finally:
        gc.enable()


def test_fold_keeps_its_promise(benchmark) -> None:  # type: ignore[no-untyped-def]
    histories = list(million())
    events = sum(len(history) for history in histories)
    assert events >= EVENTS

    taken = []
    benchmark.pedantic(lambda: taken.append(seconds_to_fold(histories)), rounds=ROUNDS, iterations=1)

    per_second = events / min(taken)
    benchmark.extra_info["events_per_second"] = round(per_second)
    print(f"\nfold: {per_second / 1e6:.2f} M events/s, best of {ROUNDS}")
    assert per_second >= PROMISE
