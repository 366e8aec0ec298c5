"""Desired minus observed: nodes for the slots, Machines bought and deleted, when to look again."""

from __future__ import annotations

from typing import Any

import pytest

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.decision import RECHECK, REREAD, decide
from statemachine.observations import ClusterView, Result
from statemachine.state import SlotPhase, Stage, Workspace
from tests.builders import (
    NAME,
    a_cluster_view,
    a_failure,
    a_machine_name,
    a_machine_view,
    a_node_view,
    a_provisioned_view,
    a_provisioning,
    a_ready_machine_view,
    a_serving_view,
    a_workspace,
    a_workspace_view,
    at,
)
from tests.statemachine.story import Story, names, only, said, written

M = a_machine_name()
BROUGHT = a_node_view("brought")


def brought(*nodes: Any, **workspace: Any) -> ClusterView:
    """The object and nodes that somebody brought."""
    return a_cluster_view(workspace=a_workspace_view(**workspace), nodes=nodes)


def assigned(events: Any) -> set[str]:
    return {event.node for event in events if isinstance(event, ev.NodeAssigned)}


# --- which nodes count ------------------------------------------------------------------------------

ORDER = {
    "by name": (1, {}, (), (), {"node1"}),
    "preferred": (2, {"preferred_nodes": ("node3", "node2")}, (), (), {"node2", "node3"}),
    "used before": (2, {}, ("node2", "node3"), (), {"node2", "node3"}),
    "preferred, then used before": (2, {"preferred_nodes": ("node3",)}, ("node2",), (), {"node2", "node3"}),
    "preferred before used": (1, {"preferred_nodes": ("node3",)}, ("node2",), (), {"node3"}),
    "machine type": (1, {}, (), ("node3",), {"node3"}),
    "preferred, then used, then machine type": (
        2,
        {"preferred_nodes": ("node2",)},
        ("node1",),
        ("node3",),
        {"node1", "node2"},
    ),
    "preferred but not there": (1, {"preferred_nodes": ("node9",)}, (), (), {"node1"}),
}


@pytest.mark.parametrize(
    ("need", "wishes", "used", "machine_type", "chosen"), ORDER.values(), ids=ORDER.keys()
)
def test_nodes_are_chosen_in_published_order(
    need: int, wishes: dict[str, Any], used: tuple[str, ...], machine_type: tuple[str, ...], chosen: set[str]
) -> None:
    state = a_workspace(node_count=need)
    state.worker_nodes = used
    nodes = [a_node_view(name, has_machine_type=name in machine_type) for name in ("node3", "node2", "node1")]

    decision = decide(state, brought(*nodes, node_count=need, **wishes), at(1))

    assert assigned(decision.events) == chosen


FILTER = {
    "qualifies": ({}, True),
    "wrong size": ({"instance_type": "Standard_NC6"}, False),
    "without size label": ({"instance_type": ""}, False),
    "not ready": ({"ready": False}, False),
    "being deleted": ({"deleting": True}, False),
    "of another Workspace": ({"owner": "default/another"}, False),
    "of this Workspace": ({"owner": f"default/{NAME}"}, True),
    "gpu still to come": ({"gpus": 0}, True),
}


@pytest.mark.parametrize(("changes", "qualifies"), FILTER.values(), ids=FILTER.keys())
def test_node_qualifies_or_not(changes: dict[str, Any], qualifies: bool) -> None:
    decision = decide(a_workspace(), brought(a_node_view(**changes)), at(1))

    assert assigned(decision.events) == ({"node-0"} if qualifies else set())
    assert only(decision.commands, cmd.CreateMachine) == (
        [] if qualifies else [cmd.CreateMachine(slot=0, attempt=1, machine=M)]
    )


def test_node_of_an_own_machine_fills_no_other_slot() -> None:
    state = a_workspace([e for e in a_provisioning() if e.at == at(0)], node_count=2)
    node = a_node_view(machine=M, owner=f"default/{NAME}")

    decision = decide(state, brought(node, node_count=2), at(1))

    assert assigned(decision.events) == set()


def test_brought_node_is_usable_in_the_same_step() -> None:
    story = Story()

    story.sees(brought(BROUGHT))

    assert story.state.worker_nodes == ("brought",)
    assert said(story.state.machine_ready)[0] == "True"
    assert only(story.last.commands, cmd.CreateMachine) == []


def test_missing_nodes_alone_are_bought() -> None:
    story = Story()

    story.sees(brought(BROUGHT, node_count=3))

    assert len(only(story.last.commands, cmd.CreateMachine)) == 2
    assert said(story.state.machine_ready) == ("Unknown", "CreateMachinePending", "creating 2 machines")


