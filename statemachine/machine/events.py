"""Facts in the life of one Machine, as its provisioner knows them.

These streams are named ``machine/<name>``; a name may live more than once, and each life begins with
MachineAccepted. Streams imported from the logs of the original provisioner hold five of these types only
(PoolCreationRequested, MachineLaunchCompleted, PoolDeletionRequested, NodeRemoved, MachineRemoved), so the
tables let those five stand alone.

``pool`` is always the Machine's own name. Intents (``…Requested``, ``DrainStarted``, ``MachineReleased``)
are written before the first call that carries them out.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from statemachine.events import Event

# --- the object -------------------------------------------------------------------------------------


class MachineAccepted(Event, frozen=True, kw_only=True, gc=False):
    """The provisioner met this life of the Machine for the first time, or again after the log was lost.

    ``created_at`` is the object's creationTimestamp: it tells which of two lives of a name is the later.
    """

    machine: str
    uid: str
    generation: int
    vm_size: str
    os_disk_gb: int
    created_at: datetime | None = None


class MachineSpecChanged(Event, frozen=True, kw_only=True, gc=False):
    """A newer generation of the spec was observed; a terminal verdict is open again."""

    machine: str
    generation: int
    vm_size: str
    os_disk_gb: int


class MachineSpecRefused(Event, frozen=True, kw_only=True, gc=False):
    """The spec of this generation cannot be provisioned; the cloud was not asked."""

    machine: str
    generation: int
    message: str


# --- the agent pool ---------------------------------------------------------------------------------


class PoolCreationRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the agent pool of this Machine is to be created, with this size, in this attempt."""

    machine: str
    pool: str
    attempt: int = 1
    vm_size: str = ""
    os_disk_gb: int = 0


class PoolCreationSubmitted(Event, frozen=True, kw_only=True, gc=False):
    """The cloud accepted the creation; ``operation`` is the URL to ask about it."""

    machine: str
    pool: str
    operation: str = ""


class PoolFound(Event, frozen=True, kw_only=True, gc=False):
    """Our own pool is there though no answer told so: after a crash, a lost answer or a lost log."""

    machine: str
    pool: str
    state: str


class StalePoolFound(Event, frozen=True, kw_only=True, gc=False):
    """A pool with our tag that no attempt is about: of an earlier life, leaving, or of a create come late."""

    machine: str
    pool: str
    state: str
    owner_uid: str


class PoolOperationEnded(Event, frozen=True, kw_only=True, gc=False):
    """The operation tells nothing more; from now on the pool itself tells.

    ``state`` is ``Lost``, ``Succeeded`` (of a deletion), or ``Failed`` (preempted by another operation).
    """

    machine: str
    pool: str
    operation: str
    state: str


class PoolCreationFailed(Event, frozen=True, kw_only=True, gc=False):
    """An attempt failed: the cloud refused it, or its operation or pool ended Failed or Canceled.

    ``reason`` is a BlockedReason. ``message`` is what the condition says: class, numbers, next attempt, then
    the cloud's own code and text. ``limit``, ``used`` and ``needed`` are cores. ``retry_at`` is None when
    the verdict is terminal: no further attempt until the spec changes.
    """

    machine: str
    pool: str
    attempt: int
    reason: str
    code: str
    message: str
    family: str = ""
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    retry_at: datetime | None = None


class LaunchGivenUp(Event, frozen=True, kw_only=True, gc=False):
    """Stock-outs lasted for the whole capacity limit: no further attempt until the spec changes."""

    machine: str
    elapsed_seconds: float
    message: str


class PoolCreationTimedOut(Event, frozen=True, kw_only=True, gc=False):
    """The creation was accepted and did not end within the launch limit; the pool is given up."""

    machine: str
    pool: str
    attempt: int
    elapsed_seconds: float
    message: str
    retry_at: datetime | None = None


class MachineLaunchCompleted(Event, frozen=True, kw_only=True, gc=False):
    """The cloud finished creating the pool. ``provider_id`` is empty where only the node will tell it."""

    machine: str
    provider_id: str


class PoolVanished(Event, frozen=True, kw_only=True, gc=False):
    """A live read found no pool, though nobody here asked for its deletion."""

    machine: str
    pool: str
    message: str
    retry_at: datetime | None = None


class PoolDeletionRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the agent pool is to be deleted."""

    machine: str
    pool: str


class PoolDeletionSubmitted(Event, frozen=True, kw_only=True, gc=False):
    """The cloud accepted the deletion, or it was under way already (then ``operation`` is empty)."""

    machine: str
    pool: str
    operation: str = ""


class PoolDeletionFailed(Event, frozen=True, kw_only=True, gc=False):
    """The deletion was refused, or its operation ended and the pool is still there."""

    machine: str
    pool: str
    reason: str
    code: str
    message: str
    retry_at: datetime | None = None


class PoolRemoved(Event, frozen=True, kw_only=True, gc=False):
    """A live read found the pool gone, as asked."""

    machine: str
    pool: str


# --- the node ---------------------------------------------------------------------------------------


class NodeRegistered(Event, frozen=True, kw_only=True, gc=False):
    """Exactly one node of the pool is in the cluster. ``capacity`` and ``allocatable``: ``name=quantity``."""

    machine: str
    node: str
    provider_id: str
    capacity: tuple[str, ...] = ()
    allocatable: tuple[str, ...] = ()


class NodesDuplicated(Event, frozen=True, kw_only=True, gc=False):
    """More than one node claims to be this Machine's; none is trusted."""

    machine: str
    nodes: tuple[str, ...]


class NodeAwaited(Event, frozen=True, kw_only=True, gc=False):
    """The duplicates are gone and no node is left."""

    machine: str


class NodeInitializationAwaited(Event, frozen=True, kw_only=True, gc=False):
    """What the node still lacks; ``reason`` is one of the published ones."""

    machine: str
    node: str
    reason: str
    message: str


class NodeInitialized(Event, frozen=True, kw_only=True, gc=False):
    """The node is Ready, without startup taints, with every requested resource; also after a recovery."""

    machine: str
    node: str


class NodeBecameUnready(Event, frozen=True, kw_only=True, gc=False):
    """A node that was initialized is not Ready, being deleted or gone; ``cause`` is a NodeLossCause."""

    machine: str
    node: str
    cause: str


class NodeBecameReady(Event, frozen=True, kw_only=True, gc=False):
    """An unready node is Ready again; trusted as soon as it stays so for a while (NodeInitialized)."""

    machine: str
    node: str


class NodeRegistrationTimedOut(Event, frozen=True, kw_only=True, gc=False):
    """The pool is there and no node registered within the registration limit; the pool is given up."""

    machine: str
    pool: str
    elapsed_seconds: float
    message: str
    retry_at: datetime | None = None


# --- removal and termination ------------------------------------------------------------------------


class MachineRemovalRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the Machine is to be deleted, as the collector allowed; ``cause`` says why."""

    machine: str
    cause: str


class MachineRemovalWithdrawn(Event, frozen=True, kw_only=True, gc=False):
    """The node came back before the Machine was deleted."""

    machine: str


class TerminationStarted(Event, frozen=True, kw_only=True, gc=False):
    """The Machine has a deletion timestamp."""

    machine: str


class DrainStarted(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the nodes are to be cordoned and their pods evicted."""

    machine: str
    nodes: tuple[str, ...]


class DrainBlocked(Event, frozen=True, kw_only=True, gc=False):
    """An eviction was refused; ``pod`` is ``namespace/name``, ``message`` says by what."""

    machine: str
    pod: str
    message: str


class DrainCompleted(Event, frozen=True, kw_only=True, gc=False):
    """No pod is left to wait for, or the drain limit is over and these ``pods`` are left."""

    machine: str
    pods: tuple[str, ...] = ()


class NodeRemoved(Event, frozen=True, kw_only=True, gc=False):
    """The Node object is gone, drained before."""

    machine: str
    node: str


class MachineReleased(Event, frozen=True, kw_only=True, gc=False):
    """Intent: pool and nodes are gone, our finalizer is to be removed."""

    machine: str


class MachineRemoved(Event, frozen=True, kw_only=True, gc=False):
    """The pool is gone and the Machine was released."""

    machine: str


class MachineVanished(Event, frozen=True, kw_only=True, gc=False):
    """The Machine is gone from the API although its pool may exist.

    Somebody removed our finalizer, or the cluster was set back to a backup that does not know the Machine.
    """

    machine: str


MachineEvent: TypeAlias = (
    MachineAccepted
    | MachineSpecChanged
    | MachineSpecRefused
    | PoolCreationRequested
    | PoolCreationSubmitted
    | PoolFound
    | StalePoolFound
    | PoolOperationEnded
    | PoolCreationFailed
    | LaunchGivenUp
    | PoolCreationTimedOut
    | MachineLaunchCompleted
    | PoolVanished
    | PoolDeletionRequested
    | PoolDeletionSubmitted
    | PoolDeletionFailed
    | PoolRemoved
    | NodeRegistered
    | NodesDuplicated
    | NodeAwaited
    | NodeInitializationAwaited
    | NodeInitialized
    | NodeBecameUnready
    | NodeBecameReady
    | NodeRegistrationTimedOut
    | MachineRemovalRequested
    | MachineRemovalWithdrawn
    | TerminationStarted
    | DrainStarted
    | DrainBlocked
    | DrainCompleted
    | NodeRemoved
    | MachineReleased
    | MachineRemoved
    | MachineVanished
)

MACHINE_EVENTS: tuple[type[MachineEvent], ...] = MachineEvent.__args__
"""Every event a Machine stream may hold, in the order of this module."""
