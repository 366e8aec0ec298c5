"""The whole product of machine, state and event: the definition, the compiled table and the rows agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from statemachine import events as workspace_events
from statemachine.errors import IllegalTransition
from statemachine.machine import events as ev
from statemachine.machine.events import MACHINE_EVENTS
from statemachine.machine.replay import joint_move
from statemachine.machine.state import MachineConditionType, PoolPhase
from statemachine.machine.tables import (
    COMPILED,
    EVENT_TRIGGERED,
    FIELDS,
    POOL_TRIGGERED,
    STATE_TRIGGERED,
    fire,
    stage_rows,
)
from statemachine.state import BlockedReason, ConditionStatus, Stage
from tests.statemachine.machine.builders import a_history, a_machine

REASON = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
"""The pattern of a Kubernetes reason."""

STATES: dict[str, list[str]] = {
    **{condition: [status.value for status in ConditionStatus] for condition in MachineConditionType},
    "Pool": [phase.name for phase in PoolPhase],
    "Stage": [stage.value for stage in Stage],
}

PUBLISHED = {
    ("MachineRegistered", "False", "MachineNotLaunched", "Machine is not launched"),
    ("MachineRegistered", "False", "NodeNotFound", "Node not registered with cluster"),
    (
        "MachineRegistered",
        "False",
        "MultipleNodesFound",
        "Invariant violated, machine matched multiple nodes",
    ),
    ("MachineInitialized", "False", "MachineNotLaunched", "Machine is not launched"),
    ("MachineInitialized", "False", "NodeNotFound", "Node not registered with cluster"),
    ("MachineInitialized", "False", "NodeNotReady", "Node status is NotReady"),
    ("MachineLaunched", "True", "", ""),
    ("MachineRegistered", "True", "", ""),
    ("MachineInitialized", "True", "", ""),
    ("Ready", "True", "", ""),
}


def cells() -> Iterator[tuple[str, str, str]]:
    for machine, states in STATES.items():
        for source, event in product(states, MACHINE_EVENTS):
            yield machine, source, event.__name__


def rows() -> set[tuple[str, str, str, str]]:
    """(machine, source, event, dest) as the tables are written."""
    return {
        *((row[0].value, row[2].value, row[1].__name__, row[3].value) for row in EVENT_TRIGGERED),
        *(("Pool", source.name, event.__name__, dest.name) for event, source, dest in POOL_TRIGGERED),
        *(("Stage", source.value, event.__name__, dest.value) for event, source, dest in stage_rows()),
    }


ROWS = rows()


def compiled(machine: str, source: str, event: str) -> str | None:
    """What the compiled table says; None where the machine does not name the event."""
    found = COMPILED[getattr(ev, event)]
    if machine == "Stage":
        moves = {a.value: b.value for a, b in found.stages.items()}
    elif machine == "Pool":
        moves = {a.name: b.name for a, b in found.phases.items()}
    else:
        field = FIELDS[MachineConditionType(machine)]
        moves = {a.value: b.dest.value for a, b in dict(found.conditions).get(field, {}).items()}
    return looked_up(moves, machine, source, event)


def written(machine: str, source: str, event: str) -> str | None:
    """What the rows say, read by themselves."""
    moves = {row[1]: row[3] for row in ROWS if (row[0], row[2]) == (machine, event)}
    return looked_up(moves, machine, source, event)


def looked_up(moves: dict[str, str], machine: str, source: str, event: str) -> str | None:
    if not moves:
        return None
    if source not in moves:
        raise IllegalTransition(machine, source, event)
    return moves[source]


def answer(read: Callable[[str, str, str], str | None], machine: str, source: str, event: str) -> str | None:
    try:
        return read(machine, source, event)
    except IllegalTransition:
        return "illegal"


def test_three_readings_of_the_tables_agree() -> None:
    disagreeing = [
        cell
        for cell in cells()
        if not answer(fire, *cell) == answer(compiled, *cell) == answer(written, *cell)
    ]

    assert disagreeing == []


def test_product_holds_every_kind_of_answer() -> None:
    answers = [answer(written, *cell) for cell in cells()]

    assert answers.count("illegal") > 100
    assert answers.count(None) > 100
    assert sum(found not in (None, "illegal") for found in answers) == len(ROWS)


def test_no_row_is_written_twice() -> None:
    conditions = [row[:3] for row in EVENT_TRIGGERED]
    pools = [row[:2] for row in POOL_TRIGGERED]
    stages = [row[:2] for row in stage_rows()]

    assert len(conditions) == len(set(conditions))
    assert len(pools) == len(set(pools))
    assert len(stages) == len(set(stages))


def test_every_event_type_is_in_the_union() -> None:
    defined = {
        thing
        for thing in vars(ev).values()
        if isinstance(thing, type) and issubclass(thing, ev.Event) and thing is not ev.Event
    }

    assert set(MACHINE_EVENTS) == defined


def test_no_name_is_also_a_workspace_event() -> None:
    """The log registers events by class name: the second of a name would take the place of the first."""
    names = {event.__name__ for event in workspace_events.WORKSPACE_EVENTS}

    assert names.isdisjoint(event.__name__ for event in MACHINE_EVENTS)


@pytest.mark.parametrize("machine", [name for name in sorted(STATES) if name != "Ready"])
def test_every_source_is_reachable(machine: str) -> None:
    own = [row for row in ROWS if row[0] == machine]
    reachable = {STATES[machine][0]}
    while grown := {row[3] for row in own if row[1] in reachable} - reachable:
        reachable |= grown

    assert {row for row in own if row[1] not in reachable} == set()


# --- the joint rows ---------------------------------------------------------------------------------

UNKNOWN, FALSE, TRUE = ConditionStatus.UNKNOWN, ConditionStatus.FALSE, ConditionStatus.TRUE


@pytest.mark.parametrize("statuses", list(product((FALSE, TRUE), repeat=3)))
def test_ready_is_true_when_all_are(statuses: tuple[ConditionStatus, ...]) -> None:
    move = joint_move(statuses)

    assert move is not None
    assert move.dest is (TRUE if set(statuses) == {TRUE} else FALSE)


def test_machine_being_launched_is_not_ready() -> None:
    move = joint_move((UNKNOWN, FALSE, FALSE))

    assert move is not None
    assert move.dest is FALSE


def test_joint_rows_are_each_needed() -> None:
    verdicts = {
        (move.dest, move.reason, move.message)
        for statuses in product((UNKNOWN, FALSE, TRUE), repeat=3)
        if (move := joint_move(statuses))
    }

    assert verdicts == {row[2:] for row in STATE_TRIGGERED}


def test_absent_conditions_have_no_verdict() -> None:
    assert joint_move((ConditionStatus.ABSENT,) * 3) is None


# --- strings ----------------------------------------------------------------------------------------


def strings() -> set[tuple[str, str, str, str]]:
    """(type, status, reason, message) of every row that writes one."""
    joint = {("Ready", row[2].value, row[3], row[4]) for row in STATE_TRIGGERED}
    events = {(row[0].value, row[3].value, row[4], row[5]) for row in EVENT_TRIGGERED if row[4] is not None}
    return joint | events


@pytest.mark.parametrize("wanted", sorted(PUBLISHED))
def test_published_string_is_kept(wanted: tuple[str, str, str, str]) -> None:
    assert wanted in strings()


def test_launch_failures_name_a_closed_set() -> None:
    said = {reason for kind, status, reason, _ in strings() if (kind, status) == ("MachineLaunched", "False")}

    assert said - {"{e.reason}"} <= {str(reason) for reason in BlockedReason}


def test_reasons_fit_the_api_pattern() -> None:
    literal = [reason for _, _, reason, _ in strings() if reason and "{" not in reason]

    assert [reason for reason in literal if not REASON.match(reason)] == []


def test_a_move_that_keeps_stays_where_it_is() -> None:
    keeping = [row for row in EVENT_TRIGGERED if row[4] is None]

    assert [row for row in keeping if row[2] is not row[3]] == []


def test_condition_fields_are_those_of_the_state() -> None:
    machine = a_machine(a_history()[1:])

    assert {type(getattr(machine, field)).__name__ for field in FIELDS.values()} == {"Condition"}
    assert set(FIELDS) == set(MachineConditionType)
