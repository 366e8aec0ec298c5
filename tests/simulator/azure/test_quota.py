"""Quota: what counts, what is refused, in which words, and what heals it."""

from __future__ import annotations

import pytest

from kaito.runtime.fault_texts import LOW_PRIORITY, REGIONAL
from kaito.runtime.pools import OperationState, PoolRefused
from simulator.azure.scripts import Fail
from simulator.azure.sizes import cores_of, family_of
from statemachine.state import BlockedReason
from tests.simulator.azure.clouds import CREATE_SECONDS, FAMILY, Cloud


def test_quota_is_counted_by_family() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 24}}}})
    cloud.create("ws1")
    cloud.create("ws2")

    fault = cloud.fault("ws3")
    other = cloud.create("ws4", vm_size="Standard_NC4as_T4_v3")

    assert (fault.family, fault.limit, fault.used, fault.needed) == (FAMILY, 24, 24, 12)
    assert other.state == OperationState.IN_PROGRESS


def test_regional_quota_counts_every_size() -> None:
    cloud = Cloud({"quota": {"regional": {"limit": 15}}})
    cloud.create("ws1", vm_size="Standard_NC4as_T4_v3")

    fault = cloud.fault("ws2")

    assert (fault.family, fault.limit, fault.used, fault.needed) == (REGIONAL, 15, 4, 12)


def test_spot_has_a_quota_of_its_own() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 0}}, "low_priority": {"limit": 12}}})
    cloud.put("ws1", scaleSetPriority="Spot")

    refusal = cloud.refused("ws2", scaleSetPriority="Spot")

    assert f"approved {LOW_PRIORITY}Cores quota" in refusal.complaint.message
    assert "Current Limit: 12, Current Usage: 12, Additional Required: 12" in refusal.complaint.message


@pytest.mark.parametrize("form", ["current", "maximum", "insufficient"])
@pytest.mark.parametrize("told", ["call", "operation"])
def test_every_form_is_classified_alike(form: str, told: str) -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 100, "used": 96}}, "form": form, "told": told}})

    if told == "call":
        fault = cloud.fault()
    else:
        url = cloud.create().url
        cloud.advance(300)
        operation = cloud.arm.operation(url)
        assert operation.state == OperationState.FAILED
        assert operation.fault is not None
        fault = operation.fault

    assert fault.reason == BlockedReason.QUOTA_EXCEEDED
    assert fault.needed == 12
    assert (fault.limit, fault.used) == ((None, None) if form == "insufficient" else (100, 96))


def test_refused_create_leaves_nothing() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 0}}}})

    cloud.fault()

    assert [pool.name for pool in cloud.arm.list()] == ["nodepool1"]


def test_raising_heals_the_next_create() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 0}}}})
    cloud.fault()

    cloud.arm.set_quota(FAMILY, 12)

    assert cloud.create().state == OperationState.IN_PROGRESS
    assert cloud.fault("ws2").used == 12


def test_lifted_quota_limits_nothing() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 0}}}})

    cloud.arm.set_quota(FAMILY, None)

    assert cloud.created().state == OperationState.IN_PROGRESS


def test_deleted_pool_gives_its_cores_back() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 12}}}})
    cloud.created("ws1")
    cloud.arm.begin_delete("ws1")
    with pytest.raises(PoolRefused):
        cloud.create("ws2")

    cloud.advance(600)

    assert cloud.create("ws2").state == OperationState.IN_PROGRESS


@pytest.mark.parametrize(("machine_stays", "held"), [(False, 0), (True, 12)])
def test_failed_create_holds_what_runs(machine_stays: bool, held: int) -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(after_seconds=1, machine_stays=machine_stays), "put")

    cloud.created()

    assert cloud.service.pools["ws1"].cores_held == held


def test_update_is_not_counted_twice() -> None:
    cloud = Cloud({"quota": {"families": {FAMILY: {"limit": 12}}}})
    cloud.created()

    cloud.put(tags={"a": "1"})
    cloud.advance(CREATE_SECONDS)

    assert cloud.service.pools["ws1"].cores_held == 12


@pytest.mark.parametrize(
    ("size", "family", "cores"),
    [
        ("Standard_NC6", "standardNCFamily", 6),
        ("Standard_NC24r", "standardNCFamily", 24),
        ("Standard_NC12s_v2", "standardNCSv2Family", 12),
        ("Standard_NC24rs_v3", "standardNCSv3Family", 24),
        ("Standard_NC64as_T4_v3", "Standard NCASv3_T4 Family", 64),
        ("Standard_NC24ads_A100_v4", "StandardNCADSA100v4Family", 24),
        ("Standard_NC40ads_H100_v5", "StandardNCadsH100v5Family", 40),
        ("Standard_ND24rs", "standardNDSFamily", 24),
        ("Standard_ND40rs_v2", "standardNDSv2Family", 40),
        ("Standard_ND96asr_v4", "standardNDASv4_A100Family", 96),
        ("Standard_ND96amsr_A100_v4", "standardNDAMSv4_A100Family", 96),
        ("Standard_ND96isr_H100_v5", "standardNDSH100v5Family", 96),
        ("Standard_NV24", "standardNVFamily", 24),
        ("Standard_NV48s_v3", "standardNVSv3Family", 48),
        ("Standard_NV36adms_A10_v5", "StandardNVADSA10v5Family", 36),
        ("Standard_D4s_v5", "standardDSv5Family", 4),
    ],
)
def test_sizes_have_family_and_cores(size: str, family: str, cores: int) -> None:
    assert (family_of(size), cores_of(size)) == (family, cores)
