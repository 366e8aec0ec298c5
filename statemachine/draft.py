"""A copy of the state that grows with the events recorded on it: each rule sees the ones before."""

from __future__ import annotations

import copy
from datetime import datetime

from statemachine import events as ev
from statemachine.replay import advance
from statemachine.state import ConditionStatus, ConditionType, Slot, Stage, Trouble, Workspace
from statemachine.tables import COMPILED, FIELDS


class Draft:
    """Events under way, and the state they lead to; the state it was made from is left as it was."""

    def __init__(self, state: Workspace, now: datetime) -> None:
        self.state = copy.copy(state)
        self.now = now
        self.events: list[ev.WorkspaceEvent] = []

    def record(self, event: ev.WorkspaceEvent) -> None:
        advance(self.state, (event,))
        self.events.append(event)

    def record_in(self, slot: int, event: ev.WorkspaceEvent) -> Slot:
        """Record an event of a slot and give the slot as it is then."""
        self.record(event)
        return self.state.slots[slot]

    def record_resumption(self) -> None:
        """Where MachineReady is False for a trouble that is over, say what is so now.

        That is the first trouble that is left, or that provisioning goes on.
        """
        state = self.state
        failed = state.machine_ready.status is ConditionStatus.FALSE
        if state.stage is not Stage.LIVE or not failed or not state.waiting:
            return
        left = [trouble_event(slot, self.now) for slot in state.slots if slot.trouble is not Trouble.NONE]
        if not left:
            self.record(ev.ProvisioningResumed(at=self.now))
        elif not any(_is_said(state, trouble) for trouble in left):
            self.record(left[0])

    def record_trouble(self, reason: str, message: str) -> None:
        """Name what keeps inference from becoming ready, unless that is what the condition says already."""
        present = self.state.inference_ready
        if present.status is ConditionStatus.TRUE:
            return
        known = present.status is ConditionStatus.FALSE
        if not known or (present.reason, present.message) != (reason, message):
            self.record(ev.InferenceTroubled(at=self.now, reason=reason, message=message))


def trouble_event(slot: Slot, now: datetime) -> ev.WorkspaceEvent:
    """The event that says what is wrong with a slot in trouble."""
    at, index, machine = now, slot.index, slot.machine
    match slot.trouble:
        case Trouble.CREATION_REFUSED:
            return ev.MachineCreationRefused(
                at=at, slot=index, machine=machine, message=slot.detail, retry_at=slot.retry_at
            )
        case Trouble.LAUNCH_FAILED:
            return ev.MachineLaunchFailed(
                at=at, slot=index, machine=machine, reason=slot.blocked, message=slot.detail,
                retry_at=slot.retry_at,
            )  # fmt: skip
        case Trouble.NODE_LOST:
            return ev.NodeLost(at=at, slot=index, node=slot.node, cause=slot.detail)
        case _:
            since = slot.created_at or slot.requested_at or now
            elapsed = (now - since).total_seconds()
            return ev.MachineWaitTimedOut(at=at, slot=index, machine=machine, elapsed_seconds=elapsed)


def _is_said(state: Workspace, trouble: ev.WorkspaceEvent) -> bool:
    """Whether MachineReady, which is False, says this trouble already."""
    moves = dict(COMPILED[type(trouble)].conditions)[FIELDS[ConditionType.MACHINE_READY]]
    write = moves[ConditionStatus.FALSE].write
    present = state.machine_ready
    return write is not None and write(trouble, state) == (present.reason, present.message)
