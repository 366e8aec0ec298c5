"""Each call that changes something in the life of a Workspace fails or ends its process, one at a time."""

from __future__ import annotations

from functools import cache

import pytest

from kaito.runtime.ports import WORKSPACES
from simulator.faults import Family, OneFault, Port
from tests.simulator.campaigns import MINUTE, Laboratory, a_workspace, calm, condition, puts

FATES = (Family.CRASH_BEFORE, Family.CRASH_AFTER, Family.ANSWER_LOST)


def _life(plan: OneFault) -> Laboratory:
    """A Workspace is created, gets ready, and is deleted."""
    lab = calm(plan)
    lab.cluster.create(WORKSPACES, a_workspace("w"), "default")
    lab.run(40 * MINUTE)
    assert condition(lab, "WorkspaceReady")["status"] == "True"
    lab.cluster.delete(WORKSPACES, "w", "default")
    lab.run(40 * MINUTE)
    return lab


@cache
def _calls() -> int:
    """How many such calls a life without faults makes."""
    plan = OneFault(0, Family.CALL_LOST)
    _life(plan)
    return plan.count


@pytest.mark.parametrize("family", FATES)
def test_no_place_is_bad_to_fail_at(family: Family) -> None:
    struck: set[Port | None] = set()

    for number in range(1, _calls() + 1):
        plan = OneFault(number, family)
        lab = _life(plan)
        struck.add(plan.struck)
        lab.checker.check_rest()

        assert lab.checker.violations == [], f"{family} at call {number} of {_calls()}"
        assert len(puts(lab)) == 1, f"{family} at call {number}: more pools than without it"
        assert lab.cluster.list(WORKSPACES).items == [], f"{family} at call {number}"

    assert struck == set(Port)
