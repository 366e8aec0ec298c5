"""The recorder of Kubernetes Events: told of appends, it tells the API server, in a thread of its own.

A reconcile only ever adds to a bounded queue. Events are a courtesy: what cannot be delivered is dropped and
counted, for the log holds it anyway.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from threading import Condition, Thread
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter

from kaito.manager.logs import fields
from kaito.runtime.ports import AlreadyExists, ApiError, Clock, KubeApi, NotFound, Throttled, Unavailable
from kaito.telemetry import notices
from kaito.telemetry.correlation import Correlator
from kaito.telemetry.notices import EVENTS, About, Notice
from kaito.telemetry.reasons import rule_of
from store.errors import StaleEpoch
from store.records import StoredEvent

_LOGGER = logging.getLogger(__name__)

OPERATOR, PROVISIONER = "kaito-workspace", "kaito-gpu-provisioner"
"""The components that Events name, after the published Deployments."""

QUEUED = 1000

TRIES = 5
PAUSE_SECONDS = 2.0
MOST_PAUSE_SECONDS = 60.0
"""How often an Event is tried, and how long is waited in between where the server does not say."""

COMPLAINT_SECONDS = 60.0
DRAIN_SECONDS = 2.0

AboutOf: TypeAlias = Callable[[str, StoredEvent], About | None]


class Dropped(StrEnum):
    """Why an Event was not delivered."""

    OVERFLOW = "overflow"
    SPAM = "spam"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    STOPPED = "stopped"


class Recorder:
    """An `Observer` of the log, and a service that starts first and ends last.

    Args:
        about: From a stream and an event to the object that is told about.
        component: Who speaks.
        instance: Which of its processes; at most 128 characters are kept.
    """

    def __init__(
        self,
        api: KubeApi,
        about: AboutOf,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        component: str,
        instance: str,
        queued: int = QUEUED,
    ) -> None:
        self.name = "events"
        self._api = api
        self._about = about
        self._clock = clock
        self._component = component
        self._instance = instance[:128]
        self._most = queued
        self._correlator = Correlator()
        self._waiting: deque[Notice] = deque()
        self._changed = Condition()
        self._deadline: float | None = None
        self._complained_at: float | None = None
        self._dropped = Counter(
            "kaito_events_dropped_total",
            "Kubernetes Events that were not delivered, by cause.",
            ["cause"],
            registry=registry,
        )
        for cause in Dropped:
            self._dropped.labels(cause.value)
        self._thread = Thread(target=self._run, name=self.name, daemon=True)

    # --- from outside -------------------------------------------------------------------------------

    def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        """See `Observer.appended`: queue what is to be told, and drop the oldest when there is no room."""
        for number, event in enumerate(events, start=version + 1):
            rule = rule_of(event)
            about = self._about(stream, event) if rule is not None else None
            if rule is not None and about is not None:
                self._put(Notice(about, stream, number, event, rule))

    def _put(self, notice: Notice) -> None:
        with self._changed:
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._drop(Dropped.OVERFLOW)
            self._waiting.append(notice)
            self._changed.notify()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Deliver what is queued for a short while, each Event tried once; whether the thread has ended."""
        seconds = DRAIN_SECONDS if timeout_seconds is None else min(timeout_seconds, DRAIN_SECONDS)
        with self._changed:
            self._deadline = self._clock.monotonic() + seconds
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        with self._changed:
            for _ in self._waiting:
                self._drop(Dropped.STOPPED)
            self._waiting.clear()
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while (notice := self._next()) is not None:
            try:
                self._deliver(notice)
            except Exception:
                _LOGGER.exception("Event was not told", extra=fields(stream=notice.stream))

    def _next(self) -> Notice | None:
        """Wait for one; None when it is time to end."""
        with self._changed:
            while not self._waiting and self._deadline is None:
                self._changed.wait()
            if not self._waiting or self._late():
                return None
            return self._waiting.popleft()

    def _late(self) -> bool:
        return self._deadline is not None and self._clock.monotonic() >= self._deadline

    def _deliver(self, notice: Notice) -> None:
        if not self._correlator.allows(notice.about, self._clock.monotonic()):
            self._drop(Dropped.SPAM)
            return
        for attempt in range(1, TRIES + 1):
            try:
                self._tell(notice)
            except (Throttled, Unavailable) as error:
                if attempt == TRIES or not self._pause(error.retry_after_seconds):
                    self._give_up(notice, error, Dropped.UNANSWERED)
                    return
            except ApiError as error:
                self._give_up(notice, error, Dropped.REFUSED)
                return
            except StaleEpoch:
                # We do not lead any more: what is left in the queue is not ours to tell.
                self._drop(Dropped.STOPPED)
                return
            else:
                return

    def _pause(self, asked_seconds: float | None) -> bool:
        """Wait before the next try; False at once when the process ends."""
        seconds = PAUSE_SECONDS if asked_seconds is None else min(asked_seconds, MOST_PAUSE_SECONDS)
        with self._changed:
            return not self._changed.wait_for(lambda: self._deadline is not None, seconds)

    def _tell(self, notice: Notice) -> None:
        """Count a repeat on the Event that is there, else make one."""
        key, now = (notice.about, notice.reason, notice.message), self._clock.monotonic()
        known = self._correlator.known(key, now)
        if known is not None:
            again = {"count": known.count + 1, "lastTimestamp": notice.time}
            try:
                self._api.patch(EVENTS, known.name, again, notice.about.home)
            except NotFound:
                self._correlator.forget(key)  # the API server keeps Events for an hour only
            else:
                self._correlator.sent(key, known.name, known.count + 1, now)
                return
        try:
            event = notices.body(notice, self._component, self._instance)
            self._api.create(EVENTS, event, notice.about.home)
        except AlreadyExists:
            pass  # told before a crash, or by a try whose answer was lost
        self._correlator.sent(key, notice.name, 1, now)

    def _give_up(self, notice: Notice, error: ApiError, cause: Dropped) -> None:
        self._drop(cause)
        now = self._clock.monotonic()
        if self._complained_at is not None and now - self._complained_at < COMPLAINT_SECONDS:
            return
        self._complained_at = now
        extra = fields(
            stream=notice.stream, version=notice.version, reason=notice.reason, error=error.message
        )
        _LOGGER.warning("Event was not delivered", extra=extra)

    def _drop(self, cause: Dropped) -> None:
        self._dropped.labels(cause.value).inc()
