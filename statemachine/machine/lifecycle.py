"""The one call a driver makes: from a Machine and an observation to what is to be logged and done."""

from __future__ import annotations

from datetime import datetime

import msgspec

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.decision import decide
from statemachine.machine.detection import detect
from statemachine.machine.observations import MachineObservation, MachinePicture
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine


class MachineStep(msgspec.Struct, frozen=True):
    """Log ``events`` first, then execute ``commands``, and look again by ``wake_at``.

    ``state`` is the state once the events are in the log.
    """

    state: Machine
    events: tuple[ev.MachineEvent, ...]
    commands: tuple[cmd.MachineCommand, ...] = ()
    wake_at: datetime | None = None


def step(state: Machine, observation: MachineObservation, now: datetime) -> MachineStep:
    """Detect, fold, decide, fold, until the picture has nothing more to say.

    The outcome of a command and the collector's word are only recorded: what to do about them is decided
    on the next picture.
    """
    detected = detect(state, observation, now)
    known = fold(detected, state)
    if not isinstance(observation, MachinePicture):
        return MachineStep(known, detected)
    events = [*detected]
    while True:
        decision = decide(known, observation, now)
        known = fold(decision.events, known)
        noticed = detect(known, observation, now) if decision.events else ()
        events += [*decision.events, *noticed]
        if not noticed:
            return MachineStep(known, tuple(events), decision.commands, decision.wake_at)
        known = fold(noticed, known)
