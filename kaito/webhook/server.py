"""HTTPS for the webhook: TLS 1.2 or later, a certificate that can be changed, and no patience for idlers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from kaito.serving import ThreadedServer
from kaito.webhook.application import Application
from kaito.webhook.certificates import Pair

TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

IDLE_SECONDS = 120
"""Longer than the 90 s after which the API server's client gives an idle connection up: were we first, a
request could meet the closing connection."""

HEAD_SECONDS = 10.0
"""For the head of a request to be complete, from its first byte, and for the first byte of a connection."""

MAX_CONNECTIONS = 512
"""An API server keeps some few; more at once are answered 503 and closed."""


class Certificate:
    """The pair that new handshakes see.

    Each pair gets a context of its own, and the listening one hands every handshake over to the latest.
    Loading into a context that is in use would, between certificate and key, hold a pair that does not fit.
    """

    def __init__(self, minimum: str) -> None:
        self._minimum = TLS_VERSIONS[minimum]
        self._latest: ssl.SSLContext | None = None
        self.listening = self._new_context()
        self.listening.sni_callback = self._choose  # also called when the client names no server

    def install(self, pair: Pair) -> None:
        """Show this pair from now on; connections that are open stay.

        Raises:
            ssl.SSLError: The library does not take it; the former pair stays.
        """
        context = self._new_context()
        with _private_file(pair.certificate + pair.key) as path:
            context.load_cert_chain(path)
        self._latest = context

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        # A resumed session would not look at the certificate again; those who come keep their connections.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return context

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        if self._latest is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._latest
        return None


class WebhookServer(ThreadedServer):
    """Answers from the moment on at which it is started; handshakes fail until there is a certificate."""

    def __init__(
        self,
        application: Application,
        certificate: Certificate,
        *,
        host: str,
        port: int,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        super().__init__(
            application,
            "webhook",
            host=host,
            port=port,
            http=partial(_Protocol, head_seconds),
            ssl_context_factory=lambda config, default: certificate.listening,
            timeout_keep_alive=IDLE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        )


class _Protocol(H11Protocol):
    """Gives a client so long to say what it wants; what it sends after that has a limit of its own."""

    def __init__(self, head_seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._head_seconds = head_seconds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests() and self._deadline is None:
            self._expect_head()
        super().data_received(data)
        if not self._is_between_requests():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._stop_waiting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self._head_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@contextlib.contextmanager
def _private_file(content: str) -> Iterator[str]:
    """A path under which the library, which reads files alone, finds the key.

    In memory where the system has such files: no disk, no name in a directory, gone when it is closed. Else
    in a file that only we may read.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
        with open(descriptor, "w") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile("w") as named:  # mode 0600
        named.write(content)
        named.flush()
        yield named.name
