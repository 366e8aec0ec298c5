"""A server on the loopback interface that answers as a test scripts it, and keeps what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import msgspec

RESET, SILENCE, TRUNCATED = "reset", "silence", "truncated"


class Asked(msgspec.Struct, frozen=True):
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: dict[str, str]
    manner: str = ""


class Loopback(ThreadingHTTPServer):
    """Gives the scripted answers in their order, and the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self._script: list[Answer] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answers(
        self, status: int, body: object = b"", headers: Mapping[str, str] | None = None, *, manner: str = ""
    ) -> None:
        """Add an answer; a body that is not bytes is sent as JSON."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = dict(headers or {})
        if not isinstance(body, bytes):
            told.setdefault("Content-Type", "application/json")
        self._script.append(Answer(status, encoded, told, manner))

    def breaks(self, manner: str) -> None:
        self.answers(200, b'{"value": []}', manner=manner)

    def take(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def wait_until_over(self) -> None:
        self._over.wait()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of some tests."""

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Loopback

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, self.rfile.read(length))
        self._give(self.server.take(asked))

    do_PUT = do_DELETE = do_POST = do_GET  # noqa: N815 (names of the base class)

    def _give(self, answer: Answer) -> None:
        self.close_connection = bool(answer.manner)
        if answer.manner == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if answer.manner == SILENCE:
            self.server.wait_until_over()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            missing = 10 if answer.manner == TRUNCATED else 0
            self.send_header("Content-Length", str(len(answer.body) + missing))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
