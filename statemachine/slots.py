"""What an event makes of its slot: the slot, the phase that the tables give it and the event, to a new slot.

`replay` calls these; a slot is a value, so the others and every earlier state stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from msgspec.structs import replace

from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.state import Slot, SlotPhase, Trouble

# Looking up a member on an Enum class costs more than the comparison it is for.
_NO_TROUBLE = Trouble.NONE
_TIMED_OUT = Trouble.TIMED_OUT


@lru_cache(maxsize=64)
def free_slots(count: int) -> tuple[Slot, ...]:
    return tuple([Slot(index=index) for index in range(count)])


def freed(slot: Slot, at: datetime) -> Slot:
    """The slot without its Machine or node; the attempts count on."""
    return Slot(index=slot.index, attempt=slot.attempt, lost_at=at)


def _node_assigned(slot: Slot, phase: SlotPhase, event: ev.NodeAssigned) -> Slot:
    return replace(slot, phase=phase, node=event.node, ready_at=event.at, lost_at=None)


def _machine_requested(slot: Slot, phase: SlotPhase, event: ev.MachineRequested) -> Slot:
    if event.attempt <= slot.attempt:
        raise IllegalTransition(f"slot {event.slot}", f"attempt {slot.attempt}", "MachineRequested")
    return Slot(
        index=slot.index, phase=phase, attempt=event.attempt, machine=event.machine, requested_at=event.at
    )


def _machine_created(slot: Slot, phase: SlotPhase, event: ev.MachineCreated) -> Slot:
    return replace(
        slot, phase=phase, machine_uid=event.uid, created_at=event.at,
        trouble=_NO_TROUBLE, detail="", retry_at=None,
    )  # fmt: skip


def _machine_creation_refused(slot: Slot, phase: SlotPhase, event: ev.MachineCreationRefused) -> Slot:
    return replace(slot, trouble=Trouble.CREATION_REFUSED, detail=event.message, retry_at=event.retry_at)


def _machine_adopted(slot: Slot, phase: SlotPhase, event: ev.MachineAdopted) -> Slot:
    return Slot(
        index=slot.index, phase=phase, attempt=slot.attempt, machine=event.machine,
        machine_uid=event.uid, created_at=event.at,
    )  # fmt: skip


def _machine_launched(slot: Slot, phase: SlotPhase, event: ev.MachineLaunched) -> Slot:
    return replace(slot, phase=phase, launched_at=event.at)


def _machine_launch_failed(slot: Slot, phase: SlotPhase, event: ev.MachineLaunchFailed) -> Slot:
    return replace(
        slot, trouble=Trouble.LAUNCH_FAILED, blocked=event.reason, detail=event.message,
        retry_at=event.retry_at,
    )  # fmt: skip


def _machine_launch_resumed(slot: Slot, phase: SlotPhase, event: ev.MachineLaunchResumed) -> Slot:
    return replace(slot, trouble=_NO_TROUBLE, blocked="", detail="", retry_at=None)


def _machine_wait_slowed(slot: Slot, phase: SlotPhase, event: ev.MachineWaitSlowed) -> Slot:
    return replace(slot, slow=True)


def _machine_wait_timed_out(slot: Slot, phase: SlotPhase, event: ev.MachineWaitTimedOut) -> Slot:
    return replace(slot, trouble=Trouble.TIMED_OUT)


def _machine_became_ready(slot: Slot, phase: SlotPhase, event: ev.MachineBecameReady) -> Slot:
    # A wait that timed out stays in trouble until the node is usable: the verdict is about the node.
    trouble = _TIMED_OUT if slot.trouble is _TIMED_OUT else _NO_TROUBLE
    return replace(
        slot, phase=phase, node=event.node, ready_at=event.at, trouble=trouble, blocked="", detail="",
        retry_at=None,
    )  # fmt: skip


def _machine_lost(slot: Slot, phase: SlotPhase, event: ev.MachineLost) -> Slot:
    return freed(slot, event.at)


def _node_became_usable(slot: Slot, phase: SlotPhase, event: ev.NodeBecameUsable) -> Slot:
    return replace(slot, phase=phase, trouble=_NO_TROUBLE, detail="", lost_at=None)


def _node_lost(slot: Slot, phase: SlotPhase, event: ev.NodeLost) -> Slot:
    # Said again with another cause, or after other slots' troubles, the loss is as old as it was.
    since = slot.lost_at if slot.trouble is Trouble.NODE_LOST else event.at
    return replace(slot, phase=phase, trouble=Trouble.NODE_LOST, detail=event.cause, lost_at=since)


def _node_released(slot: Slot, phase: SlotPhase, event: ev.NodeReleased) -> Slot:
    return freed(slot, event.at)


SlotHandler: TypeAlias = Callable[[Slot, SlotPhase, Any], Slot]
SLOT_HANDLERS: dict[type[ev.WorkspaceEvent], SlotHandler] = {
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
}
