"""The rules of agent pools: one operation at a time, preconditions, limits, updates, aborts."""

from __future__ import annotations

import pytest

from kaito.runtime.pools import OperationState, PoolRefused, PoolState
from simulator.azure.refusals import Refusal
from simulator.azure.scripts import Fail, Hang, Take
from simulator.azure.service import NEWEST_API
from statemachine.state import BlockedReason
from tests.simulator.azure.clouds import CREATE_SECONDS, SIZE, Cloud


def test_create_takes_what_the_profile_says() -> None:
    cloud = Cloud()
    url = cloud.create().url

    cloud.advance(CREATE_SECONDS - 0.001)
    before = cloud.arm.operation(url).state
    cloud.advance(0.001)

    assert before == OperationState.IN_PROGRESS
    assert cloud.arm.operation(url).state == OperationState.SUCCEEDED


def test_size_without_gpu_takes_its_own_time() -> None:
    cloud = Cloud()
    cloud.create(vm_size="Standard_D4s_v5")

    cloud.advance(3.55 + 90)

    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


def test_deleted_pool_can_be_made_again() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.arm.begin_delete("ws1")
    cloud.advance(600)

    cloud.created()

    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED


@pytest.mark.parametrize("state", ["Creating", "Deleting"])
def test_running_operation_refuses_deletion(state: str) -> None:
    cloud = Cloud()
    cloud.create()
    if state == "Deleting":
        cloud.advance(CREATE_SECONDS)
        cloud.arm.begin_delete("ws1")

    with pytest.raises(Refusal) as caught:
        cloud.service.delete("ws1")

    assert (caught.value.status, caught.value.complaint.code) == (409, "OperationNotAllowed")
    assert f"(ws1 - {state}) is in progress" in caught.value.complaint.message


def test_running_update_refuses_another() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.put(tags={"a": "1"})

    refusal = cloud.refused(tags={"a": "2"})

    assert (refusal.status, refusal.complaint.code) == (409, "OperationNotAllowed")


def test_pools_do_not_wait_for_each_other() -> None:
    cloud = Cloud()

    urls = [cloud.create(f"ws{n}").url for n in range(5)]
    cloud.advance(CREATE_SECONDS)

    assert {cloud.arm.operation(url).state for url in urls} == {OperationState.SUCCEEDED}


def test_delete_may_preempt_a_create() -> None:
    cloud = Cloud({"delete_preempts": True})
    create = cloud.create().url

    cloud.arm.begin_delete("ws1")

    preempted = cloud.arm.operation(create)
    assert preempted.state == OperationState.CANCELED
    assert preempted.fault is not None
    assert preempted.fault.code == "AKSOperationPreemptedByDelete"
    cloud.advance(600)
    assert [pool.name for pool in cloud.arm.list()] == ["nodepool1"]
    assert cloud.arm.vms == []


def test_background_operation_refuses_writes_only() -> None:
    busy = {"distribution": "exponential", "mean": 1e9, "unit": "days", "source": "test", "mark": "assumed"}
    never = {**busy, "mean": 1e-9, "unit": "seconds"}
    cloud = Cloud({"background": {"good": never, "bad": busy}})
    cloud.arm.add_pool("foreign")

    fault = cloud.fault()
    with pytest.raises(PoolRefused) as caught:
        cloud.arm.begin_delete("foreign")

    assert fault.reason == caught.value.fault.reason == BlockedReason.OPERATION_IN_PROGRESS
    assert [pool.name for pool in cloud.arm.list()] == ["foreign", "nodepool1"]


def test_hundredth_pool_is_the_last() -> None:
    cloud = Cloud()
    for number in range(99):
        cloud.create(f"ws{number}")

    fault = cloud.fault("onemore")

    assert (fault.code, fault.reason) == ("MaxAgentPoolCountReached", BlockedReason.QUOTA_EXCEEDED)
    assert len(cloud.arm.list()) == 100


def test_last_system_pool_stays() -> None:
    cloud = Cloud()
    cloud.arm.add_pool("system2", mode="System")
    cloud.arm.begin_delete("system2")
    cloud.advance(600)

    with pytest.raises(PoolRefused) as caught:
        cloud.arm.begin_delete("nodepool1")

    assert "at least one system agent pool" in caught.value.fault.message


