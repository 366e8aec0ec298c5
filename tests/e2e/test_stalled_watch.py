"""Half-open watches: no byte comes any more, and the connection stays. The processes notice by themselves."""

from __future__ import annotations

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import WORKSPACES
from tests.e2e.journal import Call, watches
from tests.e2e.lifecycles import NAME, SPEED, nothing_is_left
from tests.e2e.real_world import Member, RealWorld

pytestmark = pytest.mark.real_server

SILENCE_SECONDS = 70.0
SLACK_SECONDS = 10.0
"""For a machine that is busy."""


def test_stalled_watches_are_noticed_and_replaced(world: RealWorld) -> None:
    world.set_speed(SPEED)
    members = [world.operator(), world.provisioner()]
    apply(world)
    finish(world)
    watched = {member.process.pid: member.kube.under_way(watches) for member in members}
    for member in members:
        member.kube.stall()
    stalled_at = WallClock().monotonic()
    apply(world)

    world.until(lambda: all(has_left(member, watched[member.process.pid]) for member in members), 120)
    for member in members:
        member.kube.resume()

    finish(world)
    ended = [call.ended for calls in watched.values() for call in calls]
    print(f"{len(ended)} watches noticed within {max(filter(None, ended)) - stalled_at:.1f} s")
    assert all(at is not None and at - stalled_at <= SILENCE_SECONDS + SLACK_SECONDS for at in ended)
    assert len(ended) >= 9
    for member in members:
        open_ = member.kube.under_way(watches)
        assert len(open_) == len(watched[member.process.pid])
    world.until(
        lambda: not any(member.process.usage().dead_sockets for member in members), 10, "no dead sockets"
    )


def apply(world: RealWorld) -> None:
    world.api.create(WORKSPACES, world.example("falcon-7b-instruct", rename=NAME, namespace="default"))


def finish(world: RealWorld) -> None:
    world.until(lambda: world.is_ready(NAME), 60)
    world.delete(WORKSPACES, NAME, "default")
    world.until(lambda: nothing_is_left(world), 60)


def has_left(member: Member, calls: list[Call]) -> bool:
    """Whether none of these watches is open any more, and as many others are."""
    open_ = member.kube.under_way(watches)
    return len(open_) == len(calls) and not any(call in open_ for call in calls)
