"""What probes ask. Each check answers from what is known at the moment: why not, or nothing.

Ready is a process whose caches are complete, whose place in the election is settled and whose log takes
events. Alive is one that a restart would not help: its threads run and none is stuck.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import Any

from kaito.manager.controller import Controller
from kaito.manager.informers import Informers
from kaito.manager.logs import fields
from kaito.runtime.ports import Clock
from kaito.telemetry.log import LogMetrics
from kaito.telemetry.probes import Check
from store.errors import StoreError
from store.records import EventLog

_LOGGER = logging.getLogger(__name__)

STUCK_SECONDS = 300.0
"""A reconcile waits for nothing but calls, each with a deadline of some 35 s; a longer one will not end."""

FRESH_SECONDS = 5.0
"""How long the log's answer holds."""

WAIT_SECONDS = 0.25
"""How long a probe waits for the log at most; then what is known holds on."""

PATIENCE_SECONDS = 20.0
"""How long another writer may hold the log before it counts as not writable."""

FAILURE_SECONDS = 30.0
"""How long an append that failed speaks against the log, when none has been tried since."""

PROBE_STREAM = "probe/log"
"""A stream that never gets an event."""


def caches(informers: Informers) -> Check:
    """Every cache is complete."""
    return lambda: "; ".join(informers.unsynced())


def informer_threads(informers: Informers) -> Check:
    """Every informer still follows its kind."""
    return lambda: _dead("informers", informers.dead())


def workers(controllers: Sequence[Controller[Any]], bound_seconds: float = STUCK_SECONDS) -> Check:
    """No worker has died or has been at one key for too long."""

    def check() -> str:
        dead = [name for controller in controllers for name in controller.dead()]
        found = [_dead("workers", dead)] if dead else []
        for controller in controllers:
            seconds = controller.figures().longest_running_seconds
            if seconds > bound_seconds:
                found.append(f"a reconcile of {controller.name} has been running for {seconds:.0f} s")
        return "; ".join(found)

    return check


def _dead(what: str, names: Sequence[str]) -> str:
    return f"{what} have ended: {', '.join(names)}" if names else ""


def lease(lost: Callable[[], str]) -> Check:
    """The place in the election is settled: leading and standing by are both good.

    Args:
        lost: Why it is not, such as a lease that was lost; empty when it is.
    """
    return lost


class LogWritable:
    """The log takes events; asked in a thread of its own, so that no probe waits for a database.

    It is asked by an append of nothing, which takes the lock of all writers and lets it go: that it may only
    be read, is held by another writer or has lost its connection is found, and nothing is written. That a
    disk is full shows only when something is written, so an append of the process that failed counts too,
    until one succeeds or for a while.

    Args:
        log: The log itself, not the observed one, for this append is nobody's business.
    """

    def __init__(
        self, log: EventLog, metrics: LogMetrics, clock: Clock, *, fresh_seconds: float = FRESH_SECONDS
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._fresh = fresh_seconds
        self._lock = Lock()
        self._asked_at: float | None = None
        self._asking: Thread | None = None
        self._known = "the log has not answered yet"

    def __call__(self) -> str:
        self._ask().join(WAIT_SECONDS)
        now = self._clock.monotonic()
        if self._metrics.failed_at is not None and now - self._metrics.failed_at < FAILURE_SECONDS:
            return f"an append failed: {self._metrics.failure}"
        return self._silence(now) or self._known

    @property
    def asking(self) -> bool:
        """Whether an answer is still to come."""
        with self._lock:
            return self._asking is not None and self._asking.is_alive()

    def _ask(self) -> Thread:
        """The thread that asks the log: a new one, unless one is asking or was lately."""
        with self._lock:
            now = self._clock.monotonic()
            fresh = self._asked_at is not None and now - self._asked_at < self._fresh
            if self._asking is None or not (fresh or self._asking.is_alive()):
                self._asked_at = now
                self._asking = Thread(target=self._take_answer, name="log-check", daemon=True)
                self._asking.start()
            return self._asking

    def _silence(self, now: float) -> str:
        with self._lock:
            if self._asking is None or self._asked_at is None or not self._asking.is_alive():
                return ""
            seconds = now - self._asked_at
            return f"no answer for {seconds:.0f} s" if seconds > PATIENCE_SECONDS else ""

    def _take_answer(self) -> None:
        self._known = self._answer()

    def _answer(self) -> str:
        try:
            self._log.append(PROBE_STREAM, (), expected_version=0, epoch=sys.maxsize)
        except StoreError as error:
            return str(error)
        except Exception as error:
            _LOGGER.exception("log could not be asked", extra=fields(stream=PROBE_STREAM))
            return f"the check itself failed: {type(error).__name__}"
        return ""
