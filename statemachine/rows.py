"""What the tables of every aggregate share: rows become `transitions` machines, and machines are read.

A definition holds the transitions of one small machine; it is fired on a throw-away cell, so reading it is
pure. The fold reads look-ups compiled from the definitions, because firing costs some 6 µs and a look-up
0.06 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import transitions

from statemachine.errors import IllegalTransition
from statemachine.state import ConditionStatus

Template = str | None


def define(name: str, states: Iterable[Any], rows: Iterable[tuple[str, Any, Any]]) -> transitions.Machine:
    """One machine of (trigger, source, dest) rows; the first state is the initial one."""
    names = [str(state) for state in states]
    machine = transitions.Machine(
        model=None, states=names, initial=names[0], auto_transitions=False, name=name
    )
    for trigger, source, dest in rows:
        machine.add_transition(trigger, str(source), str(dest))
    return machine


def fire(definition: transitions.Machine, subject: str, state: str, trigger: str) -> str | None:
    """Fire one trigger on a throw-away cell through `transitions`.

    Returns:
        The state it leads to; None when the machine does not name this trigger in any row.

    Raises:
        IllegalTransition: The machine names the trigger, but not in this state.
    """
    if trigger not in definition.events:
        return None
    cell = SimpleNamespace()
    definition.add_model(cell, initial=state)
    try:
        cell.trigger(trigger)
    except transitions.MachineError:
        raise IllegalTransition(subject, state, trigger) from None
    finally:
        definition.remove_model(cell)
    return str(cell.state)


def destinations(definition: transitions.Machine, trigger: str) -> list[tuple[str, str]]:
    """(source, dest) of every transition that a machine has for a trigger."""
    found = definition.events.get(trigger)
    rows = found.transitions.items() if found else ()
    return [(str(source), str(row.dest)) for source, leaving in rows for row in leaving]


class Move(NamedTuple):
    """Where a condition goes, and its new reason and message.

    Texts, unless ``write`` is given: then it makes both of the event and the aggregate.
    """

    dest: ConditionStatus
    reason: Template
    message: str
    write: Callable[[Any, Any], tuple[str, str]] | None

    @classmethod
    def of(cls, dest: ConditionStatus, reason: Template, message: str, names: str = "e, w") -> Move:
        """``names`` are those of event and aggregate in the templates."""
        if reason is None or "{" not in reason + message:
            return cls(dest, reason, message, None)
        # The templates of the tables as f-strings: a third of the time that str.format takes.
        return cls(dest, reason, message, eval(f"lambda {names}: (f{reason!r}, f{message!r})", {}))
