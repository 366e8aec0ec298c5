"""The states of all lives that are not over, kept up to date by the events of each append.

A life is folded further, never anew: an append costs a few microseconds, whatever the stream holds. What
another process appended in between is read from the log first, and told to nobody: it was that process's to
tell. A life that is over is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from statemachine.errors import IllegalTransition
from store.records import History, Record, StoredEvent

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

_BEGINNING = datetime.min.replace(tzinfo=UTC)


class Past(Protocol):
    """The part of a log that is read here; both logs of the store have it."""

    def read(self, stream: str, *, after: int = 0) -> list[Record]: ...

    def histories(self, prefix: str = "") -> Iterator[History]: ...

    def last_position(self) -> int: ...


class Aggregate(msgspec.Struct, Generic[S], frozen=True):
    """How the streams of one kind are folded, and what is read from their states."""

    prefix: str
    types: frozenset[type]
    empty: Callable[[], S]
    advance: Callable[[S, Iterable[Any]], None]
    """In place."""
    phase: Callable[[S], str]
    is_over: Callable[[S], bool]


class Listener(Protocol[S_contra]):
    """Told of what happens in a life that this process appends to."""

    def happened(self, event: Any, state: S_contra) -> None:
        """The state is still the one before the event."""
        ...

    def phase_ended(self, phase: str, seconds: float, state: S_contra) -> None: ...

    def changed(self, stream: str, state: S_contra | None) -> None:
        """After each append, and for each life found at a start; None for a life that is over."""
        ...


class Phases:
    """The phases of one life as `kaito.history.phases.runs` finds them, one moment after the other.

    A phase that lasts no time is none. The latest moment's is known to last as soon as a later moment comes,
    or when `settle` says that nothing else follows at its instant.

    Attributes:
        at: The instant of the latest moment.
    """

    __slots__ = ("_latest", "_name", "_start", "at")

    def __init__(self) -> None:
        self._name = self._latest = ""
        self._start = self.at = _BEGINNING

    def moment(self, at: datetime, phase: str) -> tuple[str, float] | None:
        """The phase and its seconds, if one has ended by now."""
        ended = None
        if at > self.at:
            ended = self.settle()
            self.at = at
        self._latest = phase
        return ended

    def settle(self) -> tuple[str, float] | None:
        if self._latest == self._name:
            return None
        ended = self._ended()
        self._name, self._start = self._latest, self.at
        return ended

    def end(self, at: datetime) -> list[tuple[str, float]]:
        """The life is over: what has ended, the last phase included."""
        found = [self.moment(at, self._latest), self.settle(), self._ended()]
        return [ended for ended in found if ended is not None]

    def _ended(self) -> tuple[str, float] | None:
        seconds = (self.at - self._start).total_seconds()
        return (self._name, seconds) if self._name and seconds > 0 else None


class _Life(Generic[S]):
    __slots__ = ("phases", "state", "version")

    def __init__(self, state: S) -> None:
        self.state = state
        self.version = 0
        self.phases = Phases()


class Lives(Generic[S]):
    """An `Observer` of the log; before `seed` it knows only of streams that it saw begin."""

    def __init__(self, aggregate: Aggregate[S], listener: Listener[S]) -> None:
        self._aggregate = aggregate
        self._listener = listener
        self._log: Past | None = None
        self._lives: dict[str, _Life[S]] = {}
        self._unsettled: set[str] = set()
        self._lock = Lock()

    def seed(self, log: Past) -> None:
        """Take every life that is not over from the log, in place of what was known.

        A stream that cannot be folded is left out, as the reconciler sets it aside.
        """
        with self._lock:
            self._log = log
            for stream in self._lives:
                self._listener.changed(stream, None)
            self._lives.clear()
            self._unsettled.clear()
            for history in log.histories(self._aggregate.prefix):
                life = None if history.poison else self._open_life(history.events)
                if life is not None:
                    self._lives[history.stream] = life
                    self._listener.changed(history.stream, life.state)

    def state(self, stream: str) -> S | None:
        """The state of a life that is not over."""
        with self._lock:
            life = self._lives.get(stream)
            return None if life is None else life.state

    def settle(self, now: datetime) -> None:
        """Tell of the phases that the latest moments ended: what is later can no longer undo them.

        An append is not the end of its instant. An attempt that is refused at once is back where it was, and
        no phase has ended.
        """
        with self._lock:
            gone_by = [stream for stream in self._unsettled if self._lives[stream].phases.at < now]
            for stream in gone_by:
                life = self._lives[stream]
                self._told(life, life.phases.settle())
            self._unsettled.difference_update(gone_by)

    def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        """See `Observer.appended`."""
        if not stream.startswith(self._aggregate.prefix):
            return
        with self._lock:
            try:
                life = self._life_at(stream, version)
                if life is not None:
                    self._take(stream, life, events)
            except IllegalTransition:
                self._drop(stream)

    def _life_at(self, stream: str, version: int) -> _Life[S] | None:
        """The life at this version of its stream; None when it cannot be known, or is further already."""
        life = self._lives.get(stream)
        if life is None:
            if version and self._log is None:
                return None
            life = self._lives[stream] = _Life(self._aggregate.empty())
        if life.version < version and self._log is not None:
            self._told(life, life.phases.settle())
            between = self._log.read(stream, after=life.version)
            self._fold(life, [record.event for record in between if record.version <= version])
        return life if life.version == version else None

    def _open_life(self, events: Sequence[StoredEvent]) -> _Life[S] | None:
        """The life that these events tell; None when it is over, or when they cannot be folded."""
        aggregate = self._aggregate
        # Most lives of a log are over, and the fold alone is several times as fast as that with phases.
        state = aggregate.empty()
        try:
            aggregate.advance(state, [event for event in events if type(event) in aggregate.types])
        except IllegalTransition:
            return None
        if aggregate.is_over(state):
            return None
        life = _Life(aggregate.empty())
        self._fold(life, events)
        return life

    def _fold(self, life: _Life[S], events: Sequence[StoredEvent]) -> None:
        """What happened, for nobody to hear."""
        aggregate = self._aggregate
        for event in events:
            life.version += 1
            if type(event) in aggregate.types:
                aggregate.advance(life.state, (event,))
                if aggregate.is_over(life.state):
                    life.phases = Phases()
                else:
                    life.phases.moment(event.at, aggregate.phase(life.state))
        life.phases.settle()

    def _take(self, stream: str, life: _Life[S], events: Sequence[StoredEvent]) -> None:
        aggregate, listener = self._aggregate, self._listener
        for event in events:
            life.version += 1
            if type(event) not in aggregate.types:
                continue
            listener.happened(event, life.state)
            aggregate.advance(life.state, (event,))
            if aggregate.is_over(life.state):
                for ended in life.phases.end(event.at):
                    listener.phase_ended(*ended, life.state)
                life.phases = Phases()
            else:
                self._told(life, life.phases.moment(event.at, aggregate.phase(life.state)))
        if aggregate.is_over(life.state):
            self._drop(stream)
        else:
            self._unsettled.add(stream)
            listener.changed(stream, life.state)

    def _told(self, life: _Life[S], ended: tuple[str, float] | None) -> None:
        if ended is not None:
            self._listener.phase_ended(*ended, life.state)

    def _drop(self, stream: str) -> None:
        del self._lives[stream]
        self._unsettled.discard(stream)
        self._listener.changed(stream, None)
