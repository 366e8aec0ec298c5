"""Twenty others write to a Workspace without a pause while it is provisioned."""

from __future__ import annotations

import urllib.request

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import WORKSPACES
from tests.e2e.journal import Call, calls
from tests.e2e.lifecycles import NAME, SPEED, nothing_is_left
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.storms import Storm

pytestmark = pytest.mark.real_server


RECONCILES = "controller_runtime_reconcile_total"
WRITTEN = calls("PATCH", f"/workspaces/{NAME}")

MOST_WRITES = 40
"""Of the operator to a Workspace that takes some ten when nobody else writes to it."""

ODD_RECONCILES = 300
"""Beside one for each change of the Workspace: for its Machine, node, workload and pods."""


def conflicts(call: Call) -> bool:
    return call.code == 409


def test_storm_of_writers_does_not_stop_it(world: RealWorld) -> None:
    world.set_speed(SPEED)
    operator = world.operator()
    world.provisioner()
    begun = WallClock().monotonic()

    world.apply(world.example("falcon-7b-instruct", rename=NAME, namespace="default"))
    with Storm(world.plane.kubeconfig, WORKSPACES, NAME, "default") as storm:
        world.until(lambda: world.is_ready(NAME) and storm.is_blowing, 90)
        seconds = WallClock().monotonic() - begun
        written, refused = operator.journal.count(WRITTEN), operator.journal.count(conflicts)
        done = reconciles(operator)
    print(f"ready after {seconds:.1f} s and {storm.writes} writes of others; {done:.0f} reconciles")
    print(f"{written} writes of ours to the Workspace, {refused} conflicts")
    found = world.workspaces("default")[NAME]
    ready = world.is_ready(NAME)
    world.delete(WORKSPACES, NAME, "default")
    world.until(lambda: nothing_is_left(world), 60)

    assert storm.troubles == []
    assert storm.is_whole(found)
    assert ready
    assert written <= MOST_WRITES
    assert refused <= MOST_WRITES
    assert done <= storm.writes + ODD_RECONCILES
    assert operator.journal.count(calls("POST", "/machines$")) == 1


def reconciles(member: Member) -> float:
    """How many there have been, as the process counts them."""
    flag = next(each for each in member.process.arguments if each.startswith("--metrics-bind-address="))
    with urllib.request.urlopen(f"http://{flag.partition('=')[2]}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    counted = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{RECONCILES}{{")]
    assert counted
    return sum(map(float, counted))
