"""What went through a proxy: every request, from the moment it arrived."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TypeAlias

from kaito.clock import WallClock

READS = ("GET", "HEAD")


@dataclass(slots=True, eq=False)
class Call:
    """One request.

    Attributes:
        at: Of its arrival, by the clock on the wall.
        started: The same in monotonic seconds.
        client: Name of the proxy, and so of the process behind it.
        agent: The User-Agent.
        query: Without its question mark.
        body: Of a write.
        code: Of the answer that was passed on or withheld; None while there is none, and if none came.
        told: Whether an answer was passed on.
        ended: When the answer, of a watch the stream, was over.
    """

    at: datetime
    started: float
    client: str
    agent: str
    method: str
    path: str
    query: str
    body: bytes = b""
    code: int | None = None
    told: bool = False
    ended: float | None = None

    @property
    def writes(self) -> bool:
        return self.method not in READS

    @property
    def watch(self) -> bool:
        return self.method == "GET" and re.search(r"(^|&)watch=(true|1)(&|$)", self.query) is not None

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return (WallClock().monotonic() if self.ended is None else self.ended) - self.started

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.client} {self.method} {self.path}{query} -> {self.code}"


Match: TypeAlias = Callable[[Call], bool]


def everything(call: Call) -> bool:
    return True


def writes(call: Call) -> bool:
    return call.writes


def watches(call: Call) -> bool:
    return call.watch


def calls(method: str = "", path: str = "", *, watch: bool | None = None, body: str = "") -> Match:
    """Calls of this method, whose path and body are found by these patterns."""
    sought, within = re.compile(path), re.compile(body.encode())

    def matches(call: Call) -> bool:
        alike = method in ("", call.method) and watch in (None, call.watch)
        return alike and bool(sought.search(call.path)) and bool(within.search(call.body))

    return matches


@dataclass
class Journal:
    """Every call in the order of arrival; read it at any time, from any thread."""

    _calls: list[Call] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def since(self, mark: int = 0, match: Match = everything) -> list[Call]:
        """The calls after a mark, which is the length of the journal at some time."""
        with self._lock:
            found = self._calls[mark:]
        return [call for call in found if match(call)]

    def count(self, match: Match = everything, mark: int = 0) -> int:
        return len(self.since(mark, match))

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()
