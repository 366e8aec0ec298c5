"""A controller as threads: workers on one workqueue, woken by a condition variable.

The queue's promises are client-go's (see `kaito.runtime.workqueue`); a key is never in two workers' hands. An
idle worker waits for a key or for the time at which a delayed one is due, never in a loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar

import msgspec

from kaito.manager.logs import fields
from kaito.runtime.backoff import RateLimiter
from kaito.runtime.cache import ObjectStore, priority_of_change
from kaito.runtime.ports import Clock, Object, Resource
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import DEFAULT_PRIORITY, Outcome, WorkQueue
from store.errors import StaleEpoch

_LOGGER = logging.getLogger(__name__)

K = TypeVar("K")

Caches = Mapping[Resource, ObjectStore]
KeysOf = Callable[[Resource, Object | None, Object | None, Caches], Sequence[K]]
Failed = Callable[[BaseException], None]
"""Told of what must end the process."""


class Durations(Protocol):
    """Told of how long keys wait and are worked on, in the worker's thread; it must not wait."""

    def queued(self, seconds: float) -> None: ...

    def worked(self, seconds: float) -> None: ...


class Untimed(Durations):
    """Nobody wants to know."""

    def queued(self, seconds: float) -> None:
        pass

    def worked(self, seconds: float) -> None:
        pass


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A controller at one instant; for the queue's figures see `WorkQueue`.

    ``panics`` are reconciles that raised; they are among the errors of ``outcomes`` too.
    """

    workers: int
    in_work: int
    depths: Mapping[int, int]
    """Keys that are ready, by priority."""
    adds: int
    retries: int
    unfinished_seconds: float
    longest_running_seconds: float
    outcomes: Mapping[Outcome, int]
    panics: int


class Controller(Generic[K]):
    """One controller.

    Args:
        name: For the log and the names of its threads.
        caches: What ``keys_of`` looks at.
        keys_of: From a change to the keys it concerns.
        reconcile: Called with one key at a time in each worker; it must not wait for the world.
        unfinished: Keys to look at once at the start: what went while nobody watched is in no cache.

    Attributes:
        durations: Told of each key that is handed out or given back; to be set before the start.
    """

    def __init__(
        self,
        name: str,
        caches: Caches,
        keys_of: KeysOf[K],
        reconcile: Callable[[K], Reconciled],
        clock: Clock,
        *,
        workers: int = 1,
        limiter: RateLimiter | None = None,
        unfinished: Callable[[], Iterable[K]] = tuple,
    ) -> None:
        self.name = name
        self._caches = caches
        self._keys_of = keys_of
        self._reconcile = reconcile
        self._unfinished = unfinished
        self._clock = clock
        self.durations: Durations = Untimed()
        self._panics = 0
        self._queue: WorkQueue[K] = WorkQueue(limiter)
        self._changed = Condition()
        self._stopping = False
        self._failed: Failed = lambda error: None
        self._in_work: dict[str, K] = {}
        names = [f"{name}-{number}" for number in range(1, workers + 1)]
        self._threads = [Thread(target=self._run, args=(each,), name=each, daemon=True) for each in names]

    # --- from outside -------------------------------------------------------------------------------

    def notice(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        """A handler for informers: queue what the change concerns, initial lists behind everything else."""
        priority = priority_of_change(old, new, self._clock.now())
        for key in self._keys_of(resource, old, new, self._caches):
            self._add(key, priority)

    def add(self, key: K) -> None:
        """Ask for a reconcile of this key."""
        self._add(key, DEFAULT_PRIORITY)

    def _add(self, key: K, priority: int) -> None:
        with self._changed:
            self._queue.add(key, self._clock.monotonic(), priority=priority)
            self._changed.notify()

    def start(self, failed: Failed) -> None:
        """Start the workers; the caches have to be synced by now.

        Args:
            failed: Told when a reconcile finds that another leader has written.

        Raises:
            LogUnavailable: The log cannot say what is unfinished; no worker was started.
        """
        self._failed = failed
        for key in self._unfinished():
            self.add(key)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Hand out no further key; reconciles under way go on to their end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout_seconds: float) -> list[str]:
        """Wait for the workers; the keys that are still in work when the time is over."""
        deadline = self._clock.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(deadline - self._clock.monotonic(), 0.0))
        with self._changed:
            return sorted(str(key) for key in self._in_work.values())

    def figures(self) -> Figures:
        """How the queue and the workers stand now."""
        with self._changed:
            now, queue = self._clock.monotonic(), self._queue
            return Figures(
                workers=len(self._threads),
                in_work=queue.in_work,
                depths=queue.depth_by_priority(),
                adds=queue.adds,
                retries=queue.retries,
                unfinished_seconds=queue.unfinished_work_seconds(now),
                longest_running_seconds=queue.longest_running_seconds(now),
                outcomes=dict(queue.outcomes),
                panics=self._panics,
            )

    def dead(self) -> list[str]:
        """The workers that have ended though nobody asked them to."""
        with self._changed:
            if self._stopping:
                return []
        return [each.name for each in self._threads if each.ident is not None and not each.is_alive()]

    # --- the workers --------------------------------------------------------------------------------

    def _run(self, worker: str) -> None:
        while (key := self._next(worker)) is not None:
            try:
                done = self._try(key)
            except StaleEpoch as error:
                self._let_go(worker, key, Reconciled(Outcome.TERMINAL_ERROR, error=str(error)))
                self._failed(error)
                return
            self._tell(key, done, failures=self._let_go(worker, key, done))

    def _next(self, worker: str) -> K | None:
        """Wait for a key; None when the worker is to end."""
        with self._changed:
            while not self._stopping:
                now = self._clock.monotonic()
                key = self._queue.get(now)
                if key is not None:
                    self._in_work[worker] = key
                    # This worker may have been the one that waited for the next delayed key.
                    self._changed.notify()
                    self.durations.queued(self._queue.last_queue_seconds)
                    return key
                due = self._queue.next_wake(now)
                self._changed.wait(None if due is None else max(due - now, 0.0))
        return None

    def _try(self, key: K) -> Reconciled:
        """One reconcile; an exception is a defect, and its key is retried with backoff like any error."""
        try:
            return self._reconcile(key)
        except StaleEpoch:
            raise
        except Exception as error:
            with self._changed:
                self._panics += 1
            _LOGGER.exception("reconcile failed", extra=fields(controller=self.name, key=str(key)))
            return Reconciled(Outcome.ERROR, error=f"{type(error).__name__}: {error}")

    def _let_go(self, worker: str, key: K, done: Reconciled) -> int:
        """Give the key back; how often in a row it has failed."""
        with self._changed:
            del self._in_work[worker]
            now = self._clock.monotonic()
            self._queue.finish(key, now, done.outcome, after_seconds=done.after_seconds)
            self.durations.worked(self._queue.last_work_seconds)
            self._changed.notify()
            return self._queue.num_requeues(key)

    def _tell(self, key: K, done: Reconciled, failures: int) -> None:
        if not done.error:
            return
        extra = fields(
            controller=self.name,
            key=str(key),
            outcome=str(done.outcome),
            retry_seconds=round(done.after_seconds, 3) or None,
            error=done.error,
        )
        _LOGGER.log(_level(done, failures), "reconcile not done", extra=extra)


def _level(done: Reconciled, failures: int) -> int:
    """One failure alone is usual: a write met a newer object than the cache had shown."""
    if done.outcome is Outcome.TERMINAL_ERROR:
        return logging.ERROR
    return logging.INFO if failures == 1 else logging.WARNING
