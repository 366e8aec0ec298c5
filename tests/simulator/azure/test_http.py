"""The HTTP face: addresses, headers, operations, bodies, admin switches, and time at a speed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.azure.arm import VirtualArm
from simulator.azure.loading import from_section
from simulator.azure.pacing import AS_FAST_AS_IT_CAN, Pacer
from simulator.azure.serving import ArmServer
from simulator.engine import Engine
from simulator.randomness import Generators
from tests.contracts.agent_pools import START, StoppedClock, served
from tests.contracts.plain_http import CLUSTER, Response, send
from tests.simulator.azure.clouds import CREATE_SECONDS, LATENCIES, SIZE

VERSION = "api-version=2023-07-01"
BODY = {"properties": {"vmSize": SIZE, "count": 1}}


class Face:
    """A served cloud, and requests to it."""

    def __init__(self, server: ArmServer, arm: VirtualArm) -> None:
        self.server = server
        self.arm = arm
        self.pools = f"{server.url}{CLUSTER}/agentPools"

    def pool(self, method: str, name: str = "ws1", body: Any = None, **headers: str) -> Response:
        return send(method, f"{self.pools}/{name}?{VERSION}", body, **headers)

    def path(self, method: str, path: str, body: Any = None) -> Response:
        return send(method, self.server.url + path, body)

    def admin(self, method: str, path: str, body: Any = None) -> Response:
        return send(method, f"{self.server.url}/admin{path}", body)

    def advance(self, seconds: float) -> None:
        self.server.pacer.advance(seconds)


@contextmanager
def face(**section: Any) -> Iterator[Face]:
    with served(from_section(section)) as (server, arm):
        yield Face(server, arm)


@pytest.fixture
def calm() -> Iterator[Face]:
    with face() as found:
        yield found


def code_of(answer: Response) -> str:
    document = answer.json()
    error = document.get("error", document)
    return str(error["code"])


# --- the protocol of operations -------------------------------------------------------------------------


def test_create_is_answered_with_pool_and_operation(calm: Face) -> None:
    answer = calm.pool("PUT", body=BODY)

    assert answer.status == 201
    assert answer.json()["properties"]["provisioningState"] == "Creating"
    assert answer.json()["id"].startswith(
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/"
    )
    url = answer.headers["azure-asyncoperation"]
    assert url.startswith(f"{calm.server.url}/subscriptions/")
    assert "/providers/Microsoft.ContainerService/locations/eastus/operations/" in url
    assert "retry-after" not in answer.headers


def test_operation_tells_start_and_end(calm: Face) -> None:
    url = calm.pool("PUT", body=BODY).headers["azure-asyncoperation"]

    running = send("GET", url).json()
    calm.advance(CREATE_SECONDS)
    ended = send("GET", url).json()

    assert running == {
        "name": ended["name"],
        "status": "InProgress",
        "startTime": "2024-04-05T18:29:58.000000Z",
    }
    assert url.partition("?")[0].endswith(ended["name"])
    assert (ended["status"], ended["endTime"]) == ("Succeeded", "2024-04-05T18:33:46.550000Z")


def test_failed_operation_holds_the_error(calm: Face) -> None:
    details = [{"code": "Inner", "message": "why"}]
    fault = {
        "kind": "fail",
        "code": "AllocationFailed",
        "message": "full",
        "details": details,
        "after_seconds": 5,
    }
    calm.admin("POST", "/faults", {"fault": fault, "verb": "put"})
    url = calm.pool("PUT", body=BODY).headers["azure-asyncoperation"]

    calm.advance(5)

    answer = send("GET", url)
    assert (answer.status, answer.json()["status"]) == (200, "Failed")
    assert answer.json()["error"] == {"code": "AllocationFailed", "message": "full", "details": details}


def test_update_is_answered_with_200(calm: Face) -> None:
    calm.pool("PUT", body=BODY)
    calm.advance(CREATE_SECONDS)

    answer = calm.pool("PUT", body={"properties": {"vmSize": SIZE, "tags": {"a": "1"}}})

    assert (answer.status, answer.json()["properties"]["provisioningState"]) == (200, "Updating")


def test_delete_is_answered_without_body(calm: Face) -> None:
    calm.pool("PUT", body=BODY)
    calm.advance(CREATE_SECONDS)

    answer = calm.pool("DELETE")

    assert (answer.status, answer.body) == (202, b"")
    assert "/operations/" in answer.headers["azure-asyncoperation"]
    assert "/operationresults/" in answer.headers["location"]
    assert send("GET", answer.headers["location"]).status == 202
    calm.advance(600)
    assert send("GET", answer.headers["location"]).status == 204
    assert calm.pool("GET").status == 404


def test_abort_is_answered_with_an_operation(calm: Face) -> None:
    created = calm.pool("PUT", body=BODY).headers["azure-asyncoperation"]

    answer = send("POST", f"{calm.pools}/ws1/abort?{VERSION}")

    assert answer.status == 202
    assert send("GET", answer.headers["azure-asyncoperation"]).json()["status"] == "Succeeded"
    canceled = send("GET", created).json()
    assert (canceled["status"], canceled["error"]["code"]) == ("Canceled", "AKSOperationPreempted")


def test_list_goes_over_pages() -> None:
    with face(page_size=1) as two_pages:
        two_pages.pool("PUT", body=BODY)

        first = send("GET", f"{two_pages.pools}?{VERSION}").json()
        second = send("GET", first["nextLink"]).json()

    assert [pool["name"] for page in (first, second) for pool in page["value"]] == ["nodepool1", "ws1"]
    assert VERSION in first["nextLink"]
    assert "nextLink" not in second


def test_etag_guards_an_update(calm: Face) -> None:
    calm.pool("PUT", body=BODY)
    calm.advance(CREATE_SECONDS)
    etag = calm.pool("GET").json()["properties"]["eTag"]

    stale = calm.pool("PUT", body=BODY, if_match='"older"')
    fresh = calm.pool("PUT", body=BODY, if_match=f'"{etag}"')

    assert (stale.status, code_of(stale), fresh.status) == (412, "PreconditionFailed", 200)


# --- addresses and headers ------------------------------------------------------------------------------


def test_addresses_have_no_case(calm: Face) -> None:
    url = f"{calm.server.url}{CLUSTER.upper()}/AGENTPOOLS/nodepool1?API-VERSION=2023-07-01"

    assert send("GET", url).json()["name"] == "nodepool1"


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (("00000000", "11111111"), "SubscriptionNotFound"),
        (("resourceGroups/kaito", "resourceGroups/typo"), "ResourceGroupNotFound"),
        (("managedClusters/kaito", "managedClusters/typo"), "ResourceNotFound"),
        (("ContainerService", "Container"), "InvalidResourceType"),
    ],
)
def test_wrong_place_is_told_apart(calm: Face, place: tuple[str, str], code: str) -> None:
    answer = send("GET", f"{calm.pools.replace(*place)}?{VERSION}")

    assert (answer.status, code_of(answer), answer.headers["x-ms-error-code"]) == (404, code, code)
    assert "error" in answer.json()


@pytest.mark.parametrize(
    ("query", "code"),
    [("", "MissingApiVersionParameter"), ("?api-version=now", "InvalidApiVersionParameter")],
)
def test_api_version_is_required(calm: Face, query: str, code: str) -> None:
    answer = send("GET", calm.pools + query)

    assert (answer.status, code_of(answer)) == (400, code)


@pytest.mark.parametrize(("method", "suffix"), [("POST", ""), ("PATCH", "/ws1"), ("GET", "/ws1/abort")])
def test_other_methods_are_refused(calm: Face, method: str, suffix: str) -> None:
    answer = send(method, f"{calm.pools}{suffix}?{VERSION}")

    assert (answer.status, code_of(answer)) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"{}"])
def test_unreadable_body_is_refused(calm: Face, body: bytes) -> None:
    answer = calm.pool("PUT", body=body)

    assert (answer.status, code_of(answer)) == (400, "InvalidRequestContent")
    assert calm.pool("GET").status == 404


def test_refusal_of_aks_has_its_flat_body(calm: Face) -> None:
    answer = calm.pool("GET")

    assert answer.status == 404
    assert set(answer.json()) == {"code", "message", "details", "subcode"}
    assert "managedClusters/kaito/agentPools/ws1" in answer.json()["message"]


def test_every_answer_tells_what_is_left(calm: Face) -> None:
    read = calm.pool("GET", client_request_id="x")
    written = calm.pool("PUT", body=BODY, x_ms_client_request_id="mine")
    deleted = calm.pool("DELETE")

    assert read.headers["x-ms-ratelimit-remaining-subscription-global-reads"] == "250"
    assert written.headers["x-ms-ratelimit-remaining-subscription-writes"] == "200"
    assert deleted.headers["x-ms-ratelimit-remaining-subscription-deletes"] == "200"
    assert written.headers["x-ms-client-request-id"] == "mine"
    assert len({each.headers["x-ms-request-id"] for each in (read, written, deleted)}) == 3


def test_throttled_answer_says_how_long() -> None:
    with face(throttling={"enabled": True, "put_pools": {"burst": 1}}) as limited:
        limited.pool("PUT", "ws1", BODY)
        answer = limited.pool("PUT", "ws2", BODY)

    assert (answer.status, answer.headers["retry-after"], code_of(answer)) == (429, "60", "Throttled")


@pytest.mark.parametrize("done", [True, False])
def test_reset_connection_sends_no_byte(calm: Face, done: bool) -> None:
    calm.admin("POST", "/faults", {"fault": {"kind": "reset", "done": done}, "verb": "put"})

    with pytest.raises(ConnectionResetError):
        calm.pool("PUT", body=BODY)

    assert calm.pool("GET").status == (200 if done else 404)


def test_garbage_is_sent_as_it_is(calm: Face) -> None:
    calm.admin("POST", "/faults", {"fault": {"kind": "garbage", "status": 502, "body": "<b>no</b>"}})

    answer = calm.pool("GET")

    assert (answer.status, answer.body) == (502, b"<b>no</b>")


# --- admin ----------------------------------------------------------------------------------------------


def test_quota_is_set_and_lifted(calm: Face) -> None:
    calm.admin("PUT", "/quota/standardNCSv3Family", {"limit": 100, "used": 96})
    refused = calm.pool("PUT", body=BODY)
    told = calm.admin("GET", "/state").json()["quotas"]
    calm.admin("PUT", "/quota/standardNCSv3Family", {"limit": None})

    assert (refused.status, code_of(refused)) == (409, "OperationNotAllowed")
    assert told == {"standardNCSv3Family": {"limit": 100, "used": 96}}
    assert calm.pool("PUT", body=BODY).status == 201


def test_stock_out_is_switched_on_and_off(calm: Face) -> None:
    calm.admin("POST", "/stockouts", {"vm_size": SIZE})
    calm.pool("PUT", "ws1", BODY)
    calm.admin("DELETE", "/stockouts", {"vm_size": SIZE})
    calm.pool("PUT", "ws2", BODY)

    calm.admin("POST", "/advance", {"seconds": 300})

    state = calm.admin("GET", "/state").json()
    assert state["pools"] == {"nodepool1": "Succeeded", "ws1": "Failed", "ws2": "Succeeded"}
    assert state["now"] == "2024-04-05T18:34:58+00:00"


def test_held_operation_is_released(calm: Face) -> None:
    calm.admin("POST", "/faults", {"fault": {"kind": "hang"}, "verb": "put"})
    calm.pool("PUT", body=BODY)
    calm.admin("POST", "/advance", {"seconds": 3600})
    held = calm.admin("GET", "/state").json()["hanging"]

    calm.admin("POST", "/release")

    assert held == ["ws1"]
    assert calm.pool("GET").json()["properties"]["provisioningState"] == "Succeeded"


def test_faults_are_forgotten_on_request(calm: Face) -> None:
    calm.admin("POST", "/faults", {"fault": {"kind": "refuse"}, "times": None})
    listed = calm.admin("GET", "/state").json()["faults"]

    calm.admin("DELETE", "/faults")

    assert [script["fault"]["kind"] for script in listed] == ["refuse"]
    assert calm.pool("GET", "nodepool1").status == 200


def test_pools_are_planted_and_evicted(calm: Face) -> None:
    calm.admin("POST", "/pools", {"name": "foreign", "tags": {"team": "vision"}})
    calm.pool("PUT", body=BODY)
    calm.advance(CREATE_SECONDS)

    calm.admin("POST", "/evict", {"pool": "ws1"})
    calm.advance(30)

    assert calm.pool("GET", "foreign").json()["properties"]["tags"] == {"team": "vision"}
    assert [vm.ended_at is not None for vm in calm.arm.vms] == [True]


def test_calm_ends_every_fault(calm: Face) -> None:
    calm.admin("POST", "/faults", {"fault": {"kind": "refuse"}, "times": None})

    calm.admin("POST", "/calm")

    assert calm.pool("GET", "nodepool1").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "line"),
    [
        (
            "PUT",
            "/speed",
            {"factor": "fast"},
            "factor: expected max or a number from 0 to 1000000, found 'fast'",
        ),
        ("PUT", "/speed", {"factor": -1}, "factor: expected max or a number from 0 to 1000000, found -1"),
        ("PUT", "/speed", {}, "factor: expected a value, found none"),
        ("POST", "/advance", {"seconds": -1}, "seconds: expected greater than or equal to 0, found -1"),
        (
            "POST",
            "/advance",
            {"seconds": 1e12},
            "seconds: expected less than or equal to 315360000, found 1000000000000.0",
        ),
        ("POST", "/evict", {"pool": "ws9"}, "pool: expected the name of a pool, found 'ws9'"),
        ("POST", "/faults", {"fault": {"kind": "reset"}}, "fault.reset.done: expected a value, found none"),
        ("PUT", "/quota/x", {"limit": 1, "uses": 2}, "uses: expected no field of this name"),
        ("POST", "/pools", [], "expected a mapping, found []"),
    ],
)
def test_wrong_switch_is_refused_in_one_line(
    calm: Face, method: str, path: str, body: Any, line: str
) -> None:
    answer = calm.admin(method, path, body)

    assert (answer.status, answer.json()) == (400, {"error": line})


def test_switch_without_json_is_refused(calm: Face) -> None:
    answer = calm.admin("POST", "/faults", b"{")

    assert answer.status == 400
    assert answer.json()["error"].startswith("expected JSON, found: ")


# --- time -----------------------------------------------------------------------------------------------


class WallByHand:
    """A wall clock for tests."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> Any:
        return START

    def monotonic(self) -> float:
        return self.seconds


