"""A copy of the Machine that grows with the events recorded on it: each rule sees the ones before."""

from __future__ import annotations

import copy
from datetime import datetime

from statemachine.machine import events as ev
from statemachine.machine.replay import advance
from statemachine.machine.state import Machine


class Draft:
    """Events under way, and the state they lead to; the state it was made from is left as it was."""

    def __init__(self, state: Machine, now: datetime) -> None:
        self.state = copy.copy(state)
        self.now = now
        self.events: list[ev.MachineEvent] = []

    def record(self, event: ev.MachineEvent) -> None:
        advance(self.state, (event,))
        self.events.append(event)
