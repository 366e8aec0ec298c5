"""What the fold of a Workspace stream holds: conditions, slots, and the few facts that decisions need.

Everything here is a plain value. `Workspace` is the one mutable class, because folding a million events
into fresh copies would cost more than the events; `replay` is the only module that assigns to it, and it
does so on a copy of its own.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

import msgspec

from statemachine.limits import Limits


class ConditionType(StrEnum):
    MACHINE_READY = "MachineReady"
    RESOURCE_READY = "ResourceReady"
    INFERENCE_READY = "InferenceReady"
    WORKSPACE_READY = "WorkspaceReady"
    WORKSPACE_DELETING = "WorkspaceDeleting"


class ConditionStatus(StrEnum):
    """A node of a condition's table; ``ABSENT`` stands for a condition that was never written."""

    # Enum hashes by name in Python code; these two sit on the fold's hot path.
    __hash__ = str.__hash__

    ABSENT = "Absent"
    UNKNOWN = "Unknown"
    FALSE = "False"
    TRUE = "True"


class BlockedReason(StrEnum):
    """Why a provider cannot deliver a Machine; the closed set of provisioner errors."""

    QUOTA_EXCEEDED = "QuotaExceeded"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    SKU_NOT_AVAILABLE = "SkuNotAvailable"
    NOT_AUTHORIZED = "NotAuthorized"
    CONFIGURATION_INVALID = "ConfigurationInvalid"
    THROTTLED = "Throttled"
    OPERATION_IN_PROGRESS = "OperationInProgress"
    NODE_BOOTSTRAP_FAILED = "NodeBootstrapFailed"
    PROVIDER_FAULT = "ProviderFault"
    LAUNCH_FAILED = "LaunchFailed"
    """The provider gave a text and no class."""


class NodeLossCause(StrEnum):
    GONE = "gone"
    DELETING = "being deleted"
    NOT_READY = "not ready"
    NO_GPU = "without allocatable nvidia.com/gpu"


class InferencePhase(StrEnum):
    SCHEDULING = "Scheduling"
    PULLING = "Pulling"
    LOADING = "Loading"


class InferenceReason(StrEnum):
    """Why inference is not ready; the names that later releases of the published API use."""

    FAILED = "WorkspaceInferenceStatusFailed"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_ERROR = "ImagePullError"
    CRASH_LOOP = "ContainerCrashLoopBackOff"
    OOM_KILLED = "ContainerOOMKilled"
    START_ERROR = "ContainerStartError"
    EVICTED = "PodEvicted"
    NAME_TAKEN = "NameTaken"
    NOT_READY = "ReplicasNotReady"


class Stage(StrEnum):
    """Where the object is in its own life."""

    __hash__ = str.__hash__

    ABSENT = "Absent"
    LIVE = "Live"
    DELETING = "Deleting"
    GONE = "Gone"


class SlotPhase(IntEnum):
    """How far a slot is; a larger value is further on."""

    __hash__ = int.__hash__

    FREE = 0
    REQUESTED = 1
    CREATED = 2
    LAUNCHED = 3
    READY = 4
    USABLE = 5


_READY, _USABLE = SlotPhase.READY, SlotPhase.USABLE


class Trouble(StrEnum):
    """What is wrong with a slot, if anything."""

    NONE = ""
    CREATION_REFUSED = "creation refused"
    LAUNCH_FAILED = "launch failed"
    TIMED_OUT = "timed out"
    NODE_LOST = "node lost"


class Condition(msgspec.Struct, frozen=True, gc=False):
    """One Kubernetes status condition; ``since`` is its lastTransitionTime."""

    status: ConditionStatus = ConditionStatus.ABSENT
    reason: str = ""
    message: str = ""
    since: datetime | None = None


class Slot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of the nodes a Workspace needs, and how far it is."""

    index: int
    phase: SlotPhase = SlotPhase.FREE
    attempt: int = 0
    """Machines requested for this slot so far."""
    machine: str = ""
    """Empty for a node that was already there."""
    machine_uid: str = ""
    node: str = ""
    requested_at: datetime | None = None
    created_at: datetime | None = None
    launched_at: datetime | None = None
    ready_at: datetime | None = None
    lost_at: datetime | None = None
    """When the previous Machine or node of this slot was lost; the start of the replacement hold-off."""
    slow: bool = False
    trouble: Trouble = Trouble.NONE
    detail: str = ""
    """The text behind ``trouble``."""
    blocked: str = ""
    """The BlockedReason behind a failed launch."""
    retry_at: datetime | None = None


class Workspace(msgspec.Struct, kw_only=True):
    """The folded aggregate. Treat it as a value: only `replay` changes one, and only its own copy."""

    stage: Stage = Stage.ABSENT
    uid: str = ""
    namespace: str = ""
    name: str = ""
    generation: int = 0
    node_count: int = 0
    instance_type: str = ""
    inference: str = ""
    limits: Limits = Limits()
    adopted: bool = False
    first_generation: int = 0
    """The generation at which the operator met the Workspace."""
    created_at: datetime | None = None
    deletion_at: datetime | None = None

    machine_ready: Condition = Condition()
    resource_ready: Condition = Condition()
    inference_ready: Condition = Condition()
    workspace_ready: Condition = Condition()
    workspace_deleting: Condition = Condition()

    refused: str = ""
    """Why the spec of the present generation cannot be served; empty when it can."""
    slots: tuple[Slot, ...] = ()
    surplus: tuple[str, ...] = ()
    """Machines of this Workspace that fill no slot."""
    deleting: tuple[str, ...] = ()
    """Machines whose deletion was requested and which are not known to be gone."""
    gone: tuple[str, ...] = ()
    """Machines that were deleted as asked and found gone by a live read."""
    worker_nodes: tuple[str, ...] = ()
    service: str = ""
    workload: str = ""
    """``Deployment/name`` or ``StatefulSet/name``; empty while there is none."""
    workload_at: datetime | None = None
    inference_phase: str = ""
    inference_phase_at: datetime | None = None
    degraded: bool = False
    """Whether inference was ready before and is not now."""
    released: bool = False
    """Whether the removal of our finalizer was decided."""

    def slot_of(self, machine: str) -> Slot | None:
        """The slot that this Machine fills."""
        for slot in self.slots:
            if slot.machine == machine:
                return slot if machine else None
        return None

    def machines(self) -> tuple[str, ...]:
        """Every Machine that may exist for this Workspace, sorted by name."""
        names = [slot.machine for slot in self.slots if slot.machine]
        return tuple(sorted([*names, *self.surplus])) if names or self.surplus else ()

    @property
    def waiting(self) -> int:
        """How many slots have no usable node yet."""
        return len([slot for slot in self.slots if slot.phase is not _USABLE])

    @property
    def missing(self) -> int:
        """How many slots need a Machine still: all but those with a usable node or one that was brought."""
        count = 0
        for slot in self.slots:  # in a plain loop, for the fold comes here
            if slot.phase is not _USABLE and (slot.machine or slot.phase is not _READY):
                count += 1
        return count

    @property
    def served(self) -> str:
        """What InferenceReady says when the nodes are there: one text from then until the pods move.

        So the status is written once for the verdict on the nodes and for the workload made on its heels.
        """
        return self.inference_ready.message if self.inference_phase else "the workload is starting"

    @property
    def left(self) -> str:
        """What a deletion still waits for, as a clause to append; empty when nothing is left."""
        machines = self.machines()
        if not machines:
            return ""
        return f"; waiting for {len(machines)} machine{'s'[: len(machines) > 1]}: {', '.join(machines)}"
