"""A reverse proxy on loopback: plain HTTP/1.1 in front, the API server or the virtual ARM behind.

Each connection of a client has one connection of its own to the server, and what happens to one happens to
the other: a server that is killed shows as it would without a proxy. Bodies are passed on byte by byte, a
watch as it comes, everything else once the answer is complete.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from types import TracebackType

from kaito.clock import WallClock
from tests.e2e.control_plane import TOKEN, ControlPlane
from tests.e2e.journal import Call, Journal, Match, everything
from tests.e2e.rules import AFTER, BEFORE, DROP, Rules
from tests.e2e.wire import Closed, Head, Reader

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.2
"""How often a connection that is stalled looks whether its client is still there."""

LAST_CHUNK = b"\r\n0\r\n\r\n"
"""How a stream ends, behind the line end of the chunk before."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: closing sends a reset."""


@dataclass(frozen=True)
class Upstream:
    """The server behind. ``headers`` are added to requests that do not bear them."""

    port: int
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def connect(self) -> socket.socket:
        plain = socket.create_connection((LOOPBACK, self.port), CONNECT_SECONDS)
        try:
            connected = self.tls.wrap_socket(plain, server_hostname=LOOPBACK) if self.tls else plain
        except BaseException:
            plain.close()
            raise
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected


class Proxy:
    """Enter it, use ``url``, leave it: its threads and connections end with it.

    Attributes:
        journal: Every request.
        rules: What is to happen to them.
        listener: Told of every piece of a watch, just before it is passed on.
    """

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self.upstream = upstream
        self.journal = Journal()
        self.rules = Rules()
        self.listener: Callable[[Call, bytes], object] = lambda call, piece: None
        self.flowing = Event()
        """Cleared while watches are stalled."""
        self.flowing.set()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._lock = Lock()
        self._connections: set[_Connection] = set()
        self._closed = False
        self._refusing = False
        self._thread = Thread(target=self._accept, name=f"proxy-{name}", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.rules.clear()
        self.flowing.set()
        self._thread.join()
        for connection in self._open():
            connection.cut()
            connection.thread.join()

    # --- switches

    def stall(self) -> None:
        """Let no byte of any watch through, while its connection stays open."""
        self.flowing.clear()

    def resume(self) -> None:
        """Let the watches flow again; what came meanwhile has waited."""
        self.flowing.set()

    def cut(self, match: Match = everything) -> int:
        """Reset the connections on which such a call is under way; returns how many."""
        found = [each for each in self._open() if each.call is not None and match(each.call)]
        for connection in found:
            connection.cut()
        return len(found)

    def isolate(self) -> None:
        """Reset every connection, and each new one at once, until `rejoin`."""
        self._refusing = True
        for connection in self._open():
            connection.cut()

    def rejoin(self) -> None:
        self._refusing = False

    def calm(self) -> None:
        """Undo all switches."""
        self.rules.clear()
        self.resume()
        self.rejoin()

    # --- what can be asked

    def under_way(self, match: Match = everything) -> list[Call]:
        """The calls that have no complete answer yet, open watches among them."""
        found = [connection.call for connection in self._open()]
        return [call for call in found if call is not None and match(call)]

    @property
    def connections(self) -> int:
        return len(self._open())

    # --- the thread that accepts

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _reset(client)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, client, self._gone)
            with self._lock:
                self._connections.add(connection)
            connection.thread.start()

    def _gone(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _open(self) -> list[_Connection]:
        with self._lock:
            return list(self._connections)


class _Cut(Exception):
    """The connection ends here, with a reset."""


class _Connection:
    """A client's connection and the server's, served in a thread."""

    def __init__(self, proxy: Proxy, client: socket.socket, gone: Callable[[_Connection], None]) -> None:
        self.call: Call | None = None
        """The call that is under way."""
        self.thread = Thread(target=self._run, args=(gone,), name=f"proxy-{proxy.name}-call", daemon=True)
        self._proxy = proxy
        self._client = client
        self._from_client = Reader(client)
        self._server: socket.socket | None = None
        self._from_server: Reader | None = None

    def cut(self) -> None:
        """Wake the thread, which then closes both sides."""
        for connection in (self._client, self._server):
            if connection is not None:
                with suppress(OSError):
                    # Of a TLS connection too: its own shutdown would say goodbye first.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _run(self, gone: Callable[[_Connection], None]) -> None:
        try:
            while self._serve_one():
                pass
        except (OSError, Closed, _Cut):
            _reset(self._client)
        finally:
            self._end_call()
            self._client.close()
            if self._server is not None:
                self._server.close()
            gone(self)

    def _serve_one(self) -> bool:
        """Whether there may be another request."""
        if not self._client_speaks():
            return False
        head = self._from_client.head()
        if head is None:
            return False
        body = self._from_client.request_body(head)
        self.call = call = self._noted(head, body)
        verdict = self._proxy.rules.verdict(BEFORE, call)
        if verdict is DROP:
            raise _Cut
        if isinstance(verdict, bytes):
            return self._tell(verdict, Head(verdict.partition(b"\r\n\r\n")[0]).status)
        return self._forward(call, head, body)

    def _client_speaks(self) -> bool:
        """Wait for the next request; False when either side has closed meanwhile."""
        if self._from_client.pending:
            return True
        if self._server is None:
            return True
        ready = self._wait(None)
        return self._client in ready and self._server not in ready

    def _noted(self, head: Head, body: bytes) -> Call:
        method, target, _ = head.first.split(" ", 2)
        path, _, query = target.partition("?")
        clock = WallClock()
        agent = head.get("User-Agent")
        call = Call(clock.now(), clock.monotonic(), self._proxy.name, agent, method, path, query, body)
        self._proxy.journal.add(call)
        return call

    def _forward(self, call: Call, head: Head, body: bytes) -> bool:
        if self._server is None or self._from_server is None:
            self._server = self._proxy.upstream.connect()
            self._from_server = Reader(self._server)
        self._server.sendall(head.encode(**self._proxy.upstream.headers) + body)
        answer = self._from_server.head()
        if answer is None:
            raise _Cut
        call.code = answer.status
        if call.watch and answer.status == 200:
            return self._stream(call, answer)
        rest = self._from_server.answer_body(answer, call.method)
        verdict = self._proxy.rules.verdict(AFTER, call)
        if verdict is DROP:
            raise _Cut
        told = verdict if isinstance(verdict, bytes) else answer.encode() + rest
        return self._tell(told, call.code) and not (answer.closes or head.closes)

    def _tell(self, answer: bytes, code: int) -> bool:
        assert self.call is not None
        self.call.code, self.call.told = code, True
        # Noted before it is sent: the client may act on it, and a test look, at once.
        self._end_call()
        self._client.sendall(answer)
        return True

    def _stream(self, call: Call, answer: Head) -> bool:
        """Pass on what comes until either side ends it; whether the connection can be used again."""
        assert self._from_server is not None
        if self._proxy.rules.verdict(AFTER, call) is DROP:
            raise _Cut
        call.told = True
        self._client.sendall(answer.encode())
        last = b""
        while last != LAST_CHUNK:
            if not self._from_server.pending and self._client in self._wait(None):
                return False
            received = self._from_server.some()
            self._stand_still()
            if not received:
                raise _Cut
            self._proxy.listener(call, received)
            self._client.sendall(received)
            last = (last + received)[-len(LAST_CHUNK) :]
        self._end_call()
        return True

    def _stand_still(self) -> None:
        """While watches are stalled; the client may go meanwhile."""
        while not self._proxy.flowing.wait(LOOK_SECONDS):
            if self._client in self._wait(0):
                raise _Cut

    def _wait(self, seconds: float | None) -> list[socket.socket]:
        """The sides on which something came, were it the end."""
        sides = {side.fileno(): side for side in (self._client, self._server) if side is not None}
        poll = select.poll()
        for number in sides:
            poll.register(number, select.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return [sides[number] for number, _ in ready]

    def _end_call(self) -> None:
        if self.call is not None and self.call.ended is None:
            self.call.ended = WallClock().monotonic()
        self.call = None


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()


def in_front_of_api_server(name: str, plane: ControlPlane) -> Proxy:
    """The server's certificate is checked here, and an administrator's token is added."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return Proxy(name, Upstream(plane.port, plane.trust(), headers))
