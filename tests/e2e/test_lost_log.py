"""The event log is deleted: what is there is adopted, and neither a pod nor a node notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import WORKSPACES, Object
from store.opening import open_log
from tests.e2e.journal import Call, calls, writes
from tests.e2e.lifecycles import NAME, SPEED, nothing_is_left
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.waiting import holds

pytestmark = pytest.mark.real_server

QUIET_SECONDS = 3.0
CREATED = calls("POST", "/machines$")


@pytest.fixture
def served_world(world: RealWorld) -> Iterator[RealWorld]:
    """Both processes, and a Workspace that is ready."""
    world.set_speed(SPEED)
    world.operator()
    world.provisioner()
    apply(world)
    world.until(lambda: world.is_ready(NAME), 90)
    yield world
    assert world.players.troubles == []


def test_operator_without_its_log_adopts_what_runs(served_world: RealWorld) -> None:
    operator, before = served_world.members["operator"], everything(served_world)

    mark = restart_without_log(operator)

    served_world.until(lambda: "WorkspaceAdopted" in logged(operator), 60)
    holds(lambda: served_world.is_ready(NAME), QUIET_SECONDS)
    assert operator.journal.since(mark, touches_the_world) == []
    assert everything(served_world) == before
    leave(served_world)
    assert operator.journal.count(CREATED) == 1


def test_provisioner_without_its_log_adopts_its_machines(served_world: RealWorld) -> None:
    provisioner, before = served_world.members["provisioner"], everything(served_world)
    asked = len(provisioner.arm.journal)

    mark = restart_without_log(provisioner)

    # It wants a pool for what it has never heard of, and finds that there is one.
    served_world.until(lambda: {"PoolFound", "NodeInitialized"} <= logged(provisioner), 60)
    holds(lambda: served_world.is_ready(NAME), QUIET_SECONDS)
    assert provisioner.journal.since(mark, touches_the_world) == []
    assert provisioner.arm.journal.since(asked, writes) == []
    assert everything(served_world) == before
    leave(served_world)


def test_log_lost_during_provisioning_buys_nothing_twice(world: RealWorld) -> None:
    operator, provisioner = world.operator(), world.provisioner()
    apply(world)
    world.until(lambda: world.pools(), 60)

    restart_without_log(provisioner)
    restart_without_log(operator)

    world.until(lambda: world.is_ready(NAME), 90)
    assert operator.journal.count(CREATED) == 1
    assert world.arm_calls("put") == 1
    leave(world)


def apply(world: RealWorld) -> None:
    world.api.create(WORKSPACES, world.example("falcon-7b-instruct", rename=NAME, namespace="default"))


def leave(world: RealWorld) -> None:
    world.delete(WORKSPACES, NAME, "default")
    world.until(lambda: nothing_is_left(world), 60)


def restart_without_log(member: Member) -> int:
    """End the process, delete all files of its log, start it; the mark in its journal from there."""
    assert member.process.terminate().code == 0
    files = list(member.process.stderr.parent.glob("kaito.db*"))
    assert files
    for file in files:
        file.unlink()
    mark = len(member.journal)
    member.process.start()
    member.process.wait_ready()
    return mark


def logged(member: Member) -> set[str]:
    """The types of all events in its log."""
    url = f"sqlite:///{member.process.stderr.parent}/kaito.db"
    log = open_log(url, WallClock().now, create=False)
    try:
        return {type(stored.event).__name__ for stored in log.read_all()}
    finally:
        log.close()


def touches_the_world(call: Call) -> bool:
    """A write to anything but the Lease, the Events and the status of what is ours to report on."""
    reports = ("/leases", "/events", "/status")
    return call.writes and not any(part in call.path for part in reports)


def everything(world: RealWorld) -> dict[str, list[tuple[str, str]]]:
    """UIDs and resourceVersions of all that runs, and the pools.

    Of Machines the generation: since when a condition has held stood in the log, and is told anew.
    """
    kinds: dict[str, dict[str, Object]] = {
        "pods": world.pods(),
        "nodes": world.nodes(),
        "machines": world.machines(),
        "deployments": world.deployments(),
        "services": world.services(),
    }
    found = {kind: [_identity(obj) for obj in named.values()] for kind, named in kinds.items()}
    found["machines"] = [_identity(obj, "generation") for obj in kinds["machines"].values()]
    return {**found, "pools": list(world.pools().items())}


def _identity(obj: Object, version: str = "resourceVersion") -> tuple[str, str]:
    return obj["metadata"]["uid"], str(obj["metadata"][version])