# --- updates and preconditions --------------------------------------------------------------------------


def test_put_without_condition_updates() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.put(tags={"team": "vision"}, nodeLabels={"a": "b"})
    during = cloud.arm.get("ws1").state

    cloud.advance(5)

    pool = cloud.arm.get("ws1")
    assert (during, pool.state) == (PoolState.UPDATING, PoolState.SUCCEEDED)
    assert (pool.tags, pool.labels) == ({"team": "vision"}, {"a": "b"})
    assert len(cloud.arm.vms) == 1


def test_failed_update_fails_the_pool() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.arm.fail(Fail(code="SubnetIsFull", after_seconds=1), "put")
    cloud.put(tags={"a": "1"})

    cloud.advance(1)

    assert cloud.arm.get("ws1").state == PoolState.FAILED
    assert len(cloud.service.pools["ws1"].vms) == 1


def test_put_on_failed_pool_repairs_it() -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(), "put")
    cloud.created()

    answer = cloud.put()
    cloud.advance(CREATE_SECONDS)

    assert answer.status == 200
    assert cloud.arm.get("ws1").state == PoolState.SUCCEEDED
    assert len(cloud.arm.vms) == 1


def test_size_of_a_pool_is_immutable() -> None:
    cloud = Cloud()
    cloud.created()

    refusal = cloud.refused(vmSize="Standard_NC24s_v3")

    assert (refusal.status, refusal.complaint.code) == (400, "PropertyChangeNotAllowed")


def test_count_scales_machines() -> None:
    cloud = Cloud()
    cloud.put(count=3)
    cloud.advance(CREATE_SECONDS)
    names = [vm.node_name[-6:] for vm in cloud.arm.vms]

    cloud.put(count=1)
    cloud.advance(5)

    assert names == ["000000", "000001", "000002"]
    assert [vm.index for vm in cloud.service.pools["ws1"].vms] == [0]


@pytest.mark.parametrize("stale", [True, False])
def test_if_match_wants_the_present_state(stale: bool) -> None:
    cloud = Cloud()
    cloud.created()
    etag = "older" if stale else cloud.arm.get("ws1").etag

    if stale:
        with pytest.raises(Refusal) as caught:
            cloud.put(if_match=etag, tags={"a": "1"})
        assert (caught.value.status, cloud.arm.get("ws1").tags) == (412, {"kaito.sh_machine": "ws1"})
    else:
        assert cloud.put(if_match=f'"{etag}"', tags={"a": "1"}).status == 200


def test_if_match_wants_a_pool() -> None:
    cloud = Cloud()

    with pytest.raises(Refusal) as caught:
        cloud.put(if_match="*")

    assert caught.value.status == 412
    assert [pool.name for pool in cloud.arm.list()] == ["nodepool1"]


def test_delete_of_another_state_is_refused() -> None:
    cloud = Cloud()
    cloud.arm.add_pool("foreign")

    with pytest.raises(Refusal) as caught:
        cloud.service.delete("foreign", if_match="older")

    assert (caught.value.status, cloud.arm.get("foreign").state) == (412, PoolState.SUCCEEDED)


def test_if_none_match_knows_only_the_star() -> None:
    with pytest.raises(Refusal) as caught:
        Cloud().put(if_none_match='"etag"')

    assert caught.value.status == 400


# --- operations -----------------------------------------------------------------------------------------


def test_abort_cancels_what_hangs() -> None:
    cloud = Cloud()
    cloud.arm.fail(Hang(), "put")
    url = cloud.create().url

    aborting = cloud.service.abort("ws1")

    canceled = cloud.arm.operation(url)
    assert (canceled.state, cloud.arm.get("ws1").state) == (OperationState.CANCELED, PoolState.CANCELED)
    assert canceled.fault is not None
    assert canceled.fault.code == "AKSOperationPreempted"
    assert cloud.service.operation(aborting.operation)["status"] == "Succeeded"
    cloud.advance(86_400)
    assert cloud.arm.get("ws1").state == PoolState.CANCELED


def test_aborted_create_never_finishes() -> None:
    cloud = Cloud()
    cloud.create()

    cloud.service.abort("ws1")
    cloud.advance(CREATE_SECONDS)

    assert cloud.arm.get("ws1").state == PoolState.CANCELED
    assert cloud.arm.vms == []


