"""What every implementation of the port to agent pools promises; one suite over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kaito.runtime.faults import POOL_EXISTS
from kaito.runtime.pools import (
    CREATED_TAG,
    OWNER_TAG,
    OWNER_UID_TAG,
    AgentPools,
    OperationState,
    PoolFault,
    PoolNotFound,
    PoolRefused,
    PoolSpec,
    PoolState,
    PoolUnanswered,
)
from simulator.azure.loading import from_section
from simulator.azure.scripts import Fail, Garbage, Hang, Lose, Refuse, Reset
from statemachine.state import BlockedReason
from tests.contracts.agent_pools import IMPLEMENTATIONS, Cloud

CREATED_WITHIN_SECONDS = 300.0
DELETED_WITHIN_SECONDS = 120.0
SIZE = "Standard_NC12s_v3"
TAGS = {OWNER_TAG: "ws1", OWNER_UID_TAG: "uid-1", CREATED_TAG: "2024-04-05T18:29:58Z"}
QUOTA_TEXT = (
    "Operation could not be completed as it results in exceeding approved standardNCSv3Family Cores quota. "
    "Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 100, Current "
    "Usage: 96, Additional Required: 12, (Minimum) New Limit Required: 108."
)
ANY_VERB: dict[str, Callable[[AgentPools], object]] = {
    "put": lambda pools: pools.begin_create(a_spec()),
    "get": lambda pools: pools.get("nodepool1"),
    "list": lambda pools: pools.list(),
    "delete": lambda pools: pools.begin_delete("foreign"),
}

Open = Callable[..., Cloud]


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def open_cloud(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens a cloud with a foreign pool, and with what the test wants to differ from the calm scenario."""
    with ExitStack() as stack:

        def opened(**section: Any) -> Cloud:
            cloud = stack.enter_context(IMPLEMENTATIONS[request.param](from_section(section)))
            with cloud.switches() as arm:
                arm.add_pool("foreign", tags={"team": "vision"})
            return cloud

        yield opened


@pytest.fixture
def cloud(open_cloud: Open) -> Cloud:
    return open_cloud()


def a_spec(name: str = "ws1", **fields: Any) -> PoolSpec:
    given: dict[str, Any] = {
        "vm_size": SIZE,
        "labels": {"kaito.sh/workspace": "falcon", "apps": "falcon-7b"},
        "taints": ("sku=gpu:NoSchedule",),
        "os_disk_gb": 64,
        "tags": TAGS,
    }
    return PoolSpec(name=name, **{**given, **fields})


def refusal_of(call: Callable[[], object]) -> PoolFault:
    with pytest.raises(PoolRefused) as caught:
        call()
    return caught.value.fault


# --- create, get, list, delete --------------------------------------------------------------------------


def test_create_is_submitted_and_not_awaited(cloud: Cloud) -> None:
    operation = cloud.pools.begin_create(a_spec())

    assert operation.state == OperationState.IN_PROGRESS
    assert cloud.pools.operation(operation.url).state == OperationState.IN_PROGRESS
    assert cloud.pools.get("ws1").state == PoolState.CREATING


def test_created_pool_becomes_ready(cloud: Cloud) -> None:
    operation = cloud.pools.begin_create(a_spec())

    cloud.advance(CREATED_WITHIN_SECONDS)

    assert cloud.pools.operation(operation.url).state == OperationState.SUCCEEDED
    assert cloud.pools.get("ws1").state == PoolState.SUCCEEDED


def test_pool_tells_what_was_asked_for(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec())

    pool = cloud.pools.get("ws1")

    assert (pool.name, pool.vm_size, pool.count, pool.mode) == ("ws1", SIZE, 1, "User")
    assert pool.labels == {"kaito.sh/workspace": "falcon", "apps": "falcon-7b"}
    assert pool.tags == TAGS
    assert pool.owner == "ws1"
    assert pool.etag


def test_service_receives_the_whole_request(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec(zones=("1", "2")))

    with cloud.switches() as arm:
        asked = arm.service.pools["ws1"].asked
    assert (asked.count, asked.os_disk_gb, asked.taints) == (1, 64, ("sku=gpu:NoSchedule",))
    assert asked.zones == ("1", "2")


def test_etag_changes_with_the_pool(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec())
    before = cloud.pools.get("ws1").etag

    cloud.advance(CREATED_WITHIN_SECONDS)

    assert cloud.pools.get("ws1").etag != before


