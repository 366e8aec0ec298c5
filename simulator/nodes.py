"""The life of a Node: joining, becoming Ready, offering its GPUs, and taking its pods along when it goes.

Three processes: the kubelet's node status, the GPU device plugin, and the collector of pods whose node is
gone.
"""

from __future__ import annotations

from kaito.runtime.ports import NODES, PODS, Object
from simulator.instance_types import gpus, virtual_cpus
from simulator.process import Surroundings, is_true, key, labels, timestamp

GPU = "nvidia.com/gpu"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
MACHINE_TYPE = "kaito.sh/machine-type"
PROVISIONER = "karpenter.sh/provisioner-name"
NOT_READY_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}

_MAX_PODS = "110"


def joining_node(
    name: str,
    *,
    instance_type: str,
    labels: dict[str, str],
    taints: list[Object],
    provider_id: str,
    at: str,
) -> Object:
    """A Node as its kubelet registers it: known, not Ready yet, and without GPUs until the plugin is up."""
    offered = {"cpu": str(virtual_cpus(instance_type)), "pods": _MAX_PODS}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **labels,
                INSTANCE_TYPE: instance_type,
                "beta.kubernetes.io/instance-type": instance_type,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "spec": {"providerID": provider_id, "taints": [*taints, NOT_READY_TAINT]},
        "status": {
            "capacity": offered,
            "allocatable": offered,
            "conditions": [
                _ready_condition("False", "KubeletNotReady", "container runtime network not ready", at)
            ],
        },
    }


def instance_type_of(node: Object) -> str:
    return labels(node).get(INSTANCE_TYPE, "")


def allocatable_gpus(node: Object) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(GPU, 0))


class NodeLife:
    """Makes a joined Node Ready, after the profile's ``node.ready``."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        self._starting: set[str] = set()
        surroundings.follow(NODES, self._on_node)

    def _on_node(self, type_: str, node: Object) -> None:
        _, name = key(node)
        joined = NOT_READY_TAINT in (node["spec"].get("taints") or ())
        if type_ == "DELETED" or not joined or name in self._starting:
            return
        self._starting.add(name)
        self._in.after(self._in.delays.seconds("node.ready"), lambda: self._become_ready(name))

    def _become_ready(self, name: str) -> None:
        self._starting.discard(name)
        node = self._in.get(NODES, name)
        if node is None:
            return
        taints = [taint for taint in node["spec"].get("taints") or () if taint != NOT_READY_TAINT]
        at = timestamp(self._in.now())
        ready = _ready_condition("True", "KubeletReady", "kubelet is posting ready status", at)
        self._in.patch(NODES, name, {"spec": {"taints": taints}})
        self._in.patch(NODES, name, {"status": {"conditions": [ready]}}, subresource="status")


class GpuPlugin:
    """The device plugin DaemonSet: a Ready GPU node offers its GPUs after ``node.gpu_allocatable``.

    It runs where its node affinity lets it: on nodes of the provisioner, told by two labels.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        self._starting: set[str] = set()
        surroundings.follow(NODES, self._on_node)

    def _on_node(self, type_: str, node: Object) -> None:
        _, name = key(node)
        if type_ == "DELETED" or name in self._starting or not self._awaits_plugin(node):
            return
        self._starting.add(name)
        self._in.after(self._in.delays.seconds("node.gpu_allocatable"), lambda: self._offer(name))

    def _awaits_plugin(self, node: Object) -> bool:
        selected = MACHINE_TYPE in labels(node) and PROVISIONER in labels(node)
        has_gpus = gpus(instance_type_of(node)) > 0
        return selected and has_gpus and is_true(node, "Ready") and not allocatable_gpus(node)

    def _offer(self, name: str) -> None:
        self._starting.discard(name)
        node = self._in.get(NODES, name)
        if node is None or not self._awaits_plugin(node):
            return
        offered = {GPU: str(gpus(instance_type_of(node)))}
        self._in.patch(
            NODES, name, {"status": {"capacity": offered, "allocatable": offered}}, subresource="status"
        )


class PodGarbageCollector:
    """Pods die with their node: when a Node is gone, so are the pods that were bound to it.

    There is no kubelet left to end them, so they get no grace.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        surroundings.follow(NODES, self._on_node)

    def _on_node(self, type_: str, node: Object) -> None:
        _, name = key(node)
        if type_ != "DELETED" or self._in.get(NODES, name) is not None:
            return
        for pod in pods_on(self._in, name):
            self._in.finish(pod)


def pods_on(surroundings: Surroundings, node: str) -> list[Object]:
    """The pods bound to the node, in the order of their names."""
    return surroundings.api.list(PODS, field_selector=f"spec.nodeName={node}").items


def _ready_condition(status: str, reason: str, message: str, at: str) -> Object:
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": at,
        "lastHeartbeatTime": at,
    }
