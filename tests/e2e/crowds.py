"""Many Workspaces at once, as they stand after months: served, their nodes ready, without any history.

Everything is written as it would have become, over several connections, while the players are away; they
find it running when they come. Names and manifests are the operator's own, so that it knows them for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from kaito import manifests
from kaito.api.workspace import Workspace
from kaito.catalogue import load_catalogue
from kaito.catalogue.entries import Preset
from kaito.clock import WallClock
from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.runtime.keys import FINALIZER, GENERATION_ANNOTATION, MACHINE_TYPE_LABEL
from kaito.runtime.machines.keys import FINALIZER as MACHINE_FINALIZER
from kaito.runtime.ports import DEPLOYMENTS, MACHINES, NODES, PODS, SERVICES, WORKSPACES, Object, Resource
from simulator.instance_types import gpus
from simulator.nodes import GPU, INSTANCE_TYPE, PROVISIONER, joining_node
from simulator.process import timestamp
from simulator.workloads import TEMPLATE_HASH, template_hash
from statemachine.naming import machine_name

WORKERS = 8

_I = TypeVar("_I")
_R = TypeVar("_R")


def with_connections(
    kubeconfig: Path, work: Callable[[KubeClient, _I], _R], items: Iterable[_I], workers: int = WORKERS
) -> list[_R]:
    """Do the same for all items, so many at a time; the first failure is raised."""
    with (
        closing(connect(kubeconfig, user_agent="crowd", workers=workers)) as api,
        ThreadPoolExecutor(workers, "crowd") as pool,
    ):
        return list(pool.map(lambda item: work(api, item), items))


def create_many(kubeconfig: Path, objects: Sequence[tuple[Resource, Object]]) -> list[Object]:
    """As fast as the server takes them; in no order."""
    return with_connections(kubeconfig, lambda api, each: api.create(each[0], each[1]), objects)


def alike(example: Object, count: int, prefix: str = "crowd") -> list[Object]:
    """Workspaces of one kind under names and selectors of their own."""
    return [_renamed(example, f"{prefix}-{number:04}") for number in range(count)]


def settle(kubeconfig: Path, workspaces: Sequence[Object]) -> list[str]:
    """Let these Workspaces be there and ready, each on one node, served by a Deployment; their names."""
    return with_connections(kubeconfig, _settle_one, workspaces)


def _renamed(example: Object, name: str) -> Object:
    resource = {**example["resource"], "labelSelector": {"matchLabels": {"apps": name}}}
    return {**example, "metadata": {"name": name, "namespace": "default"}, "resource": resource}


def _settle_one(api: KubeClient, body: Object) -> str:
    metadata = {**body["metadata"], "finalizers": [FINALIZER]}
    stored = api.create(WORKSPACES, {**body, "metadata": metadata})
    node = _machine_and_node(api, Workspace.from_cluster(stored))
    _serve(api, stored, node)
    return str(metadata["name"])


def _machine_and_node(api: KubeClient, workspace: Workspace) -> str:
    """The name of the node."""
    name = machine_name(workspace.metadata.uid, 0, 0)
    machine = manifests.machine(workspace, _preset(workspace), name=name)
    machine["metadata"]["finalizers"] = [MACHINE_FINALIZER]
    node = _node(workspace, machine)
    api.create(MACHINES, machine)
    status = {
        "nodeName": node["metadata"]["name"],
        "providerID": node["spec"]["providerID"],
        "conditions": _true("MachineLaunched", "MachineRegistered", "MachineInitialized", "Ready"),
    }
    api.patch(MACHINES, name, {"status": status}, subresource="status")
    api.create(NODES, node)
    # The server itself has added a taint to a node that is new.
    api.patch(NODES, node["metadata"]["name"], {"spec": {"taints": machine["spec"]["taints"]}})
    return str(node["metadata"]["name"])


def _node(workspace: Workspace, machine: Object) -> Object:
    pool, size = machine["metadata"]["name"], workspace.resource.instance_type
    name = f"aks-{pool}-00000000-vmss000000"
    node = joining_node(
        name,
        instance_type=size,
        labels={
            **machine["metadata"]["labels"],
            MACHINE_TYPE_LABEL: "gpu",
            PROVISIONER: "default",
            "kubernetes.azure.com/agentpool": pool,
            "accelerator": "nvidia",
        },
        taints=[],
        provider_id=f"azure:///crowd/{pool}/0",
        at=_now(),
    )
    offered = {**node["status"]["capacity"], GPU: str(gpus(size))}
    node["status"] = {"capacity": offered, "allocatable": offered, "conditions": _true("Ready")}
    node["metadata"]["labels"][INSTANCE_TYPE] = size
    return node


def _serve(api: KubeClient, stored: Object, node: str) -> None:
    workspace = Workspace.from_cluster(stored)
    preset = _preset(workspace)
    api.create(SERVICES, manifests.service(workspace, preset))
    body = manifests.workload(workspace, preset)
    body["metadata"]["annotations"] = {GENERATION_ANNOTATION: str(stored["metadata"]["generation"])}
    workload = api.create(DEPLOYMENTS, body)
    _run_pod(api, workload, node)
    counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), 1)
    status = {"observedGeneration": workload["metadata"]["generation"], "unavailableReplicas": 0, **counts}
    name, namespace = workload["metadata"]["name"], workload["metadata"]["namespace"]
    api.patch(DEPLOYMENTS, name, {"status": status}, namespace, subresource="status")


def _run_pod(api: KubeClient, workload: Object, node: str) -> None:
    metadata, template = workload["metadata"], workload["spec"]["template"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    current = template_hash(workload)
    name = f"{metadata['name']}-{current}-0"
    labels = {**template["metadata"]["labels"], TEMPLATE_HASH: current}
    pod = {
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {**template["spec"], "nodeName": node},
    }
    api.create(PODS, pod, metadata["namespace"])
    conditions = _true("Initialized", "Ready", "ContainersReady", "PodScheduled")
    status = {"phase": "Running", "conditions": conditions}
    api.patch(PODS, name, {"status": status}, metadata["namespace"], subresource="status")


def _preset(workspace: Workspace) -> Preset | None:
    return load_catalogue().presets.get(workspace.preset_name or "")


def _true(*types: str) -> list[Object]:
    at = _now()
    told = {"status": "True", "reason": "Settled", "message": "it runs", "lastTransitionTime": at}
    return [{"type": type_, **told} for type_ in types]


def _now() -> str:
    return timestamp(WallClock().now())
