"""Whose Machine it is. The controller's machine lines name no Workspace; this module proves an owner or none.

Two proofs are taken. A line that names both a Workspace and a Machine is one. The other is elimination: a
Machine belongs to a Workspace of its namespace that had announced Machines and still lacked one, a
Workspace's Machines are created one after the other, each after the one before it is ready, and an
announcement that ends in success had all its Machines ready by then. What leaves more than one Workspace is
ambiguous, and nobody guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from kaito.importing.evidence import Evidence, Kind
from kaito.importing.lives import Life

Attributed = tuple[Evidence, Life | None]

_ANNOUNCEMENT = re.compile(r"creating (\d{1,4}) machines")
_NAMED_MACHINE = re.compile(r'\bmachine ([a-z0-9][-a-z0-9.]*) is not ready|machines\.karpenter\.sh "([^"]+)"')
_CLOSING = frozenset({Kind.RECONCILING, Kind.DELETION, Kind.RELEASE, Kind.RECONCILE_FAILED})


UNKNOWN_COUNT = 1_000_000
"""Stands for a number of Machines that no line tells: no limit to what may belong there."""


def announced(item: Evidence) -> int:
    """How many Machines this line announces; 0 when it announces none."""
    if item.kind is not Kind.CONDITION or item.name != "MachineReady" or item.status != "Unknown":
        return 0
    match = _ANNOUNCEMENT.fullmatch(item.text)
    return int(match[1]) if match else 0


def machine_in(text: str) -> str:
    """The Machine that a message names, empty when it names none."""
    match = _NAMED_MACHINE.search(text)
    return (match[1] or match[2]) if match else ""


class Ownership(msgspec.Struct):
    """``ambiguous`` maps each Machine without a proven owner to the lives that may own it, perhaps none."""

    owners: dict[str, Life] = {}
    ambiguous: dict[str, list[Life]] = {}


class _Window(msgspec.Struct, eq=False):
    """A time in which one life creates ``wanted`` Machines; ``succeeded`` is when all of them were ready."""

    life: Life
    wanted: int
    succeeded: datetime | None = None
    taken: list[_Creation] = []


class _Creation(msgspec.Struct, eq=False):
    machine: str
    at: datetime
    candidates: list[_Window]
    ready: datetime | None = None


def attribute(items: Sequence[Attributed]) -> Ownership:
    """Find the owner of every Machine that the evidence, in order, names."""
    ownership, contested = _named(items)
    creations = _sweep(items)
    for creation in creations:
        if creation.machine in ownership.owners:
            _settle(creation, ownership.owners[creation.machine])
    _eliminate([creation for creation in creations if creation.machine not in contested], ownership)
    ownership.ambiguous.update(contested)
    return ownership


def _named(items: Iterable[Attributed]) -> tuple[Ownership, dict[str, list[Life]]]:
    """The owners that some line names, and the Machines that lines give to several lives."""
    claims: dict[str, dict[Life, None]] = {}
    for item, life in items:
        if life is not None and (machine := machine_in(item.text)):
            claims.setdefault(machine, {})[life] = None
    owners = {machine: next(iter(lives)) for machine, lives in claims.items() if len(lives) == 1}
    contested = {machine: list(lives) for machine, lives in claims.items() if len(lives) > 1}
    return Ownership(owners), contested


def _sweep(items: Iterable[Attributed]) -> list[_Creation]:
    """Every first CreateMachine, with the announcements that were open in its namespace."""
    announcements = _Announcements()
    creations: dict[str, _Creation] = {}
    for item, life in items:
        if life is not None:
            announcements.follow(item, life)
        elif item.kind is Kind.MACHINE_CREATION and item.machine not in creations:
            candidates = announcements.open_in(item.text)
            creations[item.machine] = _Creation(item.machine, item.order, candidates)
        elif item.kind is Kind.MACHINE_READY and (creation := creations.get(item.machine)):
            creation.ready = creation.ready or item.order
    return list(creations.values())


class _Announcements:
    """The announcements that are open at a point of the logs, one a life at most."""

    def __init__(self) -> None:
        self._open: dict[Life, _Window] = {}
        self._standing: dict[Life, int] = {}
        """The number in the status, for lives whose last word on MachineReady was an announcement."""

    def open_in(self, namespace: str) -> list[_Window]:
        return [window for window in self._open.values() if window.life.key[0] == namespace]

    def follow(self, item: Evidence, life: Life) -> None:
        """Open, widen or close the announcement of this life."""
        if count := announced(item):
            self._standing[life] = count
            self._open.setdefault(life, _Window(life, count)).wanted = count
        elif item.kind is Kind.NODES_MISSING:
            # The announcement follows, unless the status says it already: then no line does.
            if life in self._standing or not life.admitted:
                self._open[life] = _Window(life, self._standing.get(life, UNKNOWN_COUNT))
        elif item.name == "MachineReady" or item.kind in _CLOSING:
            self._close(item, life)

    def _close(self, item: Evidence, life: Life) -> None:
        window = self._open.pop(life, None)
        if item.name == "MachineReady":
            self._standing.pop(life, None)
            if window is not None and item.status == "True":
                window.succeeded = item.order


def _settle(creation: _Creation, life: Life) -> None:
    for window in creation.candidates:
        if window.life is life:
            window.taken.append(creation)


def _eliminate(creations: Sequence[_Creation], ownership: Ownership) -> None:
    """Assign whatever has one possible owner, until nothing more follows."""
    left = [creation for creation in creations if creation.machine not in ownership.owners]
    known = -1
    while known != len(ownership.owners):
        known = len(ownership.owners)
        for creation in left:
            possible = [window for window in creation.candidates if _fits(window, creation)]
            if len(possible) == 1:
                ownership.owners[creation.machine] = possible[0].life
                possible[0].taken.append(creation)
        left = [creation for creation in left if creation.machine not in ownership.owners]
    for creation in left:
        ownership.ambiguous[creation.machine] = [w.life for w in creation.candidates if _fits(w, creation)]


def _fits(window: _Window, creation: _Creation) -> bool:
    if len(window.taken) >= window.wanted:
        return False
    if window.succeeded is not None and (creation.ready is None or creation.ready > window.succeeded):
        return False
    return all(_in_sequence(creation, other) for other in window.taken)


def _in_sequence(one: _Creation, other: _Creation) -> bool:
    """Whether the earlier of the two was ready before the later was created."""
    first, second = (one, other) if one.at <= other.at else (other, one)
    return first.ready is not None and first.ready <= second.at
