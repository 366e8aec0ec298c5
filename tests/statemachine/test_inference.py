"""Serving: what Service, workload and pods prove about InferenceReady."""

from __future__ import annotations

import pytest

from statemachine import commands as cmd
from statemachine.limits import Limits
from statemachine.observations import PodView, Result
from statemachine.state import ConditionStatus
from tests.builders import (
    NAME,
    a_pod_view,
    a_provisioned_view,
    a_service_view,
    a_serving_view,
    a_workload_view,
    a_workspace_view,
)
from tests.statemachine.story import Story, names, only, said

POD = f"{NAME}-0"


@pytest.fixture
def story() -> Story:
    """A Workspace whose nodes are usable and whose workload was just created."""
    story = Story()
    story.sees(a_provisioned_view())
    starting(story, seconds=1)
    return story


def starting(story: Story, *pods: PodView, seconds: float, **workload: object) -> None:
    """A picture in which the workload is not ready yet."""
    view = a_serving_view(workload=a_workload_view(**{"ready": 0, **workload}), pods=pods)
    story.sees(view, seconds)


def inference(story: Story) -> tuple[str, str, str]:
    return said(story.state.inference_ready)


# --- the way to ready -------------------------------------------------------------------------------


def test_service_and_workload_follow_the_nodes() -> None:
    story = Story()

    stepped = story.sees(a_provisioned_view())

    assert only(stepped.commands, cmd.CreateService) == [cmd.CreateService(name=NAME)]
    assert only(stepped.commands, cmd.CreateWorkload) == [cmd.CreateWorkload(kind="Deployment", name=NAME)]


def test_nothing_is_served_before_the_nodes() -> None:
    stepped = Story().sees()

    assert only(stepped.commands, cmd.CreateService) == []
    assert only(stepped.commands, cmd.CreateWorkload) == []


def test_template_without_service_gets_none() -> None:
    view = a_provisioned_view(workspace=a_workspace_view(wants_service=False, workload_kind="StatefulSet"))

    stepped = Story().sees(view)

    assert only(stepped.commands, cmd.CreateService) == []
    assert only(stepped.commands, cmd.CreateWorkload) == [cmd.CreateWorkload(kind="StatefulSet", name=NAME)]


def test_pod_that_waits_for_a_node_again_is_told(story: Story) -> None:
    starting(story, a_pod_view(), seconds=2)

    starting(story, a_pod_view(node=""), seconds=3)

    assert inference(story)[2] == f"pod {POD}: waiting for a node"


def test_pods_are_followed_phase_by_phase(story: Story) -> None:
    seen = []

    for seconds, pod in enumerate([a_pod_view(node=""), a_pod_view(), a_pod_view(started=True)], start=2):
        starting(story, pod, seconds=seconds)
        seen.append(inference(story))

    assert seen == [
        ("Unknown", "WorkspaceInferenceStatusPending", "the workload is starting"),
        ("Unknown", "WorkspaceInferenceStatusPending", f"pod {POD}: pulling the image"),
        ("Unknown", "WorkspaceInferenceStatusPending", f"pod {POD}: loading the model"),
    ]


def test_pod_furthest_behind_names_the_phase(story: Story) -> None:
    pods = [a_pod_view(name="a", ready=True), a_pod_view(name="b", started=True), a_pod_view(name="c")]

    starting(story, *pods, seconds=2)

    assert inference(story)[2] == "2 of 3 pods: pulling the image"


def test_same_phase_is_recorded_once(story: Story) -> None:
    starting(story, a_pod_view(), seconds=2)

    starting(story, a_pod_view(), seconds=3)

    assert story.last.events == ()


