"""What the core can ask of a driver: one API call each, in the imperative, harmless when repeated.

A command names what is wanted; the driver renders manifests from the Workspace and its preset. Commands are
recomputed from desired minus observed, never stored.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from statemachine.state import Condition


class AddFinalizer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class CreateMachine(msgspec.Struct, frozen=True, kw_only=True):
    """Create the Machine, after a live read found the Workspace there, with this UID and not deleting."""

    slot: int
    attempt: int
    machine: str


class ReadMachine(msgspec.Struct, frozen=True, kw_only=True):
    """Read this Machine live: the picture lacks it and only the API server knows."""

    machine: str


class DeleteMachine(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the Machine of this name and, where known, this UID."""

    machine: str
    uid: str = ""


class LabelNode(msgspec.Struct, frozen=True, kw_only=True):
    """Label the node ``accelerator=nvidia``, as the published operator does."""

    node: str


class CreateService(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class CreateWorkload(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str


class UpdateWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """Roll the present template out to the workload; presets are never modified once deployed."""

    kind: str
    name: str


class WriteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Write conditions and node list in one patch.

    ``conditions`` maps each condition type that exists to its value, in the published order.
    """

    conditions: dict[str, Condition]
    worker_nodes: tuple[str, ...]
    observed_generation: int


class RemoveFinalizer(msgspec.Struct, frozen=True, kw_only=True):
    """Remove our finalizer, after a live list found no Machine of this Workspace."""


Command: TypeAlias = (
    AddFinalizer
    | CreateMachine
    | ReadMachine
    | DeleteMachine
    | LabelNode
    | CreateService
    | CreateWorkload
    | UpdateWorkload
    | WriteStatus
    | RemoveFinalizer
)