def test_list_holds_every_pool_of_all_pages(open_cloud: Open) -> None:
    cloud = open_cloud(page_size=2)
    cloud.pools.begin_create(a_spec("ws2"))
    cloud.pools.begin_create(a_spec("ws1"))

    found = cloud.pools.list()

    assert [pool.name for pool in found] == ["foreign", "nodepool1", "ws1", "ws2"]
    assert [pool.owner for pool in found] == ["", "", "ws1", "ws1"]
    assert [pool.mode for pool in found] == ["User", "System", "User", "User"]
    assert cloud.calls("list") == 2


def test_list_is_whole_or_fails(open_cloud: Open) -> None:
    cloud = open_cloud(page_size=1)
    with cloud.switches() as arm:
        arm.fail(Refuse(), "list", skip=1)

    fault = refusal_of(cloud.pools.list)

    assert fault.reason == BlockedReason.PROVIDER_FAULT


@pytest.mark.parametrize("oddity", ["no-properties", "odd-state"])
def test_unreadable_pool_is_listed_as_unknown(cloud: Cloud, oddity: Any) -> None:
    with cloud.switches() as arm:
        arm.make_odd("foreign", oddity)

    states = {pool.name: pool.state for pool in cloud.pools.list()}

    assert states == {"foreign": PoolState.UNKNOWN, "nodepool1": PoolState.SUCCEEDED}
    assert cloud.pools.get("foreign").state == PoolState.UNKNOWN


def test_deleted_pool_goes_after_a_while(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec())
    cloud.advance(CREATED_WITHIN_SECONDS)

    operation = cloud.pools.begin_delete("ws1")

    assert operation.state == OperationState.IN_PROGRESS
    assert cloud.pools.get("ws1").state == PoolState.DELETING
    cloud.advance(DELETED_WITHIN_SECONDS)
    assert cloud.pools.operation(operation.url).state == OperationState.SUCCEEDED
    with pytest.raises(PoolNotFound):
        cloud.pools.get("ws1")


@pytest.mark.parametrize("status", [404, 204])
def test_missing_pool_is_not_found(open_cloud: Open, status: int) -> None:
    cloud = open_cloud(delete_of_missing=status)

    with pytest.raises(PoolNotFound):
        cloud.pools.get("ws1")
    with pytest.raises(PoolNotFound):
        cloud.pools.begin_delete("ws1")


def test_operation_is_known_after_restart(cloud: Cloud) -> None:
    url = cloud.pools.begin_create(a_spec()).url
    cloud.advance(CREATED_WITHIN_SECONDS)

    again = cloud.reopen()

    assert again.operation(url).state == OperationState.SUCCEEDED
    assert again.get("ws1").state == PoolState.SUCCEEDED


# --- what is there already ------------------------------------------------------------------------------


def test_second_create_is_refused_as_existing(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec())

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    assert fault.code == POOL_EXISTS


def test_foreign_pool_of_that_name_is_untouched(cloud: Cloud) -> None:
    before = cloud.pools.get("foreign")

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec("foreign")))

    assert fault.code == POOL_EXISTS
    assert cloud.pools.get("foreign") == before
    assert before.owner == ""


def test_failed_pool_is_not_taken_over(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Fail(), "put")
    cloud.pools.begin_create(a_spec())
    cloud.advance(CREATED_WITHIN_SECONDS)

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    assert fault.code == POOL_EXISTS
    assert cloud.pools.get("ws1").state == PoolState.FAILED


# --- something else is going on -------------------------------------------------------------------------


def test_delete_during_create_is_refused_as_busy(cloud: Cloud) -> None:
    cloud.pools.begin_create(a_spec())

    fault = refusal_of(lambda: cloud.pools.begin_delete("ws1"))

    assert (fault.code, fault.reason) == ("OperationNotAllowed", BlockedReason.OPERATION_IN_PROGRESS)
    assert not fault.terminal
    assert cloud.pools.get("ws1").state == PoolState.CREATING


def test_create_during_delete_is_refused_as_busy(cloud: Cloud) -> None:
    cloud.pools.begin_delete("foreign")

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec("foreign")))

    assert fault.reason == BlockedReason.OPERATION_IN_PROGRESS
    assert "since deletion was issued" in fault.message


