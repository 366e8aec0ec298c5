"""An ASGI application on a socket of this process, served from a thread of its own.

Used for probes and metrics, for the webhook, and by the simulator for the virtual ARM. uvicorn does the HTTP;
what is added is a start that is known to have happened, a stop without delay, and a port that is held from
the moment on at which the server is made.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

import uvicorn

LOOPBACK = "127.0.0.1"

_SHUTDOWN_SECONDS = 1
_TICK_SECONDS = 0.1
"""As uvicorn ticks; it counts ten of them to the second."""


class ThreadedServer:
    """Enter it or `start` it, use ``port``, leave it or `stop` it; the thread ends with it.

    Args:
        application: An ASGI application.
        name: Of the thread, and in errors.
        host: Which addresses to listen on; empty for all, IPv6 included where the machine has it.
        port: 0 takes a free one.
        options: Of `uvicorn.Config`, such as limits and TLS files.

    Raises:
        OSError: The port is taken, or may not be used; the message names it.
    """

    def __init__(
        self, application: Any, name: str, *, host: str = LOOPBACK, port: int = 0, **options: Any
    ) -> None:
        self.name = name
        self._socket = _listening(host, port)
        # Connections inherit it. asyncio sets it only where a socket names its protocol, which accepted ones
        # do not, and then the second part of an answer waits 40 ms for the client's acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        settings: dict[str, Any] = {
            "http": "h11",
            "ws": "none",
            "lifespan": "off",
            "log_config": None,
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": _SHUTDOWN_SECONDS,
        } | options
        self.config = uvicorn.Config(application, **settings)
        self._server = _Server(self.config)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> ThreadedServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; requests are answered when this returns.

        Raises:
            RuntimeError: The server did not come up; the log says why.
        """
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            self._thread.join()
            raise RuntimeError(f"{self.name} did not start on port {self.port}; its log says why")

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """End the service, requests under way first; whether the thread has ended in time."""
        if self._thread.ident is None:
            self.close()
            return True
        self._server.stop()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def serving(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Give the port back without ever having served; stopping the server does so by itself."""
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._server.ready.set()


class _Server(uvicorn.Server):
    """Says when it listens, or that it never will, and stops at once where uvicorn would look every 0.1 s."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _TICK_SECONDS)

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)


def _listening(host: str, port: int) -> socket.socket:
    try:
        if host:
            return socket.create_server((host, port))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        error.filename = f"{host or '*'}:{port}"
        raise
