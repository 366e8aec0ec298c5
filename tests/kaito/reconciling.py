"""A bench for the reconciler: a virtual API server, caches that are only as fresh as the test makes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from kaito.catalogue import load_catalogue
from kaito.runtime.cache import ObjectStore, Replaced
from kaito.runtime.executor import Executor
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.observer import CACHED, Observer
from kaito.runtime.ports import MACHINES, NODES, WORKSPACES, KubeApi, Object, Resource
from kaito.runtime.reconciler import Reconciled, Reconciler
from kaito.runtime.repository import Repository
from kaito.runtime.settings import Settings
from simulator.cluster import Cluster
from statemachine.state import Workspace
from store.memory import MemoryEventLog

KEY = WorkspaceKey("default", "falcon")
START = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)


class VirtualClock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Bench:
    """One operator process; `restart` makes it forget everything but the log and the cluster."""

    def __init__(self, wrap: Callable[[Cluster], KubeApi] = lambda cluster: cluster) -> None:
        self.clock = VirtualClock()
        self.cluster = Cluster(self.clock.now, seed="bench")
        self.api = wrap(self.cluster)
        self.log = MemoryEventLog(self.clock.now)
        self.restart()

    def restart(self) -> None:
        self.caches = {resource: ObjectStore() for resource in CACHED}
        catalogue, settings = load_catalogue(), Settings()
        self.repository = Repository(self.log)
        self.reconciler = Reconciler(
            self.api,
            Observer(self.caches, catalogue, settings),
            self.repository,
            Executor(self.api, catalogue, settings, self.clock),
            self.clock,
        )

    def sync(self, *resources: Resource) -> None:
        """Bring caches up to the present: these, or all."""
        for resource in resources or CACHED:
            page = self.cluster.list(resource)
            self.caches[resource].apply(Replaced(tuple(page.items), page.resource_version))

    def reconcile(self, *, sync: bool = True) -> Reconciled:
        if sync:
            self.sync()
        return self.reconciler.reconcile(KEY)

    # --- the world, by hand -------------------------------------------------------------------------

    def apply_workspace(self, inference: Object | None = None, **resource: Any) -> Object:
        body = {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": KEY.name, "namespace": KEY.namespace},
            "resource": {
                "instanceType": "Standard_NC12s_v3",
                "labelSelector": {"matchLabels": {"apps": "falcon"}},
                **resource,
            },
            "inference": inference or {"preset": {"name": "falcon-7b-instruct"}},
        }
        return self.cluster.create(WORKSPACES, body, KEY.namespace)

    def workspace(self) -> Object:
        return self.cluster.get(WORKSPACES, KEY.name, KEY.namespace)

    def machines(self) -> list[Object]:
        return self.cluster.list(MACHINES).items

    def machine_names(self) -> list[str]:
        return [machine["metadata"]["name"] for machine in self.machines()]

    def join_node(self, machine: Object) -> None:
        """The node of a Machine joins with its GPU, and the Machine becomes Ready."""
        name = machine["metadata"]["name"]
        node = f"aks-{name}-vmss000000"
        labels = {
            **machine["metadata"]["labels"],
            "node.kubernetes.io/instance-type": "Standard_NC12s_v3",
            "kubernetes.azure.com/agentpool": name,
        }
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
        self.cluster.create(NODES, body)
        ready = [{"type": "Ready", "status": "True"}]
        status = {"conditions": ready, "allocatable": {"nvidia.com/gpu": "2"}}
        self.cluster.patch(NODES, node, {"status": status}, subresource="status")
        launched = [{"type": "MachineLaunched", "status": "True"}, *ready]
        patch = {"status": {"nodeName": node, "conditions": launched}}
        self.cluster.patch(MACHINES, name, patch, subresource="status")

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of one condition on the object, empty when it has none."""
        for found in (self.workspace().get("status") or {}).get("conditions") or ():
            if found["type"] == kind:
                return found["status"], found["reason"]
        return "", ""

    def state(self, uid: str = "") -> Workspace:
        return self.repository.load(KEY, uid or self.workspace()["metadata"]["uid"]).state
