"""The line from picture to effect, on a virtual API server with caches as stale as each test wants."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.catalogue import load_catalogue
from kaito.runtime.executor import Executor, WorkspaceTarget
from kaito.runtime.keys import FINALIZER, stream_of
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    SERVICES,
    WORKSPACES,
    Conflict,
    Forbidden,
    NotFound,
    Throttled,
    Unavailable,
)
from kaito.runtime.settings import Settings
from kaito.runtime.workqueue import Outcome
from simulator.cluster import Cluster
from statemachine.commands import CreateMachine
from statemachine.events import NodeBecameUsable
from statemachine.observations import Result
from store.errors import LogUnavailable
from tests.kaito.reconciling import KEY, START, Bench


def _types(bench: Bench) -> list[str]:
    return [record.type for record in bench.log.read_all()]


def test_new_workspace_gets_finalizer_status_machine() -> None:
    bench = Bench()
    bench.apply_workspace()

    bench.reconcile()

    assert bench.workspace()["metadata"]["finalizers"] == [FINALIZER]
    assert bench.condition("MachineReady") == ("Unknown", "CreateMachinePending")
    assert len(bench.machines()) == 1


def test_intent_is_logged_before_creation() -> None:
    class Down(Cluster):
        def create(self, *args: Any, **kwargs: Any) -> Any:
            if args[0] is MACHINES:
                raise Unavailable("the connection was reset")
            return super().create(*args, **kwargs)

    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = Down

    done = bench.reconcile()

    assert done.outcome is Outcome.ERROR
    assert _types(bench) == ["WorkspaceCreated", "MachineRequested"]


def test_quiet_resync_appends_and_writes_nothing() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.reconcile()
    before, version = _types(bench), bench.cluster.resource_version

    bench.reconcile()

    assert _types(bench) == before
    assert bench.cluster.resource_version == version


def test_own_writes_are_seen_before_the_caches_show_them() -> None:
    patches: list[Any] = []

    class Counted(Cluster):
        def patch(self, *args: Any, **kwargs: Any) -> Any:
            patches.append(args)
            return super().patch(*args, **kwargs)

    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = Counted
    bench.reconcile()
    written = len(patches)
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"labels": {"a": "b"}}}, KEY.namespace)

    bench.reconcile(sync=False)

    assert (written, len(patches)) == (2, 3)  # finalizer and status, then the label


@pytest.mark.parametrize("count", [1, 4])
def test_restart_on_stale_caches_buys_nothing(count: int) -> None:
    bench = Bench()
    bench.apply_workspace(count=count)
    bench.sync()
    bench.reconcile(sync=False)

    for _ in range(3):
        bench.reconcile(sync=False)
        bench.restart()
        bench.sync()
    bench.reconcile()

    assert len(bench.machines()) == count


def test_lost_answer_of_creation_is_adopted() -> None:
    lost = []

    class AnswerLost(Cluster):
        def create(self, *args: Any, **kwargs: Any) -> Any:
            made = super().create(*args, **kwargs)
            if args[0] is MACHINES and not lost:
                lost.append(made)
                raise Unavailable("the connection was reset")
            return made

    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = AnswerLost
    bench.reconcile()

    bench.reconcile(sync=False)
    bench.reconcile()

    assert bench.machine_names() == [lost[0]["metadata"]["name"]]
    assert _types(bench).count("MachineCreated") == 1


def test_name_taken_by_stranger_is_reported() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = _refusing(Unavailable("not yet"))
    bench.reconcile()
    name = bench.state().slots[0].machine
    bench.cluster.__class__ = Cluster
    stranger = {"apiVersion": "karpenter.sh/v1alpha5", "kind": "Machine", "metadata": {"name": name}}
    bench.cluster.create(MACHINES, stranger)

    bench.reconcile()
    bench.reconcile()

    assert bench.condition("MachineReady") == ("False", "machineFailedCreation")
    assert bench.machine_names() == [name]


def _refusing(error: Exception) -> type[Cluster]:
    class Refusing(Cluster):
        def create(self, *args: Any, **kwargs: Any) -> Any:
            if args[0] is MACHINES:
                raise error
            return super().create(*args, **kwargs)

    return Refusing


def test_refused_creation_shows_and_heals() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = _refusing(Forbidden("exceeded quota: machines"))
    bench.reconcile()

    done = bench.reconcile()

    assert bench.condition("MachineReady") == ("False", "machineFailedCreation")
    assert done.outcome is Outcome.REQUEUE_AFTER
    assert done.after_seconds <= 60
    bench.cluster.__class__ = Cluster
    bench.clock.advance(60)
    bench.reconcile()
    bench.reconcile()
    assert bench.condition("MachineReady") == ("Unknown", "CreateMachinePending")


def test_throttled_write_waits_as_told() -> None:
    class Busy(Cluster):
        def patch(self, *args: Any, **kwargs: Any) -> Any:
            raise Throttled("too many requests", retry_after_seconds=7)

    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = Busy

    done = bench.reconcile()

    assert (done.outcome, done.after_seconds) == (Outcome.REQUEUE_AFTER, 7)


def test_conflict_is_retried_with_backoff() -> None:
    class Racing(Cluster):
        def patch(self, *args: Any, **kwargs: Any) -> Any:
            raise Conflict("the object has been modified")

    bench = Bench()
    bench.apply_workspace()
    bench.cluster.__class__ = Racing

    done = bench.reconcile()

    assert done.outcome is Outcome.ERROR
    assert done.error == "the object has been modified"


def test_deletion_behind_stale_cache_buys_nothing() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.sync()
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)

    bench.reconcile(sync=False)

    assert bench.machines() == []


def test_parent_is_read_live_before_creation() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    held = bench.workspace()
    executor = Executor(bench.api, load_catalogue(), Settings(), bench.clock)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    before = bench.machine_names()

    target = WorkspaceTarget(KEY, held["metadata"]["uid"], held)
    outcome = executor.execute(CreateMachine(slot=0, attempt=2, machine="ws000000002"), target)

    assert outcome is not None
    assert outcome.result is Result.NOT_FOUND
    assert bench.machine_names() == before


def test_machine_makes_node_and_workload() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.join_node(bench.machines()[0])

    bench.reconcile()
    bench.reconcile()

    assert bench.condition("ResourceReady") == ("True", "workspaceResourceStatusSuccess")
    assert bench.cluster.get(SERVICES, KEY.name, KEY.namespace)
    assert bench.cluster.get(DEPLOYMENTS, KEY.name, KEY.namespace)
    node = bench.cluster.list(NODES).items[0]
    assert node["metadata"]["labels"]["accelerator"] == "nvidia"


def test_template_change_is_rolled_out() -> None:
    bench = Bench()
    template = {"spec": {"containers": [{"name": "web", "image": "nginx:1", "env": [{"name": "A"}]}]}}
    bench.apply_workspace(inference={"template": template})
    bench.reconcile()
    bench.join_node(bench.machines()[0])
    bench.reconcile()
    container = {"name": "web", "image": "nginx:2"}
    patch = {"inference": {"template": {"spec": {"containers": [container]}}}}
    bench.cluster.patch(WORKSPACES, KEY.name, patch, KEY.namespace)

    bench.reconcile()

    deployment = bench.cluster.get(DEPLOYMENTS, KEY.name, KEY.namespace)
    (rolled_out,) = deployment["spec"]["template"]["spec"]["containers"]
    assert rolled_out["image"] == "nginx:2"
    assert "env" not in rolled_out
    bench.reconcile()
    bench.reconcile()
    assert bench.cluster.get(DEPLOYMENTS, KEY.name, KEY.namespace) == deployment


def test_deployed_preset_is_never_modified() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.join_node(bench.machines()[0])
    bench.reconcile()
    before = bench.cluster.get(DEPLOYMENTS, KEY.name, KEY.namespace)
    patch = {"resource": {"preferredNodes": ["node-1"]}}
    bench.cluster.patch(WORKSPACES, KEY.name, patch, KEY.namespace)

    bench.reconcile()

    assert bench.cluster.get(DEPLOYMENTS, KEY.name, KEY.namespace) == before


def test_machine_missing_from_cache_is_read_live() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.sync()
    bench.reconcile(sync=False)
    machines = bench.machine_names()

    bench.reconcile(sync=False)

    assert bench.machine_names() == machines
    assert "MachineLost" not in _types(bench)


def test_machine_deleted_by_hand_is_replaced() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.cluster.delete(MACHINES, bench.machine_names()[0])

    bench.reconcile()
    bench.reconcile()

    assert _types(bench).count("MachineLost") == 1
    assert bench.state().slots[0].attempt == 2
    assert bench.machine_names() == [bench.state().slots[0].machine]


def test_deletion_waits_for_the_machines() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    name = bench.machine_names()[0]
    bench.cluster.patch(MACHINES, name, {"metadata": {"finalizers": ["karpenter.sh/termination"]}})
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)

    bench.reconcile()
    bench.reconcile()

    assert bench.workspace()["metadata"]["finalizers"] == [FINALIZER]
    assert bench.machines()[0]["metadata"]["deletionTimestamp"]
    assert name in bench.state().workspace_deleting.message
    bench.cluster.patch(MACHINES, name, {"metadata": {"finalizers": []}})
    bench.reconcile()
    bench.reconcile()
    with pytest.raises(NotFound):
        bench.workspace()


def test_foreign_finalizer_survives_our_release() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    ours = bench.workspace()["metadata"]["finalizers"]
    patch = {"metadata": {"finalizers": [*ours, "example.com/audit"]}}
    bench.cluster.patch(WORKSPACES, KEY.name, patch, KEY.namespace)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)

    for _ in range(4):
        bench.reconcile()

    assert bench.workspace()["metadata"]["finalizers"] == ["example.com/audit"]


def test_late_machine_holds_the_finalizer() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.sync()
    bench.reconcile(sync=False)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    bench.sync()
    stray = bench.machines()[0]
    bench.cluster.delete(MACHINES, stray["metadata"]["name"])
    bench.reconcile()
    metadata = {"name": "wsfffffffff", "labels": stray["metadata"]["labels"]}
    bench.cluster.create(MACHINES, {**stray, "metadata": metadata})
    bench.sync(WORKSPACES)

    bench.reconcile(sync=False)

    assert bench.workspace()["metadata"]["finalizers"] == [FINALIZER]
    assert "wsfffffffff" in bench.state().machines()


def test_finalizer_stripped_by_hand_leaks_nothing() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"finalizers": []}}, KEY.namespace)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)

    bench.reconcile()
    bench.reconcile()

    assert bench.machines() == []
    assert bench.reconcile().outcome is Outcome.SUCCESS


def test_workspace_missing_from_cache_is_read_live() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    machines = bench.machine_names()
    bench.restart()
    bench.sync(MACHINES)

    done = bench.reconcile(sync=False)

    assert bench.machine_names() == machines
    assert "WorkspaceDeleted" not in _types(bench)
    assert done.outcome is Outcome.REQUEUE_AFTER


def test_same_name_again_never_inherits_machines() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    first = bench.workspace()["metadata"]["uid"]
    old = bench.machine_names()[0]
    bench.cluster.patch(MACHINES, old, {"metadata": {"finalizers": ["karpenter.sh/termination"]}})
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"finalizers": []}}, KEY.namespace)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    bench.apply_workspace()

    bench.reconcile()
    bench.reconcile()

    assert bench.state().slots[0].machine != old
    assert bench.cluster.get(MACHINES, old)["metadata"]["deletionTimestamp"]
    assert bench.state(first).stage == "Gone"


def test_lost_log_adopts_without_disturbing() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.join_node(bench.machines()[0])
    bench.reconcile()
    bench.reconcile()
    before = {r: bench.cluster.list(r).items for r in (MACHINES, NODES, DEPLOYMENTS, SERVICES)}

    fresh = Bench()
    fresh.clock, fresh.cluster, fresh.api = bench.clock, bench.cluster, bench.cluster
    fresh.restart()
    fresh.reconcile()
    fresh.reconcile()

    assert _types(fresh)[0] == "WorkspaceAdopted"
    assert {r: bench.cluster.list(r).items for r in before} == before
    assert fresh.condition("ResourceReady") == ("True", "workspaceResourceStatusSuccess")


def test_poisoned_stream_is_set_aside_once() -> None:
    bench = Bench()
    uid = bench.apply_workspace()["metadata"]["uid"]
    poison = NodeBecameUsable(at=START, slot=3, node="nowhere")
    bench.log.append(stream_of(KEY, uid), [poison], expected_version=0)

    done = bench.reconcile()
    version = bench.cluster.resource_version
    bench.reconcile()

    assert done.outcome is Outcome.TERMINAL_ERROR
    assert bench.condition("WorkspaceReady") == ("Unknown", "EventLogUnreadable")
    assert bench.cluster.resource_version == version
    assert bench.machines() == []


def test_unwritable_log_acts_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.apply_workspace()

    def full(*args: Any, **kwargs: Any) -> Any:
        raise LogUnavailable("the disk is full")

    monkeypatch.setattr(bench.log, "append", full)

    done = bench.reconcile()

    assert (done.outcome, done.error) == (Outcome.ERROR, "the disk is full")
    assert bench.machines() == []


def test_lost_append_race_changes_nothing() -> None:
    bench = Bench()
    uid = bench.apply_workspace()["metadata"]["uid"]
    bench.reconcile()
    other = bench.log.read(stream_of(KEY, uid))[-1].event
    bench.log.append(stream_of(KEY, uid), [other], expected_version=len(_types(bench)))
    bench.clock.advance(300)
    version = bench.cluster.resource_version

    done = bench.reconcile()

    assert done.outcome is Outcome.REQUEUE
    assert bench.cluster.resource_version == version
