"""Facts in the life of one Workspace, in the past tense.

An event is an immutable value: ``at`` first (aware, UTC), then plain values. The log stores the class
name as the registered type name, never an import path. Intents (``…Requested``, ``…Released``) are facts
too: that the operator decided to act, written before it acts.

Slots: a Workspace of ``count`` nodes has the slots 0 … count-1. A slot is filled by a node that was
already there or by a Machine; a Machine that is lost is replaced in its slot by the next attempt.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from statemachine.limits import Limits


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all events; never stored itself."""

    at: datetime


# --- the object -------------------------------------------------------------------------------------


class WorkspaceMet(Event, frozen=True, kw_only=True, gc=False):
    """Base of the events that begin a life or take it up again; never stored itself."""

    uid: str
    namespace: str
    name: str
    generation: int
    node_count: int
    instance_type: str
    inference: str
    """What is to be served: ``preset falcon-7b-instruct``, or ``template``."""
    limits: Limits


class WorkspaceCreated(WorkspaceMet, frozen=True, kw_only=True, gc=False):
    """The operator met the Workspace for the first time, before it had done anything for it."""


class WorkspaceAdopted(WorkspaceMet, frozen=True, kw_only=True, gc=False):
    """The operator found a Workspace that an operator had worked on, and no stream: history is lost."""


class WorkspaceRestored(WorkspaceMet, frozen=True, kw_only=True, gc=False):
    """A live read found the Workspace alive though the log has its deletion: the cluster was set back.

    What was known of its nodes and its workload is forgotten and has to be seen again.
    """


class SpecChanged(Event, frozen=True, kw_only=True, gc=False):
    """A newer generation of the spec was observed."""

    generation: int


class LimitsChanged(Event, frozen=True, kw_only=True, gc=False):
    """A flag or an annotation changed the timers."""

    limits: Limits


class SpecRefused(Event, frozen=True, kw_only=True, gc=False):
    """The spec of this generation cannot be served; only a newer generation can change that."""

    generation: int
    message: str


# --- machines and nodes -----------------------------------------------------------------------------


class NodeAssigned(Event, frozen=True, kw_only=True, gc=False):
    """A qualified node that was already there was taken for a slot."""

    slot: int
    node: str


class MachineRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: this Machine is to be created. Its name is derived, so the intent names one Machine only."""

    slot: int
    attempt: int
    machine: str


class MachineCreated(Event, frozen=True, kw_only=True, gc=False):
    """The requested Machine exists in the API."""

    slot: int
    machine: str
    uid: str = ""


class MachineCreationRefused(Event, frozen=True, kw_only=True, gc=False):
    """The API refused to create the Machine, for a reason that an immediate repeat would not change."""

    slot: int
    machine: str
    message: str
    retry_at: datetime | None = None


class MachineAdopted(Event, frozen=True, kw_only=True, gc=False):
    """A Machine of this Workspace was found that no intent names; ``slot`` is None when none is free."""

    slot: int | None
    machine: str
    uid: str = ""


class MachineLaunched(Event, frozen=True, kw_only=True, gc=False):
    """The provider reports that the virtual machine exists."""

    slot: int
    machine: str


class MachineLaunchFailed(Event, frozen=True, kw_only=True, gc=False):
    """The provider reports a failure. ``reason`` is one of ``BlockedReason``; the provider retries."""

    slot: int
    machine: str
    reason: str
    message: str
    retry_at: datetime | None = None


class MachineLaunchResumed(Event, frozen=True, kw_only=True, gc=False):
    """The provider no longer reports the failure and tries again."""

    slot: int
    machine: str


class MachineWaitSlowed(Event, frozen=True, kw_only=True, gc=False):
    """The Machine takes longer than ``Limits.machine_slow_after``; nothing is known to be wrong."""

    slot: int
    machine: str
    elapsed_seconds: float


class MachineWaitTimedOut(Event, frozen=True, kw_only=True, gc=False):
    """The Machine takes longer than ``Limits.machine_timeout``; it may still become ready."""

    slot: int
    machine: str
    elapsed_seconds: float


class MachineBecameReady(Event, frozen=True, kw_only=True, gc=False):
    """The Machine is Ready and names its node."""

    slot: int
    machine: str
    node: str


class MachineLost(Event, frozen=True, kw_only=True, gc=False):
    """A live read found the Machine gone, or going, though nobody asked us to delete it."""

    slot: int
    machine: str
    cause: str


class NodeBecameUsable(Event, frozen=True, kw_only=True, gc=False):
    """The slot's node is Ready and, on a GPU size, offers ``nvidia.com/gpu``."""

    slot: int
    node: str


