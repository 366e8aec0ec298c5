"""The whole process with the shipped Azure client: threads, real sockets, and the virtual ARM behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from kaito.clock import WallClock
from kaito.manager.manager import Manager
from kaito.provisioner.azure import AzureAgentPools
from kaito.provisioner.process import Options, new_manager
from kaito.runtime.pools import PoolState
from kaito.runtime.ports import MACHINES, NODES, NotFound
from kaito.runtime.settings import Settings
from simulator.azure.loading import from_section
from simulator.azure.serving import ArmServer
from statemachine.machine.limits import MachineLimits
from store.memory import MemoryEventLog
from tests.contracts.agent_pools import CONFIGURATION, a_cloud
from tests.kaito.live import LiveCluster, Running, a_machine, a_node, node_of, until
from tests.kaito.provisioner.azure_pools import azure_pools

NAMES = ["ws000000001", "ws000000002", "ws000000003"]
SPEED = 2000.0
"""Virtual seconds a second: an agent pool takes about a tenth of one."""


@pytest.fixture
def pools() -> Iterator[AzureAgentPools]:
    engine, arm = a_cloud(from_section({}))
    with (
        ArmServer(arm, engine, speed=SPEED, clock=WallClock()) as server,
        closing(azure_pools(server.url, CONFIGURATION)) as pools,
    ):
        yield pools


@pytest.fixture
def start() -> Iterator[Callable[[Manager], Running]]:
    started: list[Running] = []

    def start(manager: Manager) -> Running:
        started.append(Running(manager))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def test_machines_come_and_go_over_sockets(
    pools: AzureAgentPools, start: Callable[[Manager], Running]
) -> None:
    cluster, log = LiveCluster(), MemoryEventLog(WallClock().now)
    settings = Settings(provisioning=MachineLimits(poll_after=0.05))
    options = Options(identity="test", workers=3, settings=settings)
    running = start(new_manager(cluster, pools, log, WallClock(), options))

    for name in NAMES:
        cluster.create(MACHINES, a_machine(name))
    until(lambda: _states(pools) == [PoolState.SUCCEEDED] * len(NAMES))
    for name in NAMES:
        cluster.create(NODES, a_node(name, pools.get(name).labels))
    until(lambda: all(cluster.condition(name) == "True" for name in NAMES))
    for name in NAMES:
        cluster.delete(MACHINES, name)
    until(lambda: all(_took_node_along(cluster, pools, name) for name in NAMES))

    assert running.stop() == 0
    assert _states(pools) == []
    created = [record.type for record in log.read_all()].count("PoolCreationRequested")
    assert created == len(NAMES)


def _states(pools: AzureAgentPools) -> list[PoolState]:
    """Of our pools; the cluster has one for its system too."""
    return [pool.state for pool in pools.list() if pool.name in NAMES]


def _took_node_along(cluster: LiveCluster, pools: AzureAgentPools, name: str) -> bool:
    """Play AKS, which deletes the Node of a pool that is gone; whether the Machine is gone too."""
    if name not in [pool.name for pool in pools.list()]:
        with suppress(NotFound):  # the process may have been quicker
            cluster.delete(NODES, node_of(name))
    return cluster.find(MACHINES, name) is None
