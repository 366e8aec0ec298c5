"""The fold: what a stream's events make of a Workspace.

`apply` is pure. `fold` copies once and then assigns to its own copy, because a copy per event would cost
more than the event. What an event does to stage, slots and conditions stands in `tables`; the handlers here
note the plain data beside them. An event that a table does not list in the present state raises
IllegalTransition: the stream is poisoned, and nobody guesses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

from msgspec.structs import replace

from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.state import (
    Condition,
    ConditionStatus,
    ConditionType,
    Slot,
    SlotPhase,
    Stage,
    Trouble,
    Workspace,
)
from statemachine.tables import COMPILED, FIELDS, STATE_TRIGGERED, Move

# Looking up a member on an Enum class costs more than the comparison it is for.
_LIVE = Stage.LIVE
_NO_TROUBLE = Trouble.NONE


def apply(state: Workspace, event: ev.WorkspaceEvent) -> Workspace:
    """The state after one more event; the state given is left as it was.

    Raises:
        IllegalTransition: The tables do not list the event in this state.
    """
    return fold((event,), state)


def fold(events: Iterable[ev.WorkspaceEvent], initial: Workspace | None = None) -> Workspace:
    """The state after these events, from the empty Workspace or from a snapshot.

    Raises:
        IllegalTransition: The tables do not list an event in the state it met.
    """
    workspace = Workspace() if initial is None else copy.copy(initial)
    advance(workspace, events)
    return workspace


def advance(workspace: Workspace, events: Iterable[ev.WorkspaceEvent]) -> None:
    """Apply events in place: for owners of a Workspace that nobody else has seen, like `fold`."""
    # One flat loop: at a million events a second, a call per event or per condition is what costs.
    rules = _RULES
    for event in events:
        rule = rules.get(type(event))
        if rule is None:
            raise IllegalTransition("Workspace", workspace.stage, type(event).__name__)
        stages, handler, phases, conditions, joins = rule
        stage = stages.get(workspace.stage)
        if stage is None:
            raise IllegalTransition("Stage", workspace.stage, type(event).__name__)
        workspace.stage = stage
        if handler is not None:
            handler(workspace, event, phases)
        for field, moves in conditions:
            present = getattr(workspace, field)
            move = moves.get(present.status)
            if move is None:
                raise IllegalTransition(field, present.status, type(event).__name__)
            if move[1] is not None:
                setattr(workspace, field, _moved(present, move, event, workspace))
        if joins and stage is _LIVE:
            _join(workspace, event)


# --- conditions -------------------------------------------------------------------------------------


def _moved(present: Condition, move: Move, event: ev.Event, workspace: Workspace) -> Condition:
    dest, reason, message, write = move
    since = present.since if dest is present.status else event.at
    if write is not None:
        reason, message = write(event, workspace)
    return Condition(dest, reason or "", message, since)


_RESOURCE, _INFERENCE = ConditionType.RESOURCE_READY, ConditionType.INFERENCE_READY


def _verdict(resource: ConditionStatus, inference: ConditionStatus) -> Move | None:
    """The first joint row whose needs these two statuses meet."""
    for needs, _, dest, reason, message in STATE_TRIGGERED:
        if needs.get(_RESOURCE, resource) is resource and needs.get(_INFERENCE, inference) is inference:
            return Move.of(dest, reason, message)
    return None


_JOINT = {
    (resource, inference): _verdict(resource, inference)
    for resource in ConditionStatus
    for inference in ConditionStatus
}


def _join(workspace: Workspace, event: ev.Event) -> None:
    move = _JOINT[workspace.resource_ready.status, workspace.inference_ready.status]
    present = workspace.workspace_ready
    if move is None or (present.message == move.message and present.reason == move.reason):
        return
    workspace.workspace_ready = _moved(present, move, event, workspace)


# --- slots ------------------------------------------------------------------------------------------

_Phases: TypeAlias = dict[SlotPhase, SlotPhase]


def _put(workspace: Workspace, slot: Slot) -> None:
    slots = workspace.slots
    workspace.slots = (slot,) if len(slots) == 1 else (*slots[: slot.index], slot, *slots[slot.index + 1 :])


def _next_phase(workspace: Workspace, event: Any, phases: _Phases) -> tuple[Slot, SlotPhase]:
    slots = workspace.slots
    if not 0 <= event.slot < len(slots):
        raise IllegalTransition(f"slot {event.slot}", "missing", type(event).__name__)
    slot = slots[event.slot]
    phase = phases.get(slot.phase)
    if phase is None:
        raise IllegalTransition(f"slot {event.slot}", slot.phase.name, type(event).__name__)
    return slot, phase


def _freed(slot: Slot, at: datetime, **changes: Any) -> Slot:
    """The slot without its Machine or node; the attempts count on."""
    return Slot(index=slot.index, attempt=slot.attempt, lost_at=at, **changes)


def _node_assigned(workspace: Workspace, event: ev.NodeAssigned, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, phase=phase, node=event.node, ready_at=event.at, lost_at=None))


def _machine_requested(workspace: Workspace, event: ev.MachineRequested, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    if event.attempt <= slot.attempt:
        raise IllegalTransition(f"slot {event.slot}", f"attempt {slot.attempt}", "MachineRequested")
    asked = Slot(
        index=slot.index, phase=phase, attempt=event.attempt, machine=event.machine, requested_at=event.at
    )
    _put(workspace, asked)


def _machine_created(workspace: Workspace, event: ev.MachineCreated, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    created = replace(
        slot, phase=phase, machine_uid=event.uid, created_at=event.at,
        trouble=_NO_TROUBLE, detail="", retry_at=None,
    )  # fmt: skip
    _put(workspace, created)


def _machine_creation_refused(
    workspace: Workspace, event: ev.MachineCreationRefused, phases: _Phases
) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    refused = replace(slot, trouble=Trouble.CREATION_REFUSED, detail=event.message, retry_at=event.retry_at)
    _put(workspace, refused)


def _machine_adopted(workspace: Workspace, event: ev.MachineAdopted, phases: _Phases) -> None:
    workspace.released = False
    if event.machine in workspace.gone:
        workspace.gone = tuple([name for name in workspace.gone if name != event.machine])
    if event.slot is None:
        workspace.surplus = tuple(sorted({*workspace.surplus, event.machine}))
        return
    slot, phase = _next_phase(workspace, event, phases)
    workspace.surplus = tuple([name for name in workspace.surplus if name != event.machine])
    adopted = Slot(
        index=slot.index, phase=phase, attempt=slot.attempt, machine=event.machine,
        machine_uid=event.uid, created_at=event.at,
    )  # fmt: skip
    _put(workspace, adopted)


def _machine_launched(workspace: Workspace, event: ev.MachineLaunched, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, phase=phase, launched_at=event.at))


def _machine_launch_failed(workspace: Workspace, event: ev.MachineLaunchFailed, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    failed = replace(
        slot, trouble=Trouble.LAUNCH_FAILED, blocked=event.reason, detail=event.message,
        retry_at=event.retry_at,
    )  # fmt: skip
    _put(workspace, failed)


def _machine_launch_resumed(workspace: Workspace, event: ev.MachineLaunchResumed, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, trouble=_NO_TROUBLE, blocked="", detail="", retry_at=None))


def _machine_wait_slowed(workspace: Workspace, event: ev.MachineWaitSlowed, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, slow=True))


def _machine_wait_timed_out(workspace: Workspace, event: ev.MachineWaitTimedOut, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, trouble=Trouble.TIMED_OUT))


def _machine_became_ready(workspace: Workspace, event: ev.MachineBecameReady, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    # A wait that timed out stays in trouble until the node is usable: the verdict is about the node.
    trouble = Trouble.TIMED_OUT if slot.trouble is Trouble.TIMED_OUT else _NO_TROUBLE
    ready = replace(
        slot, phase=phase, node=event.node, ready_at=event.at, trouble=trouble, blocked="", detail="",
        retry_at=None,
    )  # fmt: skip
    _put(workspace, ready)


def _machine_lost(workspace: Workspace, event: ev.MachineLost, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    _put(workspace, _freed(slot, event.at))


def _node_became_usable(workspace: Workspace, event: ev.NodeBecameUsable, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    _put(workspace, replace(slot, phase=phase, trouble=_NO_TROUBLE, detail="", lost_at=None))


def _node_lost(workspace: Workspace, event: ev.NodeLost, phases: _Phases) -> None:
    slot, phase = _next_phase(workspace, event, phases)
    # Said again with another cause, or after other slots' troubles, the loss is as old as it was.
    since = slot.lost_at if slot.trouble is Trouble.NODE_LOST else event.at
    lost = replace(slot, phase=phase, trouble=Trouble.NODE_LOST, detail=event.cause, lost_at=since)
    _put(workspace, lost)


def _node_released(workspace: Workspace, event: ev.NodeReleased, phases: _Phases) -> None:
    slot, _ = _next_phase(workspace, event, phases)
    _put(workspace, _freed(slot, event.at))


def _machine_deletion_requested(
    workspace: Workspace, event: ev.MachineDeletionRequested, phases: _Phases
) -> None:
    workspace.deleting = tuple(sorted({*workspace.deleting, event.machine}))


def _machine_deleted(workspace: Workspace, event: ev.MachineDeleted, phases: _Phases) -> None:
    workspace.deleting = tuple([name for name in workspace.deleting if name != event.machine])
    workspace.surplus = tuple([name for name in workspace.surplus if name != event.machine])
    workspace.gone = (*workspace.gone, event.machine)
    slot = workspace.slot_of(event.machine)
    if slot is not None:
        _put(workspace, _freed(slot, event.at))


# --- the object and its inference -------------------------------------------------------------------


def _workspace_created(
    workspace: Workspace, event: ev.WorkspaceCreated | ev.WorkspaceAdopted, phases: _Phases
) -> None:
    workspace.uid = event.uid
    workspace.namespace = event.namespace
    workspace.name = event.name
    workspace.generation = event.generation
    workspace.node_count = event.node_count
    workspace.instance_type = event.instance_type
    workspace.inference = event.inference
    workspace.limits = event.limits
    workspace.created_at = event.at
    workspace.adopted = isinstance(event, ev.WorkspaceAdopted)
    workspace.slots = tuple([Slot(index=index) for index in range(event.node_count)])


def _spec_changed(workspace: Workspace, event: ev.SpecChanged, phases: _Phases) -> None:
    workspace.generation = event.generation
    workspace.refused = ""


def _limits_changed(workspace: Workspace, event: ev.LimitsChanged, phases: _Phases) -> None:
    workspace.limits = event.limits


def _spec_refused(workspace: Workspace, event: ev.SpecRefused, phases: _Phases) -> None:
    workspace.refused = event.message


def _worker_nodes_chosen(workspace: Workspace, event: ev.WorkerNodesChosen, phases: _Phases) -> None:
    workspace.worker_nodes = event.nodes


def _service_created(workspace: Workspace, event: ev.ServiceCreated, phases: _Phases) -> None:
    workspace.service = event.name


def _service_lost(workspace: Workspace, event: ev.ServiceLost, phases: _Phases) -> None:
    workspace.service = ""


def _workload_created(workspace: Workspace, event: ev.WorkloadCreated, phases: _Phases) -> None:
    workspace.workload = f"{event.kind}/{event.name}"
    workspace.workload_at = event.at
    workspace.inference_phase = ""
    workspace.inference_phase_at = None
    workspace.degraded = False


def _workload_lost(workspace: Workspace, event: ev.WorkloadLost, phases: _Phases) -> None:
    workspace.workload = ""
    workspace.workload_at = None
    workspace.inference_phase = ""
    workspace.degraded = False


def _inference_progressed(workspace: Workspace, event: ev.InferenceProgressed, phases: _Phases) -> None:
    workspace.inference_phase = event.phase
    workspace.inference_phase_at = event.at


def _inference_became_ready(workspace: Workspace, event: ev.InferenceBecameReady, phases: _Phases) -> None:
    workspace.inference_phase = ""
    workspace.degraded = False


def _inference_degraded(workspace: Workspace, event: ev.InferenceDegraded, phases: _Phases) -> None:
    workspace.degraded = True


def _workspace_deletion_requested(
    workspace: Workspace, event: ev.WorkspaceDeletionRequested, phases: _Phases
) -> None:
    workspace.deletion_at = event.at


def _workspace_released(workspace: Workspace, event: ev.WorkspaceReleased, phases: _Phases) -> None:
    workspace.released = True


_Handler: TypeAlias = Callable[[Workspace, Any, _Phases], None]
_HANDLERS: dict[type[ev.WorkspaceEvent], _Handler | None] = {
    ev.WorkspaceCreated: _workspace_created,
    ev.WorkspaceAdopted: _workspace_created,
    ev.SpecChanged: _spec_changed,
    ev.LimitsChanged: _limits_changed,
    ev.SpecRefused: _spec_refused,
    ev.NodeAssigned: _node_assigned,
    ev.MachineRequested: _machine_requested,
    ev.MachineCreated: _machine_created,
    ev.MachineCreationRefused: _machine_creation_refused,
    ev.MachineAdopted: _machine_adopted,
    ev.MachineLaunched: _machine_launched,
    ev.MachineLaunchFailed: _machine_launch_failed,
    ev.MachineLaunchResumed: _machine_launch_resumed,
    ev.MachineWaitSlowed: _machine_wait_slowed,
    ev.MachineWaitTimedOut: _machine_wait_timed_out,
    ev.MachineBecameReady: _machine_became_ready,
    ev.MachineLost: _machine_lost,
    ev.NodeBecameUsable: _node_became_usable,
    ev.NodeLost: _node_lost,
    ev.NodeReleased: _node_released,
    ev.NodePluginsInstalled: None,
    ev.ProvisioningResumed: None,
    ev.WorkerNodesChosen: _worker_nodes_chosen,
    ev.ServiceCreated: _service_created,
    ev.ServiceLost: _service_lost,
    ev.WorkloadCreated: _workload_created,
    ev.WorkloadLost: _workload_lost,
    ev.InferenceProgressed: _inference_progressed,
    ev.InferenceTroubled: None,
    ev.InferenceWaitTimedOut: None,
    ev.InferenceBecameReady: _inference_became_ready,
    ev.InferenceDegraded: _inference_degraded,
    ev.WorkspaceDeletionRequested: _workspace_deletion_requested,
    ev.MachineDeletionRequested: _machine_deletion_requested,
    ev.MachineDeleted: _machine_deleted,
    ev.WorkspaceReleased: _workspace_released,
    ev.WorkspaceDeleted: None,
}

_JOINED = {FIELDS[_RESOURCE], FIELDS[_INFERENCE]}
_RULES = {
    event: (
        COMPILED[event].stages,
        handler,
        COMPILED[event].phases,
        COMPILED[event].conditions,
        any(field in _JOINED for field, _ in COMPILED[event].conditions),
    )
    for event, handler in _HANDLERS.items()
}
if set(_RULES) != set(ev.WORKSPACE_EVENTS):  # an event without a handler would be ignored in silence
    raise TypeError(f"events without a rule: {set(ev.WORKSPACE_EVENTS) - set(_RULES)}")
