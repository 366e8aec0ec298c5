"""Twenty others write to a Workspace without a pause while it is provisioned."""

from __future__ import annotations

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import WORKSPACES
from tests.e2e.journal import Call, calls
from tests.e2e.lifecycles import NAME, SPEED, nothing_is_left
from tests.e2e.real_world import RealWorld
from tests.e2e.storms import Storm

pytestmark = pytest.mark.real_server


def conflicts(call: Call) -> bool:
    return call.code == 409


def test_storm_of_writers_does_not_stop_it(world: RealWorld) -> None:
    world.set_speed(SPEED)
    operator = world.operator()
    world.provisioner()
    begun = WallClock().monotonic()

    world.apply(world.example("falcon-7b-instruct", rename=NAME, namespace="default"))
    with Storm(world.plane.kubeconfig, WORKSPACES, NAME, "default") as storm:
        world.until(lambda: world.is_ready(NAME), 90)
        seconds = WallClock().monotonic() - begun
        asked, refused = len(operator.journal), operator.journal.count(conflicts)
    print(f"ready after {seconds:.1f} s and {storm.writes} writes; {asked} calls, {refused} conflicts")
    found = world.workspaces("default")[NAME]
    world.delete(WORKSPACES, NAME, "default")
    world.until(lambda: nothing_is_left(world), 60)

    assert storm.troubles == []
    assert storm.is_whole(found)
    assert all(number > 0 for number in storm.written.values())
    assert operator.journal.count(calls("POST", "/machines$")) == 1
