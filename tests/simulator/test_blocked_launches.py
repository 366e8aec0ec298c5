"""What the cloud refuses is said at once on both objects, and tried again by the schedule of its class."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from kaito.runtime.ports import WORKSPACES
from kaito.runtime.translation import conditions_of
from tests.simulator.campaigns import (
    FAMILY,
    MINUTE,
    SECOND,
    SIZE,
    Laboratory,
    a_workspace,
    calm,
    condition,
    puts,
    the_machine,
)

HOUR = 3600.0
JITTER = 1.1


def asking(azure: dict[str, Any] | None = None) -> Laboratory:
    """A world in which the Workspace ``w`` is asked for at t = 5 s."""
    lab = calm(azure=azure)
    lab.run(5 * SECOND)
    return lab


def ask(lab: Laboratory) -> None:
    lab.cluster.create(WORKSPACES, a_workspace("w"), "default")


def test_exceeded_quota_is_told_within_a_second() -> None:
    lab = asking()
    lab.arm.set_quota(FAMILY, 18, used=12)
    ask(lab)

    lab.run(SECOND)

    numbers = f"family {FAMILY}, limit 18, used 12, needed 12; next attempt at 2024-04-05T18:40:"
    launched = conditions_of(the_machine(lab))["MachineLaunched"]
    shown = condition(lab, "MachineReady")
    assert (launched["status"], launched["reason"]) == ("False", "QuotaExceeded")
    assert (shown["status"], shown["reason"]) == ("False", "QuotaExceeded")
    assert launched["message"].startswith(numbers)
    assert shown["message"].startswith(numbers)


def test_quota_told_by_the_operation_is_told_as_well() -> None:
    lab = asking({"quota": {"told": "operation", "families": {FAMILY: {"limit": 0}}}})
    ask(lab)

    lab.run(5 * MINUTE)

    assert condition(lab, "MachineReady")["reason"] == "QuotaExceeded"
    assert lab.checker.pool_names() == []


def test_exceeded_quota_is_asked_about_within_its_budget() -> None:
    lab = asking()
    lab.arm.set_quota(FAMILY, 18, used=12)
    ask(lab)

    lab.run(10 * 60 * MINUTE)

    waits = [later - earlier for earlier, later in pairwise(puts(lab))]
    for wait, hold_off in zip(waits, [600.0, 1200.0] + [1800.0] * len(waits), strict=False):
        assert hold_off <= wait <= JITTER * hold_off


def test_raised_quota_heals_without_a_touch() -> None:
    lab = asking()
    lab.arm.set_quota(FAMILY, 18, used=12)
    ask(lab)
    lab.run(120 * MINUTE)
    generation = lab.cluster.get(WORKSPACES, "w", "default")["metadata"]["generation"]

    lab.arm.set_quota(FAMILY, 48, used=12)
    lab.run(33 * MINUTE + 20 * MINUTE)

    assert condition(lab, "WorkspaceReady")["status"] == "True"
    assert lab.cluster.get(WORKSPACES, "w", "default")["metadata"]["generation"] == generation
    assert lab.checker.unsettled() == []


def test_stock_out_follows_the_schedule_of_its_class() -> None:
    lab = asking()
    lab.arm.run_out(SIZE)
    ask(lab)

    lab.run(20 * 60 * MINUTE)

    assert condition(lab, "MachineReady")["reason"] == "InsufficientCapacity"
    waits = [later - earlier for earlier, later in pairwise(puts(lab))]
    told_after = 180.0 + 60.0  # until the operation fails, and until that is seen
    for wait, hold_off in zip(waits, [HOUR, 2 * HOUR] + [4 * HOUR] * len(waits), strict=False):
        assert hold_off <= wait <= JITTER * hold_off + told_after
    assert len(waits) == 5


def test_stock_that_comes_back_heals() -> None:
    lab = asking()
    lab.arm.run_out(SIZE, for_seconds=HOUR)
    ask(lab)

    lab.run(100 * MINUTE)

    assert condition(lab, "WorkspaceReady")["status"] == "True"


def test_forbidden_size_is_never_asked_for_again() -> None:
    lab = asking({"unavailable_sizes": [SIZE]})
    ask(lab)

    lab.run(2 * 24 * 60 * MINUTE)

    shown = condition(lab, "MachineReady")
    assert puts(lab) == [5.0]
    assert (shown["status"], shown["reason"]) == ("False", "SkuNotAvailable")
    assert "no further attempt until the spec changes" in shown["message"]


@pytest.mark.parametrize("form", ["current", "maximum", "insufficient"])
def test_each_text_of_the_cloud_is_read(form: str) -> None:
    lab = asking({"quota": {"form": form, "families": {FAMILY: {"limit": 18, "used": 12}}}})
    ask(lab)

    lab.run(SECOND)

    assert condition(lab, "MachineReady")["reason"] == "QuotaExceeded"
    assert "needed 12" in condition(lab, "MachineReady")["message"]
