"""`kaito provisioner` as a process, between a real API server and the virtual ARM over HTTP."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import MACHINES, Object
from tests.e2e.journal import calls, writes
from tests.e2e.real_world import RealWorld
from tests.e2e.rules import AFTER

pytestmark = pytest.mark.real_server

NAME = "ws000000001"


def a_machine(name: str = NAME) -> Object:
    size = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["Standard_NC12s_v3"]}
    labels = {
        "kaito.sh/workspace": "w",
        "kaito.sh/workspacenamespace": "default",
        "karpenter.sh/provisioner-name": "default",
        "kaito.sh/machine-type": "gpu",
    }
    return {
        "apiVersion": "karpenter.sh/v1alpha5",
        "kind": "Machine",
        "metadata": {"name": name, "labels": labels},
        "spec": {"machineTemplateRef": {"name": name}, "requirements": [size]},
    }


def is_ready(world: RealWorld, name: str = NAME) -> bool:
    return world.conditions(name, MACHINES).get("Ready") == "True"


def test_machine_becomes_a_node_and_goes(world: RealWorld) -> None:
    member = world.provisioner()
    world.apply(a_machine())
    world.until(lambda: is_ready(world), 60)

    world.delete(MACHINES, NAME)

    world.until(lambda: not (world.machines() or world.nodes() or world.pools()), 60)
    assert member.arm.journal.count(calls("PUT")) == 1
    ending = member.process.terminate()
    assert (ending.code, world.players.troubles) == (0, [])


def test_killed_after_the_put_buys_no_second_pool(world: RealWorld) -> None:
    member = world.provisioner()
    member.arm.rules.kill(AFTER, member.process.kill, calls("PUT", f"/agentPools/{NAME}$"))
    world.apply(a_machine())
    world.until(lambda: not member.process.running)
    assert world.arm_calls("put") == 1

    member.process.start()

    world.until(lambda: is_ready(world), 60)
    assert list(world.pools()) == [NAME]
    assert world.arm_calls("put") == 1
    assert member.journal.count(writes) > 0
