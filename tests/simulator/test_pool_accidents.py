"""Pools and Machines that meet with accidents: each loss is repaired once, and nothing is leaked by it."""

from __future__ import annotations

from random import Random

import pytest

from kaito.runtime.pools import OWNER_TAG
from kaito.runtime.ports import MACHINES, NODES, WORKSPACES, Object
from simulator.azure.scripts import Fail, Lose, Take
from simulator.faults import Family, OneFault
from tests.simulator.campaigns import (
    FOREIGN,
    MINUTE,
    SECOND,
    SIZE,
    Laboratory,
    a_workspace,
    calm,
    condition,
    make_machine,
    puts,
)

NAME = "ws000000001"


def serving(count: int = 1, **azure: object) -> Laboratory:
    """A world with a Workspace ``w`` that is ready."""
    lab = calm(azure=azure)
    lab.cluster.create(WORKSPACES, a_workspace("w", count=count), "default")
    lab.run(30 * MINUTE)
    assert condition(lab, "WorkspaceReady")["status"] == "True"
    return lab


def at_rest(lab: Laboratory) -> bool:
    lab.checker.check_rest()
    assert lab.checker.violations == []
    return True


# --- the orphan scenario of the original ------------------------------------------------------------


@pytest.mark.parametrize("crash", range(1, 12))
def test_failed_launches_leave_no_orphan(crash: int) -> None:
    """PUTs that fail late, a Machine that is deleted meanwhile, one PUT that completes after that."""
    lab = calm(OneFault(crash, Family.CRASH_AFTER), {"delete_preempts": False})
    lab.arm.fail(Fail(code="AllocationFailed", after_seconds=90, machine_stays=True), "put")
    lab.arm.fail(Take(seconds=1400), "put")
    make_machine(lab, NAME)
    lab.run(75 * MINUTE)
    lab.cluster.delete(MACHINES, NAME)

    lab.run(45 * MINUTE)

    assert lab.checker.machine(NAME).is_over
    assert lab.checker.pool_names() == []
    assert lab.cluster.list(NODES).items == []
    assert at_rest(lab)


def test_pool_without_a_machine_goes_within_the_collectors_bound() -> None:
    lab = serving()
    (name,) = lab.checker.pool_names()
    lab.provisioner.kill()
    lab.checker.excused.add(name)
    lab.cluster.patch(MACHINES, name, {"metadata": {"finalizers": []}})
    lab.cluster.delete(MACHINES, name)

    lab.run(8 * MINUTE)  # two rounds after the restart, and the deletion itself

    assert name not in lab.checker.pool_names()


def test_pool_that_no_log_knows_goes_too() -> None:
    lab = calm()
    lab.checker.by_hand.add(NAME)
    lab.arm.add_pool(NAME, vm_size=SIZE, tags={OWNER_TAG: NAME})

    lab.run(12 * MINUTE)

    assert lab.checker.pool_names() == []


# --- pools that are not ours ------------------------------------------------------------------------


def test_foreign_pool_of_the_same_name_is_never_touched() -> None:
    lab = calm(azure={"pools": [{"name": FOREIGN[0], "vm_size": SIZE, "count": 0}]})
    make_machine(lab, FOREIGN[0])
    lab.run(120 * MINUTE)
    lab.cluster.delete(MACHINES, FOREIGN[0])

    lab.run(10 * MINUTE)

    assert lab.checker.violations == []
    assert lab.cluster.list(MACHINES).items == []
    assert [call.verb for call in lab.arm.journal if call.verb in ("put", "delete")] == []


# --- losses -----------------------------------------------------------------------------------------


def test_pool_deleted_by_somebody_is_replaced_once() -> None:
    lab = serving()
    (name,) = lab.checker.pool_names()

    lab.checker.taken[name] += 1
    lab.arm.begin_delete(name)
    lab.run(120 * MINUTE)

    assert len(puts(lab)) == 2
    assert condition(lab, "WorkspaceReady")["status"] == "True"
    assert at_rest(lab)


def test_evicted_machine_is_replaced_once() -> None:
    lab = serving()
    (name,) = lab.checker.pool_names()

    lab.arm.evict(name)
    lab.run(120 * MINUTE)

    assert len(puts(lab)) == 2
    assert condition(lab, "WorkspaceReady")["status"] == "True"
    assert at_rest(lab)


def test_lost_answer_buys_no_second_pool() -> None:
    for number in range(1, 15):
        lab = calm(OneFault(number, Family.ANSWER_LOST))
        lab.cluster.create(WORKSPACES, a_workspace("w"), "default")

        lab.run(60 * MINUTE)

        assert len(puts(lab)) == 1, f"answer {number} was lost"
        assert at_rest(lab)


def test_lost_operation_leads_to_the_same_pool() -> None:
    lab = calm()
    lab.arm.fail(Lose(), "put")
    lab.cluster.create(WORKSPACES, a_workspace("w"), "default")

    lab.run(60 * MINUTE)

    assert len(puts(lab)) == 1
    assert at_rest(lab)


# --- Workspaces that go -----------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1, 60, 240, 262, 300])
def test_deletion_during_creation_leaves_nothing(seconds: int) -> None:
    lab = calm(azure={"delete_preempts": False})
    lab.cluster.create(WORKSPACES, a_workspace("w", count=2), "default")
    lab.run(seconds * SECOND)

    lab.cluster.delete(WORKSPACES, "w", "default")
    lab.run(30 * MINUTE)

    assert lab.cluster.list(WORKSPACES).items == []
    assert lab.checker.pool_names() == []
    assert at_rest(lab)


def test_recreated_workspace_gets_machines_of_its_own() -> None:
    lab = serving()
    before = lab.checker.pool_names()

    lab.cluster.delete(WORKSPACES, "w", "default")
    lab.run(10 * MINUTE)
    lab.cluster.create(WORKSPACES, a_workspace("w"), "default")
    lab.run(60 * MINUTE)

    assert len(lab.checker.pool_names()) == 1
    assert set(before).isdisjoint(lab.checker.pool_names())
    assert at_rest(lab)


# --- a cluster that is stopped ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("restart", [True, False])
def test_thaw_after_eight_hours_loses_no_pool(seed: int, restart: bool) -> None:
    lab = serving(count=6)
    before = lab.checker.pool_names()
    nodes = [node["metadata"]["name"] for node in lab.cluster.list(NODES).items]
    for name in nodes:
        _set_ready(lab, name, "Unknown")
    lab.run(8 * 60 * MINUTE)
    if restart:
        lab.provisioner.kill()

    random = Random(seed)
    random.shuffle(nodes)
    for name in nodes:
        lab.run(random.uniform(0, 1200 / len(nodes)) * SECOND)
        _set_ready(lab, name, "True")
    lab.run(60 * MINUTE)

    assert lab.checker.pool_names() == before
    assert len(puts(lab)) == 6
    assert condition(lab, "WorkspaceReady")["status"] == "True"


def _set_ready(lab: Laboratory, node: str, status: str) -> None:
    found: Object = lab.cluster.get(NODES, node)
    others = [each for each in found["status"]["conditions"] if each["type"] != "Ready"]
    changed = {"conditions": [*others, {"type": "Ready", "status": status, "reason": "", "message": ""}]}
    lab.cluster.patch(NODES, node, {"status": changed}, subresource="status")
