"""Attempts to provision a node, and what became of them: from events to a closed set of outcomes.

The operator's attempts are Machines it requested, the provisioner's are agent pools; each process counts its
own, and Prometheus tells them apart by their job. ``TimedOut`` is a verdict and no end: an attempt that was
only slow is counted as succeeded too, when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from kaito.catalogue.catalogue import instance_types
from statemachine import events as ev
from statemachine.machine import events as mev
from statemachine.machine.state import Machine
from statemachine.state import BlockedReason
from store.records import StoredEvent

STARTED = "Started"
SUCCEEDED = "Succeeded"
TIMED_OUT = "TimedOut"
LOST = "Lost"
CREATION_REFUSED = "CreationRefused"
GIVEN_UP = "GivenUp"

OUTCOMES = (
    STARTED,
    SUCCEEDED,
    TIMED_OUT,
    LOST,
    CREATION_REFUSED,
    GIVEN_UP,
    *(reason.value for reason in BlockedReason),
)

OTHER_TYPE = "other"
"""In place of an instance type that is not in the catalogue, which anybody may write into a Workspace."""


def instance_type_label(name: str) -> str:
    """A label value from a set that is closed: a size of the catalogue, ``other``, or empty for none."""
    return name if not name or name in instance_types() else OTHER_TYPE


class Attempts:
    """The counter of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "kaito_provisioning_attempts_total",
            "Attempts to provision a node, by what happened to them.",
            ["instance_type", "outcome"],
            registry=registry,
        )

    def count(self, instance_type: str, outcome: str) -> None:
        self._counter.labels(instance_type_label(instance_type), outcome).inc()


def _blocked(event: ev.MachineLaunchFailed | mev.PoolCreationFailed) -> str:
    return event.reason if event.reason in OUTCOMES else BlockedReason.LAUNCH_FAILED.value


_OF_WORKSPACE: Mapping[type[StoredEvent], Callable[[Any], str]] = {
    ev.MachineRequested: lambda event: STARTED,
    ev.MachineCreationRefused: lambda event: CREATION_REFUSED,
    ev.MachineLaunchFailed: _blocked,
    ev.MachineWaitTimedOut: lambda event: TIMED_OUT,
    ev.MachineBecameReady: lambda event: SUCCEEDED,
    ev.MachineLost: lambda event: LOST,
}

_OF_MACHINE: Mapping[type[StoredEvent], Callable[[Any], str]] = {
    mev.MachineSpecRefused: lambda event: BlockedReason.CONFIGURATION_INVALID.value,
    mev.PoolCreationRequested: lambda event: STARTED,
    mev.PoolCreationFailed: _blocked,
    mev.LaunchGivenUp: lambda event: GIVEN_UP,
    mev.PoolCreationTimedOut: lambda event: TIMED_OUT,
    mev.PoolVanished: lambda event: LOST,
    mev.NodeRegistrationTimedOut: lambda event: BlockedReason.NODE_BOOTSTRAP_FAILED.value,
    mev.NodeInitialized: lambda event: SUCCEEDED,
}


def outcome_in_workspace(event: ev.WorkspaceEvent) -> str | None:
    """What the event says of an attempt; None for nothing."""
    told = _OF_WORKSPACE.get(type(event))
    return None if told is None else told(event)


def outcome_in_machine(event: mev.MachineEvent, state: Machine) -> str | None:
    """What the event says of an attempt, in the state before it; None for nothing."""
    if isinstance(event, mev.NodeInitialized) and state.initialized_at is not None:
        return None  # the recovery of a node that had been in use
    told = _OF_MACHINE.get(type(event))
    return None if told is None else told(event)