class NodeLost(Event, frozen=True, kw_only=True, gc=False):
    """The slot's node stopped being usable; ``cause`` is one of ``NodeLossCause``."""

    slot: int
    node: str
    cause: str


class NodeReleased(Event, frozen=True, kw_only=True, gc=False):
    """A node that was already there is given up for its slot: it is gone, or has been unusable too long."""

    slot: int
    node: str


class NodePluginsInstalled(Event, frozen=True, kw_only=True, gc=False):
    """Every slot has a usable node: the verdict over all slots."""

    nodes: tuple[str, ...]


class ProvisioningResumed(Event, frozen=True, kw_only=True, gc=False):
    """No slot is in trouble any more, and some still wait."""


class WorkerNodesChosen(Event, frozen=True, kw_only=True, gc=False):
    """The nodes of the Workspace, sorted by name."""

    nodes: tuple[str, ...]


# --- inference --------------------------------------------------------------------------------------


class ServiceCreated(Event, frozen=True, kw_only=True, gc=False):
    name: str


class ServiceLost(Event, frozen=True, kw_only=True, gc=False):
    name: str


class WorkloadCreated(Event, frozen=True, kw_only=True, gc=False):
    """The Deployment or StatefulSet exists."""

    kind: str
    name: str


class WorkloadLost(Event, frozen=True, kw_only=True, gc=False):
    kind: str
    name: str


class InferenceProgressed(Event, frozen=True, kw_only=True, gc=False):
    """The pods reached another phase on their way to ready; ``phase`` is one of ``InferencePhase``."""

    phase: str
    message: str


class InferenceTroubled(Event, frozen=True, kw_only=True, gc=False):
    """Something named keeps the workload from becoming ready; ``reason`` is one of ``InferenceReason``."""

    reason: str
    message: str


class InferenceWaitTimedOut(Event, frozen=True, kw_only=True, gc=False):
    """The workload takes longer than ``Limits.inference_timeout``; it may still become ready."""

    elapsed_seconds: float


class InferenceBecameReady(Event, frozen=True, kw_only=True, gc=False):
    """All replicas are ready.

    ``precision_seconds``: what proved it shows only that it happened between ``at`` and that much later
    (``kubectl get -w`` prints an age of ``16m`` for a whole minute).
    """

    ready: int
    desired: int
    precision_seconds: float = 0.0


class InferenceDegraded(Event, frozen=True, kw_only=True, gc=False):
    """Fewer replicas are ready than desired, after all had been."""

    ready: int
    desired: int
    reason: str
    message: str


# --- deletion ---------------------------------------------------------------------------------------


class WorkspaceDeletionRequested(Event, frozen=True, kw_only=True, gc=False):
    """The object has a deletion timestamp."""


class MachineDeletionRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: this Machine is to be deleted."""

    machine: str


class MachineDeleted(Event, frozen=True, kw_only=True, gc=False):
    """A live read found the Machine gone, as asked."""

    machine: str


class WorkspaceReleased(Event, frozen=True, kw_only=True, gc=False):
    """Intent: no Machine is left, our finalizer is to be removed."""


class WorkspaceDeleted(Event, frozen=True, kw_only=True, gc=False):
    """The object is gone from the API."""


WorkspaceEvent: TypeAlias = (
    WorkspaceCreated
    | WorkspaceAdopted
    | WorkspaceRestored
    | SpecChanged
    | LimitsChanged
    | SpecRefused
    | NodeAssigned
    | MachineRequested
    | MachineCreated
    | MachineCreationRefused
    | MachineAdopted
    | MachineLaunched
    | MachineLaunchFailed
    | MachineLaunchResumed
    | MachineWaitSlowed
    | MachineWaitTimedOut
    | MachineBecameReady
    | MachineLost
    | NodeBecameUsable
    | NodeLost
    | NodeReleased
    | NodePluginsInstalled
    | ProvisioningResumed
    | WorkerNodesChosen
    | ServiceCreated
    | ServiceLost
    | WorkloadCreated
    | WorkloadLost
    | InferenceProgressed
    | InferenceTroubled
    | InferenceWaitTimedOut
    | InferenceBecameReady
    | InferenceDegraded
    | WorkspaceDeletionRequested
    | MachineDeletionRequested
    | MachineDeleted
    | WorkspaceReleased
    | WorkspaceDeleted
)

WORKSPACE_EVENTS: tuple[type[WorkspaceEvent], ...] = WorkspaceEvent.__args__
"""Every event a Workspace stream may hold, in the order of this module."""
