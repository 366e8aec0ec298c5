"""One open watch: a connection on which the server writes a line of JSON for every change.

A thread reads the connection and a driver takes what has come. It could not wait on the connection itself:
a read that timed out cannot be repeated, for what TLS and the chunks hold back is lost with it.
"""

from __future__ import annotations

import contextlib
import threading

import msgspec
from urllib3.response import BaseHTTPResponse

from kaito.kube.answers import decoded
from kaito.kube.transport import Request, broken
from kaito.runtime.ports import ApiError, Object, Unavailable, WatchNotification, WatchStream

MAX_PENDING = 1000
"""Notifications; beyond these the server is made to wait, by not reading on."""

GRACE_SECONDS = 30.0
"""The server ends a watch by itself at its timeout; a connection silent for so long after it is broken."""

CLOSE_SECONDS = 1.0
"""How long closing waits for the reader to end, which it does at once unless the processor is busy."""

CHUNK_BYTES = 1 << 16


class _Line(msgspec.Struct):
    type: str
    object: Object


_LINE = msgspec.json.Decoder(_Line)


class HttpWatch(WatchStream):
    """Made by `KubeClient.open_watch`; lives until its end was read or until it is closed."""

    def __init__(self, request: Request, response: BaseHTTPResponse, timeout_seconds: float) -> None:
        self._request = request
        self._response = response
        self._changed = threading.Condition()
        self._pending: list[WatchNotification] = []
        self._error: ApiError | None = None
        self._ended = False
        self._closed = False
        _await_up_to(response, timeout_seconds + GRACE_SECONDS)
        self._reader = threading.Thread(target=self._read_all, name=f"watch {request.path}", daemon=True)
        self._reader.start()

    def read(self, timeout_seconds: float) -> list[WatchNotification] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ended, timeout_seconds)
            if self._closed:
                return None
            if self._pending:
                taken, self._pending = self._pending, []
                self._changed.notify_all()
                return taken
            if self._error is not None:
                raise self._error
            return None if self._ended else []

    def close(self) -> None:
        with self._changed:
            self._closed = self._ended = True
            self._pending = []
            self._changed.notify_all()
        # Wakes the reader, which then closes the connection; it may have done so just now.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()
        self._reader.join(CLOSE_SECONDS)

    def _read_all(self) -> None:
        error: ApiError | None = None
        try:
            self._read_lines()
        except ApiError as found:
            error = found
        except Exception as found:
            # Closing takes the connection away under the reader, which shows in many ways; and whatever
            # else may come, it must not pass for an end by the server.
            error = broken(self._request, found)
        finally:
            self._response.close()
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()

    def _read_lines(self) -> None:
        begun = b""
        while chunk := self._response.read1(CHUNK_BYTES):
            *lines, begun = (begun + chunk).split(b"\n")
            if not self._put([self._notification(line) for line in lines if line.strip()]):
                return
        if begun.strip():
            raise Unavailable(f"{self._request}: connection broken in the middle of a notification")

    def _notification(self, line: bytes) -> WatchNotification:
        found = decoded(line, str(self._request), _LINE)
        return WatchNotification(found.type, found.object)

    def _put(self, notifications: list[WatchNotification]) -> bool:
        """Whether to read on."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._pending) < MAX_PENDING or self._closed)
            if self._closed:
                return False
            self._pending += notifications
            if notifications:
                self._changed.notify_all()
            return True


def _await_up_to(response: BaseHTTPResponse, seconds: float) -> None:
    """Let reads of the body take so long; until here they had the deadline of a call.

    A server that is shutting down announces that it will close the connection. Then it is out of reach
    here, and a silence as long as a call may take ends the watch.
    """
    sock = getattr(response.connection, "sock", None)
    if sock is not None:
        sock.settimeout(seconds)
