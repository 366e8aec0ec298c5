"""The API server or its etcd goes away while both processes work, and comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Thread

import pytest

from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.runtime.ports import DEPLOYMENTS, WORKSPACES, AlreadyExists, ApiError, Object
from tests.e2e.crowds import alike
from tests.e2e.journal import calls
from tests.e2e.kubelet import Kubelet
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.waiting import holds, until

pytestmark = pytest.mark.real_server

CONVERGED_SECONDS = 120.0
PUT_POOL = calls("PUT", "/agentPools/")
POST_MACHINE = calls("POST", "/machines$")
LISTS = calls("GET", "/(workspaces|deployments)$", watch=False)
OUTAGES = (1.0, 4.0, 14.0, 1.0, 2.0)
"""Seconds; the longest is beyond the 10 s in which a leader has to renew its lease."""


def crowd(world: RealWorld, count: int) -> list[Object]:
    return alike(world.example("falcon-7b-instruct"), count)


def name(workspace: Object) -> str:
    return str(workspace["metadata"]["name"])


def all_ready(world: RealWorld, workspaces: Sequence[Object]) -> bool:
    return all(world.is_ready(name(each)) for each in workspaces)


@contextmanager
def creating(world: RealWorld, workspaces: Sequence[Object], every_seconds: float) -> Iterator[list[str]]:
    """Create them one after the other for the time of a block, each until the server has it; those it has."""
    made: list[str] = []

    def create() -> None:
        api = connect(world.plane.kubeconfig, user_agent="people", workers=1)
        for body in workspaces:
            until(partial(exists_by_now, api, body), 120, f"{name(body)} to be created")
            made.append(name(body))
            holds(lambda: True, every_seconds)
        api.close()

    thread = Thread(target=create, name="people")
    thread.start()
    try:
        yield made
    finally:
        thread.join()


def has(made: Sequence[str], count: int) -> bool:
    return len(made) >= count


def exists_by_now(api: KubeClient, body: Object) -> bool:
    try:
        api.create(WORKSPACES, body)
    except AlreadyExists:
        return True
    except ApiError:
        return False
    return True


def exactly_once(world: RealWorld, operator: Member, provisioner: Member, count: int) -> None:
    """As many Machines and pools as wanted, and never was another one asked for."""
    machines = {each["metadata"]["name"] for each in world.machines().values()}
    assert len(machines) == count
    assert set(world.pools()) == machines
    asked = {call.path.rpartition("/")[2] for call in provisioner.arm.journal.since(match=PUT_POOL)}
    assert asked == machines
    assert world.arm_calls("put") == count
    made = [call for call in operator.journal.since(match=POST_MACHINE) if call.code == 201]
    assert len(made) <= count


def test_api_server_killed_five_times_in_fifty_creations(world: RealWorld) -> None:
    operator, provisioner = world.operator(), world.provisioner()
    workspaces = crowd(world, 50)

    with Kubelet(operator, provisioner) as kubelet:
        with creating(world, workspaces, every_seconds=0.4) as made:
            for number, seconds in enumerate(OUTAGES, start=1):
                until(partial(has, made, 8 * number), 120, "some creations")
                world.plane.api_server.kill()
                holds(lambda: True, seconds)
                world.plane.start_api_server()
        world.until(lambda: all_ready(world, workspaces), CONVERGED_SECONDS, "all of them ready")

    exactly_once(world, operator, provisioner, 50)
    assert min(len(endings) for endings in kubelet.endings.values()) >= 1
    assert {code for endings in kubelet.endings.values() for code in endings} == {1}
    assert world.players.troubles == []


def test_etcd_restarted_and_killed_during_provisioning(world: RealWorld) -> None:
    operator, provisioner = world.operator(), world.provisioner()
    world.set_speed(30)
    workspaces = crowd(world, 10)
    world.apply_all(workspaces)
    world.until(lambda: world.arm_calls("put") >= 3, 60, "the first pools")

    with Kubelet(operator, provisioner):
        world.plane.etcd.stop()
        holds(lambda: True, 2.0)
        world.plane.restart_etcd()
        holds(lambda: True, 3.0)
        world.plane.restart_etcd()
        world.set_speed(240)
        world.until(lambda: all_ready(world, workspaces), CONVERGED_SECONDS, "all of them ready")

    exactly_once(world, operator, provisioner, 10)


def test_deletes_that_no_watch_told_are_not_missed(world: RealWorld) -> None:
    """While both are cut off, a Deployment and a Workspace go, and etcd forgets that they were."""
    operator, provisioner = world.operator(), world.provisioner()
    gone, bereft, *others = crowd(world, 4)
    world.apply_all([gone, bereft, *others])
    world.until(lambda: all_ready(world, [gone, bereft, *others]), 90)
    machines, served = set(world.machines()), world.deployments()
    uid, lists = served[name(bereft)]["metadata"]["uid"], operator.journal.count(LISTS)

    with Kubelet(operator, provisioner):
        for member in (operator, provisioner):
            member.kube.isolate()
        world.delete(DEPLOYMENTS, name(bereft), "default")
        world.delete(WORKSPACES, name(gone), "default")
        world.plane.restart_etcd()
        world.plane.compact()
        world.plane.restart_api_server()
        for member in (operator, provisioner):
            member.kube.rejoin()
        world.until(lambda: name(gone) not in world.workspaces(), 90, "the end of the Workspace")
        world.until(lambda: len(world.pools()) == 3, 60, "the end of its pool")
        world.until(lambda: name(bereft) in world.deployments(), 60, "another Deployment")
        world.until(lambda: all_ready(world, [bereft, *others]), 90)

    assert world.deployments()[name(bereft)]["metadata"]["uid"] != uid
    assert set(world.machines()) < machines
    for other in others:
        assert world.deployments()[name(other)]["metadata"]["uid"] == served[name(other)]["metadata"]["uid"]
    assert operator.journal.count(LISTS) > lists
