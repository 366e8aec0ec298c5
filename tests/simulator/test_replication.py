"""Whole lives in virtual time: the reference run and what differs from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from kaito import manifests
from kaito.api.workspace import Workspace
from kaito.catalogue import load_catalogue
from kaito.runtime.ports import DEPLOYMENTS, MACHINES, SERVICES, WORKSPACES, Object
from kaito.runtime.settings import Settings
from kaito.runtime.translation import conditions_of
from simulator.engine import Engine
from simulator.profile import load
from simulator.replication import START, Replication, Result, Scenario
from store.memory import MemoryEventLog

KINDS = ("MachineReady", "ResourceReady", "InferenceReady", "WorkspaceReady")


def _falcon(name: str = "falcon", **resource: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": name}},
            **resource,
        },
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }


class Run:
    def __init__(self, *, prepare: Callable[[Replication], None] | None = None, **scenario: Any) -> None:
        fields = {"workspaces": (_falcon(),), "profile": load("reference-run"), **scenario}
        self.engine = Engine(START)
        self.log = MemoryEventLog(self.engine.now)
        self.replication = Replication(Scenario(**fields), self.log, load_catalogue(), engine=self.engine)
        if prepare is not None:
            prepare(self.replication)
        self.result: Result = self.replication.run()

    def became(self, kind: str, status: str) -> list[float]:
        """The ages, in seconds, at which a condition took this status."""
        found: list[tuple[str, float]] = []
        for sighting in self.result.sightings:
            now = conditions_of(sighting.object or {}).get(kind, {}).get("status", "")
            if now and (not found or found[-1][0] != now):
                found.append((now, sighting.age.total_seconds()))
        return [age for value, age in found if value == status]


def test_reference_run_reaches_ready_as_measured() -> None:
    run = Run()

    assert run.result.settled
    assert 258 <= run.became("MachineReady", "True")[0] <= 260
    assert 258 <= run.became("ResourceReady", "True")[0] <= 260
    assert 960 <= run.became("InferenceReady", "True")[0] < 1020
    assert 960 <= run.became("WorkspaceReady", "True")[0] < 1020


@pytest.mark.parametrize("kind", KINDS)
def test_reference_run_is_never_false(kind: str) -> None:
    assert Run().became(kind, "False") == []


def test_four_minute_limit_fails_and_recovers() -> None:
    run = Run(settings=Settings(machine_timeout=240.0))

    assert run.became("MachineReady", "False") == [240.0]
    assert 258 <= run.became("MachineReady", "True")[0] <= 260
    conditions = [
        conditions_of(s.object or {}) for s in run.result.sightings if s.age == timedelta(minutes=4)
    ]
    name = run.replication.cluster.list(MACHINES).items[0]["metadata"]["name"]
    message = f"check machine status timed out. machine {name} is not ready"
    published = {"MachineReady": "checkMachineStatusFailed", "ResourceReady": "workspaceResourceStatusFailed"}
    for kind, reason in published.items():
        assert (conditions[-1][kind]["reason"], conditions[-1][kind]["message"]) == (reason, message)


def test_deletion_waits_for_the_machine() -> None:
    run = Run(delete_after=timedelta(minutes=46, seconds=10))

    gone = [sighting.age.total_seconds() for sighting in run.result.sightings if sighting.object is None]
    types = [r.type for r in run.log.read_all() if r.stream.startswith("workspace/")]
    assert gone == [pytest.approx(46 * 60 + 10 + 63.9, abs=0.1)]
    assert types[-3:] == ["MachineDeleted", "WorkspaceReleased", "WorkspaceDeleted"]
    assert run.replication.cluster.list(MACHINES).items == []


@pytest.mark.parametrize("age", [0, 1, 200, 258, 260, 500, 1100])
def test_deletion_at_any_age_ends(age: float) -> None:
    run = Run(delete_after=timedelta(seconds=age))

    assert run.result.settled
    assert run.replication.cluster.list(MACHINES).items == []
    assert run.replication.operator.errors == []


def test_objects_are_those_of_the_manifests() -> None:
    cluster = Run().replication.cluster
    catalogue = load_catalogue()
    workspace = Workspace.from_cluster(cluster.get(WORKSPACES, "falcon", "default"))
    preset = catalogue.presets["falcon-7b-instruct"]
    (machine,) = cluster.list(MACHINES).items

    rendered = {
        MACHINES: manifests.machine(workspace, preset, name=machine["metadata"]["name"]),
        SERVICES: manifests.service(workspace, preset),
        DEPLOYMENTS: manifests.workload(workspace, preset, registry=Settings().preset_registry),
    }

    for resource, body in rendered.items():
        (found,) = cluster.list(resource).items
        assert found["spec"] == body["spec"]
        assert body["metadata"].get("labels", {}).items() <= found["metadata"].get("labels", {}).items()
        assert found["metadata"].get("ownerReferences") == body["metadata"].get("ownerReferences")


def test_nodes_are_provisioned_in_parallel() -> None:
    run = Run(workspaces=(_falcon(count=4),))

    assert run.became("MachineReady", "True")[0] < 300
    assert len(run.replication.cluster.list(MACHINES).items) == 4


def test_quota_shows_at_once_and_heals() -> None:
    def prepare(replication: Replication) -> None:
        arm = replication.arm
        arm.set_quota("standardNCSv3Family", limit=100, used=96)
        raised = partial(arm.set_quota, "standardNCSv3Family", limit=200, used=96)
        replication.engine.schedule(3600, raised)

    run = Run(prepare=prepare, horizon=timedelta(hours=4))

    (failed,) = run.became("MachineReady", "False")
    conditions = [
        conditions_of(s.object or {}) for s in run.result.sightings if s.age.total_seconds() == failed
    ]
    blocked = conditions[-1]["MachineReady"]
    assert failed < 5.0
    assert blocked["reason"] == "QuotaExceeded"
    for part in ("standardNCSv3Family", "limit 100", "used 96", "needed 12", "next attempt at"):
        assert part in blocked["message"]
    assert run.result.settled
    assert len(run.replication.cluster.list(MACHINES).items) == 1
    assert len([call for call in run.replication.arm.journal if call.verb == "put"]) in range(2, 15)


def test_many_workspaces_share_one_worker() -> None:
    names = [f"falcon-{index}" for index in range(20)]

    run = Run(workspaces=tuple(_falcon(name) for name in names))

    assert run.result.settled
    assert run.result.errors == ()
    assert (run.result.ended_at - START).total_seconds() < 1021


def test_same_seed_gives_the_same_records() -> None:
    first, second = (Run(profile=load("aks-gpu"), seed=7).log.read_all() for _ in range(2))

    assert first == second


def test_other_seed_gives_other_times() -> None:
    first, second = (Run(profile=load("aks-gpu"), seed=seed).log.read_all() for seed in (1, 2))

    assert [r.event.at for r in first] != [r.event.at for r in second]


def test_log_of_an_earlier_world_is_left_alone() -> None:
    engine = Engine(START)
    log = MemoryEventLog(engine.now)
    first = Scenario(workspaces=(_falcon("first"),), profile=load("reference-run"))
    Replication(first, log, load_catalogue(), engine=engine).run()
    before = [(head.stream, head.version) for head in log.streams()]

    later = Scenario(workspaces=(_falcon("later"),), profile=load("reference-run"), seed=2)
    Replication(later, log, load_catalogue(), engine=Engine(START)).run()

    assert [(head.stream, head.version) for head in log.streams()][: len(before)] == before
