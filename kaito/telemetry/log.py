"""The event log with a stopwatch, and with observers who see every event that was appended, once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kaito.manager.logs import fields
from kaito.runtime.ports import Clock
from store.errors import LogUnavailable, StaleEpoch, StoreError, WrongExpectedVersion
from store.records import Appended, EventLog, Record, StoredEvent, StreamHead

_LOGGER = logging.getLogger(__name__)

APPEND_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
"""Seconds: from a file in memory to a database that another writer holds for as long as it waits."""

ERRORS = (WrongExpectedVersion, StaleEpoch, LogUnavailable)
OTHER = "Other"

REMEMBERED_STREAMS = 10_000


class Observer(Protocol):
    """Told of events that were appended, in the thread that appended them; it must not wait."""

    def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        """``version`` is that of the stream before the first of these events."""
        ...


class LogMetrics:
    """The metrics of the log itself.

    Attributes:
        failed_at: Monotonic seconds of the latest append that the log could not take; None when the latest
            one went well.
        failure: What that append failed with.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "kaito_log_append_seconds",
            "How long an append to the event log took, from the call to the commit.",
            buckets=APPEND_BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "kaito_log_append_errors_total",
            "Appends to the event log that were refused or failed, by kind.",
            ["kind"],
            registry=registry,
        )
        self._position = Gauge(
            "kaito_log_position",
            "Position of the newest event that this process appended, or found at its start.",
            registry=registry,
        )
        self._highest = 0
        self._position.set_function(lambda: self._highest)
        self.failed_at: float | None = None
        self.failure = ""
        for kind in (*(each.__name__ for each in ERRORS), OTHER):
            self.errors.labels(kind)

    def reached(self, position: int) -> None:
        self._highest = max(self._highest, position)

    def failed(self, error: StoreError, now: float) -> None:
        self.errors.labels(type(error).__name__ if isinstance(error, ERRORS) else OTHER).inc()
        if isinstance(error, LogUnavailable):
            self.failure, self.failed_at = str(error), now


class ObservedLog:
    """Any event log; nothing it does or answers is changed.

    A repeat of an append that the log answers with the position it already has is not shown again. What an
    observer raises is a defect: it is logged, and the append stands.
    """

    def __init__(
        self, log: EventLog, metrics: LogMetrics, clock: Clock, observers: Sequence[Observer]
    ) -> None:
        self._log: Any = log
        self._metrics = metrics
        self._clock = clock
        self._observers = tuple(observers)
        self._lock = Lock()
        self._versions: OrderedDict[str, int] = OrderedDict()

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
        start = self._clock.monotonic()
        try:
            appended: Appended = self._log.append(
                stream,
                events,
                expected_version=expected_version,
                epoch=epoch,
                cause=cause,
                command_id=command_id,
            )
        except StoreError as error:
            self._metrics.failed(error, self._clock.monotonic())
            raise
        if events:
            self._metrics.seconds.observe(self._clock.monotonic() - start)
            self._metrics.failed_at = None
            self._metrics.reached(appended.position)
            if self._is_new(stream, appended.version):
                self._show(stream, events, expected_version)
        return appended

    def _is_new(self, stream: str, version: int) -> bool:
        with self._lock:
            if self._versions.get(stream, 0) >= version:
                return False
            self._versions[stream] = version
            self._versions.move_to_end(stream)
            if len(self._versions) > REMEMBERED_STREAMS:
                self._versions.popitem(last=False)
            return True

    def _show(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        for observer in self._observers:
            try:
                observer.appended(stream, events, version)
            except Exception:
                _LOGGER.exception("append was not observed", extra=fields(stream=stream, version=version))

    # --- as the log itself --------------------------------------------------------------------------

    def lead(self, family: str, epoch: int) -> None:
        self._log.lead(family, epoch)

    def highest_epoch(self, family: str) -> int:
        highest: int = self._log.highest_epoch(family)
        return highest

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        records: list[Record] = self._log.read(stream, after=after)
        return records

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        records: list[Record] = self._log.read_all(after=after, limit=limit)
        return records

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        pages: Iterator[list[Record]] = self._log.subscribe(after=after, limit=limit)
        return pages

    def streams(self, prefix: str = "") -> list[StreamHead]:
        heads: list[StreamHead] = self._log.streams(prefix)
        return heads

    def head(self, stream: str) -> StreamHead | None:
        head: StreamHead | None = self._log.head(stream)
        return head