def test_abort_of_nothing_is_refused() -> None:
    cloud = Cloud()

    with pytest.raises(Refusal) as caught:
        cloud.service.abort("nodepool1")

    assert caught.value.status == 400


def test_released_operations_end_at_once() -> None:
    cloud = Cloud()
    cloud.created("old")
    cloud.arm.fail(Hang(), "any", times=2)
    cloud.create("ws1")
    cloud.arm.begin_delete("old")
    cloud.advance(86_400)

    cloud.arm.release()

    assert [(pool.name, pool.state) for pool in cloud.arm.list()] == [
        ("nodepool1", PoolState.SUCCEEDED),
        ("ws1", PoolState.SUCCEEDED),
    ]


def test_ended_operation_is_forgotten_after_a_day() -> None:
    cloud = Cloud()
    url = cloud.created().url

    cloud.advance(86_400)
    within = cloud.arm.operation(url).state
    cloud.advance(1)

    assert (within, cloud.arm.operation(url).state) == (OperationState.SUCCEEDED, OperationState.LOST)


def test_failed_delete_leaves_the_pool() -> None:
    cloud = Cloud()
    cloud.created()
    text = "Drain did not complete pods [default/falcon] within 10m0s"
    cloud.arm.fail(Fail(code="DeleteVMSSAgentPoolFailed", message=text, after_seconds=600), "delete")
    url = cloud.arm.begin_delete("ws1").url

    cloud.advance(600)

    fault = cloud.arm.operation(url).fault
    assert fault is not None
    assert fault.reason == BlockedReason.OPERATION_IN_PROGRESS
    assert cloud.arm.get("ws1").state == PoolState.FAILED
    assert cloud.arm.vms[0].ended_at is None


def test_pool_tells_its_error_to_newer_clients() -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(code="SubnetIsFull", after_seconds=1), "put")
    cloud.created()

    newer = cloud.service.get("ws1", api_version=NEWEST_API)["properties"]
    older = cloud.service.get("ws1", api_version="2023-07-01")["properties"]

    assert newer["status"]["provisioningError"]["code"] == "SubnetIsFull"
    assert "status" not in older
    assert cloud.arm.get("ws1").fault is not None


def test_next_operation_forgets_the_error() -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(), "put")
    cloud.created()

    cloud.put()

    assert cloud.arm.get("ws1").fault is None


def test_take_overrides_the_profile() -> None:
    cloud = Cloud()
    cloud.arm.fail(Take(seconds=7), "delete")
    cloud.created()
    cloud.arm.begin_delete("ws1")

    cloud.advance(7)

    assert [pool.name for pool in cloud.arm.list()] == ["nodepool1"]


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("lower", "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/kaito/providers"),
        ("camel", "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/kaito/providers"),
        ("upper", "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000000/RESOURCEGROUPS/KAITO/PROVIDERS"),
    ],
)
def test_ids_are_spelled_as_asked(spelling: str, expected: str) -> None:
    cloud = Cloud({"cluster": {"resource_id_case": spelling}})

    found = cloud.service.get("nodepool1")["id"]

    assert found.startswith(expected)


def test_default_disk_grows_with_the_size() -> None:
    cloud = Cloud()
    sizes = ("Standard_NC6s_v3", "Standard_NC12s_v3", "Standard_NC24s_v3", "Standard_ND96asr_v4")
    for number, size in enumerate(sizes):
        cloud.create(f"ws{number}", vm_size=size)

    disks = [cloud.service.get(f"ws{n}")["properties"]["osDiskSizeGB"] for n in range(4)]

    assert disks == [128, 256, 512, 1024]


def test_journal_tells_every_call() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.fault("ws1")
    cloud.arm.get("ws1")

    told = [(call.verb, call.pool, call.status, call.code, call.done) for call in cloud.arm.journal]

    assert told == [
        ("put", "ws1", 200, "", True),
        ("put", "ws1", 412, "PreconditionFailed", False),
        ("get", "ws1", 200, "", True),
    ]


def test_size_is_spelled_in_the_refusal() -> None:
    fault = Cloud({"unavailable_sizes": [SIZE]}).fault()

    assert f"The VM size of {SIZE} is not allowed in your subscription in location 'eastus'" in fault.message
