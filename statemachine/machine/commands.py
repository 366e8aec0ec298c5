"""What the provisioner's core can ask of a driver: one call each, harmless when repeated.

The agent pool has the Machine's name, so commands need not name it. Commands are recomputed from desired
minus observed, never stored. A call whose answer is lost is simply raised by the driver: the reconcile is
repeated. A call that the cloud refuses comes back as an outcome with its fault.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from statemachine.state import Condition


class AddFinalizer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class SubmitPool(msgspec.Struct, frozen=True, kw_only=True):
    """Submit the create-only PUT of the pool, after two live reads.

    First the Machine: with this UID, not deleting, held by our finalizer; else the outcome is NOT_FOUND and
    nothing is asked of the cloud. Then the pool: when one of this name exists, ours or not, the outcome is
    REFUSED with its reading and nothing is asked either; the same for a PUT answered ``PoolExists``.

    Outcome DONE carries the operation; REFUSED with a fault says why not.
    """

    attempt: int
    uid: str
    vm_size: str
    os_disk_gb: int


class ReadPool(msgspec.Struct, frozen=True, kw_only=True):
    """Read the pool live. DONE with its reading, or NOT_FOUND; an error of the call has no outcome."""


class ReadOperation(msgspec.Struct, frozen=True, kw_only=True):
    """Read the operation live, and the pool as well once it has succeeded.

    The outcome carries the operation's reading and, if both were read, the pool's; NOT_FOUND says that the
    operation has succeeded and there is no pool. An error of a call has no outcome.
    """

    url: str


class DeletePool(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the pool by name, after a live read found it there and with our tag.

    NOT_FOUND: there is none. REFUSED with a reading: it is not ours and was left alone. DONE with an
    operation: submitted. DONE with a reading (state Deleting): it is leaving already, nothing was submitted.
    REFUSED with a fault: the cloud says why not.
    """


class RegisterNode(msgspec.Struct, frozen=True, kw_only=True):
    """Put our finalizer, an owner reference to the Machine and ``karpenter.sh/registered=true`` on it."""

    node: str


class InitializeNode(msgspec.Struct, frozen=True, kw_only=True):
    """Label it ``karpenter.sh/initialized=true``."""

    node: str


class CordonNode(msgspec.Struct, frozen=True, kw_only=True):
    """Make it unschedulable and label it ``node.kubernetes.io/exclude-from-external-load-balancers``."""

    node: str


class EvictPod(msgspec.Struct, frozen=True, kw_only=True):
    """Evict through the eviction API, with this UID.

    REFUSED with the server's message when a disruption budget forbids it (429) or is ambiguous (500).
    NOT_FOUND and DONE need no outcome.
    """

    namespace: str
    name: str
    uid: str


class DeleteNode(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the Node object; its virtual machine is gone."""

    node: str


class RemoveNodeFinalizer(msgspec.Struct, frozen=True, kw_only=True):
    node: str


class WriteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Write our part of `.status` in one patch.

    ``conditions`` maps each type that exists to its value, in the published order (by type);
    ``capacity`` and ``allocatable`` are ``name=quantity``.
    """

    conditions: dict[str, Condition]
    node: str
    provider_id: str
    capacity: tuple[str, ...]
    allocatable: tuple[str, ...]


class DeleteMachine(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the Machine with this UID; its finalizer keeps it until pool and node are gone."""

    uid: str


class RemoveFinalizer(msgspec.Struct, frozen=True, kw_only=True):
    """Remove our finalizer, after a live read found no pool of this name with our tag.

    REFUSED with the pool's reading when one was found; the finalizer stays then.
    """


MachineCommand: TypeAlias = (
    AddFinalizer
    | SubmitPool
    | ReadPool
    | ReadOperation
    | DeletePool
    | RegisterNode
    | InitializeNode
    | CordonNode
    | EvictPod
    | DeleteNode
    | RemoveNodeFinalizer
    | WriteStatus
    | DeleteMachine
    | RemoveFinalizer
)
