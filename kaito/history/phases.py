"""The phases of a Workspace's life, with start and end, and the spells of its conditions.

A phase is a property of the state, so the phases follow from walking through the states: at any time there is
exactly one, and together they last from the creation to the end. With several slots the one that is furthest
behind counts. The launch of a Machine stands in the Workspace stream or, in imported logs, in the Machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

import msgspec

from kaito.history.chronicle import Chronicle, Moment, Provision
from statemachine import events as ev
from statemachine import projection
from statemachine.state import ConditionStatus, InferenceReason, Slot, SlotPhase, Stage, Trouble, Workspace

K = TypeVar("K")


class PhaseName(StrEnum):
    REQUESTING = "accepted → created"
    LAUNCHING = "created → launched"
    REGISTERING = "launched → ready"
    ENABLING = "ready → GPU usable"
    DEPLOYING = "nodes → workload"
    INFERENCE = "inference"
    SERVING = "serving"
    DEGRADED = "degraded"
    NODE_LOST = "node lost"
    REPLACING = "machine lost"
    REFUSED = "spec refused"
    DELETION = "deletion"


class Picture(Protocol):
    """What a phase is read from: the state, and what the provisioners of its Machines tell."""

    @property
    def state(self) -> Workspace: ...

    @property
    def provisions(self) -> Mapping[str, Provision]: ...


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A phase or a step of one.

    ``open``: it still goes on at the instant asked about. ``uncertain_start`` and ``uncertain_end`` are how
    much later than shown it may have begun or ended, in seconds.
    """

    name: str
    start: datetime
    end: datetime
    open: bool = False
    uncertain_start: float = 0.0
    uncertain_end: float = 0.0
    steps: tuple[Span, ...] = ()

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    @property
    def shortest(self) -> timedelta:
        return max(self.duration - timedelta(seconds=self.uncertain_start), timedelta(0))

    @property
    def longest(self) -> timedelta:
        return self.duration + timedelta(seconds=self.uncertain_end)


class Spell(msgspec.Struct, frozen=True):
    """A time during which a condition kept its status and reason."""

    status: str
    reason: str
    start: datetime
    end: datetime


def phases(chronicle: Chronicle, at: datetime) -> tuple[Span, ...]:
    """The phases up to an instant, without gap or overlap, none of them empty."""
    moments = chronicle.moments()
    doubts = _doubts(moments)
    living = [moment for moment in moments if moment.at < end(moments, at)]
    spans = _spans(living, lambda moment: phase_of(moment).value, end(moments, at), doubts)
    goes_on = not moments[-1].over
    found = []
    for index, span in enumerate(spans):
        inside = [moment for moment in living if span.start <= moment.at < span.end]
        open_ = goes_on and index == len(spans) - 1
        steps = _steps(_spans(inside, _step, span.end, doubts), open_)
        found.append(msgspec.structs.replace(span, open=open_, steps=steps))
    return tuple(found)


def _steps(found: Sequence[Span], open_: bool) -> tuple[Span, ...]:
    """The steps that have a name; one that lasts as long as its phase says nothing new."""
    if len(found) < 2:
        return ()
    last = msgspec.structs.replace(found[-1], open=open_)
    return tuple(step for step in [*found[:-1], last] if step.name)


def end(moments: Sequence[Moment], at: datetime) -> datetime:
    """When nothing was left any more, or the instant asked about while something is."""
    if not moments[-1].over:
        return max(at, moments[-1].at)
    last = max((index for index, moment in enumerate(moments) if not moment.over), default=-1)
    return moments[last + 1].at


def spells(chronicle: Chronicle, at: datetime) -> dict[str, tuple[Spell, ...]]:
    """What each condition was, from its first write on, in the published order."""
    moments = chronicle.moments()
    found: dict[str, tuple[Spell, ...]] = {}
    for kind in projection.conditions(moments[-1].state):
        known = [(moment.at, _status(moment, kind)) for moment in moments]
        found[kind] = tuple(
            Spell(*key, start, stop) for key, start, stop in runs(known, end(moments, at)) if key[0]
        )
    return found


# --- from moments to spans --------------------------------------------------------------------------


def runs(known: Sequence[tuple[datetime, K]], until: datetime) -> list[tuple[K, datetime, datetime]]:
    """Equal neighbours joined, what lasts no time left out; the last one goes on until ``until``."""
    found: list[tuple[K, datetime, datetime]] = []
    if not known:
        return found
    ends = [*[at for at, _ in known[1:]], until]
    for (start, key), stop in zip(known, ends, strict=True):
        if stop <= start:
            continue
        if found and found[-1][0] == key:
            start = found.pop()[1]
        found.append((key, start, stop))
    return found


