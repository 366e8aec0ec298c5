"""The state machine as diagrams, read from its tables: each condition, the slots and the object itself."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from statemachine.state import ConditionStatus, ConditionType, SlotPhase, Stage
from statemachine.tables import EVENT_TRIGGERED, SLOT_TRIGGERED, STAGE_TRIGGERED, STATE_TRIGGERED

ANY = "Any"
"""The source of a joint row: whatever the condition was before."""

TITLE = "# The state machine of a Workspace"
INTRODUCTION = """\
A Workspace is several small machines that see the same events. Each condition moves between Absent, Unknown,
False and True; each slot tells how far one node is; the stage is the object's own life. An event that a
machine names is illegal in the states that have no row for it; events it does not name pass by.

This page is the output of `kaito diagram`, which reads the tables in `statemachine/tables.py`; a test keeps
both in step. `kaito diagram -o svg` and `-o png` draw the same."""


class Transition(msgspec.Struct, frozen=True):
    """``text`` says more than the event, for example the reason it gives; it may be empty."""

    source: str
    dest: str
    event: str
    text: str = ""

    @property
    def label(self) -> str:
        return f"{self.event} → {self.text}" if self.text else self.event


class Diagram(msgspec.Struct, frozen=True):
    name: str
    about: str
    states: tuple[str, ...]
    transitions: tuple[Transition, ...]


def names() -> tuple[str, ...]:
    """What there is a diagram of: the conditions in the published order, Slot and Stage."""
    return (*[str(kind) for kind in ConditionType], "Slot", "Stage")


def diagram(name: str) -> Diagram:
    """The diagram of this name, one of `names`."""
    if name == "Slot":
        return _slot()
    if name == "Stage":
        return _stage()
    if name == ConditionType.WORKSPACE_READY:
        return _joint()
    return _condition(ConditionType(name))


def _condition(kind: ConditionType) -> Diagram:
    rows = [row for row in EVENT_TRIGGERED if row[0] is kind]
    moves = [
        Transition(str(source), str(dest), event.__name__, _reason(reason))
        for _, event, source, dest, reason, _ in rows
    ]
    about = "What moves it; behind the arrow stands the reason that it then shows, if a new one."
    return Diagram(str(kind), about, _used(ConditionStatus, moves), tuple(moves))


def _reason(template: str | None) -> str:
    """The reason of a row, empty where it stays as it is."""
    if template is None:
        return ""
    return "reason of the event" if "{" in template else template


def _joint() -> Diagram:
    moves = [
        Transition(ANY, str(dest), " and ".join(f"{k} {v}" for k, v in needs.items()), reason)
        for needs, _, dest, reason, _ in STATE_TRIGGERED
    ]
    about = "It has no events of its own: the first of these rows whose needs are met decides."
    states = [ANY, *_used(ConditionStatus, moves)]
    return Diagram(str(ConditionType.WORKSPACE_READY), about, tuple(states), tuple(moves))


def _slot() -> Diagram:
    moves = [
        Transition(_phase(source), _phase(dest), event.__name__) for event, source, dest in SLOT_TRIGGERED
    ]
    about = "How far the node of one slot is."
    return Diagram("Slot", about, tuple(_phase(phase) for phase in SlotPhase), tuple(moves))


def _stage() -> Diagram:
    moves = [Transition(str(source), str(dest), event.__name__) for event, source, dest in STAGE_TRIGGERED]
    about = "The object's own life. Every event that is not shown here belongs to Live and stays in it."
    return Diagram("Stage", about, tuple(str(stage) for stage in Stage), tuple(moves))


def _phase(phase: SlotPhase) -> str:
    return phase.name.capitalize()


def _used(states: Iterable[ConditionStatus], moves: Iterable[Transition]) -> tuple[str, ...]:
    touched = {state for move in moves for state in (move.source, move.dest)}
    return tuple(str(state) for state in states if str(state) in touched)


# --- Mermaid ----------------------------------------------------------------------------------------


def mermaid(found: Diagram) -> str:
    """Mermaid's stateDiagram: one arrow for each pair of states, its events below each other."""
    lines = ["stateDiagram-v2", "    direction LR"]
    if ANY in found.states:
        lines.append(f'    state "any status" as {ANY}')
    else:
        lines.append(f"    [*] --> {found.states[0]}")
    for (source, dest), labels in _arrows(found).items():
        lines.append(f"    {source} --> {dest}: {'<br/>'.join(labels)}")
    return "\n".join(lines)


def _arrows(found: Diagram) -> dict[tuple[str, str], list[str]]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for move in found.transitions:
        arrows.setdefault((move.source, move.dest), []).append(move.label)
    return arrows


def page() -> str:
    """All diagrams as one Markdown page, `docs/state-machine.md`."""
    parts = [TITLE, INTRODUCTION]
    for name in names():
        found = diagram(name)
        parts += [f"## {name}", found.about, f"```mermaid\n{mermaid(found)}\n```"]
    return "\n\n".join(parts)