def test_bare_node_is_labelled() -> None:
    story = Story()

    story.sees(brought(a_node_view("brought", has_accelerator_label=False)))

    assert only(story.last.commands, cmd.LabelNode) == [cmd.LabelNode(node="brought")]


def test_cpu_node_is_not_labelled() -> None:
    story = Story()

    story.sees(brought(a_node_view("brought", has_accelerator_label=False), needs_gpu=False))

    assert only(story.last.commands, cmd.LabelNode) == []


# --- brought nodes that fail ------------------------------------------------------------------------


@pytest.fixture
def own_node() -> Story:
    """A Workspace that serves on one node somebody brought."""
    story = Story()
    story.sees(brought(BROUGHT))
    return story


def test_missing_node_buys_nothing_while_caches_may_lag(own_node: Story) -> None:
    for seconds in (10, 60, 120, 189):
        own_node.sees(brought(), seconds)

        assert only(own_node.last.commands, cmd.CreateMachine) == []


def test_node_that_stays_away_is_replaced(own_node: Story) -> None:
    lost = own_node.sees(brought(), 10)

    own_node.sees(brought(), 190)

    assert lost.wake_at == at(190)
    assert names(own_node.last.events)[:2] == ["NodeReleased", "MachineRequested"]


def test_node_that_stays_unready_is_replaced(own_node: Story) -> None:
    down = brought(a_node_view("brought", ready=False))
    own_node.sees(down, 10)

    early = own_node.sees(down, 609)
    late = own_node.sees(down, 610)

    assert only(early.commands, cmd.CreateMachine) == []
    assert len(only(late.commands, cmd.CreateMachine)) == 1


def test_replaced_node_leaves_its_slot_to_another(own_node: Story) -> None:
    own_node.sees(brought(a_node_view("brought", ready=False)), 10)

    own_node.sees(brought(a_node_view("brought", ready=False), a_node_view("other")), 610)

    assert own_node.state.worker_nodes == ("other",)


# --- buying -----------------------------------------------------------------------------------------


def test_slots_are_provisioned_in_parallel() -> None:
    story = Story()

    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=4)))

    wanted = [cmd.CreateMachine(slot=i, attempt=1, machine=a_machine_name(i)) for i in range(4)]
    assert only(story.last.commands, cmd.CreateMachine) == wanted
    assert said(story.state.machine_ready)[2] == "creating 4 machines"


def test_intent_comes_before_the_command() -> None:
    story = Story()

    stepped = story.sees()

    assert ev.MachineRequested(at=at(0), slot=0, attempt=1, machine=M) in stepped.events


def test_crash_before_the_command_repeats_it() -> None:
    story = Story()
    first = story.sees()

    again = story.sees(seconds=30)

    assert again.events == ()
    assert only(again.commands, cmd.CreateMachine) == only(first.commands, cmd.CreateMachine)


def test_one_failed_slot_is_replaced_alone() -> None:
    story = Story()
    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=4)))
    story.sees(a_provisioned_view(4), 60)
    machines = tuple(a_ready_machine_view(i, deleting=i == 2) for i in sorted(range(4), key=a_machine_name))

    story.sees(a_provisioned_view(4, machines=machines), 100)

    assert only(story.last.commands, cmd.CreateMachine) == [
        cmd.CreateMachine(slot=2, attempt=2, machine=a_machine_name(2, 2))
    ]
    assert [slot.phase for slot in story.state.slots if slot.index != 2] == [SlotPhase.USABLE] * 3


def test_failing_machine_is_left_to_its_provider() -> None:
    story = Story()
    story.sees()

    story.sees(a_cluster_view(machines=(a_machine_view(failure=a_failure()),)), 5)

    assert only(story.last.commands, cmd.CreateMachine) == []
    assert only(story.last.commands, cmd.DeleteMachine) == []


def test_refused_create_waits_for_its_time() -> None:
    story = Story()
    story.sees()
    story.hears(
        cmd.CreateMachine(slot=0, attempt=1, machine=M), Result.REFUSED, 1, message="no", retry_at=at(61)
    )

    early, late = story.sees(seconds=60), story.sees(seconds=61)

    assert (only(early.commands, cmd.CreateMachine), early.wake_at) == ([], at(61))
    assert len(only(late.commands, cmd.CreateMachine)) == 1


def lose(story: Story, seconds: float) -> Any:
    """The slot's Machine is found gone by a live read; then the next picture."""
    machine = story.state.slots[0].machine
    story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=machine), seconds=seconds)
    story.hears(cmd.ReadMachine(machine=machine), Result.NOT_FOUND, seconds)
    return story.sees(seconds=seconds)


