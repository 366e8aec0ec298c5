"""The whole product of machine, state and event: the definition, the compiled table and the rows agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from statemachine import events as ev
from statemachine import tables
from statemachine.errors import IllegalTransition
from statemachine.events import WORKSPACE_EVENTS
from statemachine.replay import joint_move
from statemachine.state import (
    BlockedReason,
    ConditionStatus,
    ConditionType,
    InferenceReason,
    SlotPhase,
    Stage,
)
from statemachine.tables import COMPILED, EVENT_TRIGGERED, FIELDS, SLOT_TRIGGERED, STAGE_TRIGGERED, fire
from tests.builders import EPOCH, a_history, a_workspace

REASON = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
"""The pattern of the CRD for ``reason``, in every Kubernetes condition."""

STATES: dict[str, list[str]] = {
    **{condition: [status.value for status in ConditionStatus] for condition in ConditionType},
    "Slot": [phase.name for phase in SlotPhase],
    "Stage": [stage.value for stage in Stage],
}

PUBLISHED = {
    ("MachineReady", "Unknown", "CreateMachinePending", "creating {w.missing} machines"),
    ("MachineReady", "False", "machineFailedCreation", "{e.message}"),
    (
        "MachineReady",
        "False",
        "checkMachineStatusFailed",
        "check machine status timed out. machine {e.machine} is not ready",
    ),
    (
        "MachineReady",
        "True",
        "installNodePluginsSuccess",
        "machines plugins have been installed successfully",
    ),
    ("ResourceReady", "False", "workspaceResourceStatusFailed", "{e.message}"),
    ("ResourceReady", "True", "workspaceResourceStatusSuccess", "workspace resource is ready"),
    ("InferenceReady", "False", "WorkspaceInferenceStatusFailed", "context deadline exceeded"),
    ("InferenceReady", "True", "WorkspaceInferenceStatusSuccess", "Inference has been deployed successfully"),
    ("WorkspaceReady", "False", "workspaceFailed", "{w.resource_ready.message}"),
    ("WorkspaceReady", "False", "workspaceFailed", "{w.inference_ready.message}"),
    ("WorkspaceReady", "True", "workspaceReady", "workspace is ready"),
    ("WorkspaceDeleting", "True", "workspaceDeleted", "workspace is being deleted{w.left}"),
}


def cells() -> Iterator[tuple[str, str, str]]:
    for machine, states in STATES.items():
        for source, event in product(states, WORKSPACE_EVENTS):
            yield machine, source, event.__name__


def rows() -> set[tuple[str, str, str, str]]:
    """(machine, source, event, dest) as the tables are written."""
    named = {row[0] for row in STAGE_TRIGGERED}
    return {
        *((row[0].value, row[2].value, row[1].__name__, row[3].value) for row in EVENT_TRIGGERED),
        *(("Slot", source.name, event.__name__, dest.name) for event, source, dest in SLOT_TRIGGERED),
        *(("Stage", source.value, event.__name__, dest.value) for event, source, dest in STAGE_TRIGGERED),
        *(("Stage", "Live", event.__name__, "Live") for event in WORKSPACE_EVENTS if event not in named),
    }


def compiled(machine: str, source: str, event: str) -> str | None:
    """What the compiled table says; None where the machine does not name the event."""
    found = COMPILED[getattr(ev, event)]
    if machine == "Stage":
        moves = {a.value: b.value for a, b in found.stages.items()}
    elif machine == "Slot":
        moves = {a.name: b.name for a, b in found.phases.items()}
    else:
        field = FIELDS[ConditionType(machine)]
        moves = {a.value: b.dest.value for a, b in dict(found.conditions).get(field, {}).items()}
    if not moves:
        return None
    if source not in moves:
        raise IllegalTransition(machine, source, event)
    return moves[source]


def written(machine: str, source: str, event: str) -> str | None:
    """What the rows say, read by themselves."""
    about = {row for row in rows() if (row[0], row[2]) == (machine, event)}
    if not about:
        return None
    for row in about:
        if row[1] == source:
            return row[3]
    raise IllegalTransition(machine, source, event)


Reading = Callable[[str, str, str], str | None]


def answer(read: Reading, machine: str, source: str, event: str) -> str | None:
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
    answers = [answer(fire, *cell) for cell in cells()]

    assert answers.count("illegal") > 100
    assert answers.count(None) > 100
    assert sum(found not in (None, "illegal") for found in answers) == len(rows())


def test_firing_names_what_is_illegal() -> None:
    with pytest.raises(IllegalTransition) as caught:
        fire("Stage", "Gone", "MachineCreated")

    assert (caught.value.subject, caught.value.state, caught.value.event) == (
        "Stage",
        "Gone",
        "MachineCreated",
    )
    assert str(caught.value) == "MachineCreated is not possible for Stage in state Gone"


def test_firing_leaves_no_trace() -> None:
    first = fire("Slot", "FREE", "MachineRequested")

    assert fire("Slot", "FREE", "MachineRequested") == first == "REQUESTED"


def test_no_row_is_written_twice() -> None:
    conditions = [row[:3] for row in EVENT_TRIGGERED]
    slots = [row[:2] for row in SLOT_TRIGGERED]
    stages = [row[:2] for row in STAGE_TRIGGERED]

    assert len(conditions) == len(set(conditions))
    assert len(slots) == len(set(slots))
    assert len(stages) == len(set(stages))


def test_every_event_has_a_stage() -> None:
    assert [event for event in WORKSPACE_EVENTS if not COMPILED[event].stages] == []


def test_every_event_type_is_in_the_union() -> None:
    defined = {
        thing
        for thing in vars(ev).values()
        if isinstance(thing, type)
        and issubclass(thing, ev.Event)
        and thing not in (ev.Event, ev.WorkspaceMet)
    }

    assert set(WORKSPACE_EVENTS) == defined


@pytest.mark.parametrize("machine", sorted(STATES))
def test_every_state_is_reached_or_left(machine: str) -> None:
    joint = {row[2].value for row in tables.STATE_TRIGGERED}
    reached = joint if machine == "WorkspaceReady" else {row[3] for row in rows() if row[0] == machine}
    never = {"Unknown", "False"} if machine == "WorkspaceDeleting" else set()

    assert set(STATES[machine][1:]) - never <= reached


@pytest.mark.parametrize("machine", [name for name in sorted(STATES) if name != "WorkspaceReady"])
def test_every_source_is_reachable(machine: str) -> None:
    own = [row for row in rows() if row[0] == machine]
    reachable = {STATES[machine][0]}
    while grown := {row[3] for row in own if row[1] in reachable} - reachable:
        reachable |= grown

    assert {row for row in own if row[1] not in reachable} == set()


# --- the joint rows ---------------------------------------------------------------------------------

EXISTING = [ConditionStatus.UNKNOWN, ConditionStatus.FALSE, ConditionStatus.TRUE]


@pytest.mark.parametrize(("resource", "serving"), list(product(EXISTING, EXISTING)))
def test_joint_verdict_is_the_weaker_one(resource: ConditionStatus, serving: ConditionStatus) -> None:
    move = joint_move(resource, serving)

    assert move is not None
    weakest = [ConditionStatus.FALSE, ConditionStatus.UNKNOWN, ConditionStatus.TRUE]
    assert move.dest is min(resource, serving, key=weakest.index)


def test_joint_verdict_names_its_cause() -> None:
    failed, waiting, ready = ConditionStatus.FALSE, ConditionStatus.UNKNOWN, ConditionStatus.TRUE
    workspace = a_workspace()

    def text(resource: ConditionStatus, serving: ConditionStatus) -> str:
        move = joint_move(resource, serving)
        assert move is not None
        return move.write(None, workspace)[1] if move.write else move.message

    assert text(failed, failed) == workspace.resource_ready.message
    assert text(ready, failed) == workspace.inference_ready.message
    assert text(waiting, ready) == "waiting for resources"
    assert text(ready, waiting) == "waiting for inference"


def test_joint_rows_are_each_needed() -> None:
    verdicts = {
        (move.dest, move.reason, move.message)
        for resource, serving in product(EXISTING, EXISTING)
        if (move := joint_move(resource, serving))
    }

    assert verdicts == {row[2:] for row in tables.STATE_TRIGGERED}


def test_absent_conditions_have_no_verdict() -> None:
    assert joint_move(ConditionStatus.ABSENT, ConditionStatus.ABSENT) is None


# --- strings ----------------------------------------------------------------------------------------


def strings() -> set[tuple[str, str, str, str]]:
    """(type, status, reason, message) of every row that writes one."""
    joint = {("WorkspaceReady", row[2].value, row[3], row[4]) for row in tables.STATE_TRIGGERED}
    events = {(row[0].value, row[3].value, row[4], row[5]) for row in EVENT_TRIGGERED if row[4]}
    return joint | events


@pytest.mark.parametrize("wanted", sorted(PUBLISHED))
def test_published_string_is_kept(wanted: tuple[str, str, str, str]) -> None:
    assert wanted in strings()


def test_reasons_fit_the_api_pattern() -> None:
    enums = [*BlockedReason, *InferenceReason]
    literal = [reason for _, _, reason, _ in strings() if "{" not in reason]
    templates = {reason for _, _, reason, _ in strings() if "{" in reason}

    assert [reason for reason in [*literal, *map(str, enums)] if not REASON.match(reason)] == []
    assert templates == {"{e.reason}"}


def test_a_move_that_keeps_stays_where_it_is() -> None:
    keeping = [row for row in EVENT_TRIGGERED if row[4] is None]

    assert [row for row in keeping if row[2] is not row[3]] == []


def test_messages_are_written_from_the_event() -> None:
    slowed = ev.MachineWaitSlowed(at=EPOCH, slot=0, machine="ws012345678", elapsed_seconds=251.4)
    moves = dict(COMPILED[ev.MachineWaitSlowed].conditions)["machine_ready"]
    write = moves[ConditionStatus.UNKNOWN].write

    assert write is not None
    assert write(slowed, a_workspace()) == (
        "MachineProvisioningSlow",
        "machine ws012345678 is not ready after 251 s; usually half are ready within 253 s and 95 % within "
        "449 s",
    )


def test_condition_fields_are_those_of_the_state() -> None:
    workspace = a_workspace(a_history()[1:])

    assert {type(getattr(workspace, field)).__name__ for field in FIELDS.values()} == {"Condition"}
    assert set(FIELDS) == set(ConditionType)
