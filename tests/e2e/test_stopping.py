"""SIGTERM in the middle of a lifecycle: what is under way is finished, and the successor need not wait."""

from __future__ import annotations

from threading import Event

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import LEASES, WORKSPACES
from tests.e2e.journal import Match, calls
from tests.e2e.lifecycles import NAME, SPEED, nothing_is_left
from tests.e2e.real_world import RealWorld
from tests.e2e.rules import BEFORE

pytestmark = pytest.mark.real_server

STOP_SECONDS = 10.0
TAKEOVER_SECONDS = 10.0
"""Less than the 15 s after which a lease is over that nobody gave back."""

HELD_SECONDS = 1.5


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("operator", calls("POST", "/machines$")),
        ("operator", calls("POST", "/deployments$")),
        ("provisioner", calls("PUT", r"/agentPools/ws[0-9a-f]+$")),
    ],
    ids=["operator-machine", "operator-workload", "provisioner-pool"],
)
def test_stop_finishes_the_command_under_way(world: RealWorld, verb: str, call: Match) -> None:
    world.set_speed(SPEED)
    log, asked = f"sqlite:///{world.folder}/replicas.db", Event()
    start = world.operator if verb == "operator" else world.provisioner
    (world.provisioner if verb == "operator" else world.operator)(name="other")
    first = start(name="first", log=log)
    first.process.wait_for_line("became leader")
    second = start(name="second", log=log)
    for proxy in (first.kube, first.arm):
        proxy.rules.do(BEFORE, lambda found: asked.set(), call)
        proxy.rules.delay(HELD_SECONDS, call, times=1)
    world.api.create(WORKSPACES, world.example("falcon-7b-instruct", rename=NAME, namespace="default"))
    assert asked.wait(60)

    ending = first.process.terminate()
    ended_at = WallClock().monotonic()

    second.process.wait_for_line("became leader")
    seconds = WallClock().monotonic() - ended_at
    print(f"{verb}: ended in {ending.seconds:.1f} s, followed after {seconds:.1f} s")
    assert ending.code == 0
    assert ending.seconds < STOP_SECONDS
    assert seconds < TAKEOVER_SECONDS
    finished = [found for each in (first.kube, first.arm) for found in each.journal.since(0, call)]
    assert [found.code for found in finished if found.told] == [201]
    world.until(lambda: world.is_ready(NAME), 60)
    again = [found for each in (second.kube, second.arm) for found in each.journal.since(0, call)]
    assert again == []
    world.delete(WORKSPACES, NAME, "default")
    world.until(lambda: nothing_is_left(world), 60)


@pytest.mark.parametrize("verb", ["operator", "provisioner"])
def test_stopped_leader_gives_its_lease_back(world: RealWorld, verb: str) -> None:
    member = world.operator() if verb == "operator" else world.provisioner()
    member.process.wait_for_line("became leader")

    ending = member.process.terminate()

    holders = [lease["spec"].get("holderIdentity") for lease in world.api.list(LEASES, "default").items]
    assert (ending.code, [holder or "" for holder in holders]) == (0, [""])
    assert ending.seconds < STOP_SECONDS
