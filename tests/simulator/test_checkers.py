"""The checker finds what it is there to find: each law, broken on purpose, is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kaito.runtime.pools import OWNER_TAG, PoolSpec
from kaito.runtime.ports import MACHINES, WORKSPACES
from tests.simulator.campaigns import (
    FOREIGN,
    MINUTE,
    SIZE,
    Laboratory,
    a_machine,
    a_workspace,
    calm,
    make_machine,
)

NAME = "ws000000001"


@pytest.fixture
def lab() -> Laboratory:
    """A world with foreign pools, whose controllers never start."""
    lab = calm(azure={"pools": [{"name": name, "vm_size": SIZE, "count": 0} for name in FOREIGN]})
    for process in lab.processes:
        process.stop()
    return lab


def a_pool(name: str = NAME) -> PoolSpec:
    return PoolSpec(name=name, vm_size=SIZE, labels={}, tags={OWNER_TAG: name})


def delete_foreign_pool(lab: Laboratory) -> None:
    lab.arm.begin_delete(FOREIGN[0])


def ask_to_delete_foreign_pool(lab: Laboratory) -> None:
    lab.checker.on_call("delete", FOREIGN[0])


def create_undecided_pool(lab: Laboratory) -> None:
    make_machine(lab)
    lab.arm.begin_create(a_pool())


def create_undecided_machine(lab: Laboratory) -> None:
    lab.cluster.create(MACHINES, a_machine())


def lose_the_machine_of_a_pool(lab: Laboratory) -> None:
    make_machine(lab)
    lab.arm.begin_create(a_pool())
    lab.run(MINUTE)
    lab.cluster.delete(MACHINES, NAME)


AT_ONCE = {
    "was changed": delete_foreign_pool,
    "is to be deleted": ask_to_delete_foreign_pool,
    "was created 1 times, 0 attempts are in the log": create_undecided_pool,
    "no slot in the log asked for it": create_undecided_machine,
    "is gone and its agent pool is not": lose_the_machine_of_a_pool,
}


@pytest.mark.parametrize("what", sorted(AT_ONCE))
def test_broken_law_is_told_at_once(lab: Laboratory, what: str) -> None:
    AT_ONCE[what](lab)

    lab.run(MINUTE)

    assert any(what in violation for violation in lab.checker.violations)


def keep_a_pool_without_a_machine(lab: Laboratory) -> None:
    lab.arm.begin_create(a_pool())


def keep_a_machine_without_a_pool(lab: Laboratory) -> None:
    make_machine(lab)


def keep_a_workspace_waiting(lab: Laboratory) -> None:
    lab.cluster.create(WORKSPACES, a_workspace("w"), "default")


AT_REST: dict[str, Callable[[Laboratory], None]] = {
    "is billed and has no owner": keep_a_pool_without_a_machine,
    "GPU-seconds were billed without an owner": keep_a_pool_without_a_machine,
    f"not at rest: agent pools [] are not Machines ['{NAME}']": keep_a_machine_without_a_pool,
    f"not at rest: agent pools ['{NAME}'] are not Machines []": keep_a_pool_without_a_machine,
    "not at rest: Workspace w is not ready": keep_a_workspace_waiting,
    "not at rest: 0 Machines in slots, 1 wanted": keep_a_workspace_waiting,
}


@pytest.mark.parametrize("what", sorted(AT_REST))
def test_broken_law_is_told_at_rest(lab: Laboratory, what: str) -> None:
    AT_REST[what](lab)
    lab.run(30 * MINUTE)

    lab.checker.check_rest()

    assert any(what in violation for violation in lab.checker.violations)


def test_world_at_rest_breaks_no_law(lab: Laboratory) -> None:
    lab.run(30 * MINUTE)

    lab.checker.check_rest()

    assert lab.checker.violations == []
