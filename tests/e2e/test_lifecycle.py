"""The published example through both processes on a real API server, as a user sees it with kubectl."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import WORKSPACES
from tests.e2e.journal import calls
from tests.e2e.real_world import EXAMPLES, RealWorld

pytestmark = pytest.mark.real_server

FALCON = EXAMPLES / "falcon-7b-instruct.yaml"
NAME = "workspace-falcon-7b-instruct"
STATUS_WRITES = calls("PATCH", rf"/workspaces/{NAME}/status$")


def nothing_is_left(world: RealWorld) -> bool:
    left = (world.workspaces(), world.machines(), world.nodes(), world.pods(), world.deployments())
    return not any(left) and not world.services() and not world.pools()


def test_falcon_becomes_ready_and_goes_without_a_trace(world: RealWorld) -> None:
    operator, provisioner = world.operator(), world.provisioner()

    world.apply(FALCON)
    world.until(lambda: world.is_ready(NAME), 90)
    columns = world.plane.kubectl("get", "wk", NAME).splitlines()
    story = world.describe(NAME)
    writes = operator.journal.count(STATUS_WRITES)
    world.plane.kubectl("delete", "wk", NAME, "--wait=true", "--timeout=60s")
    world.until(lambda: nothing_is_left(world), 60)

    assert columns[0].split() == [
        "NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE",
    ]  # fmt: skip
    assert columns[1].split()[:5] == [NAME, "Standard_NC12s_v3", "True", "True", "True"]
    for word in ("MachineReady", "installNodePluginsSuccess", "MachineCreated", "kaito-workspace"):
        assert word in story
    assert writes <= 6
    assert provisioner.arm.journal.count(calls("PUT")) == 1
    assert [operator.process.terminate().code, provisioner.process.terminate().code] == [0, 0]
    assert world.players.troubles == []


def test_both_processes_may_share_one_log(world: RealWorld) -> None:
    log = f"sqlite:///{world.folder}/shared.db"
    world.operator(log=log)
    world.provisioner(log=log)

    world.apply(FALCON)
    world.until(lambda: world.is_ready(NAME), 90)
    world.delete(WORKSPACES, NAME, "default")

    world.until(lambda: nothing_is_left(world), 60)
