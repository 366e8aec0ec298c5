"""Every answer that is no success becomes one error of the port."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.kube.answers import KINDS, MAX_RETRY_AFTER_SECONDS, Unauthorized, refusal
from kaito.runtime.ports import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Throttled,
    Unavailable,
)

REQUEST = "GET /api/v1/namespaces/default/pods/p"


def a_status(code: int, reason: str = "", message: str = "told by the server", **details: Any) -> bytes:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return json.dumps({**status, "reason": reason, "details": details}).encode()


STATUSES = {
    (400, "BadRequest"): BadRequest,
    (401, "Unauthorized"): Unauthorized,
    (403, "Forbidden"): Forbidden,
    (404, "NotFound"): NotFound,
    (405, "MethodNotAllowed"): BadRequest,
    (406, "NotAcceptable"): BadRequest,
    (409, "AlreadyExists"): AlreadyExists,
    (409, "Conflict"): Conflict,
    (409, ""): Conflict,
    (410, "Gone"): Gone,
    (410, "Expired"): Gone,
    (413, "RequestEntityTooLarge"): BadRequest,
    (415, "UnsupportedMediaType"): BadRequest,
    (422, "Invalid"): Invalid,
    (429, "TooManyRequests"): Throttled,
    (500, "InternalError"): ApiError,
    (500, ""): ApiError,
    (500, "ServerTimeout"): Unavailable,
    (503, "ServiceUnavailable"): Unavailable,
    (504, "Timeout"): Unavailable,
}


@pytest.mark.parametrize(("answer", "kind"), STATUSES.items(), ids=lambda case: str(case))
def test_status_becomes_its_error(answer: tuple[int, str], kind: type[ApiError]) -> None:
    code, reason = answer

    error = refusal(REQUEST, code, {}, a_status(code, reason))

    assert type(error) is kind
    assert (error.code, error.message) == (code, "told by the server")
    assert str(error) == "told by the server"
    assert error.reason == (reason or kind.reason)
    assert error.retry_after_seconds is None


def test_causes_of_a_status_are_kept() -> None:
    causes = [
        {"reason": "DisruptionBudget", "message": "The disruption budget b needs 1"},
        {"field": "x"},
        {"message": None},
    ]

    error = refusal(REQUEST, 429, {}, a_status(429, "TooManyRequests", causes=causes))

    assert error.causes == ("The disruption budget b needs 1",)


BARE = {
    "throttled in front of everything": (429, b"Too many requests, please try again later.\n", Throttled),
    "not found by a proxy": (404, b"<html>\r\n<h1>404 Not Found</h1>\r\n</html>", Unavailable),
    "group that is not served": (404, b"404 page not found\n", Unavailable),
    "JSON that is no Status": (404, b'{"kind": "Pod", "message": "x"}', Unavailable),
    "bad gateway": (502, b"\x00\xff", Unavailable),
    "redirect": (307, b"", ApiError),
    "teapot": (418, b"", ApiError),
    "internal error": (500, b"panic", ApiError),
}


@pytest.mark.parametrize(("code", "body", "kind"), BARE.values(), ids=BARE)
def test_answer_without_status_names_the_request(code: int, body: bytes, kind: type[ApiError]) -> None:
    error = refusal(REQUEST, code, {}, body)

    assert type(error) is kind
    assert error.code == code
    assert error.message.startswith(f"{REQUEST}: {code}: ")


RETRY_AFTER = {
    "seconds": ({"Retry-After": "7"}, {}, 7.0),
    "header before status": ({"Retry-After": "7"}, {"retryAfterSeconds": 3}, 7.0),
    "status": ({}, {"retryAfterSeconds": 3}, 3.0),
    "date": (
        {"Retry-After": "Fri, 05 Apr 2024 18:30:28 GMT", "Date": "Fri, 05 Apr 2024 18:29:58 GMT"},
        {},
        30.0,
    ),
    "date that is past": (
        {"Retry-After": "Fri, 05 Apr 2024 18:29:57 GMT", "Date": "Fri, 05 Apr 2024 18:29:58 GMT"},
        {},
        0.0,
    ),
    "date without the server's": ({"Retry-After": "Fri, 05 Apr 2024 18:30:28 GMT"}, {}, None),
    "nonsense": ({"Retry-After": "soon"}, {"retryAfterSeconds": 3}, 3.0),
    "below zero": ({"Retry-After": "-1"}, {"retryAfterSeconds": -3}, 0.0),
    "beyond reason": ({"Retry-After": "9" * 400}, {}, MAX_RETRY_AFTER_SECONDS),
}


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("headers", "details", "seconds"), RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_time_to_wait_is_read(
    headers: dict[str, str], details: dict[str, Any], seconds: float | None, code: int
) -> None:
    assert refusal(REQUEST, code, headers, a_status(code, **details)).retry_after_seconds == seconds


def test_plain_throttling_says_how_long() -> None:
    error = refusal(REQUEST, 429, {"Retry-After": "1"}, b"Too many requests, please try again later.\n")

    assert error.retry_after_seconds == 1.0
    assert error.message == f"{REQUEST}: 429: Too many requests, please try again later."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
statuses = st.fixed_dictionaries(
    {"kind": st.just("Status")},
    optional=dict.fromkeys(("message", "reason", "details", "code"), json_values),
)
bodies = st.binary(max_size=60) | (statuses | json_values).map(lambda value: json.dumps(value).encode())


@given(st.integers(300, 599), bodies, st.text(max_size=30))
def test_any_answer_becomes_an_error(code: int, body: bytes, retry_after: str) -> None:
    error = refusal(REQUEST, code, {"Retry-After": retry_after, "Date": retry_after}, body)

    assert isinstance(error, ApiError)
    assert error.code == code
    assert error.message
    assert 0 <= (error.retry_after_seconds or 0) <= MAX_RETRY_AFTER_SECONDS


@given(st.binary(max_size=4000))
def test_foreign_body_is_quoted_on_one_line(body: bytes) -> None:
    error = refusal(REQUEST, 502, {}, b"x" + body)

    assert error.message.isprintable()
    assert len(error.message) < 400


def test_only_missing_objects_read_as_missing() -> None:
    """What a controller takes for the end of an object must be said by the API server itself."""
    found = [code for code in range(300, 600) if isinstance(refusal(REQUEST, code, {}, b"?"), NotFound)]

    assert found == []
    assert KINDS[404] is NotFound
