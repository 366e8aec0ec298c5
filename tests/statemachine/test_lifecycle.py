"""`step` over whole lives: the published run, adoption, and what one picture leads to."""

from __future__ import annotations

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.detection import detect
from statemachine.lifecycle import step
from statemachine.limits import Limits
from statemachine.observations import ClusterView, Result
from statemachine.replay import fold
from statemachine.state import ConditionStatus, Stage, Workspace
from tests.builders import (
    NAME,
    a_cluster_view,
    a_machine_name,
    a_machine_view,
    a_node_view,
    a_pod_view,
    a_provisioned_view,
    a_ready_machine_view,
    a_serving_view,
    a_workload_view,
    a_workspace_view,
    at,
)
from tests.statemachine.story import Story, names, only, said, written

M = a_machine_name()


def reference_run(**workspace: object) -> tuple[Story, dict[float, tuple[str, ...]]]:
    """The run of 5 April 2024: launched after 257.6 s, ready at once, served after some twelve minutes.

    Returns the story and the statuses (M, R, I, W) by the second at which they changed.
    """
    story, statuses = Story(), {}
    machine, view = a_machine_view, a_workspace_view(**workspace)
    starting = a_workload_view(ready=0)
    pictures = [
        (0.0, a_cluster_view(workspace=a_workspace_view(has_finalizer=False, **workspace))),
        (0.2, a_cluster_view(workspace=view, machines=(machine(),))),
        (240.3, a_cluster_view(workspace=view, machines=(machine(),))),
        (257.8, a_cluster_view(workspace=view, machines=(machine(launched=True),))),
        (258.5, a_provisioned_view(workspace=view)),
        (260.0, a_serving_view(workspace=view, workload=starting, pods=(a_pod_view(),))),
        (400.0, a_serving_view(workspace=view, workload=starting, pods=(a_pod_view(started=True),))),
        (960.0, a_serving_view(workspace=view)),
    ]
    for seconds, picture in pictures:
        story.sees(picture, seconds)
        now = tuple(
            found.status.value[0]
            for found in (
                story.state.machine_ready,
                story.state.resource_ready,
                story.state.inference_ready,
                story.state.workspace_ready,
            )
        )
        if not statuses or list(statuses.values())[-1] != now:
            statuses[seconds] = now
    return story, statuses


def test_reference_run_is_never_false() -> None:
    _, statuses = reference_run()

    assert statuses == {
        0.0: ("U", "U", "U", "U"),
        258.5: ("T", "T", "U", "U"),
        960.0: ("T", "T", "T", "T"),
    }


def test_published_limit_gives_the_published_run() -> None:
    story, statuses = reference_run(limits=Limits(machine_timeout=240))

    assert statuses == {
        0.0: ("U", "U", "U", "U"),
        240.3: ("F", "F", "U", "F"),
        258.5: ("T", "T", "U", "U"),
        960.0: ("T", "T", "T", "T"),
    }
    assert story.state.workspace_ready.message == "workspace is ready"


def test_reference_run_as_a_log() -> None:
    story, _ = reference_run()

    assert names(story.log) == [
        "WorkspaceCreated",
        "MachineRequested",
        "MachineCreated",
        "MachineWaitSlowed",
        "MachineLaunched",
        "MachineBecameReady",
        "NodeBecameUsable",
        "NodePluginsInstalled",
        "WorkerNodesChosen",
        "ServiceCreated",
        "WorkloadCreated",
        "InferenceProgressed",
        "InferenceProgressed",
        "InferenceBecameReady",
    ]
    assert fold(story.log) == story.state


def test_deletion_waits_for_its_machine() -> None:
    story, _ = reference_run()
    deleting = a_workspace_view(deleting=True)

    story.sees(a_serving_view(workspace=deleting), 2770)
    story.sees(a_cluster_view(workspace=deleting, machines=(a_ready_machine_view(deleting=True),)), 2771)
    before = story.sees(a_cluster_view(workspace=deleting), 2834)
    story.hears(cmd.ReadMachine(machine=M), Result.NOT_FOUND, 2834)
    after = story.sees(a_cluster_view(workspace=deleting), 2834)
    story.sees(ClusterView(), 2835)

    assert only(before.commands, cmd.RemoveFinalizer) == []
    assert only(after.commands, cmd.RemoveFinalizer) == [cmd.RemoveFinalizer()]
    assert names(story.log)[-5:] == [
        "WorkspaceDeletionRequested",
        "MachineDeletionRequested",
        "MachineDeleted",
        "WorkspaceReleased",
        "WorkspaceDeleted",
    ]
    assert story.state.stage is Stage.GONE


