"""The phases of a Machine's life, as its provisioner's stream tells them.

A phase is a property of the state, as for a Workspace: at any time there is exactly one, from the acceptance
until neither the object nor its pool is left. A name may live again; each life is counted by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from kaito.history.phases import Span, runs
from statemachine.machine.events import MachineEvent
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine, PoolPhase
from statemachine.state import ConditionStatus, Stage


class MachinePhaseName(StrEnum):
    """The words of the steps that a Workspace's timeline shows, where it shows them."""

    ACCEPTED = "accepted"
    POOL_CREATION = "pool creation"
    HOLD_OFF = "before the next attempt"
    GIVEN_UP = "given up"
    CLEARING = "clearing away"
    """A pool of a failed attempt, or one that is of no use, is deleted before anything else."""
    REGISTRATION = "registration"
    INITIALIZATION = "initialization"
    IN_USE = "in use"
    UNREADY = "node unready"
    DRAIN = "drain"
    POOL_DELETION = "pool deletion"
    RELEASE = "release"


def machine_phase(state: Machine) -> MachinePhaseName:
    """The phase that a state is."""
    if state.stage is not Stage.LIVE:
        return _leaving(state)
    if state.phase >= PoolPhase.SPOILED:
        return MachinePhaseName.CLEARING
    if state.phase is PoolPhase.LAUNCHED:
        return _launched(state)
    if state.phase is not PoolPhase.NONE:
        return MachinePhaseName.POOL_CREATION
    if state.terminal:
        return MachinePhaseName.GIVEN_UP
    return MachinePhaseName.HOLD_OFF if state.blocked else MachinePhaseName.ACCEPTED


def _launched(state: Machine) -> MachinePhaseName:
    if state.initialized.status is ConditionStatus.TRUE:
        return MachinePhaseName.IN_USE
    if state.initialized_at is not None:
        return MachinePhaseName.UNREADY
    return MachinePhaseName.INITIALIZATION if state.node else MachinePhaseName.REGISTRATION


def _leaving(state: Machine) -> MachinePhaseName:
    if state.cleared or state.phase is PoolPhase.NONE:
        return MachinePhaseName.RELEASE
    draining = state.phase is PoolPhase.LAUNCHED and not state.drained
    return MachinePhaseName.DRAIN if draining else MachinePhaseName.POOL_DELETION


def machine_phases(events: Sequence[MachineEvent], at: datetime) -> list[Span]:
    """The phases up to an instant, those of all lives in turn; only the last can still go on."""
    found: list[Span] = []
    known: list[tuple[datetime, MachinePhaseName]] = []
    state = Machine()
    then = events[0].at
    for event in events:
        state = fold((event,), state)
        then = max(then, event.at)
        if state.is_over:
            found += _spans(known, then)
            known = []
        else:
            known.append((then, machine_phase(state)))
    return found + _spans(known, max(at, then), open_=True)


def _spans(
    known: Sequence[tuple[datetime, MachinePhaseName]], until: datetime, *, open_: bool = False
) -> list[Span]:
    lasting = runs(known, until)
    return [
        Span(name=name.value, start=start, end=stop, open=open_ and index == len(lasting) - 1)
        for index, (name, start, stop) in enumerate(lasting)
    ]
