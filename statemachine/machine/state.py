"""What the fold of a Machine stream holds: conditions, how far the pool is, and what decisions need.

Everything here is a plain value; `replay` is the only module that assigns to a `Machine`, and it does so on
a copy of its own.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

import msgspec

from statemachine.state import Condition, Stage


class MachineConditionType(StrEnum):
    LAUNCHED = "MachineLaunched"
    REGISTERED = "MachineRegistered"
    INITIALIZED = "MachineInitialized"
    READY = "Ready"
    TERMINATING = "MachineTerminating"
    """Ours: what a deletion waits for."""


class PoolPhase(IntEnum):
    """How far the agent pool is, as far as the log knows."""

    __hash__ = int.__hash__

    NONE = 0
    """No attempt under way; a pool is not known to exist."""
    REQUESTED = 1
    """The intent is logged; whether the call was made is not known."""
    CREATING = 2
    LAUNCHED = 3
    SPOILED = 4
    """There, or perhaps there, and of no use: to be deleted before anything else."""
    DOOMED = 5
    """Its deletion is decided and not known to be under way."""
    LEAVING = 6
    """Its deletion was accepted."""


class InitializationReason(StrEnum):
    """Published reasons why a registered node is not initialized."""

    NODE_NOT_READY = "NodeNotReady"
    STARTUP_TAINTS = "StartupTaintsExist"
    EPHEMERAL_TAINTS = "KnownEphemeralTaintsExist"
    RESOURCE_MISSING = "ResourceNotRegistered"


class Machine(msgspec.Struct, kw_only=True):
    """The folded aggregate. Treat it as a value: only `replay` changes one, and only its own copy."""

    stage: Stage = Stage.ABSENT
    name: str = ""
    uid: str = ""
    generation: int = 0
    vm_size: str = ""
    os_disk_gb: int = 0
    created_at: datetime | None = None
    """The object's creationTimestamp."""

    launched: Condition = Condition()
    registered: Condition = Condition()
    initialized: Condition = Condition()
    ready: Condition = Condition()
    terminating: Condition = Condition()

    phase: PoolPhase = PoolPhase.NONE
    attempt: int = 0
    """Creations decided so far in this life."""
    operation: str = ""
    """The URL of the operation under way; empty when only the pool can tell."""
    submitted_at: datetime | None = None
    """When the creation of the present attempt was accepted."""
    launched_at: datetime | None = None
    awaiting_since: datetime | None = None
    """When the wait for a node began; None while one is known, or no pool."""
    refused: str = ""
    """Why the spec of the present generation cannot be provisioned; empty when it can."""

    blocked: str = ""
    """The BlockedReason of the latest failure; empty when none is in force."""
    failures: int = 0
    """Failures for this reason in a row."""
    capacity_since: datetime | None = None
    """When the present row of stock-outs began."""
    terminal: bool = False
    """No further attempt until the spec changes."""
    retry_at: datetime | None = None
    """When the next attempt may be made."""
    delete_at: datetime | None = None
    """When the next call to delete may be made."""
    deletion_failures: int = 0
    leaving_since: datetime | None = None
    """When the latest deletion was accepted."""

    node: str = ""
    """The one node that is registered; empty while there is none or more than one."""
    provider_id: str = ""
    capacity: tuple[str, ...] = ()
    allocatable: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    initialized_at: datetime | None = None
    """When the present node was first initialized."""
    unready_since: datetime | None = None
    unready_cause: str = ""
    steady_since: datetime | None = None
    """When an unready node became Ready again."""

    removal: str = ""
    """Why the Machine is to be deleted by us; empty when it is not."""
    terminating_since: datetime | None = None
    drain_since: datetime | None = None
    drained: bool = False
    blockers: tuple[str, ...] = ()
    """Pods whose eviction was refused, as ``namespace/name: why``, sorted."""
    cleared: bool = False
    """In a deletion: a live read found the pool gone."""
    released: bool = False
    """Whether the removal of our finalizer was decided."""

    @property
    def is_over(self) -> bool:
        """Whether the object is gone and so is its pool: nothing is left to do."""
        return self.stage is Stage.GONE and self.phase is PoolPhase.NONE

    @property
    def is_abandoned(self) -> bool:
        """Whether the object vanished, its end asked for by nobody, and its pool had been created."""
        unasked = self.stage is Stage.GONE and self.terminating_since is None
        return unasked and self.phase is PoolPhase.LAUNCHED

    @property
    def left(self) -> str:
        """What a termination waits for, for people to read."""
        if self.cleared:
            return "agent pool is gone; releasing node and machine"
        if self.phase is PoolPhase.LEAVING:
            return f"agent pool {self.name} is being deleted"
        if self.drained or self.drain_since is None:
            return f"agent pool {self.name} is to be deleted"
        if self.blockers:
            return f"draining; evictions refused: {'; '.join(self.blockers)}"
        return "draining"
