"""A toy cluster and a toy operator: enough world for the laws of `step` to be attacked.

The cluster keeps what the core can see, at the level of its views, and remembers every past picture of each
kind of object, because the caches behind a picture lag one by one. Two things are always live, as in the
real driver: that a Workspace is gone, and the reads that guard an irreversible command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.lifecycle import Step, step
from statemachine.observations import (
    ClusterView,
    CommandOutcome,
    MachineView,
    NodeView,
    PodView,
    Result,
    ServiceView,
    StatusView,
    WorkloadView,
    WorkspaceView,
)
from statemachine.state import ConditionStatus, Stage, Workspace
from tests.builders import (
    NAME,
    a_machine_view,
    a_node_view,
    a_service_view,
    a_workload_view,
    a_workspace_view,
)

REFUSED = "denied by policy"


class Fate(Enum):
    """What becomes of one command; after a lost call or answer the rest of the reconcile is dropped."""

    DONE = "done"
    REFUSED = "refused"
    LOST = "lost"
    ANSWER_LOST = "answer lost"


class Owned(msgspec.Struct, frozen=True):
    """A Machine and the life of the Workspace it belongs to."""

    view: MachineView
    owner: str


class Serving(msgspec.Struct, frozen=True):
    service: ServiceView | None = None
    workload: WorkloadView | None = None
    pods: tuple[PodView, ...] = ()


class Lag(NamedTuple):
    """How many changes each cache is behind."""

    workspace: int = 0
    machines: int = 0
    nodes: int = 0
    serving: int = 0


FRESH = Lag()


class ToyCluster:
    def __init__(self, node_count: int) -> None:
        self.node_count = node_count
        self.lives = 0
        self.made = 0
        self.workspace: WorkspaceView | None = None
        self.machines: dict[str, Owned] = {}
        self.nodes: dict[str, NodeView] = {}
        self.serving = Serving()
        self._past: list[list[Any]] = [[], [], [], []]
        self.remember()

    def remember(self) -> None:
        """Add what changed to what a cache may still show."""
        present = (self.workspace, dict(self.machines), dict(self.nodes), self.serving)
        for past, now in zip(self._past, present, strict=True):
            if not past or past[-1] != now:
                past.append(now)

    def picture(self, uid: str, lag: Lag = FRESH) -> ClusterView:
        """What a cache so far behind shows to the stream of one life."""
        cached = [past[-1 - min(back, len(past) - 1)] for past, back in zip(self._past, lag, strict=True)]
        workspace, machines, nodes, serving = cached
        if workspace is None or workspace.uid != uid:
            workspace = self.live(uid)  # a Workspace counts as gone only by a live read
        ours = tuple(owned.view for _, owned in sorted(machines.items()) if owned.owner == uid)
        if workspace is None:
            return ClusterView(machines=ours)
        return ClusterView(
            workspace=workspace,
            machines=ours,
            nodes=tuple(node for _, node in sorted(nodes.items())),
            service=serving.service,
            workload=serving.workload,
            pods=serving.pods,
        )

    def live(self, uid: str) -> WorkspaceView | None:
        found = self.workspace
        return found if found is not None and found.uid == uid else None

    def machines_of(self, uid: str) -> list[MachineView]:
        return [owned.view for _, owned in sorted(self.machines.items()) if owned.owner == uid]

    # --- what users, providers and nodes do -----------------------------------------------------------

    def create_workspace(self) -> str:
        self.lives += 1
        self.workspace = a_workspace_view(
            uid=f"life-{self.lives}", node_count=self.node_count, has_finalizer=False, rolls_out=True
        )
        return self.workspace.uid

    def change_workspace(self, **changes: Any) -> None:
        if self.workspace is None:
            return
        self.workspace = replace(self.workspace, **changes)
        if self.workspace.deleting and not self.workspace.has_finalizer:
            self.workspace = None
            kept = self.serving.service
            foreign = kept is not None and not kept.owned
            self.serving = Serving(service=kept if foreign else None)

    def change_machine(self, name: str, **changes: Any) -> None:
        owned = self.machines.get(name)
        if owned is not None:
            self.machines[name] = replace(owned, view=replace(owned.view, **changes))

    def finish_machine(self, name: str) -> None:
        """The provider is done deleting: the node goes first, then the Machine."""
        owned = self.machines.get(name)
        if owned is not None and owned.view.deleting:
            self.nodes.pop(owned.view.node, None)
            del self.machines[name]

    def ready_machine(self, name: str) -> None:
        owned = self.machines.get(name)
        if owned is None or owned.view.deleting:
            return
        node = owned.view.node or f"node-{name}"
        if node not in self.nodes:
            bare = {"ready": False, "gpus": 0, "has_accelerator_label": False, "has_machine_type": True}
            self.nodes[node] = a_node_view(node, machine=name, owner=f"default/{NAME}", **bare)
        self.change_machine(name, launched=True, ready=True, node=node, failure=None)

    def repair_machine(self, name: str) -> None:
        """The provider replaces the node of a Machine by another one."""
        owned = self.machines.get(name)
        if owned is not None and owned.view.node:
            self.made += 1
            self.nodes.pop(owned.view.node, None)
            self.change_machine(name, node=f"node-{name}-{self.made}")
            self.ready_machine(name)

    def change_node(self, name: str, **changes: Any) -> None:
        if name in self.nodes:
            self.nodes[name] = replace(self.nodes[name], **changes)

    def bring_node(self) -> None:
        self.made += 1
        name = f"brought-{self.made}"
        self.nodes[name] = a_node_view(name, ready=False, gpus=0, has_accelerator_label=False)

    def change_pod(self, index: int, **changes: Any) -> None:
        pods = self.serving.pods
        if index >= len(pods) or self.serving.workload is None:
            return
        changed = (*pods[:index], replace(pods[index], **changes), *pods[index + 1 :])
        ready = sum(pod.ready for pod in changed)
        workload = replace(self.serving.workload, ready=ready)
        self.serving = replace(self.serving, pods=changed, workload=workload)

    def lose(self, **gone: Any) -> None:
        """Somebody else removes or replaces a part of what serves."""
        self.serving = replace(self.serving, **gone)

    def help(self) -> None:
        """Whatever is on its way arrives, and nothing fails any more."""
        if self.workspace is not None and self.workspace.refused:
            self.change_workspace(refused="", generation=self.workspace.generation + 1)
        for name, owned in sorted(self.machines.items()):
            self.finish_machine(name) if owned.view.deleting else self.ready_machine(name)
        for name in [name for name, node in sorted(self.nodes.items()) if node.deleting]:
            del self.nodes[name]
        for name in sorted(self.nodes):
            self.change_node(name, ready=True, gpus=2)
        service, workload = self.serving.service, self.serving.workload
        if service is not None and not service.owned:
            self.lose(service=None)
        if workload is not None and not workload.owned:
            self.lose(workload=None, pods=())
        elif workload is not None:
            self.lose(workload=replace(workload, desired=self.node_count, current=True))
        for index in range(len(self.serving.pods)):
            self.change_pod(index, **READY_POD)

    # --- what the API server answers ------------------------------------------------------------------

    def execute(self, uid: str, command: cmd.Command, fate: Fate, now: datetime) -> CommandOutcome | None:
        """Carry out one command as the executor would, or refuse it where the API can."""
        if fate is Fate.REFUSED:
            if not isinstance(command, cmd.CreateMachine | cmd.CreateService | cmd.CreateWorkload):
                return None
            retry_at = now + timedelta(minutes=1)
            return CommandOutcome(command=command, result=Result.REFUSED, message=REFUSED, retry_at=retry_at)
        return _EXECUTE[type(command)](self, uid, command)

    def _add_finalizer(self, uid: str, command: cmd.AddFinalizer) -> None:
        found = self.live(uid)
        if found is not None and not found.deleting:
            self.change_workspace(has_finalizer=True)

    def _create_machine(self, uid: str, command: cmd.CreateMachine) -> CommandOutcome:
        parent = self.live(uid)
        if parent is None or parent.deleting or not parent.has_finalizer:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        if command.machine not in self.machines:
            self.made += 1
            view = a_machine_view(command.machine, uid=f"machine-{self.made}")
            self.machines[command.machine] = Owned(view, uid)
        made = self.machines[command.machine].view.uid
        return CommandOutcome(command=command, result=Result.DONE, uid=made)

    def _read_machine(self, uid: str, command: cmd.ReadMachine) -> CommandOutcome:
        found = self.machines.get(command.machine)
        if found is None:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        return CommandOutcome(command=command, result=Result.DONE, uid=found.view.uid)

    def _delete_machine(self, uid: str, command: cmd.DeleteMachine) -> CommandOutcome | None:
        found = self.machines.get(command.machine)
        if found is None:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        if found.view.uid == command.uid:
            self.change_machine(command.machine, deleting=True)
        return None

    def _label_node(self, uid: str, command: cmd.LabelNode) -> None:
        self.change_node(command.node, has_accelerator_label=True)

    def _create_service(self, uid: str, command: cmd.CreateService) -> None:
        if self.serving.service is None and self.live(uid):
            self.lose(service=a_service_view())

    def _create_workload(self, uid: str, command: cmd.CreateWorkload) -> None:
        found = self.live(uid)
        if self.serving.workload is None and found is not None:
            pods = tuple(PodView(name=f"pod-{index}") for index in range(self.node_count))
            made = a_workload_view(desired=self.node_count, generation=found.generation)
            self.lose(workload=made, pods=pods)

    def _update_workload(self, uid: str, command: cmd.UpdateWorkload) -> None:
        found, workload = self.live(uid), self.serving.workload
        if found is not None and workload is not None and workload.owned:
            self.lose(workload=replace(workload, generation=found.generation, current=False))

    def _write_status(self, uid: str, command: cmd.WriteStatus) -> None:
        if self.live(uid):
            status = StatusView(
                conditions=command.conditions,
                worker_nodes=command.worker_nodes,
                observed_generation=command.observed_generation,
            )
            self.change_workspace(status=status)

    def _remove_finalizer(self, uid: str, command: cmd.RemoveFinalizer) -> CommandOutcome | None:
        remaining = tuple(self.machines_of(uid))
        if remaining:
            return CommandOutcome(command=command, result=Result.REFUSED, remaining=remaining)
        if self.live(uid):
            self.change_workspace(has_finalizer=False)
        return None


READY_POD: dict[str, Any] = {
    "ready": True, "started": True, "node": "node", "phase": "Running", "waiting": "", "unschedulable": "",
}  # fmt: skip

_EXECUTE: dict[type[cmd.Command], Callable[[ToyCluster, str, Any], CommandOutcome | None]] = {
    cmd.AddFinalizer: ToyCluster._add_finalizer,
    cmd.CreateMachine: ToyCluster._create_machine,
    cmd.ReadMachine: ToyCluster._read_machine,
    cmd.DeleteMachine: ToyCluster._delete_machine,
    cmd.LabelNode: ToyCluster._label_node,
    cmd.CreateService: ToyCluster._create_service,
    cmd.CreateWorkload: ToyCluster._create_workload,
    cmd.UpdateWorkload: ToyCluster._update_workload,
    cmd.WriteStatus: ToyCluster._write_status,
    cmd.RemoveFinalizer: ToyCluster._remove_finalizer,
}


class Life:
    """One stream and the steps taken on it, with every state on the way kept for the laws."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.state = Workspace()
        self.log: list[ev.WorkspaceEvent] = []
        self.cuts: list[tuple[int, Workspace]] = [(0, self.state)]

    @property
    def is_over(self) -> bool:
        return self.state.stage is Stage.GONE and not self.state.machines()

    @property
    def is_ready(self) -> bool:
        return self.state.workspace_ready.status is ConditionStatus.TRUE

    def take(self, stepped: Step) -> Step:
        """Append the events of a step and stand on its state."""
        self.log.extend(stepped.events)
        self.state = stepped.state
        self.cuts.append((len(self.log), self.state))
        return stepped

    def reconcile(
        self, cluster: ToyCluster, now: datetime, lag: Lag = FRESH, fates: Sequence[Fate] = ()
    ) -> Step:
        """One pass of the driver: step on a picture, then act, each outcome stepped in turn."""
        stepped = self.take(step(self.state, cluster.picture(self.uid, lag), now))
        self.act(cluster, stepped.commands, now, fates)
        return stepped

    def act(
        self, cluster: ToyCluster, commands: Iterable[cmd.Command], now: datetime, fates: Sequence[Fate] = ()
    ) -> None:
        for index, command in enumerate(commands):
            fate = fates[index] if index < len(fates) else Fate.DONE
            if fate is Fate.LOST:
                return
            outcome = cluster.execute(self.uid, command, fate, now)
            cluster.remember()
            if fate is Fate.ANSWER_LOST:
                return
            if outcome is not None:
                self.take(step(self.state, outcome, now))
