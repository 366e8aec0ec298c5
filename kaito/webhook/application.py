"""The webhook as an ASGI application: which requests are reviews, and how much of them is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from kaito.api.errors import printable
from kaito.catalogue.catalogue import Catalogue
from kaito.manager.logs import fields
from kaito.runtime.ports import Clock
from kaito.webhook import reviews
from kaito.webhook.configuration import PATH
from kaito.webhook.reviews import Answer, Nonsense

_LOGGER = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Two objects of the 3 MiB that the API server takes, and the rest of the review."""

BODY_SECONDS = 10.0
"""The API server gives a webhook at most so long by our configuration, so nobody waits for more."""

MAX_REASON = 500
"""Characters of a refusal in the log."""

Observer: TypeAlias = Callable[[str, bool, int, float], None]
"""Told of each answered review: operation, allowed, code (200, or that of the refusal), seconds."""


class Application:
    """Answers reviews; validation takes some 0.1 ms, so it stays in the event loop.

    Args:
        observe: Called in the event loop's thread, after the answer was made.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        clock: Clock,
        observe: Observer | None = None,
        *,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._catalogue = catalogue
        self._body_seconds = body_seconds
        self._clock = clock
        self._observe = observe or (lambda operation, allowed, code, seconds: None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = _refusal(request) or await self._respond(request)
            await response(scope, receive, send)
        except ClientDisconnect:
            # Nobody is there to be answered.
            return

    async def _respond(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _body(request)
        except TimeoutError:
            return _text(408, f"no complete body after {self._body_seconds:.0f} s", close=True)
        if body is None:
            return _text(413, f"expected a body of at most {MAX_BODY_BYTES} bytes", close=True)
        start = self._clock.monotonic()
        try:
            answer = reviews.judge(reviews.decode(body), self._catalogue)
        except Nonsense as error:
            _LOGGER.warning("not a review", extra=fields(error=str(error)))
            return _text(400, str(error))
        content = reviews.encode(answer)
        _tell(answer)
        self._note(answer, self._clock.monotonic() - start)
        return Response(content, media_type="application/json")

    def _note(self, answer: Answer, seconds: float) -> None:
        """A defect of the observer must not cost the answer."""
        try:
            self._observe(answer.operation, answer.allowed, answer.code, seconds)
        except Exception:
            _LOGGER.exception("observer failed")


def _refusal(request: Request) -> Response | None:
    """What is no request for a review at all, by its head alone."""
    path: str = request.scope["path"]
    if path != PATH:
        return _text(400, f"no controller registered for: {printable(path)}")
    if request.method != "POST":
        return _text(405, "expected POST", allow="POST")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return _text(415, "invalid Content-Type, want `application/json`")
    announced = request.headers.get("content-length", "0")
    if (
        announced.isascii()
        and announced.isdigit()
        and len(announced) < 20
        and int(announced) > MAX_BODY_BYTES
    ):
        return _text(413, f"expected a body of at most {MAX_BODY_BYTES} bytes", close=True)
    return None


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is too long; the rest of one is not read."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _text(code: int, text: str, *, close: bool = False, allow: str = "") -> Response:
    headers = {"Connection": "close"} if close else {}
    if allow:
        headers["Allow"] = allow
    return PlainTextResponse(text, code, headers)


def _tell(answer: Answer) -> None:
    """The published line, with the decision; of the object only its name."""
    if answer.judged:
        _LOGGER.info(
            f"Validate {answer.judged}",
            extra=fields(
                workspace=answer.workspace,
                uid=answer.request.uid[:64],
                allowed=answer.allowed,
                reason=answer.message[:MAX_REASON] or None,
            ),
        )
