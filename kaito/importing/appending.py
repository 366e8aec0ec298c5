"""Histories into an event log: what it holds already is compared, only the rest is appended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import cast

import msgspec

from kaito.importing.errors import HistoryContradicted
from kaito.importing.importer import ImportResult
from kaito.importing.telling import Attested
from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.replay import fold
from store.records import EventLog, Record, StoredEvent, family_of

FOREIGN = (ev.MachineLaunched, ev.MachineDeleted)
"""Events of a Workspace that only the provisioner's log proves: an import without it lacks them, and one with
it cannot add them to the past. The Machine's own stream holds both facts."""


_LEARNT = frozenset({"instance_type", "node"})
"""Fields that another file of the run may fill."""


class StreamSummary(msgspec.Struct, frozen=True):
    stream: str
    known: int
    """Events the log held already."""
    added: int


class ImportSummary(msgspec.Struct, frozen=True):
    streams: tuple[StreamSummary, ...]

    @property
    def added(self) -> int:
        return sum(stream.added for stream in self.streams)


class _Tail(msgspec.Struct):
    stream: str
    version: int
    events: list[Attested]


def append_histories(log: EventLog, result: ImportResult) -> ImportSummary:
    """Append what the log does not hold yet, in order of time over all streams.

    All streams are compared before the first append. An import that is interrupted between two appends is
    completed by repeating it. It writes in the name of whoever led last.

    Raises:
        HistoryContradicted: A stream holds something else; nothing was appended.
        StoreError: The log refused; see `EventLog.append`.
    """
    tails = [_compare(stream, log.read(stream), history) for stream, history in result.histories.items()]
    versions = {tail.stream: tail.version for tail in tails}
    waiting = [(tail.stream, attested) for tail in tails for attested in tail.events]
    waiting.sort(key=lambda pair: pair[1].event.at)
    for (stream, cause), group in groupby(waiting, key=lambda pair: (pair[0], pair[1].cause)):
        events = [attested.event for _, attested in group]
        epoch = log.highest_epoch(family_of(stream))
        appended = log.append(stream, events, expected_version=versions[stream], epoch=epoch, cause=cause)
        versions[stream] = appended.version
    return ImportSummary(tuple(StreamSummary(t.stream, t.version, len(t.events)) for t in tails))


def _compare(stream: str, records: Sequence[Record], history: Sequence[Attested]) -> _Tail:
    """What of the history comes after the events that the stream holds."""
    offered = 0
    for record in records:
        while offered < len(history) and _comes_too_late(history[offered].event, record.event):
            offered += 1
        if offered == len(history):
            break
        if _agree(record.event, history[offered].event):
            offered += 1
        elif not isinstance(record.event, FOREIGN):
            attested = history[offered]
            raise HistoryContradicted(
                stream, record.version, attested.cause, _describe(record.event), _describe(attested.event)
            )
    tail = list(history[offered:])
    _prove(stream, records, tail)
    return _Tail(stream, len(records), tail)


def _prove(stream: str, records: Sequence[Record], tail: Sequence[Attested]) -> None:
    """The tail must follow from what the stream holds, which may be told in other words than the import's."""
    if not tail or not stream.startswith("workspace/"):
        return
    stored = [record.event for record in records]
    try:
        fold(cast("list[ev.WorkspaceEvent]", [*stored, *(attested.event for attested in tail)]))
    except IllegalTransition as error:
        raise HistoryContradicted(
            stream, len(records), tail[0].cause, f"followed by what it does not allow ({error})",
            _describe(tail[0].event),
        ) from error  # fmt: skip


def _comes_too_late(offered: StoredEvent, stored: StoredEvent) -> bool:
    """Whether the log went on without this event, which only another file proves."""
    return isinstance(offered, FOREIGN) and offered != stored


def _agree(stored: StoredEvent, offered: StoredEvent) -> bool:
    """Equal, or the stored one knows more than the files of this import show."""
    if stored == offered:
        return True
    if type(stored) is not type(offered):
        return False
    if isinstance(stored, ev.InferenceBecameReady):
        return stored.precision_seconds > 0 and stored.at <= offered.at
    return all(
        _covers(getattr(stored, field), getattr(offered, field), field) for field in offered.__struct_fields__
    )


def _covers(stored: object, offered: object, field: str) -> bool:
    if stored == offered:
        return True
    if isinstance(stored, tuple) and isinstance(offered, tuple):
        return set(offered) <= set(stored)
    return field in _LEARNT and offered == ""


def _describe(event: StoredEvent) -> str:
    return f"{type(event).__name__} at {event.at:%Y-%m-%d %H:%M:%S.%f}"
