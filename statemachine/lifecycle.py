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
    """Detect, fold, decide, fold.

    The outcome of a command is only recorded: what to do about it is decided on the next picture.
    """
    detected = detect(state, observation, now)
    known = fold(detected, state)
    if not isinstance(observation, ClusterView):
        return Step(known, detected)
    decision = decide(known, observation, now)
    events = (*detected, *decision.events)
    return Step(fold(decision.events, known), events, decision.commands, decision.wake_at)
