"""A cluster and a cloud for whole processes: a real API server, the virtual ARM, and the players of the rest.

Every process has proxies of its own in front of both, so that what it does is told apart and can be disturbed
alone. All that is made is gone when the world is left, in whatever state a test leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import yaml

from kaito.clock import WallClock
from kaito.kube import connect
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    NotFound,
    Object,
    Resource,
)
from simulator.azure.arm import VirtualArm
from simulator.azure.loading import load as load_azure
from simulator.azure.scenario import AzureScenario
from simulator.azure.serving import ArmServer
from simulator.engine import Engine
from simulator.nodes import joining_node
from simulator.process import timestamp
from simulator.profile import load as load_profile
from simulator.randomness import Generators
from tests.e2e.clearing import WORKERS, clear
from tests.e2e.control_plane import ControlPlane
from tests.e2e.crowds import create_many, settle
from tests.e2e.heartbeats import Heartbeats
from tests.e2e.journal import Journal
from tests.e2e.kubeconfigs import write_kubeconfig
from tests.e2e.players import SPEED, Players
from tests.e2e.processes import KaitoProcess
from tests.e2e.proxy import Proxy, Upstream, in_front_of_api_server
from tests.e2e.servers import free_ports
from tests.e2e.waiting import until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
_T = TypeVar("_T")


class Member(NamedTuple):
    """A process of the world, and its two ways to the others."""

    process: KaitoProcess
    kube: Proxy
    arm: Proxy

    @property
    def journal(self) -> Journal:
        """What it asked the API server."""
        return self.kube.journal


class RealWorld:
    """Enter it; start members; leave it.

    Attributes:
        api: An administrator's client, past all proxies.
        arm: The cloud; hold ``arm_server.pacer.lock`` to touch it.
        players: Those of now; others after `restore`.
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        speed: float = SPEED,
        profile: str = "reference-run",
        azure: AzureScenario | None = None,
    ) -> None:
        self.plane = plane
        self.folder = folder
        self.speed = speed
        self.members: dict[str, Member] = {}
        self._profile = profile
        engine = Engine(WallClock().now())
        self.arm = VirtualArm(engine, Generators("arm"), load_profile(profile), azure or load_azure("calm"))
        self.arm_server = ArmServer(self.arm, engine, speed=speed)
        self.api = connect(plane.kubeconfig, user_agent="test", workers=WORKERS)
        self.players = self._new_players()
        self._opened = ExitStack()

    def __enter__(self) -> RealWorld:
        self._opened.callback(self.api.close)
        self._opened.callback(lambda: clear(self.api))
        self._opened.callback(lambda: self.players.stop())
        try:
            self._opened.enter_context(self.arm_server)
            clear(self.api)  # other tests have other habits
            self.players.start()
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members.values():
            member.process.kill()
        if not self.plane.etcd.running:
            self.plane.start_etcd()
        if not self.plane.api_server.running:
            self.plane.start_api_server()
        self._opened.close()

    # --- processes

    def operator(self, *flags: str, name: str = "operator", **options: Any) -> Member:
        """`kaito operator`, started; without its webhook, for which a test asks by ``--webhook``."""
        return self.start("operator", "--webhook=false", *flags, name=name, **options)

    def provisioner(self, *flags: str, name: str = "provisioner", **options: Any) -> Member:
        """`kaito provisioner` on the virtual ARM, started."""
        return self.start(
            "provisioner",
            *flags,
            name=name,
            arm_endpoint=True,
            **options,
        )

    def start(
        self,
        verb: str,
        *flags: str,
        name: str,
        arm_endpoint: bool = False,
        environment: Mapping[str, str] | None = None,
        log: str = "",
        ready: bool = True,
    ) -> Member:
        """A member with proxies and a folder of its own.

        Args:
            log: URL of its event log; by default a file in its folder.
            ready: Whether to wait until it says that it is ready.
        """
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        kube = self._opened.enter_context(in_front_of_api_server(name, self.plane))
        arm = self._opened.enter_context(Proxy(name, Upstream(self.arm_server.port)))
        kubeconfig = write_kubeconfig(folder / "kubeconfig", kube.url)
        health, metrics = free_ports(2)
        ports = _serving(verb, health, metrics)
        endpoint = [f"--arm-endpoint={arm.url}"] if arm_endpoint else []
        common = ["--kubeconfig", str(kubeconfig), "--log", log or f"sqlite:///{folder}/kaito.db"]
        process = KaitoProcess(
            [verb, *common, "--log-format=json", *ports, *endpoint, *flags],
            folder,
            environment={**self.variables, **(environment or {})},
            probe_port=health,
        )
        member = self.members[name] = Member(process, kube, arm)
        self._opened.enter_context(process)
        if ready:
            process.wait_ready()
        return member

    @property
    def variables(self) -> dict[str, str]:
        """What an environment says of the cloud, and where the Leases of leaders are."""
        cluster = self.arm.service.names.cluster
        return {
            "ARM_SUBSCRIPTION_ID": cluster.subscription,
            "ARM_RESOURCE_GROUP": cluster.resource_group,
            "AZURE_CLUSTER_NAME": cluster.name,
            "AZURE_TENANT_ID": "kaito",
            "AZURE_NODE_RESOURCE_GROUP": cluster.node_resource_group,
            "LOCATION": cluster.location,
            "SYSTEM_NAMESPACE": "default",
        }

    # --- what people do

    def apply(self, manifest: str | Path | Object) -> None:
        """With kubectl: a file, text, or an object."""
        if isinstance(manifest, Path):
            self.plane.kubectl("apply", "-f", str(manifest))
        else:
            text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
            self.plane.kubectl("apply", "-f", "-", stdin=text)

    def example(self, name: str, rename: str = "", **metadata: Any) -> Object:
        """An example manifest, perhaps under another name."""
        found: Object = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
        found["metadata"] |= metadata | ({"name": rename} if rename else {})
        return found

    def delete(self, resource: Resource, name: str, namespace: str = "") -> None:
        self.api.delete(resource, name, namespace, propagation="Background")

    def join_node(self, name: str, size: str, labels: Mapping[str, str] | None = None) -> None:
        """A node that no pool stands behind."""
        node = joining_node(
            name,
            instance_type=size,
            labels=dict(labels or {}),
            taints=[],
            provider_id=f"azure:///{name}",
            at=timestamp(WallClock().now()),
        )
        self.api.create(NODES, node)

    def apply_all(self, workspaces: Sequence[Object]) -> None:
        """Create many Workspaces at once, over several connections."""
        create_many(self.plane.kubeconfig, [(WORKSPACES, body) for body in workspaces])

    def settle(self, workspaces: Sequence[Object]) -> list[str]:
        """Let many Workspaces be there as if ready for long: `crowds.alike` makes them."""
        self.players.stop()
        names = settle(self.plane.kubeconfig, workspaces)
        self.players = self._new_players()
        self.players.start()
        return names

    @contextmanager
    def heartbeats(self, every_seconds: float = 10.0) -> Iterator[Heartbeats]:
        """Let every node's kubelet report, for the time of a block."""
        with Heartbeats(
            self.plane.kubeconfig, lambda: list(self.nodes()), every_seconds=every_seconds
        ) as hearts:
            yield hearts

    def set_speed(self, speed: float) -> None:
        """Of the cloud and of the players."""
        self.speed = speed
        self.arm_server.pacer.set_speed(speed)
        self.players.pacer.set_speed(speed)

    # --- what happens to the cluster

    def restore(self, backup: Path) -> None:
        """Set the cluster back to a backup; the machines of the cloud stay, and their kubelets join again."""
        self.players.stop()
        self.plane.restore(backup)
        self.players = self._new_players()
        self.players.start()

    # --- what is there

    def until(self, condition: Callable[[], _T], seconds: float = 30.0, what: object = "") -> _T:
        """Wait; a failure tells the state of the world."""
        return until(condition, seconds, lambda: f"{what or condition}\n{self.story()}")

    def workspaces(self, namespace: str = "") -> dict[str, Object]:
        return self._named(WORKSPACES, namespace)

    def machines(self) -> dict[str, Object]:
        return self._named(MACHINES)

    def nodes(self) -> dict[str, Object]:
        return self._named(NODES)

    def pods(self, namespace: str = "") -> dict[str, Object]:
        return self._named(PODS, namespace)

    def deployments(self, namespace: str = "") -> dict[str, Object]:
        return self._named(DEPLOYMENTS, namespace)

    def statefulsets(self, namespace: str = "") -> dict[str, Object]:
        return self._named(STATEFULSETS, namespace)

    def services(self, namespace: str = "") -> dict[str, Object]:
        """But for the one of the API server itself."""
        found = self._named(SERVICES, namespace)
        return {name: service for name, service in found.items() if name != "kubernetes"}

    def pools(self) -> dict[str, str]:
        """The pools of the cloud but for the system's own, and their provisioning states."""
        with self.arm_server.pacer.lock:
            pools = sorted(self.arm.service.pools.items())
            return {name: str(pool.state) for name, pool in pools if pool.asked.mode == "User"}

    def arm_calls(self, verb: str) -> int:
        """How many calls of this kind have reached the cloud."""
        with self.arm_server.pacer.lock:
            return sum(call.verb == verb for call in self.arm.journal)

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        try:
            return self.api.get(resource, name, namespace)
        except NotFound:
            return None

    def conditions(self, name: str, resource: Resource = WORKSPACES, namespace: str = "") -> dict[str, str]:
        """Status by type; empty before there are any, and of what is not there."""
        found = self.find(resource, name, namespace) or {}
        listed = (found.get("status") or {}).get("conditions") or ()
        return {each["type"]: each["status"] for each in listed}

    def is_ready(self, name: str, namespace: str = "") -> bool:
        """Whether the Workspace says that it is."""
        return self.conditions(name, namespace=namespace).get("WorkspaceReady") == "True"

    def describe(self, name: str, resource: Resource = WORKSPACES, namespace: str = "default") -> str:
        """As kubectl does."""
        arguments = ["-n", namespace] if resource.namespaced else []
        return self.plane.kubectl("describe", f"{resource.plural}.{resource.group}", name, *arguments)

    def story(self) -> str:
        """All that a failed test would ask for, in a screen."""
        kinds = (WORKSPACES, MACHINES, NODES, DEPLOYMENTS, STATEFULSETS, PODS)
        lines = [f"{kind.plural}: {', '.join(self._named(kind)) or 'none'}" for kind in kinds]
        lines += [f"  {name}: {self.conditions(name)}" for name in self.workspaces()]
        lines += [f"pools: {self.pools()}", f"troubles of the players: {self.players.troubles}"]
        for name, member in self.members.items():
            calls = [str(call) for call in member.journal.since()[-5:]]
            lines += [f"{name}: {calls}", member.process.tail()[-1500:]]
        return "\n".join(lines)

    def _named(self, resource: Resource, namespace: str = "") -> dict[str, Object]:
        return {each["metadata"]["name"]: each for each in self.api.list(resource, namespace).items}

    def _new_players(self) -> Players:
        return Players(self.plane.kubeconfig, arm=self.arm, speed=self.speed, profile=self._profile)


def _serving(verb: str, health: int, metrics: int) -> list[str]:
    """The flags of the two published programs for where they serve probes and metrics."""
    if verb == "operator":
        return [
            f"--health-probe-bind-address=127.0.0.1:{health}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
        ]
    return [f"--health-probe-port={health}", f"--metrics-port={metrics}"]