def _spans(
    moments: Sequence[Moment],
    name: Callable[[Moment], str],
    until: datetime,
    doubts: dict[datetime, float],
) -> list[Span]:
    lasting = runs([(moment.at, name(moment)) for moment in moments], until)
    return [
        Span(
            name=key,
            start=start,
            end=stop,
            uncertain_start=doubts.get(start, 0.0),
            uncertain_end=doubts.get(stop, 0.0),
        )
        for key, start, stop in lasting
    ]


def _doubts(moments: Iterable[Moment]) -> dict[datetime, float]:
    """Seconds by which the events at an instant may be later than their time says."""
    found = {}
    for moment in moments:
        event = moment.record.event
        if isinstance(event, ev.InferenceBecameReady) and event.precision_seconds:
            found[moment.at] = event.precision_seconds
    return found


def _status(moment: Moment, kind: str) -> tuple[str, str]:
    condition = projection.conditions(moment.state).get(kind)
    return (str(condition.status), condition.reason) if condition else ("", "")


# --- which phase a state is -------------------------------------------------------------------------

_BY_SLOT = {
    SlotPhase.FREE: PhaseName.REQUESTING,
    SlotPhase.REQUESTED: PhaseName.REQUESTING,
    SlotPhase.CREATED: PhaseName.LAUNCHING,
    SlotPhase.LAUNCHED: PhaseName.REGISTERING,
    SlotPhase.READY: PhaseName.ENABLING,
}


def phase_of(moment: Picture) -> PhaseName:
    """The phase that a state is, or that a Workspace is in after a moment."""
    state = moment.state
    if state.stage is not Stage.LIVE:
        return PhaseName.DELETION
    if state.refused:
        return PhaseName.REFUSED
    if state.waiting:
        return _machine_phase(moment)
    if state.inference_ready.status is ConditionStatus.TRUE:
        return PhaseName.SERVING
    if not state.workload or state.resource_ready.status is not ConditionStatus.TRUE:
        return PhaseName.DEPLOYING
    return PhaseName.DEGRADED if state.degraded else PhaseName.INFERENCE


def _machine_phase(moment: Picture) -> PhaseName:
    slot = slowest(moment)
    if slot.trouble is Trouble.NODE_LOST:
        return PhaseName.NODE_LOST
    if slot.phase is SlotPhase.FREE and slot.lost_at is not None:
        return PhaseName.REPLACING
    return _BY_SLOT[reached(slot, moment)]


def reached(slot: Slot, moment: Picture) -> SlotPhase:
    """How far a slot is, the launch taken from the Machine's stream where the Workspace's lacks it."""
    provision = moment.provisions.get(slot.machine)
    launched = provision is not None and provision.launched_at is not None
    return SlotPhase.LAUNCHED if slot.phase is SlotPhase.CREATED and launched else slot.phase


def slowest(moment: Picture) -> Slot:
    """The slot that is furthest behind, the first of equals."""
    return min(moment.state.slots, key=lambda slot: (reached(slot, moment), slot.index))


def _step(moment: Moment) -> str:
    """What distinguishes the parts of a phase; empty for a part that needs no name."""
    state = moment.state
    if state.stage is not Stage.LIVE:
        return _deletion_step(moment)
    if state.waiting and state.slots:
        return _machine_step(slowest(moment)) or _provider_step(moment)
    if state.inference_ready.status is ConditionStatus.FALSE:
        timed_out = state.inference_ready.reason == InferenceReason.FAILED
        return "timed out" if timed_out else state.inference_ready.reason
    return state.inference_phase


def _machine_step(slot: Slot) -> str:
    if slot.trouble is Trouble.LAUNCH_FAILED:
        return f"blocked: {slot.blocked}"
    if slot.trouble is Trouble.NODE_LOST:
        return f"node {slot.detail}"
    if slot.trouble:
        return str(slot.trouble)
    return "slow" if slot.slow else ""


def _provider_step(moment: Moment) -> str:
    """What the provisioner of the slowest Machine is at, where its stream tells."""
    provision = moment.provisions.get(slowest(moment).machine)
    return f"machine: {provision.step}" if provision is not None and provision.step else ""


def _deletion_step(moment: Moment) -> str:
    if not moment.left:
        return "finalizer"
    known = [moment.provisions[name] for name in moment.left if name in moment.provisions]
    if not known:
        return "machine deletion"
    if any(provision.deletion_at is None for provision in known):
        return "machine: drain"
    if any(provision.node_removed_at is None for provision in known):
        return "machine: pool deletion"
    return "machine: release"
