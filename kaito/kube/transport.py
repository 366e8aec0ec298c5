"""One HTTP request to the API server: authenticated, with deadlines, answered or told as an `ApiError`.

Nothing is retried here but a request that was refused for who sent it (401, or a TLS handshake that
failed): it had no effect, and it is sent once more if there are other credentials by now. Redirects are not
followed: the credentials are for this server alone.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from http.client import HTTPException
from importlib import metadata
from typing import TypeAlias

import msgspec
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from kaito.kube import answers
from kaito.kube.identity import Identities, Identity
from kaito.runtime.ports import ApiError, Unavailable

CONNECT_SECONDS = 5.0

SERVER_SECONDS = 30
"""Told to the server as ``timeout``: it gives up first and says so, and the outcome is known."""

READ_SECONDS = 35.0

JSON = "application/json"


class Request(msgspec.Struct, frozen=True):
    """``query`` begins with its question mark."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    content_type: str = JSON

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def __repr__(self) -> str:
        """Without the body, which may be a Secret."""
        return f"Request({str(self)!r})"


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came of it; ``code`` is 0 where no answer came.

    ``received`` is the length of the body, None for one that is read as it comes. ``repeated`` says that the
    request was sent again, for it had been refused before.
    """

    method: str
    code: int
    seconds: float
    sent: int
    received: int | None
    repeated: bool = False


Exchanged: TypeAlias = Callable[[Exchange], None]


def _unheard(exchange: Exchange) -> None:
    """Nobody wants to know."""


class Transport:
    """The connections to one API server; safe to use from many threads.

    Args:
        exchanged: Told of every request, in the thread that made it; it must not wait.
    """

    def __init__(
        self,
        identities: Identities,
        user_agent: str,
        *,
        read_seconds: float = READ_SECONDS,
        exchanged: Exchanged | None = None,
    ) -> None:
        self._identities = identities
        self._exchanged = _unheard if exchanged is None else exchanged
        self._deadlines = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        self._headers = {
            "Accept": JSON,
            "User-Agent": f"{user_agent}/{metadata.version('kaito-operator')}",
        }

    @property
    def server(self) -> str:
        return self._identities.server

    def close(self) -> None:
        """Give the idle connections up."""
        self._identities.current().pool.clear()

    def call(self, request: Request) -> bytes:
        """The body of a successful answer, a JSON object.

        Raises:
            ApiError: Any other answer, or none.
        """
        identity, response = self._answered(request, preload=True)
        raw = response.data
        if not raw.startswith(b"{"):
            found = answers.quoted(identity.redacted(raw))
            raise Unavailable(f"{request}: expected a JSON object, found {found}")
        return raw

    def open(self, request: Request) -> BaseHTTPResponse:
        """A successful answer of which only the head was read; the caller closes it.

        Raises:
            ApiError: Any other answer, or none.
        """
        return self._answered(request, preload=False)[1]

    def _answered(self, request: Request, *, preload: bool) -> tuple[Identity, BaseHTTPResponse]:
        identity = self._identities.current()
        try:
            return identity, self._attempt(request, identity, preload)
        except (answers.Unauthorized, Untrusted):
            other = self._identities.renewed(identity)
            if other is None:
                raise
        return other, self._attempt(request, other, preload, repeated=True)

    def _attempt(
        self, request: Request, identity: Identity, preload: bool, *, repeated: bool = False
    ) -> BaseHTTPResponse:
        start, code, received = time.monotonic(), 0, None
        try:
            response = self._send(request, identity, preload)
            code = response.status
            if preload:
                received = len(response.data)
            if 200 <= response.status < 300:
                return response
            raw = response.data
            received = len(raw)
        except (HTTPError, OSError) as error:
            raise broken(request, error) from error
        finally:
            seconds, sent = time.monotonic() - start, len(request.body)
            self._exchanged(Exchange(request.method, code, seconds, sent, received, repeated))
        raise answers.refusal(str(request), response.status, response.headers, identity.redacted(raw))

    def _send(self, request: Request, identity: Identity, preload: bool) -> BaseHTTPResponse:
        headers = dict(self._headers)
        if request.body:
            headers["Content-Type"] = request.content_type
        if identity.authorization:
            headers["Authorization"] = identity.authorization
        return identity.pool.urlopen(
            request.method,
            f"{identity.server}{request.path}{request.query}",
            body=request.body or None,
            headers=headers,
            timeout=self._deadlines,
            retries=False,
            redirect=False,
            preload_content=preload,
        )


class Untrusted(Unavailable):
    """The server's certificate was not accepted, so nothing was sent."""


def broken(request: Request, error: Exception) -> ApiError:
    """What a connection that failed means: as a rule it is unknown whether the request had its effect."""
    # A refused connection is one of them by inheritance.
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return Unavailable(f"{request}: no connection within {CONNECT_SECONDS:g} s")
    if isinstance(error, ReadTimeoutError):
        return Unavailable(f"{request}: no answer in time")
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return Untrusted(f"{request}: the server's certificate is not trusted: {root.verify_message}")
    return Unavailable(f"{request}: connection broken: {type(root).__name__}: {root}")


def _root(error: BaseException) -> BaseException:
    """What the operating system or the protocol said; the errors around it name addresses and objects."""
    root = error
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
        if isinstance(error, (OSError, HTTPException)):
            root = error
    return root