# --- one step ---------------------------------------------------------------------------------------


def test_same_picture_again_is_quiet() -> None:
    for view in (a_cluster_view(), a_provisioned_view(2), a_serving_view(), ClusterView()):
        story = Story()
        first = story.sees(view)

        again = story.sees(view)

        assert again.events == ()
        assert (again.commands, again.wake_at) == (first.commands, first.wake_at)


def test_step_leaves_its_state_alone() -> None:
    state = Workspace()

    stepped = step(state, a_serving_view(), at(0))

    assert state == Workspace()
    assert stepped.state == fold(stepped.events)


def test_outcome_is_recorded_and_nothing_else() -> None:
    story = Story()
    story.sees()

    stepped = story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=M), seconds=1, uid="u")

    assert names(stepped.events) == ["MachineCreated"]
    assert (stepped.commands, stepped.wake_at) == ((), None)


def test_step_ends_when_the_picture_is_spent() -> None:
    """A node assigned in the step is usable in it too, so its verdict needs no second picture."""
    story = Story()

    stepped = story.sees(a_cluster_view(nodes=(a_node_view(),)))

    assert names(stepped.events) == [
        "WorkspaceAdopted",
        "NodeAssigned",
        "NodeBecameUsable",
        "NodePluginsInstalled",
        "WorkerNodesChosen",
    ]
    assert detect(story.state, a_cluster_view(nodes=(a_node_view(),)), at(0)) == ()
    assert [type(command) for command in stepped.commands] == [
        cmd.WriteStatus,
        cmd.CreateService,
        cmd.CreateWorkload,
    ]


def test_finalizer_comes_before_any_machine() -> None:
    stepped = Story().sees(a_cluster_view(workspace=a_workspace_view(has_finalizer=False)))

    assert [type(command) for command in stepped.commands] == [
        cmd.AddFinalizer,
        cmd.WriteStatus,
        cmd.CreateMachine,
    ]


# --- adoption ---------------------------------------------------------------------------------------


def adopted(view: ClusterView) -> tuple[Story, Story]:
    """A life with its log, and the same cluster met again after the log was lost."""
    before, after = Story(), Story()
    status = written(before.sees(view))
    workspace = a_workspace_view(node_count=len(before.state.slots), status=status)
    shown = ClusterView(**{**{f: getattr(view, f) for f in view.__struct_fields__}, "workspace": workspace})
    before.sees(shown, 5000)
    after.sees(shown, 5000)
    return before, after


def test_adopted_workspace_disturbs_nothing() -> None:
    _, after = adopted(a_serving_view(4))

    assert after.last.commands == ()
    assert after.last.wake_at is None
    assert said(after.state.workspace_ready)[0] == "True"
    assert after.state.adopted


def test_adopted_brought_node_is_not_disturbed() -> None:
    nodes = (a_node_view("brought"),)

    before, after = adopted(a_serving_view(machines=(), nodes=nodes))

    assert after.last.commands == ()
    assert after.state.worker_nodes == before.state.worker_nodes == ("brought",)


def test_adoption_under_way_buys_nothing() -> None:
    story = Story()

    stepped = story.sees(a_cluster_view(machines=(a_machine_view(),)), 100)

    assert names(stepped.events) == ["WorkspaceAdopted", "MachineAdopted"]
    assert only(stepped.commands, cmd.CreateMachine) == []


def test_adopted_deletion_goes_on() -> None:
    story = Story()
    deleting = a_workspace_view(deleting=True)

    stepped = story.sees(a_cluster_view(workspace=deleting, machines=(a_machine_view(),)))

    assert only(stepped.commands, cmd.DeleteMachine) == [cmd.DeleteMachine(machine=M, uid=f"uid-{M}")]
    assert only(stepped.commands, cmd.RemoveFinalizer) == []


def test_many_nodes_take_the_longest_not_the_sum() -> None:
    story = Story()
    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=4)))

    story.sees(a_provisioned_view(4), 300)

    assert story.state.machine_ready.since == at(300)
    assert story.state.machine_ready.status is ConditionStatus.TRUE
    assert isinstance(story.log[-1], ev.WorkerNodesChosen)
    assert only(story.last.commands, cmd.CreateWorkload) == [cmd.CreateWorkload(kind="Deployment", name=NAME)]
