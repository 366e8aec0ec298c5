"""The life of a process: servers, caches, leadership, workers and timers; and its end, whatever the cause.

The order is controller-runtime's with a warm start: caches are complete before leadership is sought, so that
a new leader acts at once. The lease is given back when everything that acts in its name has ended, and not
otherwise.

`Manager.run` belongs to the main thread. All others tell it things through one queue that may be written to
from a signal handler; it alone starts and stops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import msgspec

from kaito.manager.controller import Controller
from kaito.manager.election import Election
from kaito.manager.informers import Informers
from kaito.manager.logs import fields
from kaito.manager.timer import Timer
from kaito.runtime.ports import Clock

_LOGGER = logging.getLogger(__name__)

SYNC_SECONDS = 120.0
"""How long the first lists may take, controller-runtime's CacheSyncTimeout; then the process ends."""

STOP_SECONDS = 9.0
"""How long reconciles under way may take to end; below the 10 s in which a process has to be gone."""

DONE, FAILED = 0, 1


class End(msgspec.Struct, frozen=True):
    """Why a process ends, and the exit code."""

    why: str
    code: int = DONE


class Service(Protocol):
    """What serves while the process lives, whether it leads or not: probes, metrics, the webhook."""

    name: str

    def start(self) -> None: ...

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """End the service; whether it has ended in time."""
        ...


class Manager:
    """One process.

    Args:
        election: None for a process that needs no leader, because it is alone or changes nothing.
        services: Started first and ended last.

    Attributes:
        drained: Whether everything that changes the world had ended when `run` returned.
    """

    def __init__(
        self,
        informers: Informers,
        controllers: Sequence[Controller[Any]],
        timers: Sequence[Timer],
        clock: Clock,
        *,
        election: Election | None = None,
        services: Sequence[Service] = (),
        sync_seconds: float = SYNC_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.informers = informers
        self.controllers = controllers
        self._timers = timers
        self._clock = clock
        self._election = election
        self.services = [*services]
        self._sync_seconds = sync_seconds
        self._stop_seconds = stop_seconds
        self.on_leading: Callable[[], object] = lambda: None
        """Called once this process leads, before anything is reconciled."""
        self.drained = True
        self._told: SimpleQueue[End | None] = SimpleQueue()

    def add_service(self, service: Service) -> None:
        """One more; before `run`."""
        self.services.append(service)

    def stop(self, why: str = "asked to stop") -> None:
        """Begin a graceful stop; may be called from any thread and from a signal handler."""
        self._told.put(End(why))

    def fail(self, error: BaseException) -> None:
        """Stop with exit code 1, from any thread."""
        self._told.put(End(f"{type(error).__name__}: {error}", FAILED))

    def run(self) -> int:
        """Work until told to stop; the exit code: 0 after a graceful stop, 1 after a failure."""
        try:
            for service in self.services:
                service.start()
            end = self._sync() or self._lead() or self._work()
        finally:
            self.drained = self._shut_down()
        level = logging.ERROR if end.code else logging.INFO
        _LOGGER.log(level, "stopped", extra=fields(why=end.why))
        return end.code if self.drained else FAILED

    # --- phases -------------------------------------------------------------------------------------

    def _sync(self) -> End | None:
        """Start the informers and wait until every cache is complete; why to end instead, if so."""
        self.informers.start(lambda: self._told.put(None))
        deadline = self._clock.monotonic() + self._sync_seconds
        while not self.informers.synced:
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                late = "; ".join(self.informers.unsynced())
                return End(f"caches not complete after {self._sync_seconds:.0f} s: {late}", FAILED)
            if (end := self._next(remaining)) is not None:
                return end
        sizes = {resource.plural: len(store) for resource, store in self.informers.caches.items()}
        _LOGGER.info("caches complete", extra=fields(**sizes))
        return None

    def _lead(self) -> End | None:
        """Wait for leadership; why to end instead, if so."""
        if self._election is None:
            return None
        self._election.start(lambda: self._told.put(None), self.fail)
        while not self._election.leads:
            if (end := self._next(None)) is not None:
                return end
        return None

    def _work(self) -> End:
        self.on_leading()
        for controller in self.controllers:
            controller.start(self.fail)
        for timer in self._timers:
            timer.start(self.fail)
        while (end := self._next(None)) is None:
            pass
        return end

    def _next(self, timeout_seconds: float | None) -> End | None:
        """The next thing told; None when it is only that something went on, or when the time is over."""
        try:
            return self._told.get(timeout=timeout_seconds)
        except Empty:
            return None

    def _shut_down(self) -> bool:
        """Let what is under way end; whether it did in time."""
        parts: list[Controller[Any] | Timer | Informers] = [
            *self.controllers,
            *self._timers,
            self.informers,
        ]
        for part in parts:
            part.stop()
        deadline = self._clock.monotonic() + self._stop_seconds
        late = [name for timer in self._timers for name in self._late_timer(timer, deadline)]
        for controller in self.controllers:
            keys = controller.join(self._left(deadline))
            late += [f"{controller.name} {key}" for key in keys]
        # Informers change nothing in the world, so one that hangs in a list is left behind.
        self.informers.join(self._left(deadline), self._clock)
        if late:
            _LOGGER.error("stopped in the middle", extra=fields(in_work=late))
        elif self._election is not None:
            self._election.release(max(self._left(deadline), 1.0))
        for service in reversed(self.services):
            service.stop(max(self._left(deadline), 0.5))
        return not late

    def _late_timer(self, timer: Timer, deadline: float) -> list[str]:
        return [] if timer.join(self._left(deadline)) else [timer.name]

    def _left(self, deadline: float) -> float:
        return max(deadline - self._clock.monotonic(), 0.0)
