"""The fold: what a stream's events make of a Workspace.

`apply` is pure. `fold` copies once and then assigns to its own copy, because a copy per event would cost
more than the event. What an event does to stage, slots and conditions stands in `tables`; the handlers here
note the plain data beside them. An event that a table does not list in the present state raises
IllegalTransition: the stream is poisoned, and nobody guesses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.rows import Move
from statemachine.slots import SLOT_HANDLERS, free_slots, freed
from statemachine.state import (
    Condition,
    ConditionStatus,
    ConditionType,
    Stage,
    Workspace,
)
from statemachine.tables import COMPILED, FIELDS, STATE_TRIGGERED

# Looking up a member on an Enum class costs more than the comparison it is for.
_LIVE = Stage.LIVE


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
    # One flat loop with subscripts: at a million events a second, a call per event, slot, condition or
    # look-up is what costs.
    rules = _RULES
    for event in events:
        try:
            stages, on_slot, phases, handler, conditions, joins = rules[type(event)]
            stage = workspace.stage = stages[workspace.stage]
        except KeyError:
            raise _illegal("Stage", workspace.stage, event) from None
        if on_slot is not None and (index := event.slot) is not None:  # type: ignore[union-attr] # by its rule
            slots = workspace.slots
            if not 0 <= index < len(slots):
                raise _illegal(f"slot {index}", "missing", event)
            slot = slots[index]
            try:
                slot = on_slot(slot, phases[slot.phase], event)
            except KeyError:
                raise _illegal(f"slot {index}", slot.phase.name, event) from None
            workspace.slots = (slot,) if len(slots) == 1 else (*slots[:index], slot, *slots[index + 1 :])
        if handler is not None:
            handler(workspace, event)
        for field, moves in conditions:
            present = getattr(workspace, field)
            try:
                dest, reason, message, write = moves[present.status]
            except KeyError:
                raise _illegal(field, present.status, event) from None
            if reason is not None:
                if write is not None:
                    reason, message = write(event, workspace)
                since = present.since if dest is present.status else event.at
                setattr(workspace, field, Condition(dest, reason, message, since))
        if joins and stage is _LIVE:
            _join(workspace, event)


def _illegal(subject: str, state: str, event: ev.Event) -> IllegalTransition:
    return IllegalTransition(subject, state, type(event).__name__)


# --- conditions -------------------------------------------------------------------------------------

_RESOURCE, _INFERENCE = ConditionType.RESOURCE_READY, ConditionType.INFERENCE_READY


def joint_move(resource: ConditionStatus, inference: ConditionStatus) -> Move | None:
    """The first joint row whose needs these two statuses meet."""
    for needs, _, dest, reason, message in STATE_TRIGGERED:
        if needs.get(_RESOURCE, resource) is resource and needs.get(_INFERENCE, inference) is inference:
            return Move.of(dest, reason, message)
    return None


_PlainMove: TypeAlias = tuple[ConditionStatus, str | None, str, Callable[[Any, Any], tuple[str, str]] | None]


def _plain(move: Move) -> _PlainMove:
    """Unpacking a named tuple takes several times as long as a plain one."""
    return (move.dest, move.reason, move.message, move.write)


def _joint_moves(resource: ConditionStatus) -> dict[ConditionStatus, _PlainMove]:
    found = {inference: joint_move(resource, inference) for inference in ConditionStatus}
    return {inference: _plain(move) for inference, move in found.items() if move is not None}


_JOINT = {resource: _joint_moves(resource) for resource in ConditionStatus}


def _join(workspace: Workspace, event: ev.Event) -> None:
    # Both conditions exist in a live Workspace, so there is a verdict.
    dest, reason, message, write = _JOINT[workspace.resource_ready.status][workspace.inference_ready.status]
    present = workspace.workspace_ready
    if message == present.message and reason == present.reason:
        return
    if write is not None:
        reason, message = write(event, workspace)
    since = present.since if dest is present.status else event.at
    workspace.workspace_ready = Condition(dest, reason or "", message, since)


# --- machines beyond the slots ----------------------------------------------------------------------


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    if name not in names:
        return names
    return tuple([other for other in names if other != name]) if len(names) > 1 else ()


def _machine_found(workspace: Workspace, event: ev.MachineAdopted) -> None:
    workspace.released = False
    workspace.gone = _without(workspace.gone, event.machine)
    if event.slot is None:
        workspace.surplus = tuple(sorted({*workspace.surplus, event.machine}))
    else:
        workspace.surplus = _without(workspace.surplus, event.machine)


def _machine_deletion_requested(workspace: Workspace, event: ev.MachineDeletionRequested) -> None:
    if event.machine not in workspace.deleting:
        workspace.deleting = tuple(sorted((*workspace.deleting, event.machine)))


def _machine_deleted(workspace: Workspace, event: ev.MachineDeleted) -> None:
    workspace.deleting = _without(workspace.deleting, event.machine)
    workspace.surplus = _without(workspace.surplus, event.machine)
    workspace.gone = (*workspace.gone, event.machine)
    slots = workspace.slots
    for slot in slots:
        if slot.machine == event.machine:
            index = slot.index
            workspace.slots = (*slots[:index], freed(slot, event.at), *slots[index + 1 :])
            return


# --- the object and its inference -------------------------------------------------------------------


def _workspace_met(workspace: Workspace, event: ev.WorkspaceMet) -> None:
    workspace.uid = event.uid
    workspace.namespace = event.namespace
    workspace.name = event.name
    workspace.generation = event.generation
    workspace.first_generation = event.generation
    workspace.node_count = event.node_count
    workspace.instance_type = event.instance_type
    workspace.inference = event.inference
    workspace.limits = event.limits
    workspace.created_at = event.at
    workspace.adopted = isinstance(event, ev.WorkspaceAdopted)
    workspace.slots = free_slots(event.node_count)


def _workspace_restored(workspace: Workspace, event: ev.WorkspaceRestored) -> None:
    """Take the life up again as an adopted one; its Machines and its workload are found anew."""
    created_at = workspace.created_at
    _workspace_met(workspace, event)
    workspace.created_at, workspace.adopted = created_at, True
    workspace.surplus = workspace.deleting = workspace.gone = workspace.worker_nodes = ()
    workspace.refused = workspace.service = workspace.workload = workspace.inference_phase = ""
    workspace.deletion_at = workspace.workload_at = workspace.inference_phase_at = None
    workspace.degraded = workspace.released = False


def _spec_changed(workspace: Workspace, event: ev.SpecChanged) -> None:
    workspace.generation = event.generation
    workspace.refused = ""


def _limits_changed(workspace: Workspace, event: ev.LimitsChanged) -> None:
    workspace.limits = event.limits


def _spec_refused(workspace: Workspace, event: ev.SpecRefused) -> None:
    workspace.refused = event.message


def _worker_nodes_chosen(workspace: Workspace, event: ev.WorkerNodesChosen) -> None:
    workspace.worker_nodes = event.nodes


def _service_created(workspace: Workspace, event: ev.ServiceCreated) -> None:
    workspace.service = event.name


def _service_lost(workspace: Workspace, event: ev.ServiceLost) -> None:
    workspace.service = ""


def _workload_created(workspace: Workspace, event: ev.WorkloadCreated) -> None:
    workspace.workload = f"{event.kind}/{event.name}"
    workspace.workload_at = event.at
    workspace.inference_phase = ""
    workspace.inference_phase_at = None
    workspace.degraded = False


def _workload_lost(workspace: Workspace, event: ev.WorkloadLost) -> None:
    workspace.workload = ""
    workspace.workload_at = None
    workspace.inference_phase = ""
    workspace.degraded = False


def _inference_progressed(workspace: Workspace, event: ev.InferenceProgressed) -> None:
    workspace.inference_phase = event.phase
    workspace.inference_phase_at = event.at


def _inference_became_ready(workspace: Workspace, event: ev.InferenceBecameReady) -> None:
    workspace.inference_phase = ""
    workspace.degraded = False


def _inference_degraded(workspace: Workspace, event: ev.InferenceDegraded) -> None:
    workspace.degraded = True


def _workspace_deletion_requested(workspace: Workspace, event: ev.WorkspaceDeletionRequested) -> None:
    workspace.deletion_at = event.at


def _workspace_released(workspace: Workspace, event: ev.WorkspaceReleased) -> None:
    workspace.released = True


_Handler: TypeAlias = Callable[[Workspace, Any], None]
_HANDLERS: dict[type[ev.WorkspaceEvent], _Handler | None] = {
    ev.WorkspaceCreated: _workspace_met,
    ev.WorkspaceAdopted: _workspace_met,
    ev.WorkspaceRestored: _workspace_restored,
    ev.SpecChanged: _spec_changed,
    ev.LimitsChanged: _limits_changed,
    ev.SpecRefused: _spec_refused,
    ev.MachineAdopted: _machine_found,
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
        SLOT_HANDLERS.get(event),
        COMPILED[event].phases,
        _HANDLERS.get(event),
        [
            (field, {source: _plain(move) for source, move in moves.items()})
            for field, moves in COMPILED[event].conditions
        ],
        any(field in _JOINED for field, _ in COMPILED[event].conditions),
    )
    for event in ev.WORKSPACE_EVENTS
}
# An event without a handler would be ignored in silence, so it says so by None.
if unhandled := set(ev.WORKSPACE_EVENTS) - set(SLOT_HANDLERS) - set(_HANDLERS):
    raise TypeError(f"events without a rule: {unhandled}")
