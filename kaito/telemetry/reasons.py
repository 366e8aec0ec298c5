"""Which events of the log are told as Kubernetes Events, and with which reason.

Reasons are one closed set: alerts and scripts match on them. Every event of both aggregates stands in one of
the tables below; an intent that its effect follows, and what nobody can act upon, is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from statemachine import events as ev
from statemachine.machine import events as mev
from statemachine.state import BlockedReason, InferenceReason
from store.records import StoredEvent

NORMAL, WARNING = "Normal", "Warning"


class Reason(StrEnum):
    """The reason of an Event; the last two groups are those of conditions, spelled alike."""

    WORKSPACE_ACCEPTED = "WorkspaceAccepted"
    WORKSPACE_ADOPTED = "WorkspaceAdopted"
    WORKSPACE_RESTORED = "WorkspaceRestored"
    SPEC_CHANGED = "SpecChanged"
    SPEC_REFUSED = "SpecRefused"
    NODE_ASSIGNED = "NodeAssigned"
    MACHINE_CREATED = "MachineCreated"
    MACHINE_CREATION_REFUSED = "MachineCreationRefused"
    MACHINE_ADOPTED = "MachineAdopted"
    MACHINE_LAUNCHED = "MachineLaunched"
    MACHINE_LAUNCH_RESUMED = "MachineLaunchResumed"
    MACHINE_SLOW = "MachineProvisioningSlow"
    MACHINE_TIMED_OUT = "MachineTimedOut"
    MACHINE_READY = "MachineReady"
    MACHINE_LOST = "MachineLost"
    NODE_USABLE = "NodeUsable"
    NODE_LOST = "NodeLost"
    NODE_RELEASED = "NodeReleased"
    NODES_READY = "NodesReady"
    SERVICE_CREATED = "ServiceCreated"
    SERVICE_LOST = "ServiceLost"
    WORKLOAD_CREATED = "WorkloadCreated"
    WORKLOAD_LOST = "WorkloadLost"
    INFERENCE_PROGRESSED = "InferenceProgressed"
    INFERENCE_TIMED_OUT = "InferenceTimedOut"
    INFERENCE_READY = "InferenceReady"
    WORKSPACE_DELETING = "WorkspaceDeleting"
    MACHINE_DELETING = "MachineDeleting"
    MACHINE_DELETED = "MachineDeleted"

    MACHINE_ACCEPTED = "MachineAccepted"
    POOL_REQUESTED = "PoolRequested"
    POOL_FOUND = "PoolFound"
    STALE_POOL_FOUND = "StalePoolFound"
    LAUNCH_GIVEN_UP = "LaunchGivenUp"
    LAUNCH_TIMED_OUT = "LaunchTimedOut"
    POOL_VANISHED = "PoolVanished"
    POOL_DELETING = "PoolDeleting"
    POOL_DELETION_FAILED = "PoolDeletionFailed"
    POOL_DELETED = "PoolDeleted"
    NODE_REGISTERED = "NodeRegistered"
    NODES_DUPLICATED = "NodesDuplicated"
    NODE_NOT_INITIALIZED = "NodeNotInitialized"
    NODE_INITIALIZED = "NodeInitialized"
    NODE_UNREADY = "NodeUnready"
    NODE_RECOVERED = "NodeRecovered"
    REGISTRATION_TIMED_OUT = "RegistrationTimedOut"
    REMOVAL_REQUESTED = "RemovalRequested"
    REMOVAL_WITHDRAWN = "RemovalWithdrawn"
    TERMINATING = "Terminating"
    DRAIN_BLOCKED = "DrainBlocked"
    DRAINED = "Drained"
    NODE_REMOVED = "NodeRemoved"
    MACHINE_VANISHED = "MachineVanished"

    QUOTA_EXCEEDED = BlockedReason.QUOTA_EXCEEDED.value
    INSUFFICIENT_CAPACITY = BlockedReason.INSUFFICIENT_CAPACITY.value
    SKU_NOT_AVAILABLE = BlockedReason.SKU_NOT_AVAILABLE.value
    NOT_AUTHORIZED = BlockedReason.NOT_AUTHORIZED.value
    CONFIGURATION_INVALID = BlockedReason.CONFIGURATION_INVALID.value
    THROTTLED = BlockedReason.THROTTLED.value
    OPERATION_IN_PROGRESS = BlockedReason.OPERATION_IN_PROGRESS.value
    NODE_BOOTSTRAP_FAILED = BlockedReason.NODE_BOOTSTRAP_FAILED.value
    PROVIDER_FAULT = BlockedReason.PROVIDER_FAULT.value
    LAUNCH_FAILED = BlockedReason.LAUNCH_FAILED.value

    INFERENCE_FAILED = InferenceReason.FAILED.value
    UNSCHEDULABLE = InferenceReason.UNSCHEDULABLE.value
    IMAGE_PULL_ERROR = InferenceReason.IMAGE_PULL_ERROR.value
    CRASH_LOOP = InferenceReason.CRASH_LOOP.value
    OOM_KILLED = InferenceReason.OOM_KILLED.value
    START_ERROR = InferenceReason.START_ERROR.value
    EVICTED = InferenceReason.EVICTED.value
    NAME_TAKEN = InferenceReason.NAME_TAKEN.value
    REPLICAS_NOT_READY = InferenceReason.NOT_READY.value


class Rule(msgspec.Struct, frozen=True):
    """``reason`` is that of the Event, or the one in place of an own reason that is in no closed set."""

    type: str
    reason: Reason
    own_reason: bool = False
    """Whether the event brings a reason of its own, of a closed set."""


def _normal(reason: Reason) -> Rule:
    return Rule(NORMAL, reason)


def _warning(reason: Reason) -> Rule:
    return Rule(WARNING, reason)


SILENT: Final = None

RULES: Final[Mapping[type[StoredEvent], Rule | None]] = {
    # the Workspace
    ev.WorkspaceCreated: _normal(Reason.WORKSPACE_ACCEPTED),
    ev.WorkspaceAdopted: _normal(Reason.WORKSPACE_ADOPTED),
    ev.WorkspaceRestored: _normal(Reason.WORKSPACE_RESTORED),
    ev.SpecChanged: _normal(Reason.SPEC_CHANGED),
    ev.LimitsChanged: SILENT,
    ev.SpecRefused: _warning(Reason.SPEC_REFUSED),
    ev.NodeAssigned: _normal(Reason.NODE_ASSIGNED),
    ev.MachineRequested: SILENT,
    ev.MachineCreated: _normal(Reason.MACHINE_CREATED),
    ev.MachineCreationRefused: _warning(Reason.MACHINE_CREATION_REFUSED),
    ev.MachineAdopted: _normal(Reason.MACHINE_ADOPTED),
    ev.MachineLaunched: _normal(Reason.MACHINE_LAUNCHED),
    ev.MachineLaunchFailed: Rule(WARNING, Reason.LAUNCH_FAILED, own_reason=True),
    ev.MachineLaunchResumed: _normal(Reason.MACHINE_LAUNCH_RESUMED),
    ev.MachineWaitSlowed: _normal(Reason.MACHINE_SLOW),
    ev.MachineWaitTimedOut: _warning(Reason.MACHINE_TIMED_OUT),
    ev.MachineBecameReady: _normal(Reason.MACHINE_READY),
    ev.MachineLost: _warning(Reason.MACHINE_LOST),
    ev.NodeBecameUsable: _normal(Reason.NODE_USABLE),
    ev.NodeLost: _warning(Reason.NODE_LOST),
    ev.NodeReleased: _normal(Reason.NODE_RELEASED),
    ev.NodePluginsInstalled: _normal(Reason.NODES_READY),
    ev.ProvisioningResumed: SILENT,
    ev.WorkerNodesChosen: SILENT,
    ev.ServiceCreated: _normal(Reason.SERVICE_CREATED),
    ev.ServiceLost: _warning(Reason.SERVICE_LOST),
    ev.WorkloadCreated: _normal(Reason.WORKLOAD_CREATED),
    ev.WorkloadLost: _warning(Reason.WORKLOAD_LOST),
    ev.InferenceProgressed: _normal(Reason.INFERENCE_PROGRESSED),
    ev.InferenceTroubled: Rule(WARNING, Reason.INFERENCE_FAILED, own_reason=True),
    ev.InferenceWaitTimedOut: _warning(Reason.INFERENCE_TIMED_OUT),
    ev.InferenceBecameReady: _normal(Reason.INFERENCE_READY),
    ev.InferenceDegraded: Rule(WARNING, Reason.REPLICAS_NOT_READY, own_reason=True),
    ev.WorkspaceDeletionRequested: _normal(Reason.WORKSPACE_DELETING),
    ev.MachineDeletionRequested: _normal(Reason.MACHINE_DELETING),
    ev.MachineDeleted: _normal(Reason.MACHINE_DELETED),
    ev.WorkspaceReleased: SILENT,
    ev.WorkspaceDeleted: SILENT,
    # the Machine
    mev.MachineAccepted: _normal(Reason.MACHINE_ACCEPTED),
    mev.MachineSpecChanged: _normal(Reason.SPEC_CHANGED),
    mev.MachineSpecRefused: _warning(Reason.SPEC_REFUSED),
    mev.PoolCreationRequested: _normal(Reason.POOL_REQUESTED),
    mev.PoolCreationSubmitted: SILENT,
    mev.PoolFound: _normal(Reason.POOL_FOUND),
    mev.StalePoolFound: _normal(Reason.STALE_POOL_FOUND),
    mev.PoolOperationEnded: SILENT,
    mev.PoolCreationFailed: Rule(WARNING, Reason.LAUNCH_FAILED, own_reason=True),
    mev.LaunchGivenUp: _warning(Reason.LAUNCH_GIVEN_UP),
    mev.PoolCreationTimedOut: _warning(Reason.LAUNCH_TIMED_OUT),
    mev.MachineLaunchCompleted: _normal(Reason.MACHINE_LAUNCHED),
    mev.PoolVanished: _warning(Reason.POOL_VANISHED),
    mev.PoolDeletionRequested: _normal(Reason.POOL_DELETING),
    mev.PoolDeletionSubmitted: SILENT,
    mev.PoolDeletionFailed: _warning(Reason.POOL_DELETION_FAILED),
    mev.PoolRemoved: _normal(Reason.POOL_DELETED),
    mev.NodeRegistered: _normal(Reason.NODE_REGISTERED),
    mev.NodesDuplicated: _warning(Reason.NODES_DUPLICATED),
    mev.NodeAwaited: SILENT,
    mev.NodeInitializationAwaited: _normal(Reason.NODE_NOT_INITIALIZED),
    mev.NodeInitialized: _normal(Reason.NODE_INITIALIZED),
    mev.NodeBecameUnready: _warning(Reason.NODE_UNREADY),
    mev.NodeBecameReady: _normal(Reason.NODE_RECOVERED),
    mev.NodeRegistrationTimedOut: _warning(Reason.REGISTRATION_TIMED_OUT),
    mev.MachineRemovalRequested: _warning(Reason.REMOVAL_REQUESTED),
    mev.MachineRemovalWithdrawn: _normal(Reason.REMOVAL_WITHDRAWN),
    mev.TerminationStarted: _normal(Reason.TERMINATING),
    mev.DrainStarted: SILENT,
    mev.DrainBlocked: _warning(Reason.DRAIN_BLOCKED),
    mev.DrainCompleted: _normal(Reason.DRAINED),
    mev.NodeRemoved: _normal(Reason.NODE_REMOVED),
    mev.MachineReleased: SILENT,
    mev.MachineRemoved: SILENT,
    mev.MachineVanished: _warning(Reason.MACHINE_VANISHED),
}

_OWN = frozenset(reason.value for reason in (*BlockedReason, *InferenceReason))


def rule_of(event: StoredEvent) -> Rule | None:
    """How the event is told; None when it is not."""
    return RULES[type(event)]


def reason_of(rule: Rule, event: Any) -> Reason:
    """The reason of the Event: the event's own where it has one of the closed sets."""
    if rule.own_reason and event.reason in _OWN:
        return Reason(event.reason)
    return rule.reason
