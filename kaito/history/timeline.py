"""The timeline of a Workspace: its phases with durations and the spells of its conditions."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from kaito import durations
from kaito.history.chronicle import Chronicle
from kaito.history.phases import Span, Spell, end, phases, spells
from kaito.history.sentences import clock

COLUMNS = ("PHASE", "START", "END", "DURATION", "SECONDS")


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A span with its duration, and the least and the most it can have been where an end is uncertain."""

    name: str
    start: datetime
    end: datetime
    open: bool
    seconds: float
    seconds_min: float
    seconds_max: float
    steps: tuple[Phase, ...] = ()


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds of the phases add up to ``total_seconds``; ``open`` says that the life goes on."""

    namespace: str
    name: str
    uid: str
    at: datetime
    created_at: datetime
    end: datetime
    open: bool
    total_seconds: float
    phases: tuple[Phase, ...]
    conditions: dict[str, tuple[Spell, ...]]


def tell(chronicle: Chronicle, at: datetime) -> Timeline:
    """The timeline up to an instant, from a history that ends there."""
    moments = chronicle.moments()
    stop = end(moments, at)
    return Timeline(
        namespace=chronicle.namespace,
        name=chronicle.name,
        uid=chronicle.uid,
        at=at,
        created_at=chronicle.created_at,
        end=stop,
        open=not moments[-1].over,
        total_seconds=(stop - chronicle.created_at).total_seconds(),
        phases=tuple(_phase(span) for span in phases(chronicle, at)),
        conditions=spells(chronicle, at),
    )


def _phase(span: Span) -> Phase:
    return Phase(
        name=span.name,
        start=span.start,
        end=span.end,
        open=span.open,
        seconds=span.duration.total_seconds(),
        seconds_min=span.shortest.total_seconds(),
        seconds_max=span.longest.total_seconds(),
        steps=tuple(_phase(step) for step in span.steps),
    )


def title(timeline: Timeline) -> str:
    """The line above the table."""
    total = durations.rounded(timedelta(seconds=timeline.total_seconds))
    goes_on = "so far" if timeline.open else "in all"
    created = f"{timeline.created_at:%Y-%m-%d} {clock(timeline.created_at)} UTC"
    return f"{timeline.namespace}/{timeline.name}, created {created}, {total} {goes_on}"


def rows(timeline: Timeline) -> list[tuple[str, ...]]:
    """The phases, their steps indented below them, and the total."""
    found: list[tuple[str, ...]] = []
    for phase in timeline.phases:
        found.append(_row(phase, ""))
        found += [_row(step, "  ") for step in phase.steps]
    total = timedelta(seconds=timeline.total_seconds)
    return [*found, ("total", "", "", _duration(total), _seconds(timeline.total_seconds))]


def span_text(phase: Phase) -> str:
    """The duration, as a range where an end is not exactly known."""
    if phase.seconds_min == phase.seconds_max:
        return _duration(timedelta(seconds=phase.seconds))
    low, high = timedelta(seconds=phase.seconds_min), timedelta(seconds=phase.seconds_max)
    return f"{durations.floored(low)}–{durations.floored(high)}"


def _row(phase: Phase, indent: str) -> tuple[str, ...]:
    ending = "goes on" if phase.open else clock(phase.end)
    if phase.seconds_min == phase.seconds_max:
        seconds = _seconds(phase.seconds)
    else:
        seconds = f"{int(phase.seconds_min)}–{int(phase.seconds_max)}"
    return indent + phase.name, clock(phase.start), ending, span_text(phase), seconds


def _duration(duration: timedelta) -> str:
    return durations.rounded(duration, 1)


def _seconds(seconds: float) -> str:
    tenths = (timedelta(seconds=seconds) + timedelta(milliseconds=50)) // timedelta(milliseconds=100)
    return f"{tenths / 10:.1f}"
