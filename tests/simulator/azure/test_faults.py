"""Faults by script and by chance: whom they strike, how often, and that they can be ended."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from kaito.runtime.pools import (
    OperationState,
    PoolNotFound,
    PoolRefused,
    PoolState,
    PoolUnanswered,
)
from simulator.azure.scripts import Fail, Fault, Garbage, Hang, Lose, Refuse, Reset, Script
from statemachine.state import BlockedReason
from tests.simulator.azure.clouds import CREATE_SECONDS, Cloud

EXPONENTIAL: dict[str, Any] = {
    "distribution": "exponential",
    "unit": "seconds",
    "source": "test",
    "mark": "assumed",
}


def test_fault_strikes_so_many_times() -> None:
    cloud = Cloud()
    cloud.arm.fail(Refuse(), "get", times=2)

    outcomes = []
    for _ in range(3):
        try:
            outcomes.append(str(cloud.arm.get("nodepool1").state))
        except PoolRefused as refused:
            outcomes.append(refused.fault.code)

    assert outcomes == ["InternalServerError", "InternalServerError", "Succeeded"]


def test_fault_strikes_its_verb_and_pool() -> None:
    cloud = Cloud()
    cloud.arm.add_pool("foreign")
    cloud.arm.fail(Refuse(), "get", "for*")

    cloud.arm.list()
    cloud.arm.get("nodepool1")

    with pytest.raises(PoolRefused):
        cloud.arm.get("foreign")


def test_skipped_calls_pass_first() -> None:
    cloud = Cloud()
    cloud.arm.fail(Refuse(), "get", skip=2)

    cloud.arm.get("nodepool1")
    cloud.arm.get("nodepool1")

    with pytest.raises(PoolRefused):
        cloud.arm.get("nodepool1")


def test_fault_keeps_to_its_window() -> None:
    script = {"fault": {"kind": "refuse"}, "times": None, "from_seconds": 10, "until_seconds": 20}
    cloud = Cloud({"script": [script]})

    failing = []
    for second in range(30):
        try:
            cloud.arm.get("nodepool1")
        except PoolRefused:
            failing.append(second)
        cloud.advance(1)

    assert failing == list(range(10, 20))


def test_one_script_strikes_at_a_time() -> None:
    cloud = Cloud()
    cloud.arm.fail(Refuse(code="First"), "get")
    cloud.arm.fail(Refuse(code="Second"), "get")

    codes = []
    for _ in range(2):
        with pytest.raises(PoolRefused) as caught:
            cloud.arm.get("nodepool1")
        codes.append(caught.value.fault.code)

    assert codes == ["First", "Second"]


def test_spent_scripts_are_not_listed() -> None:
    cloud = Cloud()
    cloud.arm.fail(Refuse(), "get")
    cloud.arm.fail(Hang(), "put", times=None)
    with pytest.raises(PoolRefused):
        cloud.arm.get("nodepool1")

    assert [script.verb for script in cloud.service.switchboard.scripts()] == ["put"]


def test_operation_fault_waits_for_an_operation() -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(code="SubnetIsFull", after_seconds=5), "put")
    cloud.arm.set_quota("standardNCSv3Family", 0)
    cloud.fault("ws1")
    cloud.arm.set_quota("standardNCSv3Family", None)

    url = cloud.create("ws1").url
    cloud.advance(5)

    fault = cloud.arm.operation(url).fault
    assert fault is not None
    assert fault.code == "SubnetIsFull"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("kind", [Reset, Garbage])
def test_lost_answer_leaves_effect_or_not(kind: Any, done: bool) -> None:
    cloud = Cloud()
    cloud.arm.fail(kind(done=done), "put")

    with pytest.raises(PoolUnanswered):
        cloud.create()

    assert ("ws1" in cloud.service.pools) == done
    assert [(call.status, call.done) for call in cloud.arm.journal] == [(0, done)]


def test_lost_answer_of_a_refusal_is_lost() -> None:
    cloud = Cloud()
    cloud.arm.fail(Reset(done=True), "put")

    with pytest.raises(PoolUnanswered):
        cloud.create("nodepool1")

    assert [(call.code, call.done) for call in cloud.arm.journal] == [("PreconditionFailed", False)]


@pytest.mark.parametrize("seen_as", ["missing", "running"])
def test_lost_operation_goes_its_way(seen_as: Any) -> None:
    cloud = Cloud()
    cloud.arm.fail(Lose(seen_as=seen_as), "put")

    url = cloud.created().url

    expected = OperationState.LOST if seen_as == "missing" else OperationState.IN_PROGRESS
    assert cloud.arm.operation(url).state == expected
    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


def test_outage_refuses_calls_and_nothing_else() -> None:
    cloud = Cloud({"outages": {"windows": [{"from_seconds": 100, "until_seconds": 300}]}})
    url = cloud.create().url
    cloud.advance(100)

    with pytest.raises(PoolRefused) as caught:
        cloud.arm.operation(url)
    cloud.advance(200)

    assert (caught.value.fault.code, caught.value.fault.reason) == (
        "ServiceUnavailable",
        BlockedReason.PROVIDER_FAULT,
    )
    assert cloud.arm.operation(url).state == OperationState.SUCCEEDED


# --- by chance ------------------------------------------------------------------------------------------


def after_creates(section: dict[str, Any], count: int, seed: int = 1) -> tuple[Cloud, list[str]]:
    """Create so many pools, let all end; the code that each ended with, empty for success."""
    cloud = Cloud({"pool_limit": 10_000, **section}, seed=seed)
    urls = [cloud.create(f"ws{number}").url for number in range(count)]
    cloud.advance(3600)
    operations = [cloud.arm.operation(url) for url in urls]
    return cloud, [each.fault.code if each.fault else str(each.state) for each in operations]


def test_bootstrap_fails_as_often_as_told() -> None:
    cloud, codes = after_creates({"failures": {"bootstrap": 0.25}}, 800)

    counts = Counter(codes)
    assert set(counts) == {"Succeeded", "VMExtensionProvisioningError"}
    assert 160 <= counts["VMExtensionProvisioningError"] <= 240
    assert sum(not vm.joins for vm in cloud.arm.vms) == counts["VMExtensionProvisioningError"]
    assert len(cloud.arm.vms) == 800


def test_bootstrap_failure_names_an_exit_code() -> None:
    cloud, _ = after_creates({"failures": {"bootstrap": 1, "bootstrap_exit_codes": [84]}}, 1)

    fault = cloud.arm.get("ws0").fault

    assert fault is not None
    assert fault.reason == BlockedReason.NODE_BOOTSTRAP_FAILED
    assert fault.message.endswith("exit status=84'. (the GPU driver did not start)")


def test_service_fault_comes_in_both_forms() -> None:
    cloud, _ = after_creates({"failures": {"service": 1, "service_again": 1}}, 40)

    faults = [pool.fault for pool in cloud.arm.list() if pool.fault]
    wrapped = [fault.message.startswith("VMSSAgentPoolReconciler") for fault in faults]
    assert {fault.reason for fault in faults} == {BlockedReason.PROVIDER_FAULT}
    assert 8 <= sum(wrapped) <= 32
    assert cloud.arm.vms == []


def test_service_faults_come_in_company() -> None:
    _, codes = after_creates({"failures": {"service": 0.02, "service_again": 1}}, 600)

    first = next(number for number, code in enumerate(codes) if code != "Succeeded")
    assert "Succeeded" not in codes[first:]


def test_operations_are_lost_in_both_forms() -> None:
    cloud, codes = after_creates({"failures": {"lost_operation": 0.5}}, 200)

    counts = Counter(codes)
    assert set(counts) == {"Succeeded", "Lost", "InProgress"}
    assert 70 <= counts["Lost"] + counts["InProgress"] <= 130
    assert {pool.state for pool in cloud.arm.list()} == {PoolState.SUCCEEDED}


def test_single_calls_fail_by_chance() -> None:
    cloud = Cloud({"calls": {"error": 0.3, "reset_before": 0.3, "garbage": 0.3}})

    outcomes: Counter[str] = Counter()
    for _ in range(500):
        try:
            cloud.arm.get("nodepool1")
        except (PoolRefused, PoolUnanswered) as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["answered"] += 1

    assert 120 <= outcomes["answered"] <= 225
    assert 100 <= outcomes["PoolRefused"] <= 200
    assert outcomes["PoolUnanswered"] > 100


def test_call_may_be_done_and_unanswered() -> None:
    cloud = Cloud({"calls": {"reset_after": 1}})

    with pytest.raises(PoolUnanswered):
        cloud.create()

    assert "ws1" in cloud.service.pools


def failed_pools(section: dict[str, Any]) -> list[str]:
    cloud, _ = after_creates(section, 200)
    return [pool.name for pool in cloud.arm.list() if pool.state == PoolState.FAILED]


def test_one_chance_shifts_no_other() -> None:
    plain = failed_pools({"failures": {"bootstrap": 0.2}})

    more = failed_pools({"failures": {"bootstrap": 0.2, "lost_operation": 0.5, "node_never": 0.5}})

    assert len(plain) > 20
    assert more == plain


def test_ended_faults_let_everything_succeed() -> None:
    chances: dict[str, Any] = {
        "failures": {"bootstrap": 1, "service": 1, "lost_operation": 1},
        "calls": {"error": 0.5, "reset_after": 0.5, "garbage": 0.5},
        "outages": {"windows": [{}]},
        "background": {
            "good": {**EXPONENTIAL, "mean": 1e-9},
            "bad": {**EXPONENTIAL, "mean": 1e9},
        },
        "script": [{"fault": {"kind": "hang"}, "times": 99}],
    }
    cloud = Cloud(chances)

    cloud.arm.end_faults()
    url = cloud.created().url

    assert cloud.arm.operation(url).state == OperationState.SUCCEEDED
    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED
    cloud.arm.begin_delete("ws1")
    cloud.advance(600)
    with pytest.raises(PoolNotFound):
        cloud.arm.get("ws1")


def test_ended_faults_release_what_hangs() -> None:
    cloud = Cloud()
    cloud.arm.fail(Hang(), "put")
    cloud.create()
    cloud.advance(86_400)

    cloud.arm.end_faults()

    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


# --- repeatable -----------------------------------------------------------------------------------------


def history(seed: int) -> list[str]:
    """A stormy day, told in full."""
    storm: dict[str, Any] = {
        "based_on": "aks",
        "failures": {"bootstrap": 0.1, "service": 0.1, "lost_operation": 0.1, "index_above_zero": 0.3},
        "calls": {"error": 0.1, "reset_after": 0.1},
    }
    cloud = Cloud(storm, seed=seed, latencies="aks-gpu")
    lines = []
    for number in range(60):
        for act in (
            partial(cloud.create, f"ws{number}"),
            partial(cloud.arm.begin_delete, f"ws{number // 2}"),
        ):
            try:
                lines.append(act().url)
            except (PoolRefused, PoolUnanswered, PoolNotFound) as error:
                lines.append(str(error))
        cloud.advance(600)
    lines += [f"{vm.provider_id} {vm.began_at} {vm.ended_at} {vm.joins}" for vm in cloud.arm.vms]
    return lines + [str(call) for call in cloud.arm.journal]


def test_same_seed_gives_same_history() -> None:
    assert history(7) == history(7)


def test_another_seed_gives_another_history() -> None:
    assert history(7) != history(8)


def test_create_seconds_come_from_the_profile() -> None:
    cloud = Cloud(latencies="aks-gpu", section={"pool_limit": 1000})
    for number in range(300):
        cloud.create(f"ws{number}")

    cloud.engine.run()

    seconds = sorted((vm.began_at - cloud.engine.start).total_seconds() for vm in cloud.arm.vms)
    assert 225 <= seconds[150] <= 275
    assert seconds[-1] > CREATE_SECONDS


FAULTS: list[Fault] = [Refuse(), Reset(done=True), Garbage(), Fail(), Hang(), Lose()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_faults_read_back_from_their_dump(fault: Fault) -> None:
    script = Script(fault=fault, verb="put", times=None)

    assert Script.model_validate(script.model_dump(mode="json")) == script
