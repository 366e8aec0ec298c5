"""What a driver can show the core: a frozen picture of the cluster, or the outcome of one command.

The picture may be stale, for it comes from caches. Whatever would be irreversible on a stale picture is
decided only on a live read: the outcome of a `ReadMachine`, and the absence of the Workspace itself.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec

from statemachine.commands import Command
from statemachine.limits import Limits
from statemachine.state import Condition


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `.status` that we own, as it stands on the object.

    ``conditions`` maps the condition type to its value; conditions of other owners are not shown.
    """

    conditions: dict[str, Condition] = {}
    worker_nodes: tuple[str, ...] = ()
    observed_generation: int = 0
    """The lowest observedGeneration of these conditions, 0 when there are none."""


class WorkspaceView(msgspec.Struct, frozen=True, kw_only=True):
    """A Workspace object, its preset and the operator's settings, reduced to what decisions read."""

    uid: str
    namespace: str
    name: str
    generation: int = 1
    deleting: bool = False
    has_finalizer: bool = False
    node_count: int = 1
    instance_type: str = ""
    needs_gpu: bool = True
    preferred_nodes: tuple[str, ...] = ()
    inference: str = ""
    workload_kind: str = "Deployment"
    wants_service: bool = True
    rolls_out: bool = False
    """Whether a change of the spec is rolled out to the workload: with a template, not with a preset."""
    limits: Limits = Limits()
    refused: str = ""
    """Why this spec cannot be served, from the validators; empty when it can."""
    status: StatusView = StatusView()


class MachineFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says is wrong; ``reason`` is a BlockedReason."""

    reason: str
    message: str
    retry_at: datetime | None = None


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    uid: str = ""
    deleting: bool = False
    launched: bool = False
    ready: bool = False
    node: str = ""
    failure: MachineFailure | None = None


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node that matches the Workspace's selector.

    ``gpus`` is the allocatable ``nvidia.com/gpu``. ``owner`` is the ``namespace/name`` of the Workspace
    that the node's labels name, empty when they name none.
    """

    name: str
    instance_type: str = ""
    ready: bool = False
    deleting: bool = False
    gpus: int = 0
    owner: str = ""
    machine: str = ""
    """The Machine this node was made for (its agent pool), empty for a node brought by somebody else."""
    has_machine_type: bool = False
    has_accelerator_label: bool = False


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    owned: bool = True


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment or StatefulSet; ``current`` says that its controller has seen the latest spec."""

    kind: str
    name: str
    owned: bool = True
    desired: int = 1
    ready: int = 0
    current: bool = True
    generation: int | None = None
    """The Workspace's generation it was rendered from; None when nothing on it says so."""


class PodView(msgspec.Struct, frozen=True, kw_only=True):
    """A pod of the workload. ``waiting`` is the container's reason, ``terminated`` the last exit's."""

    name: str
    node: str = ""
    phase: str = "Pending"
    ready: bool = False
    started: bool = False
    waiting: str = ""
    message: str = ""
    terminated: str = ""
    exit_code: int | None = None
    restarts: int = 0
    unschedulable: str = ""
    """The scheduler's message while no node fits, else empty."""


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """One picture per reconcile, of one life (UID) of a Workspace and its own Machines.

    ``workspace`` is None when the object is not there. Its Machines are deleted on that word, so for a stream
    that is not over the driver gives it after a live read only; the rest may come from caches. ``restored``
    is the word of a live read, too: the object is there, and not being deleted where the log has only asked
    for that, though the log has more than this.
    """

    workspace: WorkspaceView | None = None
    machines: tuple[MachineView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    service: ServiceView | None = None
    workload: WorkloadView | None = None
    pods: tuple[PodView, ...] = ()
    restored: bool = False


class Result(StrEnum):
    DONE = "done"
    """The call succeeded, or what it wanted was so already and is ours."""
    NOT_FOUND = "not found"
    REFUSED = "refused"
    """A repeat would be answered in the same way; ``message`` says why."""


class CommandOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one command. Calls whose effect is unknown or that may simply be repeated have no outcome.

    ``uid`` is that of the created object. ``retry_at`` is when the other side allows a repeat.
    ``remaining`` are the Machines that a live list found, when a release was refused because of them.
    """

    command: Command
    result: Result
    uid: str = ""
    message: str = ""
    retry_at: datetime | None = None
    remaining: tuple[MachineView, ...] = ()


Observation: TypeAlias = ClusterView | CommandOutcome
