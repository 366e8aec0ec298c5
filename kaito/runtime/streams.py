"""Folded streams of one aggregate: load, append, and a state kept in between.

A state is kept between reconciles; that is safe, because every append states the version it builds on. The
log is the truth: on any disagreement the state is dropped and folded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from statemachine.errors import IllegalTransition
from store.errors import UndecodableEvent, UnknownEventType, WrongExpectedVersion
from store.records import EventLog

POISON = (IllegalTransition, UnknownEventType, UndecodableEvent)
"""What a stream that cannot be folded raises."""

S = TypeVar("S")


class Loaded(msgspec.Struct, Generic[S], frozen=True):
    """A state and the version of the stream it stands for."""

    state: S
    version: int


class Streams(Generic[S]):
    """The streams of one aggregate.

    Args:
        fold: From the events of a stream, in order, to its state.
        types: The events of the aggregate; others in its streams are not its business.
        identity: Of this process, so that two that decide alike are told apart; empty where there is one.
        epoch: Gives the leader's lease transitions at the time of the append.
    """

    def __init__(
        self,
        log: EventLog,
        fold: Callable[[Iterable[Any]], S],
        types: tuple[type, ...],
        identity: str = "",
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self.log = log
        self._fold = fold
        self._types = types
        self._identity = identity
        self._epoch = epoch
        self._loaded: dict[str, Loaded[S]] = {}

    def load(self, stream: str) -> Loaded[S]:
        """The state and version of a stream; the empty state at version 0 when there is none.

        Raises:
            IllegalTransition, UnknownEventType, UndecodableEvent: The stream is poisoned.
        """
        found = self._loaded.get(stream)
        if found is None:
            records = self.log.read(stream)
            events = [record.event for record in records if isinstance(record.event, self._types)]
            found = Loaded(self._fold(events), records[-1].version if records else 0)
            self._loaded[stream] = found
        return found

    def append(
        self, stream: str, events: Sequence[Any], state: S, *, expected_version: int, cause: str
    ) -> Loaded[S]:
        """Append the events that led to this state.

        Raises:
            WrongExpectedVersion, StaleEpoch, LogUnavailable: Nothing was written.
        """
        version = expected_version
        if events:
            try:
                appended = self.log.append(
                    stream,
                    events,
                    expected_version=expected_version,
                    epoch=self._epoch(),
                    cause=cause,
                    command_id=f"{self._identity} {cause}" if self._identity else "",
                )
            except WrongExpectedVersion:
                self.forget(stream)
                raise
            version = appended.version
        loaded = self._loaded[stream] = Loaded(state, version)
        return loaded

    def forget(self, stream: str) -> None:
        """Drop the state; the next load folds the stream again."""
        self._loaded.pop(stream, None)
