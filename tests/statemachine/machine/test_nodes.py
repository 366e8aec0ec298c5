"""Registration, initialization and health of the one node, and when its Machine may be removed."""

from __future__ import annotations

import pytest

from statemachine.machine import commands as cmd
from statemachine.machine.observations import MachineNode, MachinePicture, PoolState, RemovalGranted
from statemachine.machine.state import PoolPhase
from statemachine.state import NodeLossCause, Stage
from tests.builders import at
from tests.statemachine.machine.builders import (
    NODE,
    PROVIDER_ID,
    RESOURCES,
    UID,
    a_bare_node,
    a_launched_picture,
    a_node,
    a_picture,
    a_pool,
    an_object,
    ended,
    read,
)
from tests.statemachine.machine.story import Story, asked, kinds, only, said, submitted

GRANT = RemovalGranted(uid=UID, cause="node is not ready", since=at(700))


def launched() -> Story:
    story = submitted()
    story.hears(ended(), 258)
    return story


def ready() -> Story:
    story = launched()
    story.sees(a_launched_picture(), 258)
    return story


def with_node(**changes: object) -> MachinePicture:
    return a_launched_picture(nodes=(a_node(**changes),))


# --- registration -----------------------------------------------------------------------------------


def test_node_that_is_there_makes_ready_at_once() -> None:
    story = launched()

    stepped = story.sees(a_launched_picture(nodes=(a_bare_node(),)), 258)

    assert kinds(stepped) == ["NodeRegistered", "NodeInitialized"]
    assert asked(stepped) == ["WriteStatus", "RegisterNode", "InitializeNode"]
    assert said(story.state.ready) == ("True", "", "")


def test_status_names_node_and_resources() -> None:
    story = ready()

    (status,) = only(story.last.commands, cmd.WriteStatus)

    assert (status.node, status.provider_id) == (NODE, PROVIDER_ID)
    assert (status.capacity, status.allocatable) == (RESOURCES, RESOURCES)
    assert list(status.conditions) == ["MachineInitialized", "MachineLaunched", "MachineRegistered", "Ready"]


@pytest.mark.parametrize("lacking", ["has_finalizer", "owned", "registered"])
def test_each_mark_of_ours_is_restored(lacking: str) -> None:
    stepped = ready().sees(with_node(**{lacking: False}), 300)

    assert only(stepped.commands, cmd.RegisterNode) == [cmd.RegisterNode(node=NODE)]


def test_node_with_all_marks_is_left_alone() -> None:
    stepped = ready().sees(a_launched_picture(), 300)

    assert only(stepped.commands, cmd.RegisterNode) == []
    assert only(stepped.commands, cmd.InitializeNode) == []


def test_node_before_the_launch_is_not_trusted() -> None:
    story = submitted()

    stepped = story.sees(a_launched_picture(), 60)

    assert stepped.events == ()


def test_duplicates_are_not_trusted() -> None:
    story = launched()

    stepped = story.sees(a_launched_picture(nodes=(a_bare_node("a"), a_bare_node("b"))), 258)

    assert said(story.state.registered) == (
        "False",
        "MultipleNodesFound",
        "Invariant violated, machine matched multiple nodes",
    )
    assert said(story.state.initialized)[1] == "NodeNotFound"
    assert asked(stepped) == ["WriteStatus"]
    assert story.sees(a_launched_picture(nodes=(a_bare_node("b"), a_bare_node("a"))), 259).events == ()


def test_a_duplicate_takes_ready_back() -> None:
    story = ready()

    story.sees(a_launched_picture(nodes=(a_node(), a_bare_node("b"))), 300)

    assert said(story.state.ready)[:2] == ("False", "MultipleNodesFound")
    assert story.state.node == ""


def test_duplicates_that_are_resolved_register() -> None:
    story = ready()
    story.sees(a_launched_picture(nodes=(a_node(), a_bare_node("b"))), 300)

    stepped = story.sees(a_launched_picture(), 301)

    assert kinds(stepped) == ["NodeRegistered", "NodeInitialized"]


# --- initialization ---------------------------------------------------------------------------------

