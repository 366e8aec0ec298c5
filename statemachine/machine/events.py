"""Facts in the life of one Machine, as its provisioner knows them.

These streams are named ``machine/<name>``. Until the provisioner is event-sourced itself, they hold what
imported provisioner logs prove.
"""

from __future__ import annotations

from typing import TypeAlias

from statemachine.events import Event


class PoolCreationRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the agent pool of this Machine is to be created."""

    machine: str
    pool: str


class MachineLaunchCompleted(Event, frozen=True, kw_only=True, gc=False):
    """The cloud finished creating the pool and its virtual machine is known."""

    machine: str
    provider_id: str


class PoolDeletionRequested(Event, frozen=True, kw_only=True, gc=False):
    """Intent: the agent pool is to be deleted."""

    machine: str
    pool: str


class NodeRemoved(Event, frozen=True, kw_only=True, gc=False):
    """The Node object is gone, drained before."""

    machine: str
    node: str


class MachineRemoved(Event, frozen=True, kw_only=True, gc=False):
    """The pool is gone and the Machine was released."""

    machine: str


MachineEvent: TypeAlias = (
    PoolCreationRequested | MachineLaunchCompleted | PoolDeletionRequested | NodeRemoved | MachineRemoved
)

MACHINE_EVENTS: tuple[type[MachineEvent], ...] = MachineEvent.__args__
