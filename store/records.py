"""An event as the log returns it, and the port every log implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from statemachine.events import WorkspaceEvent
from statemachine.machine.events import MachineEvent
from store.errors import StoreError

StoredEvent: TypeAlias = WorkspaceEvent | MachineEvent


class Record(msgspec.Struct, frozen=True, gc=False):
    """One stored event with its envelope.

    ``version`` counts from 1 in its stream, ``position`` from 1 in the whole log, without gaps. ``epoch`` is
    the leader's lease transitions, ``cause`` the reconcile, command or file line that led to it.
    ``hash`` chains the event to the one before it in its stream (lower-case hex).
    """

    stream: str
    version: int
    position: int
    type: str
    schema_version: int
    recorded_at: datetime
    epoch: int
    cause: str
    event_id: str
    hash: str
    event: StoredEvent


class Appended(msgspec.Struct, frozen=True):
    """Where an append ended up: the stream's version after it and the position of its last event."""

    version: int
    position: int


class StreamHead(msgspec.Struct, frozen=True):
    """The last event of a stream."""

    stream: str
    version: int
    position: int
    hash: str


class History(NamedTuple):
    """The events of one stream without their envelopes.

    ``poison`` is why the event after the last of these cannot be read; None when all could be.
    """

    stream: str
    events: list[StoredEvent]
    poison: StoreError | None = None


def family_of(stream: str) -> str:
    """The first part of a stream's name: ``workspace`` or ``machine``.

    A family is written by one controller, and each controller has a lease of its own, so the epochs of two
    families have nothing to do with each other.
    """
    return stream.partition("/")[0]


class EventLog(Protocol):
    """An append-only log of streams.

    Streams are named ``workspace/<namespace>/<name>/<uid>`` and ``machine/<name>``.
    """

    def append(
        self,
        stream: str,
        events: Sequence[StoredEvent],
        *,
        expected_version: int,
        epoch: int = 0,
        cause: str = "",
        command_id: str = "",
    ) -> Appended:
        """Append all events or none, in one transaction.

        A repeat of an append whose answer was lost (same stream, expected version and command id, the same
        number of events) is answered with the position it already has.

        Args:
            expected_version: The version the stream must have, 0 for a stream that does not exist.
            command_id: Identity of the decision; empty means one derived from the events themselves.

        Raises:
            WrongExpectedVersion: The stream has another version; nothing was written.
            StaleEpoch: A higher epoch leads this family of streams; nothing was written.
            LogUnavailable: The log cannot be written; nothing was written.
        """
        ...

    def lead(self, family: str, epoch: int) -> None:
        """Refuse every lower epoch in this family of streams from now on.

        Raises:
            StaleEpoch: A higher epoch leads it.
            LogUnavailable: The log cannot be written.
        """
        ...

    def highest_epoch(self, family: str) -> int:
        """The epoch that an append to this family of streams must at least have; 0 where nobody has led."""
        ...

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        """The events of one stream with a version greater than ``after``, in order; empty if none."""
        ...

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """One page: at most ``limit`` events with a position greater than ``after``, in global order."""
        ...

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        """Pages of events as they come, an empty page when there is nothing new; never ends, never waits."""
        ...

    def streams(self, prefix: str = "") -> list[StreamHead]:
        """The heads of all streams whose name starts with ``prefix``, in order of their first event."""
        ...

    def head(self, stream: str) -> StreamHead | None:
        """The last event of the stream, None when it has none."""
        ...
