"""Which of a process's calls is its last: counted over both of its ways to the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from threading import Lock
from types import TracebackType
from typing import NamedTuple

from tests.e2e.journal import Call, calls
from tests.e2e.real_world import Member
from tests.e2e.rules import DROP, Rule, Rules, Verdict, When

_EVENTS = calls("", r"/namespaces/[^/]+/events(/|$)")
_LEASES = calls("", r"/leases(/|$)")
_NAMES = re.compile(r"\b(ws[0-9a-f]{9}|aks-ws[\w-]+|falcon[\w-]*|[0-9a-f]{8}-[0-9a-f-]{27})(?=/|$)")
_POOL_LISTS = calls("GET", r"/agentPools$")


def told(call: Call) -> bool:
    """An Event of Kubernetes: a courtesy."""
    return _EVENTS(call)


def about_lease(call: Call) -> bool:
    return _LEASES(call)


def of_a_lifecycle(call: Call) -> bool:
    """Everything that a worker asks for: writes and live reads of the API server, and all about pools.

    What informers and the collector list goes on whether or not there is a Workspace.
    """
    listed = call.method == "GET" and ("limit=" in call.query or "resourceVersion=" in call.query)
    return not (call.watch or listed or told(call) or about_lease(call) or _POOL_LISTS(call))


class Kind(NamedTuple):
    """What a call is about, whatever the names in it."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Point(NamedTuple):
    """The n-th call of a kind in a lifecycle."""

    kind: Kind
    nth: int

    def __str__(self) -> str:
        return f"{self.kind} #{self.nth}"


def kind_of(call: Call) -> Kind:
    path = call.path.rpartition("/providers/")[2] if "/providers/" in call.path else call.path
    return Kind(call.method, re.sub(_NAMES, "…", path))


def points_of(asked: Iterable[Call]) -> list[Point]:
    """Every one of these calls, told by its kind and by how many there were before."""
    counted: Counter[Kind] = Counter()
    found = []
    for call in sorted(asked, key=lambda call: call.started):
        kind = kind_of(call)
        counted[kind] += 1
        found.append(Point(kind, counted[kind]))
    return found


class Doom:
    """Enter it: at this call the member is killed, once, and its connection cut.

    Attributes:
        struck: The last call of the member; None while it lives.
    """

    def __init__(self, member: Member, when: When, point: Point) -> None:
        self.member = member
        self.struck: Call | None = None
        self._when, self._point = when, point
        self._seen = 0
        self._lock = Lock()
        self._rules: list[tuple[Rules, Rule]] = []

    def __enter__(self) -> Doom:
        for rules in (self.member.kube.rules, self.member.arm.rules):
            self._rules.append((rules, rules.do(self._when, self._count, self._concerns, times=None)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rules, rule in self._rules:
            rules.forget(rule)

    def _concerns(self, call: Call) -> bool:
        return not call.watch and kind_of(call) == self._point.kind

    def _count(self, call: Call) -> Verdict:
        with self._lock:
            self._seen += 1
            if self._seen != self._point.nth:
                return None
        self.member.process.kill()
        self.struck = call
        return DROP
