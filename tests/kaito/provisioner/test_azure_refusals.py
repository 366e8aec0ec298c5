"""What the adapter makes of answers that are no success, and of answers that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.provisioner import answers
from kaito.provisioner.azure import AzureAgentPools
from kaito.runtime.pools import PoolError, PoolNotFound, PoolRefused, PoolUnanswered
from tests.kaito.provisioner.azure_pools import (
    NOW,
    a_pool,
    a_spec,
    aks_error,
    arm_error,
    azure_pools,
)
from tests.kaito.provisioner.loopback import RESET, SILENCE, TRUNCATED, Loopback

HTML = b"<html><body>Bad Gateway</body></html>"
PAGE = {"Content-Type": "text/html; charset=utf-8"}
QUOTA = (
    "Operation could not be completed as it results in exceeding approved standardNCSv3Family Cores quota. "
    "Current Limit: 12, Current Usage: 12, Additional Required: 12, (Minimum) New Limit Required: 24."
)
IN_PROGRESS = "Operation is not allowed: Another operation (Creating) is in progress"

Verb = Callable[[AzureAgentPools, Loopback], object]
VERBS: dict[str, Verb] = {
    "create": lambda pools, _: pools.begin_create(a_spec()),
    "get": lambda pools, _: pools.get("ws0123456ab"),
    "list": lambda pools, _: pools.list(),
    "delete": lambda pools, _: pools.begin_delete("ws0123456ab"),
    "operation": lambda pools, server: pools.operation(server.url + "/operations/1"),
}
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


def refused(pools: AzureAgentPools, server: Loopback, verb: Verb = VERBS["create"]) -> PoolRefused:
    with pytest.raises(PoolRefused) as caught:
        verb(pools, server)
    return caught.value


@every_verb
def test_refusal_is_asked_for_once(verb: Verb, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(429, arm_error("TooManyRequests", "slow down"), {"Retry-After": "1"})

    fault = refused(pools, server, verb).fault

    assert (fault.reason, fault.retry_after_seconds, len(server.asked)) == ("Throttled", 1.0, 1)


@pytest.mark.parametrize("shape", [arm_error, aks_error])
def test_quota_is_read_in_both_shapes(
    shape: Callable[[str, str], Any], server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(400, shape("OperationNotAllowed", QUOTA))

    fault = refused(pools, server).fault

    assert (fault.reason, fault.code) == ("QuotaExceeded", "OperationNotAllowed")
    assert (fault.family, fault.limit, fault.used, fault.needed) == ("standardNCSv3Family", 12, 12, 12)


@pytest.mark.parametrize("verb", [VERBS["create"], VERBS["delete"]], ids=["create", "delete"])
def test_other_operation_is_in_progress(verb: Verb, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(409, aks_error("OperationNotAllowed", IN_PROGRESS))

    fault = refused(pools, server, verb).fault

    assert (fault.reason, fault.terminal) == ("OperationInProgress", False)


def test_unregistered_provider_blocks_nobody(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(409, arm_error("MissingSubscriptionRegistration", "not registered"))

    fault = refused(pools, server).fault

    assert (fault.code, len(server.asked)) == ("MissingSubscriptionRegistration", 1)


def test_nested_error_decides(server: Loopback, pools: AzureAgentPools) -> None:
    inner = [{"code": "SkuNotAvailable", "message": "not here"}]
    server.answers(409, arm_error("ReconcileVMSSAgentPoolFailed", "failed", details=inner))

    assert refused(pools, server).fault.reason == "SkuNotAvailable"


def test_header_names_the_code(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(409, arm_error("Conflict", "no room"), {"x-ms-error-code": "AllocationFailed"})

    fault = refused(pools, server).fault

    assert (fault.code, fault.reason) == ("AllocationFailed", "InsufficientCapacity")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (401, "InvalidAuthenticationToken", "NotAuthorized"),
        (403, "AuthorizationFailed", "NotAuthorized"),
        (400, "InvalidParameter", "ConfigurationInvalid"),
        (500, "InternalServerError", "ProviderFault"),
        (503, "ServiceUnavailable", "ProviderFault"),
    ],
)
def test_readable_refusals_are_told_apart(
    status: int, code: str, reason: str, server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(status, arm_error(code, "as it says"))

    fault = refused(pools, server).fault

    assert (fault.reason, fault.code, fault.message) == (reason, code, "as it says")


@every_verb
@pytest.mark.parametrize("status", [200, 201, 302, 307, 400, 403, 404, 409, 500, 502, 503])
def test_page_of_a_proxy_is_no_answer(
    status: int, verb: Verb, server: Loopback, pools: AzureAgentPools, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers(status, HTML, PAGE | {"Location": server.url + "/elsewhere"})

    with pytest.raises(PoolUnanswered) as caught:
        verb(pools, server)

    assert len(server.asked) == 1
    assert "Gateway" not in str(caught.value)
    assert caplog.text == "" or status < 300


@pytest.mark.parametrize(
    "body", [b"", b'{"error":', b"[1]", b"null", b'{"error": null}', b'{"error": {"code": 5}}']
)
@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_error_without_text_is_no_answer(
    status: int, body: bytes, server: Loopback, pools: AzureAgentPools
) -> None:
    server.answers(status, body)

    with pytest.raises(PoolUnanswered, match=f"HTTP {status}"):
        pools.begin_delete("ws0123456ab")


def test_status_alone_tells_throttling(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(429, HTML, PAGE | {"Retry-After": "90"})

    fault = refused(pools, server).fault

    assert (fault.reason, fault.retry_after_seconds) == ("Throttled", 90.0)


@every_verb
@pytest.mark.parametrize("status", [408, 502, 504])
def test_gateway_knows_no_outcome(status: int, verb: Verb, server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(status, arm_error("GatewayTimeout", "The gateway did not receive a response"))

    with pytest.raises(PoolUnanswered):
        verb(pools, server)


@every_verb
@pytest.mark.parametrize("manner", [RESET, TRUNCATED, SILENCE])
def test_broken_connection_is_no_answer(manner: str, verb: Verb, server: Loopback) -> None:
    pools = azure_pools(server.url, read_timeout=0.1)
    server.breaks(manner)

    with pytest.raises(PoolUnanswered) as caught:
        verb(pools, server)
    pools.close()

    assert caught.value.__cause__ is None
    assert len(server.asked) == 1


def test_reset_is_told_in_plain_words(server: Loopback, pools: AzureAgentPools) -> None:
    server.breaks(RESET)

    with pytest.raises(PoolUnanswered) as caught:
        pools.begin_create(a_spec())

    assert str(caught.value) == "create ws0123456ab: Connection reset by peer"


def test_adapter_works_after_a_reset(server: Loopback, pools: AzureAgentPools) -> None:
    server.breaks(RESET)
    server.answers(200, a_pool())

    with pytest.raises(PoolUnanswered):
        pools.get("ws0123456ab")

    assert pools.get("ws0123456ab").name == "ws0123456ab"


def test_refused_connection_is_no_answer() -> None:
    with Loopback() as gone:
        url = gone.url
    pools = azure_pools(url)

    with pytest.raises(PoolUnanswered, match="Connection refused"):
        pools.list()
    pools.close()


def dated(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "3600"}, 3600.0),
        ({"Retry-After": dated(90)}, 90.0),
        ({"Retry-After": dated(-90)}, 0.0),
        ({"Retry-After": dated(690), "Date": dated(600)}, 90.0),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert answers.retry_after_seconds(headers, NOW) == seconds


@given(st.text(), st.text(), st.datetimes(timezones=st.just(NOW.tzinfo)))
def test_retry_after_is_never_negative(value: str, date: str, now: datetime) -> None:
    seconds = answers.retry_after_seconds({"Retry-After": value, "Date": date}, now)

    assert seconds is None or seconds >= 0


def test_pages_date_is_honoured(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(429, arm_error("TooManyRequests", "slow"), {"Retry-After": dated(0)})

    assert refused(pools, server).fault.retry_after_seconds == 0.0


@pytest.mark.parametrize("kind", [KeyError, RecursionError, TypeError, ValueError])
def test_no_form_of_failure_escapes(kind: type[Exception]) -> None:
    with pytest.raises(PoolUnanswered, match=kind.__name__), answers.translated("get"):
        raise kind("secret")


@pytest.mark.parametrize("error", [PoolNotFound("x"), PoolUnanswered("x")])
def test_own_errors_pass_unchanged(error: PoolError) -> None:
    with pytest.raises(type(error)) as caught, answers.translated("get"):
        raise error

    assert caught.value is error
