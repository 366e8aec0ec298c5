"""Two replicas of a process: whoever does not lead any more writes nothing, however it lost the lead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import LEASES, WORKSPACES, Object
from store.errors import LogUnavailable
from store.opening import open_log
from tests.e2e.journal import Match, calls, writes
from tests.e2e.lifecycles import NAME, SHORT_TERMS, SPEED, nothing_is_left
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.rules import AFTER

pytestmark = pytest.mark.real_server

LEADING = "became leader"
STATUS = calls("PATCH", f"/workspaces/{NAME}/status$")
MADE = calls("POST", "/machines$")
LOOKED = calls("GET", r"/agentPools/ws[0-9a-f]+$")
BOUGHT = calls("PUT", r"/agentPools/ws[0-9a-f]+$")


class Pair:
    """Replicas of one process, and one of the other."""

    def __init__(self, world: RealWorld, verb: str, *terms: str) -> None:
        self.world = world
        self._log = f"sqlite:///{world.folder}/replicas.db"
        self._start = world.operator if verb == "operator" else world.provisioner
        self.first = self._start(*terms, name="first", log=self._log)
        self.first.process.wait_for_line(LEADING)
        self.second = self._start(*terms, name="second", log=self._log)
        self.other = (world.provisioner if verb == "operator" else world.operator)(name="other")

    def apply(self) -> None:
        example = self.world.example("falcon-7b-instruct", rename=NAME, namespace="default")
        self.world.api.create(WORKSPACES, example)

    def freeze_first(self) -> None:
        """Stop it, though not in the middle of an append: its lock would keep everybody from the log."""
        self.first.process.freeze()
        while not self._log_is_free():
            self.first.process.thaw()
            self.first.process.freeze()

    def _log_is_free(self) -> bool:
        try:
            with open_log(self._log, WallClock().now, create=False, timeout_seconds=0.5) as log:
                log.append("probe", (), expected_version=0, epoch=sys.maxsize)
        except LogUnavailable:
            return False
        return True

    def finish(self) -> None:
        """Whoever leads now carries it through."""
        self.world.until(lambda: self.world.is_ready(NAME), 90)
        self.world.delete(WORKSPACES, NAME, "default")
        self.world.until(lambda: nothing_is_left(self.world), 60)


@pytest.fixture
def fast_world(world: RealWorld) -> Iterator[RealWorld]:
    world.set_speed(SPEED)
    yield world
    assert world.players.troubles == []


@pytest.mark.parametrize(
    ("verb", "last"),
    [("operator", STATUS), ("operator", MADE), ("provisioner", LOOKED), ("provisioner", BOUGHT)],
    ids=["operator-before-its-Machine", "operator-after", "provisioner-before-its-pool", "provisioner-after"],
)
def test_leader_stopped_past_its_lease_writes_nothing(fast_world: RealWorld, verb: str, last: Match) -> None:
    pair = Pair(fast_world, verb, *SHORT_TERMS)
    for proxy in (pair.first.kube, pair.first.arm):
        proxy.rules.do(AFTER, lambda call: pair.freeze_first(), last)
    pair.apply()
    pair.second.process.wait_for_line(LEADING)
    fast_world.until(lambda: fast_world.is_ready(NAME), 90)
    marks = len(pair.first.kube.journal), len(pair.first.arm.journal)

    pair.first.process.thaw()

    assert pair.first.process.ended(30) == 1
    assert pair.first.kube.journal.since(marks[0], writes) == []
    assert pair.first.arm.journal.since(marks[1], writes) == []
    pair.finish()
    assert made(pair.first, pair.second, pair.other, what=MADE) == 1
    assert made(pair.first, pair.second, pair.other, what=BOUGHT) == 1


def made(*members: Member, what: Match) -> int:
    """How many such requests were granted."""
    asked = [call for each in members for call in each.kube.journal.since(0, what)]
    asked += [call for each in members for call in each.arm.journal.since(0, what)]
    return sum(call.code in (200, 201) for call in asked)


@pytest.mark.parametrize("verb", ["operator", "provisioner"])
def test_leader_cut_off_from_the_server_steps_down(fast_world: RealWorld, verb: str) -> None:
    pair = Pair(fast_world, verb)
    pair.apply()
    fast_world.until(lambda: made(pair.first, what=MADE if verb == "operator" else BOUGHT), 30)
    cut_at = WallClock().monotonic()

    pair.first.kube.isolate()

    code = pair.first.process.ended(30)
    seconds = WallClock().monotonic() - cut_at
    print(f"{verb}: ended {seconds:.1f} s after it was cut off")
    pair.second.process.wait_for_line(LEADING)
    assert code == 1
    assert told_at(pair.first, "stopped") < told_at(pair.second, LEADING)
    late = [call for call in pair.first.arm.journal.since(0, writes) if call.started > cut_at + 10.0]
    assert late == []
    pair.finish()


@pytest.mark.parametrize("verb", ["operator", "provisioner"])
def test_lease_taken_by_hand_ends_the_leader(fast_world: RealWorld, verb: str) -> None:
    pair = Pair(fast_world, verb)
    lease = the_lease(fast_world, pair.first)
    taken_at = WallClock().monotonic()

    edit(fast_world, lease, {"holderIdentity": "somebody-else"})

    code = pair.first.process.ended(30)
    print(f"{verb}: ended {WallClock().monotonic() - taken_at:.1f} s after its Lease was edited")
    mark = len(pair.first.kube.journal)
    pair.apply()
    pair.second.process.wait_for_line(LEADING)
    assert code == 1
    assert pair.first.kube.journal.count(writes, mark) == 0
    assert the_lease(fast_world, pair.second)["spec"]["leaseTransitions"] > lease["spec"]["leaseTransitions"]
    pair.finish()


@pytest.mark.parametrize("verb", ["operator", "provisioner"])
def test_deleted_lease_leaves_one_leader(fast_world: RealWorld, verb: str) -> None:
    pair = Pair(fast_world, verb, *SHORT_TERMS)
    lease = the_lease(fast_world, pair.first)

    fast_world.api.delete(LEASES, lease["metadata"]["name"], "default")

    renewed = fast_world.until(lambda: lease_again(fast_world, pair, lease), 30)
    assert renewed is not None
    assert renewed["spec"]["leaseTransitions"] >= lease["spec"]["leaseTransitions"]
    pair.apply()
    pair.finish()
    led = [each for each in (pair.first, pair.second) if each.journal.count(MADE) or bought(each)]
    holder = renewed["spec"]["holderIdentity"]
    assert [holds(each, holder) for each in led] == [True]


def bought(member: Member) -> int:
    return member.arm.journal.count(BOUGHT)


def lease_again(world: RealWorld, pair: Pair, old: Object) -> Object | None:
    """The Lease that was made anew and renewed at least once by one of the pair."""
    found = world.find(LEASES, old["metadata"]["name"], "default")
    if found is None or found["metadata"]["uid"] == old["metadata"]["uid"]:
        return None
    holder = found["spec"]["holderIdentity"]
    held = any(holds(each, holder) for each in (pair.first, pair.second) if each.process.running)
    return found if held and found["spec"]["renewTime"] > found["metadata"]["creationTimestamp"] else None


def the_lease(world: RealWorld, member: Member) -> Object:
    """That which the member holds."""
    leases = world.api.list(LEASES, "default").items
    return next(lease for lease in leases if holds(member, lease["spec"].get("holderIdentity") or ""))


def holds(member: Member, holder: str) -> bool:
    return f"_{member.process.pid}_" in holder


def edit(world: RealWorld, lease: Object, spec: dict[str, Any]) -> None:
    world.api.patch(LEASES, lease["metadata"]["name"], {"spec": spec}, "default")


def told_at(member: Member, message: str) -> str:
    """When it said so; it may have ended since."""
    return str(next(line["time"] for line in member.process.lines() if line["message"] == message))
