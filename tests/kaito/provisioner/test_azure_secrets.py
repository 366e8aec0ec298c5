"""The token goes to the Resource Manager alone, and into nothing that anybody reads."""

from __future__ import annotations

import logging
import traceback

import pytest

from kaito.provisioner.azure import AzureAgentPools
from kaito.provisioner.clients import Endpoint
from kaito.runtime.pools import OperationState, PoolError, PoolRefused, PoolUnanswered
from tests.kaito.provisioner.azure_pools import (
    CANARY,
    POOLS,
    SCOPE,
    FixedCredential,
    a_pool,
    a_spec,
    arm_error,
    azure_pools,
)
from tests.kaito.provisioner.loopback import RESET, TRUNCATED, Loopback

ECHO = f"you sent Authorization: Bearer {CANARY} to us"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, arm_error("InvalidParameter", ECHO)),
        (401, ECHO.encode()),
        (403, arm_error("AuthorizationFailed", "no", details=[{"code": "Inner", "message": ECHO}])),
        (404, arm_error("NotFound", ECHO)),
        (500, f"<html>{ECHO}</html>".encode()),
        (200, ECHO.encode()),
        (504, arm_error("GatewayTimeout", ECHO)),
    ],
)
def test_echoed_token_is_told_to_nobody(
    status: int, body: object, server: Loopback, pools: AzureAgentPools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers(status, body)

    with pytest.raises(PoolError) as caught:
        pools.get("ws0123456ab")

    told = [
        *traceback.format_exception(caught.value),
        repr(caught.value),
        repr(pools),
        repr(vars(caught.value)),
    ]
    assert server.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in "".join(told) + caplog.text


@pytest.mark.parametrize("manner", [RESET, TRUNCATED])
def test_broken_call_tells_no_token(
    manner: str, server: Loopback, pools: AzureAgentPools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.breaks(manner)

    with pytest.raises(PoolUnanswered) as caught:
        pools.begin_create(a_spec())

    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_other_tokens_are_removed(server: Loopback, pools: AzureAgentPools) -> None:
    server.answers(400, arm_error("Bad", f"assertion {JWT}, blob?sv=1&sig=c2lnbmF0&se=2, bearer abc"))

    with pytest.raises(PoolRefused) as caught:
        pools.begin_create(a_spec())

    message = caught.value.fault.message
    assert message == "assertion [removed], blob?sv=1&[removed]&se=2, [removed]"


def test_redirect_carries_no_token(server: Loopback, pools: AzureAgentPools) -> None:
    with Loopback() as stranger:
        stranger.answers(200, a_pool())
        server.answers(307, b"", {"Location": stranger.url + POOLS})

        with pytest.raises(PoolUnanswered):
            pools.get("ws0123456ab")

        assert stranger.asked == []


def test_link_of_a_page_carries_no_token(server: Loopback, pools: AzureAgentPools) -> None:
    with Loopback() as stranger:
        stranger.answers(200, {"value": []})
        server.answers(200, {"value": [a_pool()], "nextLink": f"{stranger.url}{POOLS}?api-version=1"})

        with pytest.raises(PoolUnanswered, match="not followed"):
            pools.list()

        assert stranger.asked == []


def test_operation_elsewhere_is_never_asked(
    server: Loopback, pools: AzureAgentPools, caplog: pytest.LogCaptureFixture
) -> None:
    with Loopback() as stranger:
        stranger.answers(200, {"status": "Succeeded"})
        server.answers(201, a_pool(), {"Azure-AsyncOperation": stranger.url + "/operations/1"})

        operation = pools.begin_create(a_spec())
        asked = pools.operation(stranger.url + "/operations/1")

        assert operation.url == ""
        assert asked.state is OperationState.LOST
        assert stranger.asked == []
        assert "not followed" in caplog.text


def test_token_needs_a_safe_connection(server: Loopback) -> None:
    pools = azure_pools(server.url, credential=FixedCredential())
    server.answers(200, a_pool())

    with pytest.raises(PoolUnanswered):
        pools.get("ws0123456ab")
    pools.close()

    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "owned"),
    [
        ("https://management.azure.com/subscriptions/1?x=y", True),
        ("https://MANAGEMENT.azure.com:443/a", True),
        ("http://management.azure.com/a", False),
        ("https://management.azure.com:8443/a", False),
        ("https://management.azure.com.evil.example/a", False),
        ("https://management.azure.com@evil.example/a", False),
        ("https://user@management.azure.com/a", False),
        ("https://evil.example\\@management.azure.com/a", False),
        ("https://management.azure.com\\@evil.example/a", False),
        ("https://management.azure.com\n.evil.example/a", False),
        ("https://[management.azure.com/a", False),
        ("https://management.azure.com:port/a", False),
        ("ftp://management.azure.com/a", False),
        ("//management.azure.com/a", False),
        ("/subscriptions/1", False),
        ("", False),
        (None, False),
    ],
)
def test_endpoint_knows_its_own_urls(url: object, owned: bool) -> None:
    assert Endpoint("https://management.azure.com", SCOPE).owns(url) is owned
