"""HTTP/1.1 as bytes: messages are read as they are and passed on as they are, the framing included."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable

RECEIVE_BYTES = 1 << 16
_BODILESS = (204, 304)


class Closed(Exception):
    """The other side has closed the connection in the middle of a message."""


class Head:
    """The first line and the headers of a message; names are compared without regard to case."""

    def __init__(self, raw: bytes) -> None:
        self.first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def get(self, name: str) -> str:
        """The header's value; empty without it."""
        wanted = name.lower()
        return next((value for found, value in self.headers if found.lower() == wanted), "")

    def encode(self, **more: str) -> bytes:
        """As bytes, with more headers unless they are there."""
        added = [(name, value) for name, value in more.items() if not self.get(name)]
        lines = [self.first, *(f"{name}: {value}" for name, value in [*self.headers, *added])]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split(" ", 2)[1])

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("Transfer-Encoding").lower()

    @property
    def length(self) -> int | None:
        text = self.get("Content-Length")
        return int(text) if text else None

    @property
    def closes(self) -> bool:
        return self.get("Connection").lower() == "close"


class Reader:
    """What arrives on a socket, in pieces as large as wanted."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    @property
    def pending(self) -> bool:
        """Whether there is something to read without waiting for the network."""
        tls = self._connection
        return bool(self._buffer) or (isinstance(tls, ssl.SSLSocket) and tls.pending() > 0)

    def head(self) -> Head | None:
        """None where the connection ends before a message begins."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                if self._buffer:
                    raise Closed
                return None
        raw, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return Head(raw)

    def some(self) -> bytes:
        """Whatever is there next; empty at the end."""
        if not self._buffer:
            self._more()
        found, self._buffer = self._buffer, b""
        return found

    def request_body(self, head: Head) -> bytes:
        return self._chunks() if head.chunked else self._exactly(head.length or 0)

    def answer_body(self, head: Head, method: str) -> bytes:
        if method == "HEAD" or head.status in _BODILESS:
            return b""
        if head.chunked:
            return self._chunks()
        return self._rest() if head.length is None else self._exactly(head.length)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._must_have_more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _chunks(self) -> bytes:
        """All of them with their sizes, and the trailer."""
        parts = []
        while True:
            line = self._line()
            parts.append(line)
            size = int(line.split(b";")[0], 16)
            parts.append(self._exactly(size + 2) if size else self._trailer())
            if not size:
                return b"".join(parts)

    def _trailer(self) -> bytes:
        parts: list[bytes] = []
        while not parts or parts[-1] != b"\r\n":
            parts.append(self._line())
        return b"".join(parts)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._must_have_more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line + b"\r\n"

    def _rest(self) -> bytes:
        while self._more():
            pass
        return self.some() if self._buffer else b""

    def _must_have_more(self) -> None:
        if not self._more():
            raise Closed

    def _more(self) -> bool:
        received = self._connection.recv(RECEIVE_BYTES)
        self._buffer += received
        return bool(received)


def an_answer(code: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole answer of our own."""
    told = [*headers, ("Content-Length", str(len(body)))]
    lines = [f"HTTP/1.1 {code} -", *(f"{name}: {value}" for name, value in told)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
