"""What pictures and outcomes prove about the object, its Machines and its nodes."""

from __future__ import annotations

from typing import Any

import pytest

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.detection import detect, unusable
from statemachine.limits import Limits
from statemachine.observations import ClusterView, MachineView, Result
from statemachine.state import ConditionStatus, NodeLossCause, SlotPhase, Stage, Trouble
from tests.builders import (
    a_cluster_view,
    a_failure,
    a_machine_name,
    a_machine_view,
    a_node_view,
    a_provisioned_view,
    a_ready_machine_view,
    a_serving_view,
    a_workspace,
    a_workspace_view,
    at,
)
from tests.statemachine.story import Story, names, only, said

M = a_machine_name()


@pytest.fixture
def story() -> Story:
    """A Workspace whose one Machine was requested at 0 s and created at 1 s."""
    story = Story()
    story.sees()
    story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=M), seconds=1, uid=f"uid-{M}")
    return story


def showing(*machines: MachineView, **changes: Any) -> ClusterView:
    return a_cluster_view(machines=machines, **changes)


def machine_ready(story: Story) -> tuple[str, str, str]:
    return said(story.state.machine_ready)


# --- the object -------------------------------------------------------------------------------------


def test_untouched_object_is_created() -> None:
    (event,) = Story().sees(a_cluster_view(workspace=a_workspace_view(has_finalizer=False))).events[:1]

    assert isinstance(event, ev.WorkspaceCreated)
    assert (event.at, event.generation, event.node_count) == (at(0), 1, 1)


@pytest.mark.parametrize(
    "view",
    [
        a_cluster_view(workspace=a_workspace_view(has_finalizer=True)),
        a_cluster_view(workspace=a_workspace_view(has_finalizer=False), machines=(a_machine_view(),)),
    ],
    ids=["finalizer", "machine"],
)
def test_object_that_was_worked_on_is_adopted(view: ClusterView) -> None:
    story = Story()

    story.sees(view)

    assert names(story.log)[0] == "WorkspaceAdopted"
    assert story.state.adopted


def test_object_that_was_never_there_is_nothing() -> None:
    stepped = Story().sees(ClusterView())

    assert (stepped.events, stepped.commands, stepped.wake_at) == ((), (), None)


def test_absence_ends_a_life(story: Story) -> None:
    story.sees(ClusterView(), 9)

    assert story.state.stage is Stage.GONE


def test_newer_generation_is_recorded_once(story: Story) -> None:
    edited = showing(a_machine_view(), workspace=a_workspace_view(generation=2))
    story.sees(showing(a_machine_view()), 2)

    assert names(story.sees(edited, 3).events) == ["SpecChanged"]
    assert story.sees(edited, 4).events == ()


def test_older_picture_does_not_turn_back(story: Story) -> None:
    story.sees(showing(a_machine_view(), workspace=a_workspace_view(generation=2)), 3)

    story.sees(showing(a_machine_view()), 4)

    assert (story.last.events, story.state.generation) == ((), 2)


def test_changed_limits_apply_at_once(story: Story) -> None:
    story.sees(showing(a_machine_view(), workspace=a_workspace_view(limits=Limits(machine_timeout=60))), 100)

    assert names(story.last.events) == ["LimitsChanged", "MachineWaitTimedOut"]


# --- a machine on its way ---------------------------------------------------------------------------


def test_machine_is_followed_to_its_node(story: Story) -> None:
    story.sees(showing(a_machine_view(launched=True)), 258)
    story.sees(showing(a_ready_machine_view()), 259)
    story.sees(a_provisioned_view(), 260)

    assert names(story.log)[1:] == [
        "MachineRequested",
        "MachineCreated",
        "MachineLaunched",
        "MachineWaitSlowed",
        "MachineBecameReady",
        "NodeBecameUsable",
        "NodePluginsInstalled",
        "WorkerNodesChosen",
    ]
    assert story.state.worker_nodes == ("node-0",)


def test_lost_answer_is_made_good_by_the_picture() -> None:
    story = Story()
    story.sees()

    story.sees(showing(a_machine_view()), 5)

    assert story.state.slots[0].phase is SlotPhase.CREATED
    assert story.state.slots[0].machine_uid == f"uid-{M}"


def test_quick_machine_is_seen_in_one_picture() -> None:
    story = Story()
    story.sees()

    story.sees(a_provisioned_view(), 300)

    assert said(story.state.resource_ready)[0] == "True"


def test_ready_machine_without_node_is_not_enough(story: Story) -> None:
    story.sees(showing(a_ready_machine_view(node="")), 259)

    assert story.state.slots[0].phase is SlotPhase.LAUNCHED


