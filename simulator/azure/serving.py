"""The virtual ARM on a socket of this machine, served from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kaito.clock import WallClock
from kaito.runtime.ports import Clock
from kaito.serving import LOOPBACK, ThreadedServer
from simulator.azure.arm import VirtualArm
from simulator.azure.http import ABORT, application
from simulator.azure.pacing import Pacer
from simulator.engine import Engine

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: closing sends a reset, not an orderly end."""


class ArmServer(ThreadedServer):
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
        super().__init__(
            application(arm, self.pacer),
            "virtual-arm",
            port=port,
            http=_ResettableProtocol,
            lifespan="on",
        )
        self.url = f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> ArmServer:
        self.start()
        return self


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
