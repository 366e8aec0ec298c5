"""The verbs of the adapter: what it sends, and what it makes of the answers of a healthy service."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from azure.mgmt.containerservice import ContainerServiceClient

from kaito.provisioner.azure import AzureAgentPools
from kaito.runtime.pools import (
    OWNER_TAG,
    Operation,
    OperationState,
    Pool,
    PoolNotFound,
    PoolRefused,
    PoolState,
    PoolUnanswered,
)
from tests.kaito.provisioner.azure_pools import (
    CONFIGURATION,
    POOLS,
    a_pool,
    a_spec,
    aks_error,
    arm_error,
    azure_pools,
)
from tests.kaito.provisioner.loopback import Loopback

NAME = "ws0123456ab"


def begun(server: Loopback, path: str = "/operations/1?t=9&s=A%2BB") -> dict[str, str]:
    return {"Azure-AsyncOperation": server.url + path}


def page(server: Loopback, *found: dict[str, Any]) -> dict[str, Any]:
    return {"value": list(found), "nextLink": f"{server.url}{POOLS}?api-version=1&$skiptoken=a%20b"}


def test_create_sends_one_create_only_put(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool(provisioningState="Creating"), begun(server))

    operation = pools.begin_create(a_spec())

    (asked,) = server.asked
    assert (asked.method, urlsplit(asked.path).path) == ("PUT", f"{POOLS}/{NAME}")
    assert asked.headers["if-none-match"] == "*"
    assert operation == Operation(url=server.url + "/operations/1?t=9&s=A%2BB")


def test_create_sends_what_was_asked_for(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool(), begun(server))

    pools.begin_create(a_spec(os_disk_gb=50, zones=("1", "3")))

    assert server.asked[0].json == {
        "properties": {
            "count": 1,
            "vmSize": "Standard_NC12s_v3",
            "type": "VirtualMachineScaleSets",
            "mode": "User",
            "osType": "Linux",
            "osDiskSizeGB": 50,
            "nodeLabels": {"kaito.sh/workspace": "falcon"},
            "nodeTaints": ["sku=gpu:NoSchedule"],
            "tags": {OWNER_TAG: NAME, "kaito.sh_machine-uid": "uid-1"},
            "availabilityZones": ["1", "3"],
        }
    }


def test_no_pool_goes_without_owner(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool(), begun(server))

    pools.begin_create(a_spec(tags={}))

    assert server.asked[0].json["properties"]["tags"] == {OWNER_TAG: NAME}


def test_pool_without_zones_sends_none(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool(), begun(server))

    pools.begin_create(a_spec())

    assert "availabilityZones" not in server.asked[0].json["properties"]


@pytest.mark.parametrize("name", ["", "Ws1", "1ws", "ws-1", "ws012345678901", "ws1\n", "ws/../sys", "wsé"])
def test_bad_name_reaches_no_server(name: str, server: Loopback, pools: AzureAgentPools) -> None:
    with pytest.raises(PoolRefused) as refused:
        pools.begin_create(a_spec(name))
    with pytest.raises(PoolNotFound):
        pools.get(name)
    with pytest.raises(PoolNotFound):
        pools.begin_delete(name)

    assert (refused.value.fault.reason, refused.value.fault.terminal) == ("ConfigurationInvalid", True)
    assert server.asked == []


@pytest.mark.parametrize("size", [-2147483648, 29, 2049])
def test_impossible_disk_reaches_no_server(size: int, server: Loopback, pools: AzureAgentPools) -> None:
    with pytest.raises(PoolRefused, match="expected 0 or 30 to 2048"):
        pools.begin_create(a_spec(os_disk_gb=size))

    assert server.asked == []


def test_api_version_is_the_packages_own(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, a_pool())

    pools.get(NAME)

    (version,) = parse_qs(urlsplit(server.asked[0].path).query)["api-version"]
    assert version >= "2026-08-01"


def test_configured_api_version_is_sent(server: Loopback) -> None:
    older = msgspec.structs.replace(CONFIGURATION, api_version="2025-03-01")
    pools = azure_pools(server.url, older)
    server.answers(200, {"value": [a_pool()], "nextLink": f"{server.url}{POOLS}?api-version=x&$skiptoken=b"})
    server.answers(200, {"value": []})

    pools.list()
    pools.close()

    versions = [parse_qs(urlsplit(asked.path).query)["api-version"] for asked in server.asked]
    assert versions == [["2025-03-01"], ["2025-03-01"]]


def test_existing_pool_is_never_written(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(412, arm_error("PreconditionFailed", "The condition specified in If-None-Match failed."))

    with pytest.raises(PoolRefused) as refused:
        pools.begin_create(a_spec())

    assert (refused.value.fault.code, len(server.asked)) == ("PoolExists", 1)


def test_answered_update_is_told_as_existing(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, a_pool(), begun(server))

    with pytest.raises(PoolRefused) as refused:
        pools.begin_create(a_spec())

    assert refused.value.fault.code == "PoolExists"


def test_creation_without_operation_is_lost(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool())

    operation = pools.begin_create(a_spec())

    assert operation == Operation(url="")
    assert pools.operation(operation.url).state is OperationState.LOST


def test_date_in_retry_after_hides_no_creation(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(201, a_pool(), begun(server) | {"Retry-After": "Fri, 05 Apr 2024 18:31:00 GMT"})

    operation = pools.begin_create(a_spec())

    assert operation.url.startswith(server.url)


def test_pool_is_read_whole(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, a_pool())

    pool = pools.get(NAME)

    assert pool == Pool(
        name=NAME,
        state=PoolState.SUCCEEDED,
        vm_size="Standard_NC12s_v3",
        tags={OWNER_TAG: NAME},
        labels={"kaito.sh/workspace": "falcon"},
        etag='"etag-1"',
    )


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("Creating", PoolState.CREATING),
        ("SUCCEEDED", PoolState.SUCCEEDED),
        ("failed", PoolState.FAILED),
        ("canceled", PoolState.CANCELED),
        ("Deleting", PoolState.DELETING),
        ("Updating", PoolState.UPDATING),
        ("Scaling", PoolState.UNKNOWN),
        ("Contemplating", PoolState.UNKNOWN),
        ("", PoolState.UNKNOWN),
        (None, PoolState.UNKNOWN),
        (7, PoolState.UNKNOWN),
    ],
)
def test_states_are_read_in_any_case(
    told: object, state: PoolState, server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(200, a_pool(provisioningState=told))

    assert pools.get(NAME).state is state


def test_upper_case_id_names_the_pool(server: Loopback, pools: AzureAgentPools) -> None:
    document = a_pool()
    document["id"] = document["id"].upper()
    del document["name"]
    server.answers(200, document)

    assert pools.get(NAME).name == NAME


@pytest.mark.parametrize(
    "document", [a_pool("other"), {}, {"properties": {"provisioningState": "Succeeded"}}]
)
def test_answer_about_another_pool_is_none(
    document: object, server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(200, document)

    with pytest.raises(PoolUnanswered):
        pools.get(NAME)


def test_pool_tells_its_last_failure(server: Loopback, pools: AzureAgentPools) -> None:
    error = {"code": "AllocationFailed", "message": "not enough"}
    server.answers(200, a_pool(provisioningState="Failed", status={"provisioningError": error}))

    fault = pools.get(NAME).fault

    assert fault is not None
    assert (fault.reason, fault.code) == ("InsufficientCapacity", "AllocationFailed")


def test_list_follows_its_pages(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, page(server, a_pool("wsb"), a_pool("agentpool", mode="System", tags=None)))
    server.answers(200, {"value": [a_pool("wsa")]})

    found = pools.list()

    assert [pool.name for pool in found] == ["agentpool", "wsa", "wsb"]
    assert [pool.owner for pool in found] == ["", "wsa", "wsb"]
    assert parse_qs(urlsplit(server.asked[1].path).query)["$skiptoken"] == ["a b"]


def test_unreadable_pool_hides_no_other(server: Loopback, pools: AzureAgentPools) -> None:
    odd = {"name": "wsodd", "properties": None}
    odder = {"id": f"{POOLS}/wsodder", "properties": {"tags": 3, "count": "x", "nodeLabels": [1]}}
    server.answers(200, {"value": [odd, a_pool("wsa"), odder]})

    found = pools.list()

    assert [(pool.name, pool.state) for pool in found] == [
        ("wsa", PoolState.SUCCEEDED),
        ("wsodd", PoolState.UNKNOWN),
        ("wsodder", PoolState.UNKNOWN),
    ]


def test_pool_on_two_pages_is_one(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, page(server, a_pool("wsa", provisioningState="Creating")))
    server.answers(200, {"value": [a_pool("wsa")]})

    assert [(pool.name, pool.state) for pool in pools.list()] == [("wsa", PoolState.SUCCEEDED)]


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        None,
        {"value": None},
        {"value": "pools"},
        {"value": {}},
        {"value": [None]},
        {"value": [{}]},
        {"value": [], "nextLink": 5},
    ],
)
def test_unreadable_page_shortens_no_list(told: object, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, page(server, a_pool("wsa")))
    server.answers(200, told)

    with pytest.raises(PoolUnanswered):
        pools.list()


def test_pages_in_a_circle_end(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, page(server, a_pool("wsa")))

    with pytest.raises(PoolUnanswered, match="circle"):
        pools.list()

    assert len(server.asked) == 2


def test_missing_cluster_is_no_empty_list(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(404, arm_error("NotFound", "no such thing"))

    with pytest.raises(PoolRefused) as listing:
        pools.list()
    with pytest.raises(PoolRefused) as creating:
        pools.begin_create(a_spec())

    assert [error.value.fault.reason for error in (listing, creating)] == ["ConfigurationInvalid"] * 2


def test_delete_is_by_name(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(202, b"", begun(server))

    operation = pools.begin_delete(NAME)

    (asked,) = server.asked
    assert (asked.method, urlsplit(asked.path).path) == ("DELETE", f"{POOLS}/{NAME}")
    assert operation.state is OperationState.IN_PROGRESS


def test_delete_of_nothing_is_not_found(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(204)

    with pytest.raises(PoolNotFound):
        pools.begin_delete(NAME)


@pytest.mark.parametrize(
    "body",
    [
        arm_error(
            "ResourceNotFound", f"The Resource 'managedClusters/kaito-demo/agentPools/{NAME}' is not there"
        ),
        arm_error("NotFound", "Could not find the agent pool"),
        aks_error("NotFound", "Could not find the agent pool"),
    ],
)
def test_missing_pool_is_not_found(body: object, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(404, body)

    for verb in (pools.get, pools.begin_delete):
        with pytest.raises(PoolNotFound):
            verb(NAME)


def test_missing_group_is_no_missing_pool(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(404, arm_error("ResourceGroupNotFound", "Resource group 'rg-ai' could not be found."))

    with pytest.raises(PoolRefused) as refused:
        pools.begin_delete(NAME)

    assert refused.value.fault.reason == "ConfigurationInvalid"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("InProgress", OperationState.IN_PROGRESS),
        ("Accepted", OperationState.IN_PROGRESS),
        ("succeeded", OperationState.SUCCEEDED),
    ],
)
def test_operation_tells_how_far(
    status: str, state: OperationState, server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(200, {"name": "1", "status": status})
    url = server.url + "/operations/1?api-version=2016-03-30&t=9&s=A%2BB"

    assert pools.operation(url) == Operation(url=url, state=state)
    assert server.asked[0].path == "/operations/1?api-version=2016-03-30&t=9&s=A%2BB"


@pytest.mark.parametrize("status", [OperationState.FAILED, OperationState.CANCELED])
def test_ended_operation_tells_its_fault(
    status: OperationState, server: Loopback, pools: AzureAgentPools
) -> None:
    inner = {"code": "ZonalAllocationFailed", "message": "no capacity in this zone"}
    wrapper = arm_error("ReconcileVMSSAgentPoolFailed", "it failed", details=[inner])
    server.answers(200, {"status": str(status), **wrapper})

    operation = pools.operation(server.url + "/operations/1")

    assert operation.state is status
    assert operation.fault is not None
    assert operation.fault.reason == "InsufficientCapacity"


@pytest.mark.parametrize("status", [404, 410])
def test_forgotten_operation_is_lost(status: int, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(status, arm_error("OperationNotFound", "unknown"))

    assert pools.operation(server.url + "/operations/1").state is OperationState.LOST


@pytest.mark.parametrize("body", [{}, [], {"status": None}, b"<html>", b'{"status":', b""])
def test_unreadable_operation_is_unanswered(body: object, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, body)

    with pytest.raises(PoolUnanswered):
        pools.operation(server.url + "/operations/1")


def test_endless_operation_holds_nobody(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(200, {"status": "InProgress"}, {"Retry-After": "3600"})

    states = {pools.operation(server.url + "/operations/1").state for _ in range(5)}

    assert states == {OperationState.IN_PROGRESS}
    assert len(server.asked) == 5


def test_each_thread_has_its_client(server: Loopback) -> None:
    made: list[ContainerServiceClient] = []
    pools = azure_pools(server.url)
    new_client = pools._new_client
    pools._new_client = lambda: made.append(new_client()) or made[-1]  # type: ignore[func-returns-value]
    server.answers(200, {"value": [a_pool()]})
    names: list[str] = []

    def work() -> None:
        for _ in range(5):
            names.extend(pool.name for pool in pools.list())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pools.close()

    assert (len(made), names) == (4, [NAME] * 20)
