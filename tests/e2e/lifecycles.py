"""One life of a Workspace after another: applied, ready, deleted, gone; and what each has left behind.

The processes are restarted at once whenever they end, as a kubelet does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from kaito.clock import WallClock
from kaito.runtime.ports import LEASES, WORKSPACES, Object
from tests.e2e.journal import calls
from tests.e2e.real_world import Member, RealWorld

NAME = "falcon"

SPEED = 960.0
"""Virtual seconds a second: a pool takes a quarter of one, and so does a pull of four minutes."""

SHORT_TERMS = (
    "--leader-elect-lease-duration=2s",
    "--leader-elect-renew-deadline=1.4s",
    "--leader-elect-retry-period=0.3s",
)
"""For tests in which a leader falls very often."""

LIFE_SECONDS = 120.0
_CREATED = calls("POST", r"/machines$")
_PUT = calls("PUT", r"/agentPools/[^/]+$")
_T = TypeVar("_T")

Picture: TypeAlias = dict[str, Any]


class Life(NamedTuple):
    """What one Workspace has been.

    Attributes:
        picture: Of all that was there when it was ready, without what differs from life to life.
        machines: Names of the Machines that were created for it, once for each creation.
        puts: Names of the pools that the cloud was asked for, once for each request.
        ready_seconds: From its creation to the end of its provisioning.
    """

    picture: Picture
    machines: list[str]
    puts: list[str]
    ready_seconds: float


class Lifecycles:
    """Both processes in one world, each life begun when nothing is left of the one before."""

    def __init__(self, world: RealWorld, *terms: str) -> None:
        world.set_speed(SPEED)
        self.world = world
        self.operator = world.operator(*terms)
        self.provisioner = world.provisioner(*terms)
        self.starts = 0
        """How often a process was started again."""
        self.fallen: dict[str, float] = {}
        """When those fell that do not lead again yet, by their names."""
        self.back_seconds: list[float] = []
        """How long each fall has lasted, until the process was ready and led."""

    def live(self, like: Picture | None = None) -> Life:
        """One whole life.

        Args:
            like: What there has to be once it is ready; by default whatever there is.
        """
        world, clock = self.world, WallClock()
        made, put = len(self.operator.journal), len(self.provisioner.arm.journal)
        begun = clock.monotonic()
        world.api.create(WORKSPACES, world.example("falcon-7b-instruct", rename=NAME, namespace="default"))
        self.until(lambda: world.is_ready(NAME), f"{NAME} ready")
        ready_seconds = clock.monotonic() - begun
        picture = self._picture(like)
        world.delete(WORKSPACES, NAME, "default")
        self.until(lambda: nothing_is_left(world), "nothing left")
        self.until(lambda: not self.fallen, "everybody back")
        return Life(picture, self._machines(made), self._puts(put), ready_seconds)

    def _picture(self, like: Picture | None) -> Picture:
        """What there is when it is complete, or alike: labels may come a moment after readiness."""
        try:
            return self.until(lambda: _alike(picture_of(self.world), like), "as ever")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{differences(picture_of(self.world), like or {})}") from None

    def until(self, condition: Callable[[], _T], what: str) -> _T:
        """Wait, and restart whichever process has ended."""

        def found() -> _T:
            self.revive()
            return condition()

        return self.world.until(found, LIFE_SECONDS, what)

    def revive(self) -> None:
        """Start whoever has ended, and note how long it is until it leads."""
        now = WallClock().monotonic()
        for member in (self.operator, self.provisioner):
            name = member.kube.name
            if not member.process.running:
                member.process.start()
                self.starts += 1
                self.fallen.setdefault(name, now)
            elif name in self.fallen and self.leads(member):
                self.back_seconds.append(now - self.fallen.pop(name))

    def leads(self, member: Member) -> bool:
        """Whether it is ready and holds its Lease, whose holder bears the number of its process."""
        leases = self.world.api.list(LEASES, "default").items
        holders = [(lease.get("spec") or {}).get("holderIdentity") or "" for lease in leases]
        mine = f"_{member.process.pid}_"
        return any(mine in holder for holder in holders) and member.process.probe() == 200

    def _machines(self, mark: int) -> list[str]:
        """Those that the API server has accepted, whether or not the operator was told."""
        created = [call for call in self.operator.journal.since(mark, _CREATED) if call.code == 201]
        return [json.loads(call.body)["metadata"]["name"] for call in created]

    def _puts(self, mark: int) -> list[str]:
        """Those that have reached the cloud."""
        asked = [call for call in self.provisioner.arm.journal.since(mark, _PUT) if call.code is not None]
        return [call.path.rpartition("/")[2] for call in asked]


def nothing_is_left(world: RealWorld) -> bool:
    left = (world.workspaces(), world.machines(), world.nodes(), world.pods(), world.deployments())
    return not any(left) and not world.services() and not world.pools()


def picture_of(world: RealWorld) -> Picture:
    """All that is there, but for times, UIDs and names made of them; empty unless there is one of each."""
    kinds = (world.workspaces(), world.machines(), world.nodes(), world.deployments(), world.services())
    if not all(len(kind) == 1 for kind in kinds):
        return {}
    workspace, machine, node, deployment, service = (next(iter(kind.values())) for kind in kinds)
    told: dict[str, Any] = {
        "workspace": [_reasons(workspace), workspace["metadata"]["finalizers"]],
        "machine": [_reasons(machine), machine["metadata"]["finalizers"], machine["metadata"]["labels"]],
        "node": [_kept_labels(node), node["spec"].get("taints")],
        "deployment": [deployment["spec"]["replicas"], deployment["spec"]["template"]],
        "service": service["spec"]["ports"],
        "pools": list(world.pools().items()),
    }
    text = json.dumps(told).replace(machine["metadata"]["name"], "the-machine")
    found: Picture = json.loads(text.replace(workspace["metadata"]["uid"], "the-uid"))
    return found


def differences(found: Picture, expected: Picture) -> list[str]:
    kinds = [kind for kind, told in expected.items() if found.get(kind) != told]
    return [f"{kind}: found {found.get(kind)}, expected {expected[kind]}" for kind in kinds]


def _alike(found: Picture, like: Picture | None) -> Picture:
    return found if like is None or found == like else {}


def _reasons(obj: Object) -> dict[str, list[str]]:
    return {each["type"]: [each["status"], each.get("reason", "")] for each in obj["status"]["conditions"]}


def _kept_labels(node: Object) -> dict[str, str]:
    """But for the name of the node."""
    labels = node["metadata"]["labels"].items()
    return {name: value for name, value in labels if name != "kubernetes.io/hostname"}
