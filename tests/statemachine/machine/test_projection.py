"""The status on the Machine follows from the state, and is written only where it differs."""

from __future__ import annotations

from msgspec.structs import replace

from statemachine.machine.projection import conditions, differs, status
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine
from tests.builders import at
from tests.statemachine.machine.builders import a_history, a_machine, a_termination

READY = fold(a_history())


def test_nothing_is_projected_before_the_first_event() -> None:
    assert conditions(Machine()) == {}


def test_conditions_exist_from_the_start_by_type() -> None:
    assert list(conditions(a_machine())) == [
        "MachineInitialized",
        "MachineLaunched",
        "MachineRegistered",
        "Ready",
    ]


def test_termination_is_a_condition_of_its_own() -> None:
    deleting = fold([*a_history(), *a_termination()[:1]])

    assert list(conditions(deleting))[-2:] == ["MachineTerminating", "Ready"]
    assert conditions(deleting)["Ready"] == conditions(READY)["Ready"]


def test_written_status_does_not_differ() -> None:
    assert not differs(READY, status(READY))


def test_transition_time_alone_is_no_difference() -> None:
    written = status(READY)
    whole_seconds = {kind: replace(found, since=at(1)) for kind, found in written.conditions.items()}

    assert not differs(READY, replace(written, conditions=whole_seconds))


def test_each_other_part_is_a_difference() -> None:
    written = status(READY)
    launched = written.conditions["MachineLaunched"]
    changed = [
        replace(written, node="another"),
        replace(written, provider_id="another"),
        replace(written, capacity=()),
        replace(written, allocatable=()),
        replace(written, conditions={}),
        replace(written, conditions={**written.conditions, "MachineLaunched": replace(launched, reason="r")}),
        replace(
            written, conditions={**written.conditions, "MachineLaunched": replace(launched, message="m")}
        ),
    ]

    assert [differs(READY, other) for other in changed] == [True] * len(changed)