def test_throttled_call_tells_when_to_return(open_cloud: Open) -> None:
    cloud = open_cloud(throttling={"enabled": True, "put_pools": {"burst": 1}})
    cloud.pools.begin_create(a_spec("ws1"))

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec("ws2")))

    assert (fault.code, fault.reason) == ("Throttled", BlockedReason.THROTTLED)
    assert fault.retry_after_seconds == 60
    cloud.advance(60)
    assert cloud.pools.begin_create(a_spec("ws2")).state == OperationState.IN_PROGRESS


def test_throttled_call_may_tell_nothing(open_cloud: Open) -> None:
    cloud = open_cloud(throttling={"enabled": True, "tells_retry_after": False, "put_pools": {"burst": 1}})
    cloud.pools.begin_create(a_spec("ws1"))

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec("ws2")))

    assert (fault.reason, fault.retry_after_seconds) == (BlockedReason.THROTTLED, None)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [True, False], ids=["aks body", "arm body"])
def test_quota_refusal_gives_its_numbers(cloud: Cloud, flat: bool) -> None:
    told = Refuse(status=409, code="OperationNotAllowed", message=QUOTA_TEXT, flat=flat)
    with cloud.switches() as arm:
        arm.fail(told, "put")

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    assert (fault.code, fault.reason) == ("OperationNotAllowed", BlockedReason.QUOTA_EXCEEDED)
    assert (fault.family, fault.limit, fault.used, fault.needed) == ("standardNCSv3Family", 100, 96, 12)
    assert fault.message == QUOTA_TEXT


def test_raised_quota_heals(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.set_quota("standardNCSv3Family", limit=100, used=96)
    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    with cloud.switches() as arm:
        arm.set_quota("standardNCSv3Family", limit=108, used=96)
    operation = cloud.pools.begin_create(a_spec())

    assert (fault.limit, fault.used, fault.needed) == (100, 96, 12)
    assert operation.state == OperationState.IN_PROGRESS


def test_size_not_allowed_is_terminal(open_cloud: Open) -> None:
    cloud = open_cloud(unavailable_sizes=[SIZE])

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    assert (fault.reason, fault.terminal) == (BlockedReason.SKU_NOT_AVAILABLE, True)
    assert SIZE in fault.message


@pytest.mark.parametrize("by", ["policy", "role"])
def test_forbidden_create_is_told_as_such(open_cloud: Open, by: str) -> None:
    cloud = open_cloud(refused_by=by)

    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec()))

    assert fault.reason == BlockedReason.NOT_AUTHORIZED


def test_wrong_disk_size_is_a_configuration_fault(cloud: Cloud) -> None:
    fault = refusal_of(lambda: cloud.pools.begin_create(a_spec(os_disk_gb=5)))

    assert (fault.reason, fault.terminal) == (BlockedReason.CONFIGURATION_INVALID, True)


@pytest.mark.parametrize("verb", sorted(ANY_VERB))
@pytest.mark.parametrize("flat", [True, False], ids=["aks body", "arm body"])
def test_internal_error_is_the_providers(cloud: Cloud, verb: Any, flat: bool) -> None:
    with cloud.switches() as arm:
        arm.fail(Refuse(status=500, flat=flat), verb)

    fault = refusal_of(lambda: ANY_VERB[verb](cloud.pools))

    assert (fault.code, fault.reason) == ("InternalServerError", BlockedReason.PROVIDER_FAULT)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize("verb", sorted(ANY_VERB))
def test_failed_call_is_not_repeated(cloud: Cloud, verb: Any, status: int) -> None:
    with cloud.switches() as arm:
        arm.fail(Refuse(status=status, retry_after_seconds=1), verb, times=None)

    with pytest.raises((PoolRefused, PoolUnanswered)):
        ANY_VERB[verb](cloud.pools)

    assert cloud.calls(verb) == 1


def test_wrong_address_is_no_missing_pool(cloud: Cloud) -> None:
    text = "The Resource 'Microsoft.ContainerService/managedClusters/typo' was not found."
    with cloud.switches() as arm:
        arm.fail(Refuse(status=404, code="ResourceNotFound", message=text, flat=False), "get")

    fault = refusal_of(lambda: cloud.pools.get("ws1"))

    assert fault.reason == BlockedReason.CONFIGURATION_INVALID