AWAITED = [
    ({"ready": False}, {}, "NodeNotReady", "Node status is NotReady"),
    (
        {"taints": ("warming=true:NoSchedule",)},
        {"startup_taints": ("warming=true:NoSchedule",)},
        "StartupTaintsExist",
        'StartupTaint "warming=true:NoSchedule" still exists',
    ),
    (
        {"taints": ("node.kubernetes.io/not-ready:NoSchedule",)},
        {},
        "KnownEphemeralTaintsExist",
        'KnownEphemeralTaint "node.kubernetes.io/not-ready:NoSchedule" still exists',
    ),
    (
        {"allocatable": ("cpu=12",)},
        {"requests": ("nvidia.com/gpu",)},
        "ResourceNotRegistered",
        'Resource "nvidia.com/gpu" was requested but not registered',
    ),
    (
        {"allocatable": ("cpu=12", "nvidia.com/gpu=0")},
        {"requests": ("nvidia.com/gpu",)},
        "ResourceNotRegistered",
        'Resource "nvidia.com/gpu" was requested but not registered',
    ),
]


@pytest.mark.parametrize(("node", "wanted", "reason", "message"), AWAITED)
def test_what_the_node_lacks_is_named(
    node: dict[str, object], wanted: dict[str, object], reason: str, message: str
) -> None:
    story = launched()
    picture = a_picture(machine=an_object(**wanted), nodes=(a_node(**node),))

    story.sees(picture, 258)

    assert said(story.state.initialized) == ("False", reason, message)
    assert said(story.state.ready) == ("False", reason, message)
    assert story.sees(picture, 259).events == ()


def test_taint_that_nobody_waits_for_is_fine() -> None:
    story = launched()

    story.sees(with_node(taints=("sku=gpu:NoSchedule",)), 258)

    assert said(story.state.ready)[0] == "True"


def test_initialization_has_no_limit() -> None:
    """The node is there and paid for; what it lacks is told, and whoever waits decides."""
    story = launched()
    story.sees(with_node(ready=False), 258)

    assert kinds(story.sees(with_node(ready=False), 86400)) == []


def test_node_that_goes_before_its_time_is_awaited() -> None:
    story = launched()
    story.sees(with_node(ready=False), 2000)

    stepped = story.sees(a_picture(), 2001)

    assert kinds(stepped) == ["NodeAwaited"]
    assert said(story.state.registered)[1] == "NodeNotFound"
    assert story.state.phase is PoolPhase.LAUNCHED


# --- health -----------------------------------------------------------------------------------------


def nodes(**changes: object) -> tuple[MachineNode, ...]:
    return (a_node(**changes),)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (nodes(ready=False), NodeLossCause.NOT_READY),
        (nodes(deleting=True), NodeLossCause.DELETING),
        ((), NodeLossCause.GONE),
    ],
)
def test_lost_node_takes_ready_back(found: tuple[MachineNode, ...], cause: NodeLossCause) -> None:
    story = ready()

    stepped = story.sees(a_picture(nodes=found), 600)

    assert kinds(stepped) == ["NodeBecameUnready"]
    assert said(story.state.ready) == ("False", "NodeNotReady", "Node status is NotReady")
    assert story.state.unready_cause == cause
    assert story.sees(a_picture(nodes=found), 601).events == ()


def test_lost_node_alone_deletes_nothing() -> None:
    """The collector, which sees all Machines, has to allow it."""
    story = ready()
    story.sees(with_node(ready=False), 600)

    for seconds in (1199, 1201, 86400):
        stepped = story.sees(with_node(ready=False), seconds)
        assert not {"DeleteMachine", "DeletePool"} & set(asked(stepped))


def test_recovery_is_trusted_once_it_lasts() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)

    back = story.sees(with_node(), 610)
    steady = story.sees(with_node(), 640)

    assert kinds(back) == ["NodeBecameReady"]
    assert back.wake_at == at(640)
    assert kinds(steady) == ["NodeInitialized"]
    assert said(story.state.ready)[0] == "True"


