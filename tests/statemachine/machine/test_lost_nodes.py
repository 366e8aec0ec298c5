"""Losses of nodes that are easily mistaken for each other: by the collector, and by the Machine itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from statemachine.machine.collection import Collection, Memory, NodeSighting, Round, collect
from statemachine.machine.observations import MachineNode, RemovalGranted
from statemachine.state import NodeLossCause
from tests.builders import EPOCH, at
from tests.statemachine.machine.builders import UID, a_launched_picture, a_node, a_sighting, ended
from tests.statemachine.machine.story import Story, asked, kinds, submitted


def collected(minutes: float, memory: Memory, **seen: Any) -> Collection:
    ordinary: dict[str, Any] = {"pools": (), "machines": (), "nodes": ()}
    return collect(memory, Round(**{"at": EPOCH + timedelta(minutes=minutes), **ordinary, **seen}))


def removal_after(minutes: int, **seen: Any) -> tuple[str, ...]:
    """The Machines that may be removed in the first rounds that allow it, within so many minutes."""
    memory = Memory()
    for minute in range(0, minutes + 1, 2):
        found = collected(minute, memory, **seen)
        if found.removals:
            return tuple(removal.machine for removal in found.removals)
        memory = found.memory
    return ()


def test_unknown_nodes_make_no_machine_suspect() -> None:
    memory = collected(0, Memory(), machines=(a_sighting("wsa"),)).memory
    lost = a_sighting("wsa", node_cause=NodeLossCause.GONE)

    found = collected(2, memory, machines=(lost,), nodes=None)

    assert found.memory.unready == {}
    assert collected(4, found.memory, machines=(a_sighting("wsa"),)).memory.unready == {}


@pytest.mark.parametrize("cause", [NodeLossCause.GONE, NodeLossCause.DELETING])
def test_many_nodes_that_are_gone_are_given_up_at_last(cause: NodeLossCause) -> None:
    lost = tuple(a_sighting(f"ws{number}", node_cause=cause) for number in range(4))

    assert removal_after(58, machines=lost) == ()
    assert removal_after(70, machines=lost) == ("ws0", "ws1", "ws2")


def test_many_nodes_that_fell_silent_are_waited_for() -> None:
    silent = tuple(a_sighting(f"ws{number}", node_cause=NodeLossCause.NOT_READY) for number in range(4))
    nodes = tuple(NodeSighting(name=f"node-{number}", pool=f"ws{number}") for number in range(4))

    assert removal_after(8 * 60, machines=silent, nodes=nodes) == ()


# --- what the log says of the same loss -------------------------------------------------------------


def ready() -> Story:
    story = submitted()
    story.hears(ended(), 258)
    story.sees(a_launched_picture(), 258)
    return story


def test_later_loss_is_believed_after_its_own_limit() -> None:
    story = ready()
    story.sees(a_launched_picture(nodes=(a_node(ready=False),)), 2000)
    earlier = RemovalGranted(uid=UID, cause="node is not ready", since=at(900))

    assert story.hears(earlier, 2599).events == ()
    assert kinds(story.hears(earlier, 2600)) == ["MachineRemovalRequested"]


# --- nodes of an earlier pool -----------------------------------------------------------------------


def held(name: str = "old", **changes: Any) -> MachineNode:
    """A node on its way out that only our finalizer holds."""
    return a_node(**{"name": name, "deleting": True, "has_finalizer": True, **changes})


def test_node_of_an_earlier_pool_is_released() -> None:
    story = ready()
    story.state.attempt = 2

    story.sees(a_launched_picture(nodes=(held(), a_node())), 3000)

    assert "RemoveNodeFinalizer" in asked(story.last)


def test_node_of_an_earlier_life_is_released() -> None:
    story = submitted()

    story.sees(a_launched_picture(nodes=(held(owned=False),)), 100)

    assert "RemoveNodeFinalizer" in asked(story.last)


def test_node_of_the_first_pool_is_kept() -> None:
    story = submitted()

    story.sees(a_launched_picture(nodes=(held(),)), 100)

    assert "RemoveNodeFinalizer" not in asked(story.last)
