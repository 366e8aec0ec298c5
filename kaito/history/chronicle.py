"""The history of one Workspace: its own stream and those of its Machines, and the states it went through.

A cut at an instant takes the events of each stream up to the first one that is later. The clocks of two
leaders may differ, so an event may bear an earlier time than the one before it in its stream; the order of a
stream always wins over its times.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import cast

import msgspec

from kaito.problems import Problem
from statemachine.errors import IllegalTransition
from statemachine.events import WorkspaceEvent
from statemachine.machine import events as mev
from statemachine.replay import fold
from statemachine.state import Stage, Workspace
from store.records import EventLog, Record, StoredEvent

WORKSPACES = "workspace/"
MACHINES = "machine/"


class Provision(msgspec.Struct, frozen=True):
    """What the provisioner's stream of one Machine tells; None for what it does not tell (yet)."""

    step: str = ""
    """What the provisioner does on the way to a usable node; empty when it says nothing of it."""
    launched_at: datetime | None = None
    deletion_at: datetime | None = None
    node_removed_at: datetime | None = None
    removed_at: datetime | None = None


class Moment(msgspec.Struct, frozen=True):
    """The state after a record, of the Workspace stream or of one of its Machines' streams."""

    at: datetime
    record: Record
    state: Workspace
    provisions: Mapping[str, Provision]

    @property
    def left(self) -> tuple[str, ...]:
        """The Machines that may still exist."""
        gone = {name for name, provision in self.provisions.items() if provision.removed_at}
        return tuple(name for name in self.state.machines() if name not in gone)

    @property
    def over(self) -> bool:
        """Whether nothing of the Workspace is left, its Machines included."""
        return self.state.stage is Stage.GONE and not self.left


class Chronicle(msgspec.Struct, frozen=True):
    """The records of one Workspace, at least one, and those of its Machines by their names."""

    stream: str
    records: tuple[Record, ...]
    machines: dict[str, tuple[Record, ...]] = {}

    @property
    def namespace(self) -> str:
        return self.stream.split("/")[1]

    @property
    def name(self) -> str:
        return self.stream.split("/")[2]

    @property
    def uid(self) -> str:
        return self.stream.split("/", 3)[3]

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def created_at(self) -> datetime:
        return self.records[0].event.at

    @property
    def last_at(self) -> datetime:
        return max(record.event.at for record in self.merged())

    def until(self, at: datetime) -> Chronicle:
        """The history as it was known at this instant.

        Raises:
            Problem: The Workspace did not exist yet.
        """
        records = _until(self.records, at)
        if not records:
            raise Problem(
                f"{self.label} did not exist yet at {at:%Y-%m-%dT%H:%M:%SZ}; "
                f"it was created at {self.created_at:%Y-%m-%dT%H:%M:%S.%fZ}"
            )
        return Chronicle(
            self.stream, records, {name: _until(found, at) for name, found in self.machines.items()}
        )

    def merged(self) -> list[Record]:
        """All records by time, each stream in its own order."""
        return list(heapq.merge(self.records, *self.machines.values(), key=lambda record: record.event.at))

    def moments(self) -> list[Moment]:
        """The states gone through, one for each record.

        Raises:
            Problem: The stream holds an event that its state does not list.
        """
        state, at = Workspace(), self.created_at
        provisions: dict[str, Provision] = {}
        found: list[Moment] = []
        for record in self.merged():
            at = max(at, record.event.at)
            if record.stream == self.stream:
                state = _folded(record, state)
            else:
                machine = record.stream.removeprefix(MACHINES)
                provisions = {
                    **provisions,
                    machine: _told(provisions.get(machine, Provision()), record.event),
                }
            found.append(Moment(at, record, state, provisions))
        return found

    def state(self) -> Workspace:
        """The fold of the Workspace stream."""
        state = Workspace()
        for record in self.records:
            state = _folded(record, state)
        return state


def _until(records: Iterable[Record], at: datetime) -> tuple[Record, ...]:
    return tuple(takewhile(lambda record: record.event.at <= at, records))


def _folded(record: Record, state: Workspace) -> Workspace:
    try:
        return fold((cast(WorkspaceEvent, record.event),), state)
    except IllegalTransition as error:
        where = f"version {record.version}, position {record.position}"
        raise Problem(f"{record.stream} cannot be folded: {error} ({where})") from error


def _told(known: Provision, event: StoredEvent) -> Provision:
    at = event.at
    match event:
        case mev.MachineAccepted():
            return Provision()  # a name may have several lives
        case mev.PoolCreationRequested():
            return Provision(step="pool creation")
        case mev.PoolCreationFailed() | mev.PoolCreationTimedOut() | mev.PoolVanished():
            return msgspec.structs.replace(known, step="before the next attempt")
        case mev.MachineLaunchCompleted():
            return msgspec.structs.replace(known, launched_at=at, step="registration")
        case mev.NodeRegistered():
            return msgspec.structs.replace(known, step="initialization")
        case mev.NodeInitialized():
            return msgspec.structs.replace(known, step="")
        case mev.PoolDeletionRequested():
            return msgspec.structs.replace(known, deletion_at=known.deletion_at or at, step="pool deletion")
        case mev.NodeRemoved():
            return msgspec.structs.replace(known, node_removed_at=at)
        case mev.MachineRemoved():
            return msgspec.structs.replace(known, removed_at=at)
        case _:
            return known


def load(log: EventLog, stream: str) -> Chronicle:
    """Read one Workspace stream and the streams of the Machines that its events name."""
    records = tuple(log.read(stream))
    names = sorted({name for record in records if (name := getattr(record.event, "machine", ""))})
    machines = {name: tuple(log.read(MACHINES + name)) for name in names}
    return Chronicle(stream, records, {name: found for name, found in machines.items() if found})