@pytest.mark.parametrize(
    ("node", "cause"),
    [
        (None, NodeLossCause.GONE),
        ({"deleting": True}, NodeLossCause.DELETING),
        ({"ready": False}, NodeLossCause.NOT_READY),
        ({"gpus": 0}, NodeLossCause.NO_GPU),
    ],
    ids=["missing", "deleting", "not ready", "no gpu"],
)
def test_unusable_node_gives_no_verdict(
    story: Story, node: dict[str, Any] | None, cause: NodeLossCause
) -> None:
    found = None if node is None else a_node_view(machine=M, **node)

    story.sees(a_provisioned_view(nodes=(found,) if found else ()), 259)

    assert unusable(found, needs_gpu=True) is cause
    assert story.state.machine_ready.status is ConditionStatus.UNKNOWN


def test_cpu_node_needs_no_gpu() -> None:
    assert unusable(a_node_view(gpus=0), needs_gpu=False) is None


# --- slow against timed out -------------------------------------------------------------------------


def test_slow_machine_is_not_a_failed_one(story: Story) -> None:
    story.sees(showing(a_machine_view()), 241)

    assert machine_ready(story) == (
        "Unknown",
        "MachineProvisioningSlow",
        f"machine {M} is not ready after 240 s; usually half are ready within 253 s and 95 % within 449 s",
    )
    assert names(story.last.events) == ["MachineWaitSlowed"]


def test_machine_is_called_slow_once(story: Story) -> None:
    story.sees(showing(a_machine_view()), 241)

    assert story.sees(showing(a_machine_view()), 600).events == ()


def test_machine_times_out_with_the_published_text(story: Story) -> None:
    text = f"check machine status timed out. machine {M} is not ready"

    story.sees(showing(a_machine_view()), 901)

    assert machine_ready(story) == ("False", "checkMachineStatusFailed", text)
    assert said(story.state.resource_ready) == ("False", "workspaceResourceStatusFailed", text)
    assert said(story.state.workspace_ready) == ("False", "workspaceFailed", text)


def test_machine_does_not_time_out_early(story: Story) -> None:
    story.sees(showing(a_machine_view()), 900.9)

    assert machine_ready(story)[0] == "Unknown"


def test_timeout_counts_from_the_creation() -> None:
    story = Story()
    story.sees()

    story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=M), seconds=500)
    story.sees(showing(a_machine_view()), 1399)

    assert machine_ready(story)[0] == "Unknown"


def test_timed_out_machine_recovers_by_itself(story: Story) -> None:
    story.sees(showing(a_machine_view()), 901)
    story.sees(showing(a_ready_machine_view()), 950)
    waiting = machine_ready(story)

    story.sees(a_provisioned_view(), 951)

    assert waiting[0] == "False"
    assert machine_ready(story)[:2] == ("True", "installNodePluginsSuccess")
    assert "ProvisioningResumed" not in names(story.log)


def test_node_that_never_becomes_usable_times_out(story: Story) -> None:
    without_gpu = a_provisioned_view(nodes=(a_node_view(machine=M, gpus=0),))
    story.sees(without_gpu, 300)

    story.sees(without_gpu, 901)

    assert machine_ready(story)[:2] == ("False", "checkMachineStatusFailed")


# --- what the provider says -------------------------------------------------------------------------


def test_provider_failure_is_shown_at_once(story: Story) -> None:
    failure = a_failure()

    story.sees(showing(a_machine_view(failure=failure)), 5)

    assert machine_ready(story) == ("False", "QuotaExceeded", "limit 100, used 56, need 64")
    assert said(story.state.resource_ready) == (
        "False",
        "workspaceResourceStatusFailed",
        "limit 100, used 56, need 64",
    )


def test_same_failure_is_recorded_once(story: Story) -> None:
    failing = showing(a_machine_view(failure=a_failure()))
    story.sees(failing, 5)

    assert story.sees(failing, 60).events == ()


def test_other_failure_replaces_the_first(story: Story) -> None:
    story.sees(showing(a_machine_view(failure=a_failure())), 5)

    story.sees(showing(a_machine_view(failure=a_failure(reason="Throttled", message="retry"))), 60)

    assert machine_ready(story) == ("False", "Throttled", "retry")


def test_failure_that_ends_heals_without_a_touch(story: Story) -> None:
    story.sees(showing(a_machine_view(failure=a_failure())), 5)

    story.sees(showing(a_machine_view()), 100)

    assert names(story.last.events) == ["MachineLaunchResumed", "ProvisioningResumed"]
    assert machine_ready(story) == ("Unknown", "CreateMachinePending", "creating 1 machines")