def paced(speed: float) -> tuple[Engine, WallByHand, Pacer]:
    engine, wall = Engine(START), WallByHand()
    return engine, wall, Pacer(engine, wall, speed)


@pytest.mark.parametrize(("speed", "passed"), [(0.0, 0.0), (1.0, 2.5), (60.0, 150.0)])
def test_virtual_time_follows_the_wall(speed: float, passed: float) -> None:
    engine, wall, pacer = paced(speed)

    wall.seconds += 2.5
    pacer.catch_up()

    assert engine.monotonic() == passed


def test_speed_changes_from_here_on() -> None:
    engine, wall, pacer = paced(60.0)
    wall.seconds += 1
    pacer.catch_up()

    pacer.set_speed(1.0)
    wall.seconds += 5
    pacer.catch_up()

    assert engine.monotonic() == 65


def test_advance_does_not_run_ahead_twice() -> None:
    engine, wall, pacer = paced(1.0)

    pacer.advance(100)
    wall.seconds += 1
    pacer.catch_up()

    assert engine.monotonic() == 101


def test_fastest_goes_from_notice_to_notice() -> None:
    engine, _, pacer = paced(AS_FAST_AS_IT_CAN)
    seen: list[float] = []
    for at in (10.0, 500.0):
        engine.schedule(at, lambda: seen.append(engine.monotonic()))

    pacer.catch_up()
    after_one = list(seen)
    pacer.catch_up()
    pacer.catch_up()

    assert after_one == [10.0]
    assert (seen, engine.monotonic()) == ([10.0, 500.0], 500.0)


