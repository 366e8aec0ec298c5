"""What to do about the difference between what is wanted and what is seen.

`decide` returns intents to be logged first, commands to be executed after, and when to look again at the
latest. Commands follow from state and picture alone, so deciding twice issues the same ones; an intent is in
the log before the first command that carries it out. Nothing here waits.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine import projection
from statemachine.detection import unusable, waiting_since
from statemachine.draft import Draft
from statemachine.naming import machine_name
from statemachine.observations import ClusterView, NodeView, WorkloadView, WorkspaceView
from statemachine.state import ConditionStatus, NodeLossCause, Slot, SlotPhase, Stage, Trouble, Workspace

RECHECK = timedelta(minutes=5)
"""How often an unsettled Workspace is looked at though nothing happened: a lost wake-up only delays."""

REREAD = timedelta(seconds=10)
"""How soon a Machine that only a live read has seen is looked for in the picture again."""

GIVE_UP_NODE_AFTER = timedelta(minutes=10)
"""How long a node that somebody brought may be unusable before its slot is filled otherwise
(the published not-ready limit of the provisioner's collector)."""

GIVE_UP_GONE_NODE_AFTER = timedelta(minutes=3)
"""How long such a node may be missing: longer than caches lag (two minutes at worst), because a picture
that lacks a node is no proof and the Machine in its place would be bought for nothing."""

HOLD_OFF = timedelta(seconds=10)
HOLD_OFF_CAP = timedelta(minutes=10)


class Decision(msgspec.Struct, frozen=True):
    """``wake_at`` is None when only a change in the cluster can matter."""

    events: tuple[ev.WorkspaceEvent, ...] = ()
    commands: tuple[cmd.Command, ...] = ()
    wake_at: datetime | None = None


def decide(state: Workspace, view: ClusterView, now: datetime) -> Decision:
    """Desired minus observed."""
    draft = Draft(state, now)
    match state.stage:
        case Stage.LIVE if view.workspace is not None:
            commands, wakes = _decide_live(draft, view, view.workspace)
        case Stage.DELETING | Stage.GONE:
            commands, wakes = _decide_deletion(draft, view)
        case _:
            commands, wakes = [], []
    return Decision(tuple(draft.events), tuple(commands), min(wakes, default=None))


_Plan = tuple[list[cmd.Command], list[datetime]]


def _decide_live(draft: Draft, view: ClusterView, workspace: WorkspaceView) -> _Plan:
    if not workspace.refused:
        _fill_slots(draft, view, workspace)
    commands: list[cmd.Command] = []
    if not workspace.has_finalizer:
        commands.append(cmd.AddFinalizer())
    commands += _status(draft.state, workspace)
    if not workspace.refused:
        commands += [*_machines(draft, view), *_labels(draft.state, view, workspace)]
        commands += _serving(draft.state, view, workspace)
    return commands, _wakes(draft, commands)


def _status(state: Workspace, workspace: WorkspaceView) -> list[cmd.Command]:
    if not projection.differs(state, workspace.status):
        return []
    return [
        cmd.WriteStatus(
            conditions=projection.conditions(state),
            worker_nodes=state.worker_nodes,
            observed_generation=state.generation,
        )
    ]


# --- slots ------------------------------------------------------------------------------------------


def _fill_slots(draft: Draft, view: ClusterView, workspace: WorkspaceView) -> None:
    _release_nodes(draft)
    spare = _spare_nodes(draft.state, view, workspace)
    for slot in draft.state.slots:
        if slot.phase is not SlotPhase.FREE:
            continue
        if spare:
            draft.record(ev.NodeAssigned(at=draft.now, slot=slot.index, node=spare.pop(0)))
        elif (replace_at := _replace_at(slot)) is None or draft.now >= replace_at:
            _request(draft, slot)
    draft.record_resumption()


def _request(draft: Draft, slot: Slot) -> None:
    """The next attempt; one whose Machine is known to exist, from a life the log lost, is passed over."""
    state, attempt = draft.state, slot.attempt + 1
    known = set(state.machines())
    while (name := machine_name(state.uid, slot.index, attempt)) in known:
        attempt += 1
    draft.record(ev.MachineRequested(at=draft.now, slot=slot.index, attempt=attempt, machine=name))


def _replace_at(slot: Slot) -> datetime | None:
    """When the next Machine for a free slot may be requested; None for at once.

    The first Machine and its first replacement come at once, later ones with a hold-off that doubles.
    """
    if slot.lost_at is None or slot.attempt < 2:
        return None
    doublings = min(slot.attempt - 2, 16)  # the cap is reached long before
    return slot.lost_at + min(HOLD_OFF * (1 << doublings), HOLD_OFF_CAP)


def _give_up_at(slot: Slot) -> datetime | None:
    """When the slot of a node that somebody brought is to be filled otherwise; None without doubt."""
    if slot.machine or slot.phase is not SlotPhase.READY:
        return None
    since = slot.lost_at or slot.ready_at
    gone = slot.trouble is Trouble.NODE_LOST and slot.detail == NodeLossCause.GONE
    return since + (GIVE_UP_GONE_NODE_AFTER if gone else GIVE_UP_NODE_AFTER) if since else None


def _release_nodes(draft: Draft) -> None:
    for slot in draft.state.slots:
        give_up_at = _give_up_at(slot)
        if give_up_at is not None and draft.now >= give_up_at:
            draft.record(ev.NodeReleased(at=draft.now, slot=slot.index, node=slot.node))


def _spare_nodes(state: Workspace, view: ClusterView, workspace: WorkspaceView) -> list[str]:
    """Nodes that could fill a slot, the published order: preferred, used before, GPU node, name."""
    taken = {slot.node for slot in state.slots}
    ours = {"", f"{workspace.namespace}/{workspace.name}"}
    machines = set(state.machines())

    def qualifies(node: NodeView) -> bool:
        return (
            unusable(node, needs_gpu=False) is None
            and node.instance_type == workspace.instance_type
            and node.owner in ours
            and node.name not in taken
            and node.machine not in machines
        )

    def order(node: NodeView) -> tuple[bool, bool, bool, str]:
        preferred = node.name in workspace.preferred_nodes
        return (not preferred, node.name not in state.worker_nodes, not node.has_machine_type, node.name)

    return [node.name for node in sorted(filter(qualifies, view.nodes), key=order)]


def _machines(draft: Draft, view: ClusterView) -> list[cmd.Command]:
    seen = {machine.name for machine in view.machines}
    commands: list[cmd.Command] = []
    for slot in draft.state.slots:
        if slot.phase is SlotPhase.REQUESTED:
            if slot.retry_at is None or draft.now >= slot.retry_at:
                create = cmd.CreateMachine(slot=slot.index, attempt=slot.attempt, machine=slot.machine)
                commands.append(create)
        elif slot.machine and slot.machine not in seen:
            commands.append(cmd.ReadMachine(machine=slot.machine))
    return commands


# --- nodes and serving ------------------------------------------------------------------------------


def _labels(state: Workspace, view: ClusterView, workspace: WorkspaceView) -> list[cmd.Command]:
    if not workspace.needs_gpu:
        return []
    bare = {node.name for node in view.nodes if not node.has_accelerator_label and not node.deleting}
    return [cmd.LabelNode(node=slot.node) for slot in state.slots if slot.node in bare]


def _serving(state: Workspace, view: ClusterView, workspace: WorkspaceView) -> list[cmd.Command]:
    if state.resource_ready.status is not ConditionStatus.TRUE:
        return []
    commands: list[cmd.Command] = []
    if workspace.wants_service and view.service is None:
        commands.append(cmd.CreateService(name=workspace.name))
    if view.workload is None:
        commands.append(cmd.CreateWorkload(kind=workspace.workload_kind, name=workspace.name))
    elif _is_outdated(state, workspace, view.workload):
        commands.append(cmd.UpdateWorkload(kind=view.workload.kind, name=view.workload.name))
    return commands


def _is_outdated(state: Workspace, workspace: WorkspaceView, workload: WorkloadView) -> bool:
    """Whether the workload was rendered from an older spec.

    One without a mark was there when the Workspace was adopted: it stands for the spec of that time.
    """
    rendered = state.first_generation if workload.generation is None else workload.generation
    return workspace.rolls_out and workload.owned and rendered < state.generation


# --- when to look again -----------------------------------------------------------------------------


def _wakes(draft: Draft, commands: list[cmd.Command]) -> list[datetime]:
    state, now = draft.state, draft.now
    wakes = [wake for slot in state.slots for wake in _slot_wakes(state, slot)]
    if state.workload_at is not None and state.inference_ready.status is ConditionStatus.UNKNOWN:
        wakes.append(state.workload_at + timedelta(seconds=state.limits.inference_timeout))
    if any(isinstance(command, cmd.ReadMachine) for command in commands):
        wakes.append(now + REREAD)
    if commands or state.workspace_ready.status is not ConditionStatus.TRUE:
        wakes.append(now + RECHECK)
    return [wake for wake in wakes if wake > now]


def _slot_wakes(state: Workspace, slot: Slot) -> list[datetime]:
    wakes = [_give_up_at(slot), slot.retry_at if slot.phase is SlotPhase.REQUESTED else None]
    if slot.phase is SlotPhase.FREE:
        wakes.append(_replace_at(slot))
    since = waiting_since(slot)
    if since is not None:
        wakes.append(since + timedelta(seconds=state.limits.machine_timeout))
        wakes.append(since + timedelta(seconds=state.limits.machine_slow_after))
    return [wake for wake in wakes if wake is not None]


# --- deletion ---------------------------------------------------------------------------------------


def _decide_deletion(draft: Draft, view: ClusterView) -> _Plan:
    for name in draft.state.machines():
        if name not in draft.state.deleting:
            draft.record(ev.MachineDeletionRequested(at=draft.now, machine=name))
    left = draft.state.machines()
    if not left and draft.state.stage is Stage.DELETING and not draft.state.released:
        draft.record(ev.WorkspaceReleased(at=draft.now))
    commands = _deletions(left, view)
    if view.workspace is not None and draft.state.stage is Stage.DELETING:
        commands = [*_status(draft.state, view.workspace), *commands]
        if draft.state.released and view.workspace.has_finalizer:
            commands.append(cmd.RemoveFinalizer())
    reading = any(isinstance(command, cmd.ReadMachine) for command in commands)
    unsettled = bool(left) or draft.state.stage is Stage.DELETING
    return commands, [draft.now + (REREAD if reading else RECHECK)] if unsettled else []


def _deletions(left: tuple[str, ...], view: ClusterView) -> list[cmd.Command]:
    seen = {machine.name: machine for machine in view.machines}
    commands: list[cmd.Command] = []
    for name in left:
        machine = seen.get(name)
        if machine is None:
            commands.append(cmd.ReadMachine(machine=name))
        elif not machine.deleting:
            commands.append(cmd.DeleteMachine(machine=name, uid=machine.uid))
    return commands