def test_all_replicas_ready_is_the_verdict(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    assert inference(story) == (
        "True",
        "WorkspaceInferenceStatusSuccess",
        "Inference has been deployed successfully",
    )
    assert story.state.workspace_ready.status is ConditionStatus.TRUE


@pytest.mark.parametrize(
    "workload",
    [
        {"ready": 1, "desired": 2},
        {"ready": 1, "current": False},
        {"ready": 0, "desired": 0},
    ],
    ids=["one of two", "of an older spec", "no replicas wanted"],
)
def test_no_verdict_without_enough_evidence(story: Story, workload: dict[str, object]) -> None:
    starting(story, seconds=700, **workload)

    assert story.state.inference_ready.status is ConditionStatus.UNKNOWN


# --- trouble ----------------------------------------------------------------------------------------

TROUBLES = {
    "crash": (
        {"restarts": 3, "terminated": "Error", "exit_code": 1, "waiting": "CrashLoopBackOff"},
        ("ContainerCrashLoopBackOff", f"pod {POD} restarted 3 times; last exit: Error, code 1"),
    ),
    "out of memory": (
        {"restarts": 1, "terminated": "OOMKilled", "exit_code": 137},
        ("ContainerOOMKilled", f"pod {POD} restarted once; last exit: OOMKilled, code 137"),
    ),
    "pull": (
        {"waiting": "ImagePullBackOff", "message": "Back-off pulling image"},
        ("ImagePullError", f"pod {POD}: Back-off pulling image"),
    ),
    "pull without message": ({"waiting": "ErrImagePull"}, ("ImagePullError", f"pod {POD}: ErrImagePull")),
    "start": (
        {"waiting": "CreateContainerConfigError", "message": 'secret "s" not found'},
        ("ContainerStartError", f'pod {POD}: secret "s" not found'),
    ),
    "scheduling": (
        {"node": "", "unschedulable": "0/3 nodes are available"},
        ("Unschedulable", f"pod {POD}: 0/3 nodes are available"),
    ),
    "eviction": (
        {"phase": "Failed", "waiting": "Evicted", "message": "low on memory"},
        ("PodEvicted", f"pod {POD} was evicted: low on memory"),
    ),
}
every_trouble = pytest.mark.parametrize(("pod", "expected"), TROUBLES.values(), ids=TROUBLES.keys())


@every_trouble
def test_trouble_is_named_at_once(story: Story, pod: dict[str, object], expected: tuple[str, str]) -> None:
    starting(story, a_pod_view(**pod), seconds=2)

    assert inference(story) == ("False", *expected)
    assert said(story.state.workspace_ready) == ("False", "workspaceFailed", expected[1])


@every_trouble
def test_trouble_after_ready_is_named(
    story: Story, pod: dict[str, object], expected: tuple[str, str]
) -> None:
    story.sees(a_serving_view(), 700)

    starting(story, a_pod_view(**pod), seconds=800)

    assert inference(story) == ("False", *expected)
    assert names(story.last.events) == ["InferenceDegraded"]


@every_trouble
def test_trouble_heals_when_replicas_are_ready(
    story: Story, pod: dict[str, object], expected: tuple[str, str]
) -> None:
    starting(story, a_pod_view(**pod), seconds=2)

    story.sees(a_serving_view(pods=(a_pod_view(**{**pod, "ready": True}),)), 700)

    assert inference(story)[0] == "True"


def test_trouble_that_is_over_shows_the_phase(story: Story) -> None:
    starting(story, a_pod_view(waiting="ErrImagePull"), seconds=2)

    starting(story, a_pod_view(started=True), seconds=3)

    assert inference(story) == (
        "Unknown",
        "WorkspaceInferenceStatusPending",
        f"pod {POD}: loading the model",
    )


def test_ready_pod_is_in_no_trouble(story: Story) -> None:
    survivor = a_pod_view(name="a", ready=True, restarts=2, terminated="Error", exit_code=1)

    starting(story, survivor, a_pod_view(name="b", started=True), seconds=2, desired=2, ready=1)

    assert inference(story)[0] == "Unknown"


def test_first_trouble_by_pod_name_is_named(story: Story) -> None:
    pods = [a_pod_view(name="b", waiting="ErrImagePull"), a_pod_view(name="a", unschedulable="no room")]

    starting(story, *pods, seconds=2)

    assert inference(story)[1:] == ("Unschedulable", "pod a: no room")


def test_never_true_while_the_pod_crash_loops(story: Story) -> None:
    story.sees(a_serving_view(), 700)
    seen = []

    for restart in range(1, 13):
        pod = a_pod_view(restarts=restart, terminated="OOMKilled", exit_code=137)
        starting(story, pod, seconds=800 + restart)
        seen.append(inference(story))

    assert {status for status, _, _ in seen} == {"False"}
    assert seen[-1][2] == f"pod {POD} restarted 12 times; last exit: OOMKilled, code 137"


def test_shortfall_counts_the_ready_replicas(story: Story) -> None:
    story.sees(a_serving_view(), 700)
    counted = []

    for seconds, ready in enumerate((2, 1), start=800):
        starting(story, a_pod_view(started=True), seconds=seconds, desired=3, ready=ready)
        counted.append(inference(story))

    assert counted == [
        ("False", "ReplicasNotReady", "2 of 3 replicas are ready"),
        ("False", "ReplicasNotReady", "1 of 3 replicas are ready"),
    ]


def test_scaled_to_nothing_is_not_ready(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    starting(story, seconds=800, desired=0, ready=0)

    assert inference(story) == ("False", "ReplicasNotReady", "0 of 0 replicas are ready")


def test_rollout_with_enough_replicas_stays_ready(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    starting(story, seconds=800, ready=1, current=False)

    assert story.last.events == ()
    assert inference(story)[0] == "True"


# --- the timer --------------------------------------------------------------------------------------


def test_inference_times_out_as_published(story: Story) -> None:
    starting(story, a_pod_view(started=True), seconds=1801)

    assert inference(story) == ("False", "WorkspaceInferenceStatusFailed", "context deadline exceeded")


def test_inference_waits_until_its_limit(story: Story) -> None:
    starting(story, a_pod_view(started=True), seconds=1800.9)

    assert inference(story)[0] == "Unknown"


def test_timeout_wakes_the_operator(story: Story) -> None:
    limits = Limits(inference_timeout=200)
    view = a_serving_view(
        workspace=a_workspace_view(limits=limits), workload=a_workload_view(ready=0), pods=(a_pod_view(),)
    )

    stepped = story.sees(view, 100)

    assert stepped.wake_at is not None
    assert (stepped.wake_at - story.state.workload_at).total_seconds() == 200  # type: ignore[operator]


def test_timed_out_inference_recovers_by_itself(story: Story) -> None:
    starting(story, a_pod_view(started=True), seconds=1801)

    story.sees(a_serving_view(), 2000)

    assert inference(story)[0] == "True"


def test_known_trouble_outranks_the_timeout(story: Story) -> None:
    starting(story, a_pod_view(waiting="ErrImagePull"), seconds=2)

    starting(story, a_pod_view(waiting="ErrImagePull"), seconds=5000)

    assert inference(story)[1] == "ImagePullError"


# --- what others do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ({"service": a_service_view(owned=False)}, f"Service {NAME}"),
        ({"workload": a_workload_view(owned=False, ready=1)}, f"Deployment {NAME}"),
    ],
    ids=["service", "workload"],
)
def test_foreign_object_of_our_name_is_not_used(foreign: dict[str, object], name: str) -> None:
    story = Story()
    story.sees(a_provisioned_view())

    stepped = story.sees(a_serving_view(**foreign), 1)

    assert inference(story) == ("False", "NameTaken", f"{name} exists and belongs to somebody else")
    assert only(stepped.commands, cmd.CreateService) == only(stepped.commands, cmd.CreateWorkload) == []


def test_foreign_object_that_goes_is_replaced() -> None:
    story = Story()
    story.sees(a_provisioned_view(workload=a_workload_view(owned=False)))

    stepped = story.sees(a_provisioned_view(), 1)

    assert inference(story) == ("Unknown", "WorkspaceInferenceStatusPending", "waiting for resources")
    assert len(only(stepped.commands, cmd.CreateWorkload)) == 1


def test_foreign_service_ends_a_ready_life(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    story.sees(a_serving_view(service=a_service_view(owned=False)), 800)

    assert inference(story)[:2] == ("False", "NameTaken")
    story.sees(a_serving_view(), 900)
    assert inference(story)[0] == "True"


def test_lost_workload_is_created_again(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    stepped = story.sees(a_serving_view(workload=None), 800)

    assert names(stepped.events) == ["WorkloadLost"]
    assert inference(story)[:2] == ("Unknown", "WorkspaceInferenceStatusPending")
    assert len(only(stepped.commands, cmd.CreateWorkload)) == 1


def test_lost_service_is_created_again(story: Story) -> None:
    stepped = story.sees(a_serving_view(service=None), 800)

    assert "ServiceLost" in names(stepped.events)
    assert len(only(stepped.commands, cmd.CreateService)) == 1


def test_refused_creation_says_why() -> None:
    story = Story()
    create = only(story.sees(a_provisioned_view()).commands, cmd.CreateWorkload)[0]

    story.hears(create, Result.REFUSED, 1, message="exceeded quota: pods")

    assert inference(story) == ("False", "WorkspaceInferenceStatusFailed", "exceeded quota: pods")
    story.hears(create, Result.REFUSED, 2, message="exceeded quota: pods")
    assert story.last.events == ()


def test_refused_service_leaves_a_ready_life_alone(story: Story) -> None:
    story.sees(a_serving_view(), 700)

    story.hears(cmd.CreateService(name=NAME), Result.REFUSED, 800, message="denied")

    assert inference(story)[0] == "True"


# --- a changed template -----------------------------------------------------------------------------


def updates(marked: int | None, **workspace: object) -> list[cmd.UpdateWorkload]:
    """What is rolled out when generation 2 is seen beside a workload that bears this mark."""
    story = Story()
    story.sees(a_serving_view(workload=a_workload_view(ready=1, generation=marked)))
    edited = a_workspace_view(generation=2, **workspace)
    story.sees(a_serving_view(workspace=edited, workload=a_workload_view(ready=1, generation=marked)), 9)
    return only(story.last.commands, cmd.UpdateWorkload)


def test_changed_template_is_rolled_out() -> None:
    assert updates(1, rolls_out=True) == [cmd.UpdateWorkload(kind="Deployment", name=NAME)]


def test_rolled_out_template_is_left_alone() -> None:
    assert updates(2, rolls_out=True) == []


def test_preset_is_never_rolled_out() -> None:
    assert updates(1, rolls_out=False) == []


def test_unmarked_workload_stands_for_the_first_spec() -> None:
    adopted = Story()

    assert updates(None, rolls_out=True) == [cmd.UpdateWorkload(kind="Deployment", name=NAME)]
    adopted.sees(a_serving_view(workspace=a_workspace_view(generation=7, rolls_out=True)))
    assert only(adopted.last.commands, cmd.UpdateWorkload) == []


# --- a refused spec ---------------------------------------------------------------------------------

REFUSAL = "The preset model name falcon-99b is not registered"


def test_refused_spec_is_one_terminal_verdict() -> None:
    story = Story()
    refused = a_workspace_view(refused=REFUSAL)

    first = story.sees(a_provisioned_view(workspace=refused, machines=()))
    later = story.sees(a_provisioned_view(workspace=refused, machines=()), 86_400)

    assert inference(story) == ("False", "WorkspaceInferenceStatusFailed", REFUSAL)
    assert story.state.machines() == ()
    assert [type(command) for command in first.commands] == [cmd.WriteStatus]
    assert later.events == ()


def test_refused_spec_stays_refused_whatever_serves(story: Story) -> None:
    view = a_serving_view(workspace=a_workspace_view(refused=REFUSAL, generation=2))

    story.sees(view, 700)

    assert inference(story) == ("False", "WorkspaceInferenceStatusFailed", REFUSAL)


def test_corrected_spec_is_served(story: Story) -> None:
    story.sees(a_serving_view(workspace=a_workspace_view(refused=REFUSAL, generation=2)), 700)

    story.sees(a_serving_view(workspace=a_workspace_view(generation=3)), 800)

    assert inference(story)[0] == "True"
    assert names(story.last.events)[0] == "SpecChanged"


def test_verdict_of_a_newer_operator_counts() -> None:
    story = Story()
    story.sees(a_provisioned_view(workspace=a_workspace_view(refused=REFUSAL)))

    story.sees(a_provisioned_view(), 100)

    assert story.state.refused == ""
    assert inference(story)[0] == "Unknown"