@pytest.mark.parametrize("speed", [-1.0, float("nan")])
def test_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="a speed must be 0 or above"):
        paced(speed)


def test_server_goes_as_fast_as_it_can(calm: Face) -> None:
    url = calm.pool("PUT", body=BODY).headers["azure-asyncoperation"]

    calm.admin("PUT", "/speed", {"factor": "max"})
    while send("GET", url).json()["status"] == "InProgress":
        pass

    state = calm.admin("GET", "/state").json()
    assert (state["speed"], state["pools"]["ws1"]) == ("max", "Succeeded")
    assert state["now"] == "2024-04-05T18:33:46.550000+00:00"


# --- the server -----------------------------------------------------------------------------------------


def test_server_leaves_nothing_behind() -> None:
    engine = Engine(START)
    arm = VirtualArm(engine, Generators(1), LATENCIES)

    with ArmServer(arm, engine, speed=0, clock=StoppedClock()) as server:
        address = urlsplit(server.url)
        alive = server.serving

    assert alive
    assert not server.serving
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))


def test_taken_port_is_refused() -> None:
    engine = Engine(START)
    arm = VirtualArm(engine, Generators(1), LATENCIES)

    with ArmServer(arm, engine, speed=0) as first, pytest.raises(OSError, match="in use"):
        ArmServer(arm, engine, port=first.port)


def test_server_never_entered_frees_its_port() -> None:
    engine = Engine(START)
    arm = VirtualArm(engine, Generators(1), LATENCIES)

    server = ArmServer(arm, engine)
    server.close()

    ArmServer(arm, engine, port=server.port).close()