def test_replacements_hold_off_longer_each_time() -> None:
    story, seconds, waits = Story(), 0.0, []
    story.sees()

    for _ in range(9):
        stepped = lose(story, seconds)
        waits.append(0.0)
        if not only(stepped.commands, cmd.CreateMachine):
            assert stepped.wake_at is not None
            waits[-1] = _until_bought(story, seconds)
        seconds += waits[-1]

    assert waits == [0, 10, 20, 40, 80, 160, 320, 600, 600]


def _until_bought(story: Story, seconds: float) -> float:
    """How many seconds of following the wake-ups it takes until a Machine is asked for."""
    now = at(seconds)
    while not only(story.last.commands, cmd.CreateMachine):
        assert story.last.wake_at is not None
        now = story.last.wake_at
        story.sees(seconds=(now - at(0)).total_seconds())
    return (now - at(seconds)).total_seconds()


def test_attempt_of_a_known_machine_is_passed_over() -> None:
    """After the log was lost a slot may hold the Machine another slot once asked for."""
    story = Story()
    machines = (a_machine_view(a_machine_name(1)),)

    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=2), machines=machines))

    assert story.state.slots[0].machine == a_machine_name(1, 1)
    assert story.state.slots[1].machine == a_machine_name(1, 2)


# --- stale pictures ---------------------------------------------------------------------------------


def test_stale_pictures_buy_nothing() -> None:
    """Every older picture of the same life, shown to the serving Workspace."""
    past = [
        a_cluster_view(workspace=a_workspace_view(has_finalizer=False)),
        a_cluster_view(),
        a_cluster_view(machines=(a_machine_view(),)),
        a_cluster_view(machines=(a_machine_view(launched=True),)),
        a_cluster_view(machines=(a_ready_machine_view(),)),
        a_provisioned_view(nodes=(a_node_view(machine=M, ready=False, gpus=0),)),
        a_provisioned_view(),
    ]
    story = Story()
    story.sees()
    story.sees(a_serving_view(), 300)

    bought = [
        command
        for seconds, view in enumerate(past, start=400)
        for command in story.sees(view, seconds).commands
        if isinstance(command, cmd.CreateMachine | cmd.DeleteMachine)
    ]

    assert bought == []
    story.sees(a_serving_view(), 500)
    assert said(story.state.workspace_ready)[0] == "True"


# --- when to look again -----------------------------------------------------------------------------


def test_ready_workspace_waits_for_changes_only() -> None:
    story = Story()
    status = written(story.sees(a_serving_view()))

    settled = story.sees(a_serving_view(workspace=a_workspace_view(status=status)), 1)

    assert (settled.events, settled.commands, settled.wake_at) == ((), (), None)


def test_command_under_way_is_looked_after() -> None:
    story = Story()

    stepped = story.sees(a_serving_view())

    assert stepped.commands != ()
    assert stepped.wake_at == at(0) + RECHECK


def test_timers_wake_in_their_order() -> None:
    story = Story()
    story.sees()
    view = a_cluster_view(machines=(a_machine_view(),))

    wakes = [story.sees(view, seconds).wake_at for seconds in (0, 240, 700, 900)]

    assert wakes == [at(240), at(540), at(900), at(900) + RECHECK]


def test_machine_seen_live_only_is_looked_for_soon() -> None:
    story = Story()
    story.sees()
    story.hears(cmd.CreateMachine(slot=0, attempt=1, machine=M), seconds=1)

    assert story.sees(seconds=2).wake_at == at(2) + REREAD


def test_empty_state_decides_nothing() -> None:
    decision = decide(Workspace(), ClusterView(), at(0))

    assert (decision.events, decision.commands, decision.wake_at) == ((), (), None)


# --- deletion ---------------------------------------------------------------------------------------


def deleting(**changes: Any) -> ClusterView:
    return a_cluster_view(workspace=a_workspace_view(deleting=True), **changes)


def stories() -> dict[str, tuple[list[ClusterView], ClusterView]]:
    """Pictures that lead to a state, and the one in which the deletion is seen there."""
    creating = a_cluster_view(machines=(a_machine_view(),))
    failing = a_cluster_view(machines=(a_machine_view(failure=a_failure()),))
    refused = a_cluster_view(workspace=a_workspace_view(refused="preset unknown"))
    gone = deleting(machines=(a_machine_view(),))
    return {
        "before anything": ([], deleting()),
        "requested": ([a_cluster_view()], deleting()),
        "provisioning": ([a_cluster_view(), creating], gone),
        "failing": ([a_cluster_view(), failing], gone),
        "ready": ([a_serving_view()], deleting(machines=(a_ready_machine_view(),))),
        "refused": ([refused], deleting()),
        "on a brought node": ([brought(BROUGHT)], deleting(nodes=(BROUGHT,))),
    }