def test_named_failure_outranks_the_timers(story: Story) -> None:
    story.sees(showing(a_machine_view(failure=a_failure())), 5)

    story.sees(showing(a_machine_view(failure=a_failure())), 1000)

    assert machine_ready(story)[1] == "QuotaExceeded"


def test_failed_machine_that_succeeds_is_ready(story: Story) -> None:
    story.sees(showing(a_machine_view(failure=a_failure())), 5)

    story.sees(a_provisioned_view(), 3600)

    assert machine_ready(story)[0] == "True"


def test_refused_creation_says_why_and_when() -> None:
    story = Story()
    story.sees()
    create = cmd.CreateMachine(slot=0, attempt=1, machine=M)

    story.hears(create, Result.REFUSED, 1, message="denied by policy", retry_at=at(61))

    assert machine_ready(story) == ("False", "machineFailedCreation", "denied by policy")
    assert story.hears(create, Result.REFUSED, 1, message="denied by policy", retry_at=at(61)).events == ()
    assert story.state.slots[0].retry_at == at(61)


def test_create_for_a_gone_parent_proves_nothing() -> None:
    story = Story()
    story.sees()

    story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=M), Result.NOT_FOUND, 1)

    assert story.last.events == ()


def test_late_answer_of_a_create_is_no_news(story: Story) -> None:
    answer = cmd.CreateMachine(slot=0, attempt=1, machine=M)

    assert story.hears(answer, Result.DONE, 9).events == ()
    assert story.hears(answer, Result.REFUSED, 9, message="no").events == ()


# --- several troubles -------------------------------------------------------------------------------


@pytest.fixture
def two() -> Story:
    """Two slots whose Machines exist."""
    story = Story()
    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=2)))
    story.sees(both({}, {}), 1)
    return story


def both(first: dict[str, Any], second: dict[str, Any]) -> ClusterView:
    machines = (a_machine_view(a_machine_name(0), **first), a_machine_view(a_machine_name(1), **second))
    return a_cluster_view(workspace=a_workspace_view(node_count=2), machines=machines)


def test_trouble_that_is_left_is_the_one_named(two: Story) -> None:
    quota, capacity = a_failure(), a_failure(reason="InsufficientCapacity", message="zone 1 is full")
    named = []

    for seconds, view in enumerate(
        [
            both({"failure": capacity}, {}),
            both({"failure": capacity}, {"failure": quota}),
            both({"failure": capacity}, {}),
            both({}, {}),
        ],
        start=10,
    ):
        two.sees(view, seconds)
        named.append(two.state.machine_ready.reason)

    assert named == ["InsufficientCapacity", "QuotaExceeded", "InsufficientCapacity", "CreateMachinePending"]
    assert two.state.resource_ready.status is ConditionStatus.UNKNOWN


def test_second_lost_node_is_named_after_the_first() -> None:
    story = Story()
    story.sees(a_serving_view(2))
    up, down = a_node_view("node-0", machine=M), a_node_view("node-0", machine=M, ready=False)
    other = a_node_view("node-1", machine=a_machine_name(1), ready=False)

    story.sees(a_serving_view(2, nodes=(down, other)), 10)
    story.sees(a_serving_view(2, nodes=(up, other)), 20)

    assert machine_ready(story) == ("False", "NodeNotReady", "node node-1 is not ready")


def test_loss_with_another_cause_is_news() -> None:
    story = Story()
    story.sees(a_serving_view())
    story.sees(a_serving_view(nodes=(a_node_view(machine=M, ready=False),)), 10)

    story.sees(a_serving_view(nodes=()), 20)

    assert machine_ready(story)[2] == "node node-0 is gone"
    assert story.state.slots[0].lost_at == at(10)


# --- losing machines --------------------------------------------------------------------------------


def test_missing_machine_is_asked_for_live(story: Story) -> None:
    stepped = story.sees(a_cluster_view(), 100)

    assert story.state.slots[0].machine == M
    assert only(stepped.commands, cmd.ReadMachine) == [cmd.ReadMachine(machine=M)]


def test_machine_is_gone_only_by_live_read(story: Story) -> None:
    story.sees(a_cluster_view(), 100)

    story.hears(cmd.ReadMachine(machine=M), Result.NOT_FOUND, 101)

    assert names(story.last.events) == ["MachineLost"]
    assert story.state.slots[0].phase is SlotPhase.FREE


def test_live_read_that_finds_it_changes_nothing(story: Story) -> None:
    assert story.hears(cmd.ReadMachine(machine=M), Result.DONE, 101, uid=f"uid-{M}").events == ()


