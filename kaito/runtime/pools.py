"""The port to the cloud that makes nodes: agent pools of one AKS cluster, and what can go wrong with them.

A pool is addressed by its name, which is its Machine's name. Nothing here waits: a create or delete is
submitted and observed later. "Exists" (a pool is listed) and "ready" (its state) are different questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from statemachine.machine.observations import OperationState, PoolFault, PoolState

__all__ = [
    "CREATED_TAG",
    "OWNER_TAG",
    "OWNER_UID_TAG",
    "AgentPools",
    "Operation",
    "OperationState",
    "Pool",
    "PoolError",
    "PoolFault",
    "PoolNotFound",
    "PoolRefused",
    "PoolSpec",
    "PoolState",
    "PoolUnanswered",
]

OWNER_TAG = "kaito.sh_machine"
"""On every pool of ours: the name of its Machine. (ARM tag names may not hold a slash.)"""
OWNER_UID_TAG = "kaito.sh_machine-uid"
CREATED_TAG = "kaito.sh_created-at"
"""RFC 3339, when the pool was asked for; what is missing or unreadable counts as young, never as old."""


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: one node of one size. ``os_disk_gb`` is 0 (the service's default) or 30…2048."""

    name: str
    vm_size: str
    labels: Mapping[str, str]
    taints: tuple[str, ...] = ()
    """As ``key=value:Effect``."""
    os_disk_gb: int = 0
    tags: Mapping[str, str] = {}
    zones: tuple[str, ...] = ()


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as listed. ``fault`` is the last operation's error where the service tells it with the pool."""

    name: str
    state: PoolState
    vm_size: str = ""
    tags: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    count: int = 1
    mode: str = "User"
    etag: str = ""
    fault: PoolFault | None = None

    @property
    def owner(self) -> str:
        """The Machine this pool was made for; empty for a pool that is not ours."""
        return self.tags.get(OWNER_TAG, "")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A long-running operation: its URL is its identity and survives a restart."""

    url: str
    state: OperationState = OperationState.IN_PROGRESS
    fault: PoolFault | None = None


class PoolError(Exception):
    """A call that the service refused or did not answer.

    PoolError
    ├── PoolNotFound      an answer, not a failure
    ├── PoolRefused       the service says why: ``fault``; nothing was begun
    └── PoolUnanswered    no answer, or not a readable one; the effect is unknown
    """


class PoolNotFound(PoolError):
    pass


class PoolRefused(PoolError):
    def __init__(self, fault: PoolFault) -> None:
        super().__init__(f"{fault.code}: {fault.message}")
        self.fault = fault


class PoolUnanswered(PoolError):
    pass


class AgentPools(Protocol):
    """The agent pools of one cluster. Every verb may raise `PoolError`, answers soon and retries nothing."""

    def begin_create(self, spec: PoolSpec) -> Operation:
        """Submit a create-only PUT: a pool of this name that exists already is PoolRefused, never updated.

        The fault of such a refusal has the code ``PoolExists``.
        """
        ...

    def get(self, name: str) -> Pool: ...

    def list(self) -> list[Pool]:
        """Every pool of the cluster, ours or not, sorted by name; a pool that cannot be read is left out of
        no list: it appears with the state UNKNOWN."""
        ...

    def begin_delete(self, name: str) -> Operation:
        """Submit a delete. PoolNotFound means it is gone."""
        ...

    def operation(self, url: str) -> Operation:
        """How far an operation is."""
        ...
