"""A cluster that was set back to a backup: what the log has ended is there again, and is served again."""

from __future__ import annotations

import copy

from kaito.runtime.keys import FINALIZER
from kaito.runtime.ports import MACHINES, WORKSPACES
from simulator.cluster import Cluster
from statemachine.state import Stage
from tests.kaito.reconciling import KEY, Bench


def a_ready_bench() -> Bench:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.join_node(bench.machines()[0])
    for _ in range(3):
        bench.reconcile()
    return bench


def delete(bench: Bench, *, machines_end: bool = True) -> None:
    """Ask for the deletion and let the operator do its part."""
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    for _ in range(4):
        bench.reconcile()
    assert bench.machines() == [] or not machines_end


def restore(bench: Bench, backup: Cluster) -> None:
    """The cluster as it was; the operator goes on with its log and its memory."""
    bench.cluster = backup
    bench.reconciler._api = bench.reconciler._executor._api = backup
    bench.clock.advance(60)


def types(bench: Bench, uid: str) -> list[str]:
    return [record.type for record in bench.log.read(f"workspace/{KEY.namespace}/{KEY.name}/{uid}")]


def test_deleted_workspace_that_is_back_is_served_again() -> None:
    bench = a_ready_bench()
    uid = bench.workspace()["metadata"]["uid"]
    backup = copy.deepcopy(bench.cluster)
    delete(bench)
    assert bench.state(uid).stage is Stage.GONE

    restore(bench, backup)
    bench.reconcile()
    bench.reconcile()

    assert "WorkspaceRestored" in types(bench, uid)
    assert bench.state(uid).stage is Stage.LIVE
    assert bench.condition("ResourceReady") == ("True", "workspaceResourceStatusSuccess")
    assert [machine["metadata"].get("deletionTimestamp") for machine in bench.machines()] == [None]


def test_restored_workspace_can_be_deleted_again() -> None:
    bench = a_ready_bench()
    uid = bench.workspace()["metadata"]["uid"]
    backup = copy.deepcopy(bench.cluster)
    delete(bench)
    restore(bench, backup)
    bench.reconcile()

    delete(bench)

    assert bench.cluster.list(WORKSPACES).items == []
    assert types(bench, uid).count("WorkspaceDeleted") == 2


def test_deletion_that_was_undone_is_not_carried_on() -> None:
    bench = a_ready_bench()
    machine = bench.machine_names()[0]
    bench.cluster.patch(MACHINES, machine, {"metadata": {"finalizers": ["somebody.example/holds"]}})
    bench.reconcile()
    backup = copy.deepcopy(bench.cluster)
    delete(bench, machines_end=False)
    assert bench.state().stage is Stage.DELETING

    restore(bench, backup)
    bench.reconcile()
    bench.reconcile()

    assert bench.state().stage is Stage.LIVE
    assert bench.condition("WorkspaceDeleting") == ("", "")
    assert [found["metadata"].get("deletionTimestamp") for found in bench.machines()] == [None]


def test_workspace_restored_amid_its_deletion_ends() -> None:
    bench = a_ready_bench()
    uid = bench.workspace()["metadata"]["uid"]
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    backup = copy.deepcopy(bench.cluster)
    for _ in range(4):
        bench.reconcile()
    assert bench.state(uid).stage is Stage.GONE

    restore(bench, backup)
    for _ in range(4):
        bench.reconcile()

    assert bench.cluster.list(WORKSPACES).items == []
    assert bench.machines() == []


def test_lagging_cache_restores_nothing() -> None:
    bench = a_ready_bench()
    uid = bench.workspace()["metadata"]["uid"]
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    bench.reconcile()
    bench.sync(WORKSPACES)
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"finalizers": []}}, KEY.namespace)
    before = bench.caches[WORKSPACES].get(KEY.name, KEY.namespace)
    bench.reconcile()
    assert bench.state(uid).stage is Stage.GONE
    assert before is not None
    assert FINALIZER in before["metadata"]["finalizers"]
    bench.caches[WORKSPACES]._objects[(KEY.namespace, KEY.name)] = before

    bench.reconcile(sync=False)

    assert "WorkspaceRestored" not in types(bench, uid)
    assert bench.state(uid).stage is Stage.GONE
