"""The event log with a line for each append: what was decided, and where in the log it stands."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from kaito.manager.logs import fields
from store.records import Appended, EventLog, Record, StoredEvent, StreamHead

_LOGGER = logging.getLogger(__name__)


class NarratedLog(EventLog):
    """Any event log; whatever it appends is told, and nothing else is changed.

    Args:
        marks: Fields that every line bears, such as ``dry_run``.
    """

    def __init__(self, log: EventLog, **marks: object) -> None:
        self._log = log
        self._marks = marks

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
        appended = self._log.append(
            stream,
            events,
            expected_version=expected_version,
            epoch=epoch,
            cause=cause,
            command_id=command_id,
        )
        if events:
            self._tell(stream, events, appended, cause)
        return appended

    def _tell(self, stream: str, events: Sequence[StoredEvent], appended: Appended, cause: str) -> None:
        messages = [text for event in events if (text := getattr(event, "message", ""))]
        extra = fields(
            **self._marks,
            stream=stream,
            events=",".join(type(event).__name__ for event in events),
            version=appended.version,
            position=appended.position,
            cause=cause or None,
            why=messages[-1] if messages else None,
        )
        _LOGGER.info("decided", extra=extra)

    def lead(self, family: str, epoch: int) -> None:
        self._log.lead(family, epoch)

    def highest_epoch(self, family: str) -> int:
        return self._log.highest_epoch(family)

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        return self._log.read(stream, after=after)

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        return self._log.read_all(after=after, limit=limit)

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        return self._log.subscribe(after=after, limit=limit)

    def streams(self, prefix: str = "") -> list[StreamHead]:
        return self._log.streams(prefix)

    def head(self, stream: str) -> StreamHead | None:
        return self._log.head(stream)