def test_machine_being_deleted_frees_its_slot(story: Story) -> None:
    story.sees(showing(a_machine_view(deleting=True)), 100)

    assert names(story.last.events) == ["MachineLost", "MachineAdopted", "MachineRequested"]
    assert story.state.surplus == (M,)
    assert story.state.slots[0].machine == a_machine_name(0, 2)


def test_old_namesake_costs_no_slot(story: Story) -> None:
    """A Machine of the same name and another UID that is being deleted is not the slot's."""
    story.sees(showing(a_machine_view(uid="an earlier one", deleting=True)), 100)

    assert story.last.events == ()


def test_requested_machine_waits_for_its_answer() -> None:
    """Until the create is answered, a deleting Machine of its name may be an earlier one."""
    story = Story()
    story.sees()
    deleting = showing(a_machine_view(deleting=True))

    asked = story.sees(deleting, 5)
    story.hears(only(asked.commands, cmd.CreateMachine)[0], Result.DONE, 6, uid=f"uid-{M}")
    story.sees(deleting, 7)

    assert asked.events == ()
    assert names(story.last.events) == ["MachineLost", "MachineAdopted", "MachineRequested"]


def test_lost_machine_of_a_ready_life_fails_it() -> None:
    story = Story()
    story.sees(a_serving_view())

    story.sees(a_serving_view(machines=(a_ready_machine_view(deleting=True),)), 100)

    assert story.state.resource_ready.status is ConditionStatus.UNKNOWN
    assert story.state.workspace_ready.status is ConditionStatus.UNKNOWN


def test_repaired_machine_brings_its_new_node() -> None:
    story = Story()
    story.sees(a_serving_view())
    moved = (a_ready_machine_view(node="node-9"),)
    story.sees(a_serving_view(machines=moved, nodes=()), 10)

    story.sees(a_serving_view(machines=moved, nodes=(a_node_view("node-9", machine=M),)), 20)

    assert story.state.worker_nodes == ("node-9",)
    assert machine_ready(story)[0] == "True"


# --- strangers --------------------------------------------------------------------------------------


def test_unnamed_machine_fills_a_free_slot() -> None:
    story = Story()

    stepped = story.sees(showing(a_machine_view("wsaaaaaaaaa")))

    assert story.state.slots[0].machine == "wsaaaaaaaaa"
    assert only(stepped.commands, cmd.CreateMachine) == []


def test_machine_beyond_the_slots_is_remembered(story: Story) -> None:
    view = showing(a_machine_view(), a_machine_view("wsaaaaaaaaa"))

    story.sees(view, 5)

    assert story.state.surplus == ("wsaaaaaaaaa",)
    assert story.sees(view, 6).events == ()


def test_surplus_machine_fills_a_slot_that_is_freed(story: Story) -> None:
    spare = a_machine_view("wsaaaaaaaaa")
    story.sees(showing(a_machine_view(), spare), 5)

    story.sees(showing(a_machine_view(deleting=True), spare), 10)

    assert story.state.slots[0].machine == "wsaaaaaaaaa"
    assert story.state.surplus == (M,)
    assert "MachineRequested" not in names(story.last.events)


def test_outcomes_of_harmless_commands_prove_nothing(story: Story) -> None:
    assert story.hears(cmd.AddFinalizer(), Result.DONE).events == ()
    assert story.hears(cmd.LabelNode(node="node-0"), Result.NOT_FOUND).events == ()


# --- nodes ------------------------------------------------------------------------------------------


def test_flapping_node_buys_nothing() -> None:
    story = Story()
    story.sees(a_serving_view())

    lost = story.sees(a_serving_view(nodes=(a_node_view(machine=M, ready=False),)), 10)
    found = story.sees(a_serving_view(), 20)

    assert names(lost.events) == ["NodeLost"]
    assert machine_ready(story)[0] == "True"
    assert [*only(lost.commands, cmd.CreateMachine), *only(found.commands, cmd.CreateMachine)] == []


def test_lost_node_is_named_in_all_three() -> None:
    story = Story()
    story.sees(a_serving_view())

    story.sees(a_serving_view(nodes=(a_node_view(machine=M, gpus=0),)), 10)

    text = "node node-0 is without allocatable nvidia.com/gpu"
    assert machine_ready(story) == ("False", "NodeNotReady", text)
    assert said(story.state.resource_ready) == ("False", "workspaceResourceStatusFailed", text)
    assert said(story.state.workspace_ready) == ("False", "workspaceFailed", text)


def test_detection_leaves_its_state_alone() -> None:
    workspace = a_workspace()

    events = detect(workspace, a_provisioned_view(), at(5))

    assert events != ()
    assert workspace == a_workspace()
    assert workspace.slots[0].trouble is Trouble.NONE
