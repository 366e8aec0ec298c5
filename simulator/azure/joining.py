"""How the pools' machines become Nodes of the virtual cluster, and how these go with their machines.

A Node joins some time after its pool's operation succeeded, late, never or twice where the scenario says so.
AKS itself deletes the Node of a machine that it deletes. A machine that is evicted just falls silent: its
Node is NotReady after a grace period, and gone when the cloud's node controller finds no machine behind it.
"""

from __future__ import annotations

from dataclasses import replace

from kaito.runtime.ports import NODES, AlreadyExists, Object
from simulator.azure.machines import Why
from simulator.azure.model import AgentPool, Vm
from simulator.azure.scenario import Failures
from simulator.azure.service import AgentPoolService
from simulator.machines import AGENT_POOL
from simulator.nodes import joining_node
from simulator.process import Surroundings, timestamp

NOT_READY_AFTER_SECONDS = 40.0
"""node-monitor-grace-period of the controller manager, its default up to Kubernetes 1.31."""
GONE_AFTER_SECONDS = 5.0
"""node-monitor-period: how often the cloud's node controller asks for the machine of a NotReady node."""


_DOUBLE = 100
"""How far the index of a machine's second Node lies above that of its first, beyond all other machines."""


class NodeJoiner:
    """Follows the machines of one service."""

    def __init__(self, surroundings: Surroundings, service: AgentPoolService) -> None:
        self._in = surroundings
        self._service = service
        service.machines.on_vm = self._on_vm
        service.machines.on_vm_gone = self._on_vm_gone

    def _on_vm(self, pool: AgentPool, vm: Vm) -> None:
        failures = self._service.scenario.failures
        wait = self._in.delays.seconds("machine.node_wait") + self._extra_wait(failures)
        never = self._happens(failures, "node_never")
        twice = self._happens(failures, "node_twice")
        if not never:
            self._in.after(wait, lambda: self._join(vm))
        if twice:
            self._in.after(wait, lambda: self._join(self._double(vm), of=vm))

    def _on_vm_gone(self, pool: AgentPool, vm: Vm, why: Why) -> None:
        for name in (vm.node_name, self._double(vm).node_name):
            if why == "deleted":
                self._in.delete(NODES, name)
            elif self._in.get(NODES, name) is not None:
                self._fall_silent(name)

    def _happens(self, failures: Failures, name: str) -> bool:
        drawn = bool(getattr(failures, name).happens(self._in.generators.generator(f"azure.{name}")))
        return drawn and self._service.machines.by_chance

    def _extra_wait(self, failures: Failures) -> float:
        late = self._happens(failures, "node_late")
        by = failures.node_late_by.sample(self._in.generators.generator("azure.node_late_by"))
        return by if late else 0.0

    def _double(self, vm: Vm) -> Vm:
        """The same machine under another index, as after a reimage that left its old Node behind."""
        index = vm.index + _DOUBLE
        provider_id = self._service.names.provider_id(vm.scale_set, index)
        return replace(vm, index=index, provider_id=provider_id)

    def _join(self, vm: Vm, of: Vm | None = None) -> None:
        if (of or vm).ended_at is not None:
            return
        try:
            self._in.api.create(NODES, self._node(vm))
        except AlreadyExists:
            return

    def _node(self, vm: Vm) -> Object:
        asked = vm.home.asked
        cluster = self._service.names.cluster
        own = {"agentpool": vm.pool, AGENT_POOL: vm.pool}
        place = {"topology.kubernetes.io/region": cluster.location} | (
            {"topology.kubernetes.io/zone": f"{cluster.location}-{vm.zone}"} if vm.zone else {}
        )
        group = {"kubernetes.azure.com/cluster": cluster.node_resource_group}
        return joining_node(
            vm.node_name,
            instance_type=vm.size,
            labels={**asked.labels, **own, **group, **place},
            taints=[taint_of(text) for text in asked.taints],
            provider_id=vm.provider_id,
            at=timestamp(self._in.now()),
        )

    def _fall_silent(self, name: str) -> None:
        self._in.after(NOT_READY_AFTER_SECONDS, lambda: self._not_ready(name))
        self._in.after(NOT_READY_AFTER_SECONDS + GONE_AFTER_SECONDS, lambda: self._in.delete(NODES, name))

    def _not_ready(self, name: str) -> None:
        at = timestamp(self._in.now())
        silent = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastTransitionTime": at,
            "lastHeartbeatTime": at,
        }
        self._in.patch(NODES, name, {"status": {"conditions": [silent]}}, subresource="status")


def taint_of(text: str) -> Object:
    """A taint of a Node from a pool's ``key=value:Effect``."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})
