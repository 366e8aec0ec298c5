"""An API server on the loopback interface that answers as a test scripts it, and keeps what it was asked."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from kaito.runtime.ports import Object

RESET, SILENCE, TRUNCATED = "reset", "silence", "truncated"


class Asked(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """The body of an answer, written piece by piece as the test goes on; each piece is a chunk."""

    def __init__(self) -> None:
        self.pieces: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()

    def send(self, type_: str, obj: Object) -> None:
        self.send_raw(json.dumps({"type": type_, "object": obj}).encode() + b"\n")

    def send_raw(self, piece: bytes) -> None:
        self.pieces.put(piece)

    def end(self) -> None:
        """As a server ends a watch whose time is over."""
        self.pieces.put("end")

    def cut(self) -> None:
        """The connection is gone without an end of the body."""
        self.pieces.put("cut")


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes | Stream
    headers: dict[str, str]
    manner: str = ""


class Loopback(ThreadingHTTPServer):
    """Gives the scripted answers in their order, and the last one again and again."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self._script: list[Answer] = []
        self._streams: list[Stream] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def answers(
        self, status: int, body: object = b"", headers: Mapping[str, str] | None = None, *, manner: str = ""
    ) -> None:
        """Add an answer; a body that is not bytes is sent as JSON."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._script.append(Answer(status, encoded, dict(headers or {}), manner))

    def breaks(self, manner: str) -> None:
        self.answers(200, {"kind": "Pod"}, manner=manner)

    def streams(self, **headers: str) -> Stream:
        """Add an answer whose body the test writes."""
        stream = Stream()
        self._streams.append(stream)
        self._script.append(Answer(200, stream, headers))
        return stream

    def reset(self) -> None:
        """Forget the script."""
        self._script.clear()

    def take(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def wait_until_over(self) -> None:
        self._over.wait()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or did not trust us, is part of some tests."""

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for stream in self._streams:
            stream.cut()
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
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._give(self.server.take(Asked(self.command, parts.path, query, headers, self.rfile.read(length))))

    do_PUT = do_DELETE = do_POST = do_PATCH = do_GET  # noqa: N815 (names of the base class)

    def _give(self, answer: Answer) -> None:
        self.close_connection = bool(answer.manner)
        if answer.manner == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif answer.manner == SILENCE:
            self.server.wait_until_over()
        elif isinstance(answer.body, Stream):
            self._stream(answer, answer.body)
        else:
            missing = 10 if answer.manner == TRUNCATED else 0
            self._head(answer, {"Content-Length": str(len(answer.body) + missing)})
            self.wfile.write(answer.body)

    def _head(self, answer: Answer, headers: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, answer: Answer, stream: Stream) -> None:
        self._head(answer, {"Transfer-Encoding": "chunked"})
        while not isinstance(piece := stream.pieces.get(), str):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if piece == "end":
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass
