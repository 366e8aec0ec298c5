"""What a process is told by its watches, as it passes its proxy, with the moment at which it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeAlias

import msgspec

from kaito.clock import WallClock
from kaito.runtime.ports import Object
from tests.e2e.journal import Call

Heard: TypeAlias = Callable[[float, str, str, Object], object]
"""Called with monotonic seconds, the plural of the kind, the type of the notification, and the object."""


class _Line(msgspec.Struct):
    type: str
    object: Object


_LINE = msgspec.json.Decoder(_Line)


@dataclass
class _Stream:
    """A watch under way: what of a chunk and of a line has come."""

    chunked: bytes = b""
    line: bytes = b""


@dataclass
class Hearing:
    """A `Proxy.listener`: takes the chunks off, and tells every whole line."""

    heard: Heard
    _streams: dict[int, _Stream] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, call: Call, piece: bytes) -> None:
        at, kind = WallClock().monotonic(), call.path.rpartition("/")[2]
        with self._lock:
            stream = self._streams.setdefault(id(call), _Stream())
            stream.chunked += piece
            *lines, stream.line = (stream.line + _content(stream)).split(b"\n")
            for line in filter(bytes.strip, lines):
                found = _LINE.decode(line)
                self.heard(at, kind, found.type, found.object)


def _content(stream: _Stream) -> bytes:
    """What the complete chunks held; the rest waits."""
    parts, buffer = [], stream.chunked
    while b"\r\n" in buffer:
        head, _, rest = buffer.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if len(rest) < size + 2:
            break
        parts.append(rest[:size])
        buffer = rest[size + 2 :]
    stream.chunked = buffer
    return b"".join(parts)
