"""Hundreds of Workspaces at once on a cloud that answers after 30 seconds, and then nothing but heartbeats.

``KAITO_SCALE_WORKSPACES`` and ``KAITO_SCALE_HEARTBEAT_MINUTES`` say how many and how long; without them 500
and one minute. All runs in real time: the cloud's operations take 30 s, what else the players do, little.
The figures are printed at the end and written to ``out/five-hundred.json``; how the time from an observed
change to the written status is measured, `tests.e2e.reactions` says. The renewal of a Lease is no write
here; Events and everything else are.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pytest
import yaml

from kaito.clock import WallClock
from simulator.azure.loading import from_section
from simulator.profile import load as load_profile
from tests.e2e.control_plane import ControlPlane
from tests.e2e.crowds import alike
from tests.e2e.hearing import Hearing
from tests.e2e.journal import Call, calls, writes
from tests.e2e.metrics import metric
from tests.e2e.reactions import Reactions, percentiles
from tests.e2e.real_world import ROOT, Member, RealWorld
from tests.e2e.waiting import holds

pytestmark = pytest.mark.real_server

COUNT = int(os.environ.get("KAITO_SCALE_WORKSPACES", "500"))
HEARTBEAT_MINUTES = float(os.environ.get("KAITO_SCALE_HEARTBEAT_MINUTES", "1"))
PROVIDER_SECONDS = 30.0
LATENCIES = {
    "machine.request": 0.05,
    "machine.operation": PROVIDER_SECONDS,
    "node.ready": 0.5,
    "node.gpu_allocatable": 0.5,
    "workload.scheduling": 0.1,
    "workload.pull_rate": 1e12,
    "workload.container_start": 0.2,
    "workload.framework_start": 0.2,
    "workload.weights_disk_rate": 1e12,
    "workload.probe_slack": 0.2,
}
MOST_STATUS_WRITES = 6
STATUS_PATH = "/workspaces/[^/]+/status$"
STATUS = calls("PATCH", STATUS_PATH)
EVENTS = calls("POST", "/events$")
QUIET_SECONDS = 10.0


@pytest.fixture
def wide(server: ControlPlane, tmp_path: Path) -> Iterator[RealWorld]:
    """A world in real time with room for all pools."""
    profile = tmp_path / "profile.yaml"
    values = load_profile("reference-run").with_values(LATENCIES).model_dump(mode="json")
    profile.write_text(yaml.safe_dump(values))
    azure = from_section({"pool_limit": COUNT + 10})
    with RealWorld(server, tmp_path, speed=1.0, profile=str(profile), azure=azure) as world:
        yield world


def changes(call: Call) -> bool:
    """Whether it is a write that counts."""
    return writes(call) and "/leases" not in call.path


def what(call: Call) -> str:
    """The call without names: ``PATCH workspaces/status``."""
    parts = re.sub(r"^/(api/v1|apis/[^/]+/[^/]+)(/namespaces/[^/]+(?=/))?/", "", call.path).split("/")
    return f"{call.method} {'/'.join([parts[0], *parts[2:]])}"


def reason(call: Call) -> str:
    """Of an Event."""
    return str(json.loads(call.body)["reason"])


def reconciles(member: Member, controller: str) -> int:
    return int(metric(member.process, "controller_runtime_reconcile_total", controller=controller))


def figures(member: Member, controller: str, seconds: float) -> dict[str, object]:
    """What a process has used and done from its start until now."""
    usage, made = member.process.usage(), member.journal.since(match=changes)
    return {
        "reconciles": reconciles(member, controller),
        "api_writes": len(made),
        "api_writes_per_workspace": round(len(made) / COUNT, 2),
        "by_kind": dict(Counter(map(what, made)).most_common()),
        "events": dict(Counter(map(reason, member.journal.since(match=EVENTS))).most_common()),
        "reads": dict(
            Counter(map(what, member.journal.since(match=calls("GET", watch=False)))).most_common(4)
        ),
        "rss_mib": round(usage.rss_bytes / 2**20, 1),
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "cpu_share": round(usage.cpu_seconds / seconds, 2),
        "threads": usage.threads,
        "sockets": usage.sockets,
    }


def tell(found: dict[str, object]) -> None:
    """As a table, and as a file."""
    path = ROOT / "out" / "five-hundred.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print()
    for name, value in found.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for row, told in rows:
            print(f"{name:<16} {row:<26} {told}")


def test_all_become_ready_and_heartbeats_write_nothing(wide: RealWorld) -> None:
    operator, provisioner = wide.operator(), wide.provisioner()
    reactions, clock = Reactions(), WallClock()
    operator.kube.listener = Hearing(reactions.heard)
    workspaces = alike(wide.example("falcon-7b-instruct"), COUNT)
    begun = clock.monotonic()

    wide.apply_all(workspaces)
    wide.until(lambda: all_ready(operator), 60 + COUNT, "all Workspaces ready")
    seconds = clock.monotonic() - begun
    asked = operator.journal.since(match=STATUS)
    per_workspace = Counter(call.path for call in asked if call.code == 200)
    measured = reactions.seconds(asked)
    found = {
        "all": {"workspaces": COUNT, "ready_seconds": round(seconds, 1)},
        "operator": figures(operator, "workspace", seconds),
        "provisioner": figures(provisioner, "machine", seconds),
        "arm": dict(Counter(call.method for call in provisioner.arm.journal.since())),
        "status_writes": dict(sorted(Counter(per_workspace.values()).items())),
        "status_answers": dict(Counter(str(call.code) for call in asked)),
        "reaction_ms": reaction_figures(measured),
    }
    operator.kube.listener = lambda call, piece: None
    settled(wide, operator, provisioner)
    quiet = heartbeat_figures(wide, operator, provisioner)
    tell(found | {"heartbeats": quiet})

    assert all(wide.is_ready(each["metadata"]["name"]) for each in workspaces[:: max(COUNT // 10, 1)])
    assert len(wide.machines()) == len(wide.pools()) == wide.arm_calls("put") == COUNT
    assert len(per_workspace) == COUNT
    assert max(per_workspace.values()) <= MOST_STATUS_WRITES
    assert all(len(each) == COUNT for each in measured.values())
    assert quiet["rounds"] >= HEARTBEAT_MINUTES * 3
    assert (quiet["operator_writes"], quiet["provisioner_writes"]) == (0, 0)
    assert wide.players.troubles == []


def reaction_figures(measured: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """By fact, and of all together."""
    found = {fact: percentiles(each) for fact, each in measured.items()}
    return found | {"all": percentiles(chain.from_iterable(measured.values()))}


def all_ready(operator: Member) -> bool:
    """As it has written: to list all Workspaces again and again would be a load of its own."""
    told = operator.journal.since(match=calls("PATCH", STATUS_PATH, body='"WorkspaceReady","status":"True"'))
    holds(lambda: True, 1.0)
    return len({call.path for call in told if call.code == 200}) >= COUNT


def settled(world: RealWorld, *members: Member) -> None:
    """Wait until nothing is written any more: Events come after what they tell."""
    world.until(lambda: is_quiet(members), 180, "an end of all writes")


def is_quiet(members: Sequence[Member]) -> bool:
    before = [member.journal.count(changes) for member in members]
    holds(lambda: True, QUIET_SECONDS)
    return before == [member.journal.count(changes) for member in members]


def heartbeat_figures(world: RealWorld, operator: Member, provisioner: Member) -> dict[str, float]:
    """What both do, and use, while nothing happens but the heartbeats of all nodes."""
    before = totals(operator, provisioner)
    with world.heartbeats(10.0) as hearts:
        holds(lambda: True, HEARTBEAT_MINUTES * 60)
    after = totals(operator, provisioner)
    grown = {name: round(after[name] - before[name], 2) for name in before}
    return {"minutes": HEARTBEAT_MINUTES, "rounds": hearts.beats, **grown}


def totals(operator: Member, provisioner: Member) -> dict[str, float]:
    return {
        "operator_writes": operator.journal.count(changes),
        "provisioner_writes": provisioner.journal.count(changes),
        "operator_reconciles": reconciles(operator, "workspace"),
        "provisioner_reconciles": reconciles(provisioner, "machine"),
        "operator_cpu_seconds": operator.process.usage().cpu_seconds,
        "provisioner_cpu_seconds": provisioner.process.usage().cpu_seconds,
        "operator_rss_mib": operator.process.usage().rss_bytes / 2**20,
        "arm_calls": len(provisioner.arm.journal),
    }
