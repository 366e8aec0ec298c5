"""The one call a driver makes: from a state and an observation to what is to be logged and done."""

from __future__ import annotations

from datetime import datetime

import msgspec

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.decision import decide
from statemachine.detection import detect
from statemachine.observations import ClusterView, Observation
from statemachine.replay import fold
from statemachine.state import Workspace


class Step(msgspec.Struct, frozen=True):
    """Log ``events`` first, then execute ``commands``, and look again by ``wake_at``.

    ``state`` is the state once the events are in the log.
    """

    state: Workspace
    events: tuple[ev.WorkspaceEvent, ...]
    commands: tuple[cmd.Command, ...] = ()
    wake_at: datetime | None = None


def step(state: Workspace, observation: Observation, now: datetime) -> Step:
    """Detect, fold, decide, fold, until the picture has nothing more to say.

    A decision can make the picture say more: a node that was just assigned is usable already. The outcome
    of a command is only recorded: what to do about it is decided on the next picture.
    """
    detected = detect(state, observation, now)
    known = fold(detected, state)
    if not isinstance(observation, ClusterView):
        return Step(known, detected)
    events = [*detected]
    while True:
        decision = decide(known, observation, now)
        known = fold(decision.events, known)
        noticed = detect(known, observation, now) if decision.events else ()
        events += [*decision.events, *noticed]
        if not noticed:
            return Step(known, tuple(events), decision.commands, decision.wake_at)
        known = fold(noticed, known)
