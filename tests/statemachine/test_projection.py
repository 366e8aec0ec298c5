"""The status on the object follows from the state, and is written only where it differs."""

from __future__ import annotations

from msgspec.structs import replace

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.observations import StatusView
from statemachine.projection import conditions, differs
from statemachine.state import Workspace
from tests.builders import (
    a_cluster_view,
    a_history,
    a_serving_view,
    a_workspace,
    a_workspace_view,
    at,
)
from tests.statemachine.story import Story, only, written

IN_ORDER = ["MachineReady", "ResourceReady", "InferenceReady", "WorkspaceReady"]


def status_of(state: Workspace) -> StatusView:
    return StatusView(
        conditions=conditions(state), worker_nodes=state.worker_nodes, observed_generation=state.generation
    )


def test_four_conditions_exist_from_the_start() -> None:
    workspace = a_workspace()

    assert list(conditions(workspace)) == IN_ORDER
    assert {condition.status.value for condition in conditions(workspace).values()} == {"Unknown"}


def test_deleting_condition_appears_with_the_deletion() -> None:
    workspace = a_workspace([ev.WorkspaceDeletionRequested(at=at(5))])

    assert list(conditions(workspace)) == [*IN_ORDER, "WorkspaceDeleting"]


def test_nothing_is_projected_before_the_first_event() -> None:
    assert conditions(Workspace()) == {}


def test_written_status_does_not_differ() -> None:
    workspace = a_workspace(a_history()[1:])

    assert not differs(workspace, status_of(workspace))


def test_transition_time_alone_is_no_difference() -> None:
    workspace = a_workspace(a_history()[1:])
    present = status_of(workspace)
    whole_seconds = {kind: replace(found, since=at(1)) for kind, found in present.conditions.items()}

    assert not differs(workspace, replace(present, conditions=whole_seconds))


def test_each_other_part_is_a_difference() -> None:
    workspace = a_workspace(a_history()[1:])
    present = status_of(workspace)
    ready = present.conditions["MachineReady"]
    changed = [
        replace(present, worker_nodes=("another",)),
        replace(present, observed_generation=7),
        replace(present, conditions={}),
        replace(present, conditions={**present.conditions, "MachineReady": replace(ready, reason="r")}),
        replace(present, conditions={**present.conditions, "MachineReady": replace(ready, message="m")}),
    ]

    assert [differs(workspace, status) for status in changed] == [True] * len(changed)


def test_status_is_written_once() -> None:
    story = Story()
    first = story.sees()

    again = story.sees(a_cluster_view(workspace=a_workspace_view(status=written(first))), seconds=1)

    assert len(only(first.commands, cmd.WriteStatus)) == 1
    assert only(again.commands, cmd.WriteStatus) == []


def test_status_somebody_overwrote_is_restored() -> None:
    story = Story()
    status = written(story.sees(a_serving_view()))
    story.sees(a_serving_view(workspace=a_workspace_view(status=status)), seconds=1)

    overwritten = replace(status, worker_nodes=("invented",))
    restored = story.sees(a_serving_view(workspace=a_workspace_view(status=overwritten)), seconds=2)

    assert restored.events == ()
    assert written(restored) == status


def test_generation_is_reported_as_observed() -> None:
    story = Story()
    status = written(story.sees())

    edited = story.sees(a_cluster_view(workspace=a_workspace_view(generation=2, status=status)), seconds=9)

    assert written(edited).observed_generation == 2


def test_transition_time_moves_with_the_status_only() -> None:
    slowed = ev.MachineWaitSlowed(at=at(240), slot=0, machine="m", elapsed_seconds=240)
    request = ev.MachineRequested(at=at(1), slot=0, attempt=1, machine="m")

    workspace = a_workspace([request, slowed], at=at(0))

    assert workspace.machine_ready.reason == "MachineProvisioningSlow"
    assert workspace.machine_ready.since == at(0)
