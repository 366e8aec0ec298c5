"""The world around the operator: every process that is neither the operator nor the API server."""

from __future__ import annotations

from simulator.azure.arm import VirtualArm
from simulator.azure.joining import NodeJoiner
from simulator.cluster import Cluster
from simulator.disruption import DisruptionController
from simulator.engine import Engine
from simulator.kubelet import Kubelet
from simulator.nodes import GpuPlugin, NodeLife, PodGarbageCollector
from simulator.process import Surroundings
from simulator.profile import Profile
from simulator.randomness import Generators
from simulator.scheduler import Scheduler
from simulator.workloads import DeploymentController, StatefulSetController

_COLLECT_AGAIN_SECONDS = 1.0


class World:
    """Starts all processes on one cluster and one engine; from then on they live by themselves.

    Args:
        arm: The cloud whose machines become nodes.
    """

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        generators: Generators,
        profile: Profile,
        arm: VirtualArm,
    ) -> None:
        self.surroundings = Surroundings(cluster, engine, profile, generators)
        self._cluster = cluster
        self._engine = engine
        cluster.collector.on_garbage = self._collect_soon
        if cluster.collector.pending:
            self._collect_soon()
        self.joiner = NodeJoiner(self.surroundings, arm.service)
        NodeLife(self.surroundings)
        GpuPlugin(self.surroundings)
        PodGarbageCollector(self.surroundings)
        DeploymentController(self.surroundings)
        StatefulSetController(self.surroundings)
        DisruptionController(self.surroundings)
        Scheduler(self.surroundings)
        Kubelet(self.surroundings)

    def _collect_soon(self) -> None:
        self._engine.schedule(0, self._collect)

    def _collect(self) -> None:
        """A sweep that was overtaken by another write says so, and is repeated."""
        self._cluster.collect()
        if self._cluster.collector.pending:
            self._engine.schedule(_COLLECT_AGAIN_SECONDS, self._collect)
