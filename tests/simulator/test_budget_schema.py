"""Which PodDisruptionBudgets the virtual API server refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.runtime.ports import PODDISRUPTIONBUDGETS, Invalid
from simulator.kinds import KINDS
from tests.simulator.budgets import a_budget
from tests.simulator.virtual import a_cluster

PERCENTAGE = "must be an integer or percentage (e.g '5%')"
EXPRESSION = "spec.selector.matchExpressions[0]"

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"minAvailable": 1, "maxUnavailable": 1},
        "spec: Invalid value: minAvailable and maxUnavailable cannot be both set",
    ),
    ({"minAvailable": -1}, "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"),
    ({"maxUnavailable": "half"}, f'spec.maxUnavailable: Invalid value: "half": {PERCENTAGE}'),
    ({"minAvailable": "5"}, f'spec.minAvailable: Invalid value: "5": {PERCENTAGE}'),
    ({"minAvailable": True}, f"spec.minAvailable: Invalid value: True: {PERCENTAGE}"),
    ({"maxUnavailable": "101%"}, 'spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'),
    ({"selector": "app=web"}, 'spec.selector: Invalid value: "app=web": must be a label selector'),
    (
        {"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}},
        f'{EXPRESSION}.operator: Invalid value: "Is": not a valid selector operator',
    ),
    (
        {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
        f"{EXPRESSION}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
    ),
    (
        {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]}},
        f"{EXPRESSION}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
    ),
]


@pytest.mark.parametrize(("spec", "cause"), REFUSED)
def test_budget_that_says_nothing_clear_is_refused(spec: dict[str, Any], cause: str) -> None:
    cluster = a_cluster(kinds=KINDS)

    with pytest.raises(Invalid) as refusal:
        cluster.create(PODDISRUPTIONBUDGETS, a_budget(**spec))

    assert refusal.value.message == f'PodDisruptionBudget.policy "web" is invalid: {cause}'
    assert cluster.list(PODDISRUPTIONBUDGETS).items == []


def test_budget_without_spec_is_refused() -> None:
    cluster = a_cluster(kinds=KINDS)

    with pytest.raises(Invalid, match="spec: Required value"):
        cluster.create(PODDISRUPTIONBUDGETS, {"metadata": {"name": "web"}})


@pytest.mark.parametrize("bound", [0, 7, "0%", "100%"])
def test_both_bounds_take_numbers_and_shares(bound: int | str) -> None:
    cluster = a_cluster(kinds=KINDS)

    for name in ("minAvailable", "maxUnavailable"):
        cluster.create(PODDISRUPTIONBUDGETS, a_budget(name.lower(), **{name: bound}))

    assert len(cluster.list(PODDISRUPTIONBUDGETS).items) == 2


def test_status_comes_from_the_controller_alone() -> None:
    cluster = a_cluster(kinds=KINDS)

    made = cluster.create(PODDISRUPTIONBUDGETS, {**a_budget(), "status": {"disruptionsAllowed": 9}})

    assert "status" not in made
    assert made["metadata"]["generation"] == 1
