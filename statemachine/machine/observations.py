"""What a driver can show the Machine's core: a frozen picture, or the outcome of one command.

The picture comes from caches and may be stale. What the cloud holds is never in it: pools and operations
are read live, by a command, and told as its outcome. PoolState, OperationState and PoolFault are the
vocabulary of the port to the cloud, in which an adapter's errors arrive here.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec

from statemachine.machine.commands import MachineCommand
from statemachine.machine.limits import MachineLimits
from statemachine.observations import Result
from statemachine.state import Condition


class PoolState(StrEnum):
    """provisioningState of a pool; anything the service may invent is UNKNOWN and means: under way."""

    CREATING = "Creating"
    UPDATING = "Updating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    DELETING = "Deleting"
    UNKNOWN = "Unknown"


class OperationState(StrEnum):
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    LOST = "Lost"
    """The service no longer knows the operation; only the pool itself can tell."""


class PoolFault(msgspec.Struct, frozen=True, kw_only=True):
    """What the cloud says is wrong: a BlockedReason, and its own code and words.

    ``limit``, ``used`` and ``needed`` are cores, where a quota text gives them. ``retry_after_seconds`` is
    what the service asked for, None when it asked for nothing.
    """

    reason: str
    code: str
    message: str
    terminal: bool = False
    """Whether a repeat of the same request cannot succeed."""
    family: str = ""
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    retry_after_seconds: float | None = None


class PoolReading(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as read or listed. ``owner`` and ``owner_uid`` are our tags, empty where they are missing.

    ``created_at`` is our tag's time; None when it is missing, unreadable or in the future.
    """

    name: str
    state: PoolState
    owner: str = ""
    owner_uid: str = ""
    vm_size: str = ""
    created_at: datetime | None = None
    fault: PoolFault | None = None


class OperationReading(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    state: OperationState = OperationState.IN_PROGRESS
    fault: PoolFault | None = None


class MachineStatusView(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `.status` that we own, as it stands on the object.

    ``conditions`` holds our types only; ``capacity`` and ``allocatable`` are ``name=quantity``, sorted.
    """

    conditions: dict[str, Condition] = {}
    node: str = ""
    provider_id: str = ""
    capacity: tuple[str, ...] = ()
    allocatable: tuple[str, ...] = ()


class MachineObject(msgspec.Struct, frozen=True, kw_only=True):
    """A Machine object and the provisioner's settings, reduced to what decisions read."""

    name: str
    uid: str
    created_at: datetime
    generation: int = 1
    deleting: bool = False
    has_finalizer: bool = False
    vm_size: str = ""
    """The first instance type of the requirement, in the user's order."""
    os_disk_gb: int = 0
    """0 or 30…2048."""
    requests: tuple[str, ...] = ()
    """Names of the resources requested in a quantity above zero, without ``storage``, sorted."""
    startup_taints: tuple[str, ...] = ()
    """As ``key=value:Effect``."""
    refused: str = ""
    """Why this spec cannot be provisioned (name no pool may have, no instance type); empty when it can."""
    limits: MachineLimits = MachineLimits()
    status: MachineStatusView = MachineStatusView()


class MachineNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node of this Machine's pool: its agent pool label is the Machine's name.

    ``taints`` are ``key=value:Effect`` (``key:Effect`` without a value). ``registered`` and ``initialized``
    are the labels; ``owned`` says that an owner reference names this Machine's UID.
    """

    name: str
    provider_id: str = ""
    ready: bool = False
    deleting: bool = False
    cordoned: bool = False
    has_finalizer: bool = False
    owned: bool = False
    registered: bool = False
    initialized: bool = False
    taints: tuple[str, ...] = ()
    capacity: tuple[str, ...] = ()
    allocatable: tuple[str, ...] = ()


class NodePod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod on one of these nodes, that has not ended (neither Succeeded nor Failed)."""

    namespace: str
    name: str
    uid: str
    node: str = ""
    critical: bool = False
    """Of the class ``system-cluster-critical`` or ``system-node-critical``."""
    stays: bool = False
    """Owned by a DaemonSet or by its node (static), or it tolerates the unschedulable taint."""
    deletion_at: datetime | None = None
    """Its deletionTimestamp, which includes the grace period; None when it is not being deleted."""


class MachinePicture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture per reconcile.

    ``machine`` is None when the object is not there; for a stream that is not over the driver says so after
    a live read only. ``pods`` are needed while the Machine is being deleted. ``polled_at`` is when this
    process last read this Machine's pool or operation, None when it never did: kept in memory, its loss
    costs one read. ``watched_since`` is since when this process has looked at the Machine without a break of
    more than some minutes: the limits that end in a deletion count no time in which nobody looked, for a
    whole cluster may have been stopped. None leaves that out. ``restored`` is the word of a live read that
    the object is there though the log has its end: the cluster was set back to a backup.
    """

    machine: MachineObject | None = None
    nodes: tuple[MachineNode, ...] = ()
    pods: tuple[NodePod, ...] = ()
    polled_at: datetime | None = None
    nodes_changed_at: datetime | None = None
    """When this process last saw a node of the Machine come, be deleted or go, None when it never did: the
    cloud has just done something, which is the moment to look at the pool."""
    watched_since: datetime | None = None
    restored: bool = False


class MachineOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one command, as its docstring says. Calls without an answer have no outcome."""

    command: MachineCommand
    result: Result
    pool: PoolReading | None = None
    operation: OperationReading | None = None
    fault: PoolFault | None = None
    message: str = ""


class RemovalGranted(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's word that this life of the Machine may be deleted; ``cause`` says why.

    ``since``: it found the node so in every round since then. The Machine agrees if its own log says the
    same, for a node that flaps may be down whenever somebody looks.
    """

    uid: str
    cause: str
    since: datetime


MachineObservation: TypeAlias = MachinePicture | MachineOutcome | RemovalGranted
