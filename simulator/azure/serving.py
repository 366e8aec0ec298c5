"""The virtual ARM on a socket of this machine, served from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kaito.clock import WallClock
from kaito.runtime.ports import Clock
from simulator.azure.arm import VirtualArm
from simulator.azure.http import ABORT, application
from simulator.azure.pacing import Pacer
from simulator.engine import Engine

LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 1
_TICK_SECONDS = 0.1
"""As uvicorn ticks; it counts ten of them to the second."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: closing sends a reset, not an orderly end."""


class ArmServer:
    """Serves one virtual ARM. Enter it, use ``url``, leave it; the thread ends with it.

    Args:
        speed: Virtual seconds a second, as in `Pacer`.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        arm: VirtualArm,
        engine: Engine,
        *,
        speed: float = 1.0,
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.arm = arm
        self.pacer = Pacer(engine, clock or WallClock(), speed)
        self._socket = socket.create_server((LOOPBACK, port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        config = uvicorn.Config(
            application(arm, self.pacer),
            http=_ResettableProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="virtual-arm", daemon=True)

    def __enter__(self) -> ArmServer:
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            self._thread.join()
            raise RuntimeError(f"the virtual ARM did not start on port {self.port}; its log says why")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._thread.join()

    @property
    def serving(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Give the port back without ever having served; leaving the server does so by itself."""
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


class _ResettableProtocol(H11Protocol):
    """Lets the application reset the connection of a request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        application = self.app

        async def resettable(scope: Scope, receive: Receive, send: Send) -> None:
            await application({**scope, ABORT: lambda: _reset(self.transport)}, receive, send)

        self.app = cast(Any, resettable)


def _reset(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