# --- operations that end otherwise ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"), [("Failed", PoolState.FAILED), ("Canceled", PoolState.CANCELED)]
)
def test_failed_operation_tells_why(cloud: Cloud, status: Any, state: PoolState) -> None:
    text = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
    with cloud.switches() as arm:
        arm.fail(Fail(status=status, code="AllocationFailed", message=text, after_seconds=90), "put")
    url = cloud.pools.begin_create(a_spec()).url

    cloud.advance(89)
    before = cloud.pools.operation(url)
    cloud.advance(1)
    after = cloud.pools.operation(url)

    assert before.state == OperationState.IN_PROGRESS
    assert after.state == OperationState(status)
    assert after.fault is not None
    assert (after.fault.code, after.fault.reason) == (
        "AllocationFailed",
        BlockedReason.INSUFFICIENT_CAPACITY,
    )
    assert cloud.pools.get("ws1").state == state


def test_stock_out_surfaces_in_operation(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.run_out(SIZE)
    url = cloud.pools.begin_create(a_spec()).url

    cloud.advance(CREATED_WITHIN_SECONDS)

    fault = cloud.pools.operation(url).fault
    assert fault is not None
    assert fault.reason == BlockedReason.INSUFFICIENT_CAPACITY


def test_failed_pool_can_be_deleted(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Fail(), "put")
    cloud.pools.begin_create(a_spec())
    cloud.advance(CREATED_WITHIN_SECONDS)

    cloud.pools.begin_delete("ws1")
    cloud.advance(DELETED_WITHIN_SECONDS)

    assert [pool.name for pool in cloud.pools.list()] == ["foreign", "nodepool1"]


def test_operation_may_never_end(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Hang(), "put")
    url = cloud.pools.begin_create(a_spec()).url

    cloud.advance(86_400)

    assert cloud.pools.operation(url).state == OperationState.IN_PROGRESS
    assert cloud.pools.get("ws1").state == PoolState.CREATING


def test_lost_operation_says_so(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Lose(), "put")
    url = cloud.pools.begin_create(a_spec()).url

    cloud.advance(CREATED_WITHIN_SECONDS)

    assert cloud.pools.operation(url).state == OperationState.LOST
    assert cloud.pools.get("ws1").state == PoolState.SUCCEEDED


def test_refused_question_is_no_answer(cloud: Cloud) -> None:
    url = cloud.pools.begin_create(a_spec()).url
    with cloud.switches() as arm:
        arm.fail(Refuse(status=500), "operation")

    fault = refusal_of(lambda: cloud.pools.operation(url))

    assert fault.reason == BlockedReason.PROVIDER_FAULT
    assert cloud.calls("operation") == 1


# --- answers that do not arrive -------------------------------------------------------------------------


def test_reset_before_create_leaves_nothing(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Reset(done=False), "put")

    with pytest.raises(PoolUnanswered):
        cloud.pools.begin_create(a_spec())

    with pytest.raises(PoolNotFound):
        cloud.pools.get("ws1")
    assert cloud.calls("put") == 1


def test_reset_after_create_leaves_the_pool(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Reset(done=True), "put")

    with pytest.raises(PoolUnanswered):
        cloud.pools.begin_create(a_spec())

    assert cloud.pools.get("ws1").owner == "ws1"
    assert refusal_of(lambda: cloud.pools.begin_create(a_spec())).code == POOL_EXISTS


@pytest.mark.parametrize("verb", sorted(ANY_VERB))
def test_reset_connection_is_no_answer(cloud: Cloud, verb: Any) -> None:
    with cloud.switches() as arm:
        arm.fail(Reset(done=False), verb)

    with pytest.raises(PoolUnanswered):
        ANY_VERB[verb](cloud.pools)

    assert cloud.calls(verb) == 1


@pytest.mark.parametrize("verb", ["put", "get", "list"])
@pytest.mark.parametrize("status", [200, 404, 502])
def test_garbage_is_no_answer(cloud: Cloud, verb: Any, status: int) -> None:
    with cloud.switches() as arm:
        arm.fail(Garbage(status=status), verb)

    with pytest.raises(PoolUnanswered):
        ANY_VERB[verb](cloud.pools)

    assert cloud.calls(verb) == 1


def test_gateways_answer_is_none(cloud: Cloud) -> None:
    with cloud.switches() as arm:
        arm.fail(Refuse(status=504, code="GatewayTimeout", flat=False), "put")

    with pytest.raises(PoolUnanswered):
        cloud.pools.begin_create(a_spec())
