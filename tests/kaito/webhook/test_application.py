"""Which requests are no reviews, and what is told of those that are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from kaito.clock import WallClock
from kaito.webhook.application import MAX_BODY_BYTES, Application
from tests.kaito.webhook.asgi import posted
from tests.kaito.webhook.clients import CATALOGUE, a_review, a_workspace

REVIEW = a_review(a_workspace())
LONG = "x" * MAX_BODY_BYTES


@pytest.fixture
def application() -> Application:
    return Application(CATALOGUE, WallClock())


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"path": "/validate/pod"}, 400, b"no controller registered for: /validate/pod"),
        ({"path": "/", "method": "GET"}, 400, b"no controller registered for: /"),
        ({"method": "GET"}, 405, b"expected POST"),
        ({"content_type": "text/plain"}, 415, b"invalid Content-Type, want `application/json`"),
        ({"content_type": ""}, 415, b"invalid Content-Type, want `application/json`"),
        ({"content_length": str(MAX_BODY_BYTES + 1)}, 413, b"expected a body of at most 8388608 bytes"),
        ({"body": b"{}"}, 400, b"could not decode body: Object missing required field `apiVersion`"),
    ],
)
def test_other_requests_are_refused(
    application: Application, request_: dict[str, str], code: int, text: bytes
) -> None:
    answer = asyncio.run(posted(application, **{"body": REVIEW, **request_}))  # type: ignore[arg-type]

    assert answer == (code, text)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON;q=1"])
def test_parameters_of_the_type_are_tolerated(application: Application, kind: str) -> None:
    code, _ = asyncio.run(posted(application, REVIEW, content_type=kind))

    assert code == 200


def test_unannounced_long_body_is_not_read(application: Application) -> None:
    parts: Sequence[bytes] = [b"x" * MAX_BODY_BYTES, b"x", b"never read"]

    code, _ = asyncio.run(posted(application, parts))

    assert code == 413


def test_client_that_leaves_gets_no_answer(application: Application) -> None:
    code, content = asyncio.run(posted(application, [], path="/validate/workspace.kaito.sh"))

    assert (code, content) == (0, b"")


def test_body_that_does_not_come_is_given_up() -> None:
    """The client announces more and sends nothing."""
    application = Application(CATALOGUE, WallClock(), body_seconds=0.05)

    code, _ = asyncio.run(posted(application, [b"{", b""], stalls=True))

    assert code == 408


def test_decision_is_logged_and_observed(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, bool, int]] = []
    application = Application(
        CATALOGUE, WallClock(), lambda operation, allowed, code, _: seen.append((operation, allowed, code))
    )
    bad = a_workspace("w", "gpt-9")

    with caplog.at_level(logging.INFO, "kaito.webhook"):
        asyncio.run(posted(application, a_review(a_workspace("w"))))
        asyncio.run(posted(application, a_review(bad, bad)))
        asyncio.run(posted(application, a_review(bad)))

    assert seen == [("CREATE", True, 200), ("UPDATE", True, 200), ("CREATE", False, 400)]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["Validate creation", "Validate update", "Validate creation"]
    first, _, last = (record.kaito_fields for record in caplog.records)  # type: ignore[attr-defined]
    assert (first["workspace"], first["allowed"]) == ("default/w", True)
    assert last["reason"].startswith("validation failed: invalid value: Unsupported inference preset")
