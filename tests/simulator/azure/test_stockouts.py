"""Stock-outs by script and by chance, per size and zone, and how they are told."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from kaito.runtime.pools import OperationState, PoolState
from simulator.azure.intervals import Alternation, Interval, Spells
from simulator.azure.loading import load
from statemachine.state import BlockedReason
from tests.simulator.azure.clouds import CREATE_SECONDS, SIZE, Cloud

ALWAYS: dict[str, Any] = {
    "good": {
        "distribution": "exponential",
        "mean": 1e-9,
        "unit": "seconds",
        "source": "t",
        "mark": "assumed",
    },
    "bad": {"distribution": "exponential", "mean": 1e9, "unit": "days", "source": "t", "mark": "assumed"},
}


def test_stock_out_fails_the_operation_only() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE)
    url = cloud.create().url

    cloud.advance(19)
    before = cloud.arm.operation(url).state
    cloud.advance(180 - 19)
    after = cloud.arm.operation(url)

    assert (before, after.state) == (OperationState.IN_PROGRESS, OperationState.FAILED)
    assert after.fault is not None
    assert (after.fault.code, after.fault.reason) == (
        "AllocationFailed",
        BlockedReason.INSUFFICIENT_CAPACITY,
    )
    assert cloud.arm.get("ws1").state == PoolState.FAILED
    assert cloud.arm.vms == []


def test_stock_out_is_of_one_size() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE)

    cloud.created("ws1", vm_size="Standard_NC24s_v3")

    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


def test_stock_out_ends_after_its_time() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE, for_seconds=600)

    cloud.created("ws1")
    cloud.advance(600 - CREATE_SECONDS)
    cloud.created("ws2")

    assert [cloud.arm.get(name).state for name in ("ws1", "ws2")] == [PoolState.FAILED, PoolState.SUCCEEDED]


def test_restocked_size_is_given_again() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE)

    cloud.arm.restock(SIZE)
    cloud.created()

    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


def test_another_zone_serves_in_place() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE, "1")

    cloud.created("ws1", zones=("1", "2"))

    (vm,) = cloud.arm.vms
    assert vm.zone == "2"


def test_zonal_stock_out_is_told_as_such() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE, "1")
    url = cloud.create(zones=("1",)).url
    cloud.created("ws2")

    fault = cloud.arm.operation(url).fault

    assert fault is not None
    assert (fault.code, fault.reason) == ("ZonalAllocationFailed", BlockedReason.INSUFFICIENT_CAPACITY)
    assert cloud.arm.get("ws2").state == PoolState.SUCCEEDED


def test_regional_stock_out_is_in_every_zone() -> None:
    cloud = Cloud()
    cloud.arm.run_out(SIZE)

    cloud.created(zones=("1", "2", "3"))

    assert cloud.arm.get("ws1").state == PoolState.FAILED


def test_scripted_window_is_kept() -> None:
    window = {"vm_size": SIZE, "from_seconds": 1000, "until_seconds": 2000}
    cloud = Cloud({"stockouts": {"windows": [window]}})

    states = []
    for number in range(3):
        cloud.created(f"ws{number}")
        states.append(cloud.arm.get(f"ws{number}").state)
        cloud.advance(1000 - CREATE_SECONDS)

    assert states == [PoolState.SUCCEEDED, PoolState.FAILED, PoolState.SUCCEEDED]


@pytest.mark.parametrize(
    ("code", "wrapped", "told", "reason"),
    [
        ("AllocationFailed", True, "AllocationFailed", BlockedReason.INSUFFICIENT_CAPACITY),
        ("Overconstrained", False, "OverconstrainedAllocationRequest", BlockedReason.INSUFFICIENT_CAPACITY),
        ("SkuNotAvailable", False, "SkuNotAvailable", BlockedReason.SKU_NOT_AVAILABLE),
    ],
)
def test_stock_outs_have_several_words(code: str, wrapped: bool, told: str, reason: BlockedReason) -> None:
    cloud = Cloud({"stockouts": {"code": code, "wrapped": wrapped}})
    cloud.arm.run_out(SIZE)
    url = cloud.create().url
    cloud.advance(180)

    fault = cloud.arm.operation(url).fault

    assert fault is not None
    assert (fault.code, fault.reason) == (told, reason)
    assert fault.message.startswith("VMSSAgentPoolReconciler") == wrapped


def test_spot_and_on_demand_run_out_apart() -> None:
    cloud = Cloud({"stockouts": {"spot": ALWAYS}})
    cloud.put("spot1", scaleSetPriority="Spot")
    cloud.create("ws1")

    cloud.advance(CREATE_SECONDS)

    assert [cloud.arm.get(name).state for name in ("spot1", "ws1")] == [PoolState.FAILED, PoolState.SUCCEEDED]


def test_ended_faults_restock_everything() -> None:
    cloud = Cloud({"stockouts": {"on_demand": ALWAYS}})
    cloud.arm.run_out("Standard_NC24s_v3")

    cloud.arm.end_faults()
    cloud.create("ws1")
    cloud.create("ws2", vm_size="Standard_NC24s_v3")
    cloud.advance(CREATE_SECONDS)

    assert {cloud.arm.get(name).state for name in ("ws1", "ws2")} == {PoolState.SUCCEEDED}


# --- the processes behind them --------------------------------------------------------------------------


def interval(**fields: Any) -> Interval:
    return Interval(unit="seconds", source="test", mark="assumed", **fields)


SPELLS = Spells(
    good=interval(distribution="lognormal", median=300.0, p95=3000.0),
    bad=interval(distribution="lognormal", median=100.0, p95=1000.0),
)


def share_bad(spells: Spells, at: float, runs: int) -> float:
    return sum(Alternation(spells, Random(seed)).is_bad(at) for seed in range(runs)) / runs


@pytest.mark.parametrize("at", [0.0, 50.0, 5_000.0])
def test_process_is_in_its_long_run_state(at: float) -> None:
    expected = SPELLS.bad.mean_seconds / (SPELLS.bad.mean_seconds + SPELLS.good.mean_seconds)

    found = share_bad(SPELLS, at, 4000)

    assert found == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))


def test_process_spends_the_expected_share_bad() -> None:
    process = Alternation(SPELLS, Random(1))

    found = sum(process.is_bad(float(second)) for second in range(0, 5_000_000, 50)) / 100_000

    assert found == pytest.approx(0.25, abs=0.02)


def test_asking_more_often_changes_nothing() -> None:
    often, seldom = Alternation(SPELLS, Random(3)), Alternation(SPELLS, Random(3))

    told = [often.is_bad(second / 10) for second in range(100_000)]

    assert told[::1000] == [seldom.is_bad(second * 100.0) for second in range(100)]


def test_lengths_have_their_median() -> None:
    long = interval(distribution="lognormal", median=300.0, p95=3000.0)
    random = Random(1)

    lengths = sorted(long.sample(random) for _ in range(4001))

    assert lengths[2000] == pytest.approx(300, rel=0.1)
    assert lengths[3801] == pytest.approx(3000, rel=0.2)


def test_stock_outs_have_the_published_means() -> None:
    stockouts = load("aks").stockouts

    assert stockouts.on_demand is not None
    assert stockouts.spot is not None
    assert stockouts.on_demand.bad.mean_seconds / 3600 == pytest.approx(
        math.exp(-0.45 + 1.27**2 / 2), rel=0.01
    )
    assert stockouts.spot.good.mean_seconds / 3600 == pytest.approx(math.exp(-0.2 + 1.47**2 / 2), rel=0.01)
    assert stockouts.on_demand.good.mean_seconds / 3600 == 48
