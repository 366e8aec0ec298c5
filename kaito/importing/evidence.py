"""What one log line proves: the nouns between the formats and the histories."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeAlias

WorkspaceKey: TypeAlias = tuple[str, str]
"""Namespace and name."""


class Kind(StrEnum):
    """The line, by what it says. The comment names the fields of `Evidence` it fills."""

    # The workspace controller, on a Workspace (workspace).
    ADMITTED = "CREATE admitted"
    RECONCILING = "Reconciling"
    NODES_MISSING = "no current nodes match"
    CONDITION = "updateStatusCondition"  # and name: type, status, reason, text
    NODE_LIST = "updateStatusNodeList"
    SERVICE_CREATED = "CreateService"  # and name
    WORKLOAD_CREATED = "CreateDeployment"  # and name, text: kind
    WORKLOAD_SEEN = "An inference workload already exists"
    RECONCILE_FAILED = "Reconciler error"  # and text
    DELETION = "deleteWorkspace"
    COLLECTION = "garbageCollectWorkspace"
    RELEASE = "successfully removed the workspace finalizers"
    # The workspace controller, on something else.
    MACHINE_CREATION = "CreateMachine"  # machine, text: namespace
    MACHINE_CHECK = "CheckMachineStatus"  # machine
    MACHINE_READY = "machine status is ready"  # machine
    NODE_LABELLED = "UpdateNodeWithLabel"  # name: node
    WORKLOAD_READY = "deployment status is ready"  # name, text: kind
    # The provisioner (machine).
    POOL_CREATION = "createAgentPool"
    LAUNCH = "launched machine"  # and text: provider id
    POOL_DELETION = "deleteAgentPool"
    NODE_DELETED = "deleted node"  # name: node
    MACHINE_DELETED = "deleted machine"  # and name: node
    # A row of a kubectl table.
    INFERENCE_ROW = "INFERENCEREADY True"  # workspace, precision
    UNDERSTOOD = "nothing an event tells"


class Evidence(NamedTuple):
    """One relevant line.

    ``at`` is the line's time. ``order`` is the latest time its file had shown by then: lines sort by it, so
    that one with whole seconds stays behind the lines before it.
    """

    order: datetime
    file: str
    line: int
    at: datetime
    kind: Kind
    workspace: WorkspaceKey | None = None
    machine: str = ""
    name: str = ""
    status: str = ""
    reason: str = ""
    text: str = ""
    precision: timedelta = timedelta(0)

    @property
    def cause(self) -> str:
        return f"{self.file}:{self.line}"


class Row(NamedTuple):
    """One row of a kubectl table; ``namespace`` is empty when the table has no such column."""

    file: str
    line: int
    table: str
    """``workspace`` or ``machines``."""
    namespace: str
    name: str
    lower: timedelta
    precision: timedelta
    inference_ready: str = ""
    instance_type: str = ""
    node: str = ""


class OddLine(NamedTuple):
    """A line the import could not use, and why."""

    file: str
    line: int
    excerpt: str
    why: str = ""
