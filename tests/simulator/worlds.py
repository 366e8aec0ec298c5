"""A world to test processes in: the virtual API server, the engine, and all that lives between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kaito.runtime.ports import DEPLOYMENTS, MACHINES, NODES, PODS, Object, Resource
from kaito.runtime.settings import Settings
from simulator import profile
from simulator.azure.arm import VirtualArm
from simulator.azure.scenario import AzureScenario
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.operator import Provisioner
from simulator.profile import Profile
from simulator.randomness import Generators
from simulator.world import World
from store.memory import MemoryEventLog

START = datetime(2024, 4, 5, 18, 29, 58, 776000, tzinfo=UTC)
FALCON_IMAGE = "mcr.microsoft.com/aks/kaito/kaito-falcon-7b-instruct:0.0.4"
GPU = "nvidia.com/gpu"


class TestBed:
    """One world, and the history of every write in it."""

    __test__ = False

    def __init__(
        self,
        profile_: Profile | str = "reference-run",
        *,
        seed: int = 1,
        azure: AzureScenario | None = None,
    ) -> None:
        self.engine = Engine(START)
        self.cluster = Cluster(self.engine.now, seed, admit=[self._record])
        self.history: list[str] = []
        chosen = profile.load(profile_) if isinstance(profile_, str) else profile_
        generators = Generators(seed)
        self.arm = VirtualArm(self.engine, generators, chosen, azure)
        self.world = World(self.cluster, self.engine, generators, chosen, self.arm)
        self.log = MemoryEventLog(self.engine.now)
        self.provisioner = Provisioner(self.cluster, self.engine, self.log, self.arm, Settings(), generators)
        self.provisioner.start()

    def _record(self, operation: str, resource: Resource, new: Object | None, old: Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        self.history.append(f"{self.engine.now_ns} {operation} {resource.kind} {name} {new}")

    def until(self, seconds: float) -> None:
        """Run to so many seconds after the start."""
        self.engine.run(until=START + timedelta(seconds=seconds))

    def seconds(self) -> float:
        return self.engine.monotonic()

    def run_until(self, reached: Any) -> float:
        """Run until the predicate holds; when that was, in seconds after the start."""
        self.engine.run(stop=reached)
        assert reached(), "the world came to rest before it happened"
        return self.seconds()

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        found = [obj for obj in self.all(resource) if obj["metadata"]["name"] == name]
        return found[0] if found else None

    def all(self, resource: Resource) -> list[Object]:
        return self.cluster.list(resource).items

    def machine(self, name: str = "ws000000001") -> Object:
        return self.cluster.get(MACHINES, name)

    def node(self) -> Object:
        (node,) = self.all(NODES)
        return node

    def pod(self) -> Object:
        (pod,) = self.all(PODS)
        return pod

    def condition(self, obj: Object, type_: str) -> Object:
        found = [each for each in obj.get("status", {}).get("conditions", ()) if each["type"] == type_]
        return found[0] if found else {}

    def is_ready(self, resource: Resource, name: str) -> bool:
        obj = self.find(resource, name)
        return obj is not None and self.condition(obj, "Ready").get("status") == "True"

    def ready_replicas(self, resource: Resource = DEPLOYMENTS, name: str = "w") -> int:
        obj = self.find(resource, name)
        return int((obj or {}).get("status", {}).get("readyReplicas", 0))

    def gpus(self) -> int:
        return sum(int(node["status"]["allocatable"].get(GPU, 0)) for node in self.all(NODES))

    def with_nodes(self, *names: str, gpus: int = 2) -> None:
        """Nodes that are up already, as a user brings them."""
        for name in names:
            self.cluster.create(NODES, a_gpu_node(name, gpus=gpus))


def a_machine(
    name: str = "ws000000001",
    *,
    instance_type: str = "Standard_NC12s_v3",
    labels: dict[str, str] | None = None,
) -> Object:
    workspace = {
        "kaito.sh/workspace": "w",
        "kaito.sh/workspacenamespace": "default",
        "karpenter.sh/provisioner-name": "default",
        "apps": "falcon-7b",
    }
    size = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type]}
    return {
        "metadata": {"name": name, "labels": workspace if labels is None else labels},
        "spec": {
            "requirements": [size],
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
    }


def a_gpu_node(name: str, *, gpus: int = 2, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"apps": "falcon-7b", "kubernetes.io/os": "linux"}},
        "spec": {"taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}], **spec},
        "status": {
            "allocatable": {GPU: str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def a_template(*, image: str = FALCON_IMAGE, gpus: int = 1, probe: bool = True, **spec: Any) -> Object:
    container: Object = {
        "name": "server",
        "image": image,
        "resources": {"requests": {GPU: str(gpus)}, "limits": {GPU: str(gpus)}},
    }
    if probe:
        container["readinessProbe"] = {"initialDelaySeconds": 30, "periodSeconds": 10}
    selector = {"matchExpressions": [{"key": "apps", "operator": "In", "values": ["falcon-7b"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [selector]}}
    return {
        "metadata": {"labels": {"kaito.sh/workspace": "w"}},
        "spec": {
            "containers": [container],
            "affinity": {"nodeAffinity": required},
            "tolerations": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            **spec,
        },
    }


def a_workload(name: str = "w", *, replicas: int = 1, template: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"kaito.sh/workspace": "w"}},
            "template": template or a_template(),
            **spec,
        },
    }


def falcon_life(bed: TestBed) -> None:
    """Machine, workload, and the deletion of both, each as soon as the one before allows it."""
    bed.cluster.create(MACHINES, a_machine())
    bed.run_until(lambda: bed.gpus() > 0)
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.run_until(lambda: bed.ready_replicas() == 1)
    bed.cluster.delete(MACHINES, "ws000000001")
    bed.run_until(lambda: bed.find(MACHINES, "ws000000001") is None)
    bed.cluster.delete(DEPLOYMENTS, "w")
    bed.engine.run()