@pytest.mark.parametrize(("past", "seen"), stories().values(), ids=stories().keys())
def test_deletion_works_from_every_state(past: list[ClusterView], seen: ClusterView) -> None:
    story = Story()
    for seconds, view in enumerate(past):
        story.sees(view, seconds)

    stepped = story.sees(seen, 100)
    left = story.state.machines()
    for command in stepped.commands:
        if isinstance(command, cmd.ReadMachine | cmd.DeleteMachine):
            story.hears(command, Result.NOT_FOUND, 164)
    released = story.sees(deleting(), 165)
    story.sees(ClusterView(), 166)

    assert bool(left) == any(isinstance(c, cmd.ReadMachine | cmd.DeleteMachine) for c in stepped.commands)
    assert only(released.commands, cmd.RemoveFinalizer) == [cmd.RemoveFinalizer()]
    assert story.state.stage is Stage.GONE
    assert (story.last.commands, story.last.wake_at) == ((), None)


def test_finalizer_stays_while_a_machine_is_left() -> None:
    story = Story()
    story.sees(a_serving_view())
    going = deleting(machines=(a_ready_machine_view(deleting=True),))

    stepped = story.sees(going, 100)
    later = story.sees(going, 150)

    assert only([*stepped.commands, *later.commands], cmd.RemoveFinalizer) == []
    assert story.state.workspace_deleting.message == f"workspace is being deleted; waiting for 1 machine: {M}"
    assert later.wake_at == at(150) + RECHECK


def test_machine_is_deleted_by_name_and_uid() -> None:
    story = Story()
    story.sees(a_serving_view())

    stepped = story.sees(deleting(machines=(a_ready_machine_view(),)), 100)

    assert only(stepped.commands, cmd.DeleteMachine) == [cmd.DeleteMachine(machine=M, uid=f"uid-{M}")]
    assert ev.MachineDeletionRequested(at=at(100), machine=M) in stepped.events


def test_release_is_refused_while_machines_live() -> None:
    story = Story()
    story.sees()
    story.hears(cmd.ReadMachine(machine=M), seconds=1)
    story.sees(deleting(), 2)
    story.hears(cmd.ReadMachine(machine=M), Result.NOT_FOUND, 3)
    story.sees(deleting(), 4)

    story.hears(cmd.RemoveFinalizer(), Result.REFUSED, 5, remaining=(a_machine_view("wsbbbbbbbbb"),))
    stepped = story.sees(deleting(), 6)

    assert (story.state.released, story.state.machines()) == (False, ("wsbbbbbbbbb",))
    assert only(stepped.commands, cmd.ReadMachine) == [cmd.ReadMachine(machine="wsbbbbbbbbb")]


def test_nothing_new_is_bought_while_deleting() -> None:
    story = Story()
    story.sees(a_cluster_view(workspace=a_workspace_view(node_count=4)))

    stepped = story.sees(a_cluster_view(workspace=a_workspace_view(node_count=4, deleting=True)), 10)

    assert only(stepped.commands, cmd.CreateMachine) == []
    assert len(only(stepped.commands, cmd.ReadMachine)) == 4


def test_vanished_object_leaves_no_machine_behind() -> None:
    story = Story()
    story.sees(a_serving_view())

    stepped = story.sees(ClusterView(machines=(a_ready_machine_view(),)), 100)

    assert stepped.commands == (cmd.DeleteMachine(machine=M, uid=f"uid-{M}"),)
    assert stepped.wake_at == at(100) + RECHECK


def test_deleted_machine_is_not_found_in_an_old_picture() -> None:
    story = Story()
    story.sees(a_serving_view())
    story.sees(deleting(), 100)
    story.hears(cmd.ReadMachine(machine=M), Result.NOT_FOUND, 164)

    stale = story.sees(deleting(machines=(a_ready_machine_view(deleting=True),)), 165)

    assert names(stale.events) == ["WorkspaceReleased"]
    assert only(stale.commands, cmd.RemoveFinalizer) == [cmd.RemoveFinalizer()]


def test_gone_workspace_writes_to_no_object() -> None:
    story = Story()
    story.sees(a_serving_view())
    story.sees(ClusterView(), 100)

    stale = story.sees(a_serving_view(machines=()), 101)

    assert [type(command) for command in stale.commands] == [cmd.ReadMachine]


def test_deletion_reads_what_the_picture_lacks() -> None:
    story = Story()
    story.sees(a_serving_view())

    stepped = story.sees(deleting(), 100)

    assert only(stepped.commands, cmd.ReadMachine) == [cmd.ReadMachine(machine=M)]
    assert stepped.wake_at == at(100) + REREAD
