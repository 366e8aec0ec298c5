"""A copy of the state that grows with the events recorded on it: each rule sees the ones before."""

from __future__ import annotations

import copy
from datetime import datetime

from statemachine import events as ev
from statemachine.replay import advance
from statemachine.state import ConditionStatus, Slot, Stage, Trouble, Workspace


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
        """Say that provisioning goes on, where MachineReady is False and no slot is in trouble any more."""
        in_trouble = any(slot.trouble is not Trouble.NONE for slot in self.state.slots)
        if (
            self.state.stage is Stage.LIVE
            and self.state.machine_ready.status is ConditionStatus.FALSE
            and self.state.waiting
            and not in_trouble
        ):
            self.record(ev.ProvisioningResumed(at=self.now))

    def record_trouble(self, reason: str, message: str) -> None:
        """Name what keeps inference from becoming ready, unless that is what the condition says already."""
        present = self.state.inference_ready
        if present.status is ConditionStatus.TRUE:
            return
        known = present.status is ConditionStatus.FALSE
        if not known or (present.reason, present.message) != (reason, message):
            self.record(ev.InferenceTroubled(at=self.now, reason=reason, message=message))