def test_flapping_node_does_not_make_status_flap() -> None:
    story = ready()
    seen = []

    for flap in range(30):
        stepped = story.sees(with_node(ready=bool(flap % 2)), 600 + 20 * flap)
        seen.append(said(story.state.ready)[0])
        assert not only(stepped.commands, cmd.DeleteMachine)

    assert seen == ["False"] * 30
    assert story.state.initialized.since == story.log[-30].at


def test_unready_counts_without_a_break() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)
    story.sees(with_node(), 610)

    story.sees(with_node(ready=False), 620)

    assert story.state.unready_since == story.log[-1].at


def test_another_cause_keeps_the_time() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)
    begun = story.state.unready_since

    story.sees(a_picture(), 700)

    assert (story.state.unready_since, story.state.unready_cause) == (begun, NodeLossCause.GONE)


def test_heartbeats_write_nothing() -> None:
    story = ready()

    assert [story.sees(a_launched_picture(), 300 + 10 * beat).events for beat in range(100)] == [()] * 100


# --- removal ----------------------------------------------------------------------------------------


def test_granted_removal_deletes_the_machine() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)

    granted = story.hears(GRANT, 1300)
    stepped = story.sees(with_node(ready=False), 1300)

    assert kinds(granted) == ["MachineRemovalRequested"]
    assert only(stepped.commands, cmd.DeleteMachine) == [cmd.DeleteMachine(uid=UID)]
    assert story.hears(GRANT, 1301).events == ()


def test_node_that_comes_back_keeps_its_machine() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)
    story.hears(GRANT, 1300)

    stepped = story.sees(with_node(), 1301)

    assert kinds(stepped) == ["MachineRemovalWithdrawn", "NodeBecameReady"]
    assert only(stepped.commands, cmd.DeleteMachine) == []


def test_flapping_node_keeps_its_machine() -> None:
    """It was down whenever the collector looked, and up in between."""
    story = ready()
    for flap in range(36):
        story.sees(with_node(ready=bool(flap % 2)), 600 + 20 * flap)

    assert story.hears(GRANT, 1300).events == ()


def test_grant_may_be_ahead_of_the_picture() -> None:
    story = ready()
    story.sees(with_node(ready=False), 815)

    assert kinds(story.hears(GRANT, 1300)) == ["MachineRemovalRequested"]


def test_node_that_never_became_ready_may_be_removed() -> None:
    story = launched()
    story.sees(with_node(ready=False), 300)

    assert kinds(story.hears(GRANT, 1300)) == ["MachineRemovalRequested"]
    assert kinds(story.sees(with_node(), 1301)) == ["MachineRemovalWithdrawn", "NodeInitialized"]


def test_tainted_node_is_no_lost_node() -> None:
    story = launched()
    story.sees(with_node(ready=False), 300)
    story.sees(with_node(taints=("node.kubernetes.io/not-ready:NoSchedule",)), 310)

    assert story.hears(GRANT, 1300).events == ()


def test_grant_for_another_life_is_ignored() -> None:
    story = ready()

    assert story.hears(RemovalGranted(uid="another", cause="gone", since=at(600)), 600).events == ()


def test_machine_to_be_removed_buys_no_pool() -> None:
    story = ready()
    story.sees(with_node(ready=False), 600)
    story.hears(GRANT, 1300)
    story.hears(read(None), 1300)

    stepped = story.sees(a_picture(), 7200)

    assert kinds(stepped) == []
    assert only(stepped.commands, cmd.SubmitPool) == []


# --- a pool that somebody else takes away -----------------------------------------------------------


def test_vanished_pool_is_replaced_in_place() -> None:
    story = ready()

    story.hears(read(None), 600)
    stepped = story.sees(a_picture(), 660)

    assert said(story.state.launched)[1] == "ProviderFault"
    assert story.state.node == ""
    assert kinds(stepped) == ["PoolCreationRequested"]
    assert story.state.attempt == 2


def test_pool_that_is_there_after_all_is_no_news() -> None:
    story = ready()

    assert story.hears(read(a_pool(PoolState.SUCCEEDED)), 600).events == ()
    assert story.state.stage is Stage.LIVE
