"""etcd is set back to a backup: resourceVersions fall, what was made since is gone, what went is back.

The cloud goes on as it was. Nothing that the backup knows may be deleted for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import pytest

from kaito.clock import WallClock
from kaito.provisioner import azure
from kaito.provisioner.configuration import read_configuration
from kaito.runtime.machines.collector import Collector
from kaito.runtime.ports import WORKSPACES, Object
from statemachine.machine.collection import CollectionLimits
from tests.e2e.crowds import alike
from tests.e2e.journal import calls
from tests.e2e.kubelet import Kubelet
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.waiting import holds

pytestmark = pytest.mark.real_server

PATIENT = ("--leader-elect-lease-duration=90s", "--leader-elect-renew-deadline=60s")
"""Terms that outlast a restore, so that the processes meet it with full caches."""

REWOUND = "resourceVersions went backwards"
GRACE_SECONDS = 20.0
FIVE = 5
LATER = 3


class Told(NamedTuple):
    """The world at the time of the backup and what became of it before the restore."""

    kept: list[str]
    back: str
    later: list[str]
    machines: dict[str, str]
    """Of all six of the backup, by Workspace."""
    orphans: set[str]


def name(workspace: Object) -> str:
    return str(workspace["metadata"]["name"])


def all_ready(world: RealWorld, names: Sequence[str]) -> bool:
    return all(world.is_ready(each) for each in names)


def machines_by_workspace(world: RealWorld) -> dict[str, str]:
    return {each["metadata"]["labels"]["kaito.sh/workspace"]: key for key, each in world.machines().items()}


def live_through_it(world: RealWorld, *members: Member, between: bool) -> Told:
    """Six ready; a backup; one of them goes and three others come; and then the backup is put back.

    Args:
        between: Whether both processes are started anew between the backup and the restore, so that the
            Lease of the backup is one of a term long past.
    """
    crowd = alike(world.example("falcon-7b-instruct"), FIVE + 1 + LATER)
    six, later = [name(each) for each in crowd[: FIVE + 1]], [name(each) for each in crowd[FIVE + 1 :]]
    world.apply_all(crowd[: FIVE + 1])
    world.until(lambda: all_ready(world, six), 90)
    machines = machines_by_workspace(world)
    backup = world.plane.backup()
    if between:
        for member in members:
            member.process.terminate()
            member.process.start()
            member.process.wait_ready()
    world.apply_all(crowd[FIVE + 1 :])
    world.until(lambda: all_ready(world, later), 90)
    world.delete(WORKSPACES, six[-1], "default")
    world.until(lambda: machines[six[-1]] not in world.pools(), 90, "the end of the sixth")
    world.until(lambda: six[-1] not in world.workspaces(), 30)
    orphans = {machine for key, machine in machines_by_workspace(world).items() if key in later}
    world.restore(backup)
    return Told(six[:-1], six[-1], later, machines, orphans)


def deleted_by(*members: Member, marks: Sequence[tuple[int, int]]) -> list[str]:
    """The last parts of the paths of all deletions, of objects and of pools."""
    found = []
    for member, (kube, arm) in zip(members, marks, strict=True):
        found += member.journal.since(kube, calls("DELETE"))
        found += member.arm.journal.since(arm, calls("DELETE"))
    return [call.path.rpartition("/")[2] for call in found]


def decided(member: Member) -> list[str]:
    """The events that it has appended, as its log lines tell."""
    lines = [line for line in member.process.lines() if line["message"] == "decided"]
    return [event for line in lines for event in line["events"].split(",")]


def marks_of(*members: Member) -> list[tuple[int, int]]:
    return [(len(member.journal), len(member.arm.journal)) for member in members]


@contextmanager
def a_hasty_collector(world: RealWorld) -> Iterator[Collector]:
    """The provisioner's collector with little patience, and at most one act of a kind in a round."""
    clock, environment = WallClock(), world.variables
    limits = CollectionLimits(minimum_age=1.0, mass_age=1.0, not_ready_limit=3600.0, per_round=1)
    configuration = read_configuration(environment, {"endpoint": f"http://127.0.0.1:{world.arm_server.port}"})
    with closing(azure.connect(configuration, clock)) as pools:
        yield Collector(world.api, pools, lambda name, observation: None, clock, limits)


def test_running_processes_resync_and_delete_nothing(world: RealWorld) -> None:
    operator, provisioner = world.operator(*PATIENT), world.provisioner(*PATIENT)
    pids = [operator.process.pid, provisioner.process.pid]
    told = live_through_it(world, operator, provisioner, between=False)
    marks = marks_of(operator, provisioner)

    for member in (operator, provisioner):
        member.process.wait_for_line(REWOUND, 60)
    world.until(lambda: all_ready(world, [*told.kept, told.back]), 120, "all of the backup served")
    holds(lambda: set(told.orphans) <= set(world.pools()), GRACE_SECONDS)

    assert [operator.process.pid, provisioner.process.pid] == pids
    untouched = {told.machines[each] for each in told.kept} | told.orphans
    assert untouched.isdisjoint(deleted_by(operator, provisioner, marks=marks))
    assert set(world.workspaces()) == {*told.kept, told.back}
    assert {told.machines[each] for each in told.kept} <= set(world.machines())
    assert decided(operator).count("WorkspaceRestored") == 1
    assert decided(provisioner).count("MachineAccepted") == FIVE + 1 + LATER + 1


def test_restarted_processes_serve_what_is_back_and_let_it_go(world: RealWorld) -> None:
    operator, provisioner = world.operator(), world.provisioner()
    told = live_through_it(world, operator, provisioner, between=True)
    marks = marks_of(operator, provisioner)
    operator.process.kill()
    provisioner.process.kill()

    with Kubelet(operator, provisioner):
        world.until(lambda: all_ready(world, [*told.kept, told.back]), 150, "all of the backup served")
        world.delete(WORKSPACES, told.back, "default")
        world.until(lambda: told.back not in world.workspaces(), 90, "the end of the sixth")

    untouched = {told.machines[each] for each in told.kept} | told.orphans
    assert untouched.isdisjoint(deleted_by(operator, provisioner, marks=marks))
    assert all_ready(world, told.kept)
    assert {told.machines[each] for each in told.kept} == set(world.machines())


def test_orphans_of_a_restore_are_collected_one_by_one(world: RealWorld) -> None:
    operator, provisioner = world.operator(*PATIENT), world.provisioner(*PATIENT)
    told = live_through_it(world, operator, provisioner, between=False)
    world.until(lambda: all_ready(world, told.kept), 120)
    reaped: list[tuple[str, ...]] = []

    with a_hasty_collector(world) as collector:
        for _ in range(LATER + 3):
            reaped.append(collector.collect().pools)
            holds(lambda: True, 1.1)

    assert reaped[0] == ()
    assert max(len(each) for each in reaped) == 1
    assert {each for round_ in reaped for each in round_} == told.orphans
    world.until(lambda: told.orphans.isdisjoint(world.pools()), 60, "the end of the orphans")
    assert {told.machines[each] for each in told.kept} <= set(world.pools())
