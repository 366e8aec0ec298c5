"""The queue between the informers and the reconciler, with the semantics of client-go, without threads.

A key is in up to three places: *pending* (it has to be worked on), *in work* (a worker has it) and
*delayed* (it will become pending). From that follow the promises: many adds of a pending key are one; a
key in work is never handed out again before `WorkQueue.done`; a key added while in work runs once more
afterwards; a delayed key and an immediate add of it are separate, and of two delays the earlier wins.

Keys are handed out by priority, highest first, then by the time they became ready, then in order of
arrival. ``now`` is monotonic seconds and must not go backwards. The queue is not thread-safe: a driver
with threads holds a lock around every call.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from kaito.runtime.backoff import ItemBackoff, RateLimiter, whole_nanosecond

K = TypeVar("K", bound=Hashable)

DEFAULT_PRIORITY = 0
LOW_PRIORITY = -100
"""For initial lists and resyncs, so that a restart does not starve fresh edits (controller-runtime)."""


class Outcome(StrEnum):
    """How a reconcile ended; the values are those of the label ``result`` of the reconcile counter."""

    SUCCESS = "success"
    ERROR = "error"
    REQUEUE = "requeue"
    REQUEUE_AFTER = "requeue_after"
    TERMINAL_ERROR = "terminal_error"
    """A repeat would fail in the same way; only a change of the object brings the key back."""


class _Pending(NamedTuple):
    priority: int
    added_at: float


class _InWork(NamedTuple):
    priority: int
    started_at: float


class _Ready(NamedTuple, Generic[K]):
    """An entry of the ready heap; as the sequence differs, keys are never compared."""

    rank: int
    """The priority negated, for the heap's smallest entry is the next one out."""
    since: float
    sequence: int
    key: K


class _Delayed(NamedTuple, Generic[K]):
    due: float
    sequence: int
    priority: int
    key: K


class WorkQueue(Generic[K]):
    """Keys to reconcile. The attributes are the figures behind the metrics ``workqueue_*``.

    Attributes:
        adds: Keys that became pending; adds of a pending key do not count.
        retries: Calls of `add_after` and `add_rate_limited`.
        last_queue_seconds: How long the key of the latest `get` had been pending.
        last_work_seconds: How long the key of the latest `done` had been in work.
        outcomes: Reconciles by how they ended, for those ended by `finish`.
    """

    def __init__(self, limiter: RateLimiter | None = None) -> None:
        self._limiter = limiter if limiter is not None else ItemBackoff()
        self._pending: dict[K, _Pending] = {}
        self._in_work: dict[K, _InWork] = {}
        # Entries of the heaps are never removed or changed in place; the dicts say which ones still hold.
        self._ready: list[_Ready[K]] = []
        self._ready_of: dict[K, _Ready[K]] = {}
        self._delayed: list[_Delayed[K]] = []
        self._delayed_of: dict[K, _Delayed[K]] = {}
        self._sequence = 0
        self.adds = 0
        self.retries = 0
        self.last_queue_seconds = 0.0
        self.last_work_seconds = 0.0
        self.outcomes: Counter[Outcome] = Counter()

    # --- adding -------------------------------------------------------------------------------------

    def add(self, key: K, now: float, *, priority: int = DEFAULT_PRIORITY) -> None:
        """Make the key pending; of several priorities the highest holds."""
        self._promote(now)
        self._add(key, now, priority)

    def add_after(self, key: K, delay_seconds: float, now: float, *, priority: int | None = None) -> None:
        """Make the key pending once the delay has passed; an earlier due time replaces a later one.

        Args:
            priority: None keeps that of the key in work, as a retry has to.
        """
        self._promote(now)
        self.retries += 1
        wanted = self._priority_in_work(key) if priority is None else priority
        if delay_seconds <= 0:
            self._add(key, now, wanted)
        else:
            self._delay(key, whole_nanosecond(now + delay_seconds), wanted)

    def add_rate_limited(self, key: K, now: float, *, priority: int | None = None) -> None:
        """Make the key pending once the limiter allows it; every call counts as one more failure."""
        self.add_after(key, self._limiter.when(key, now), now, priority=priority)

    def forget(self, key: K) -> None:
        """Forget the failures of the key; it stays where it is."""
        self._limiter.forget(key)

    def num_requeues(self, key: K) -> int:
        """Failures of the key since it was last forgotten."""
        return self._limiter.num_requeues(key)

    # --- working ------------------------------------------------------------------------------------

    def get(self, now: float) -> K | None:
        """Hand out the next key, or None when none is ready; the caller owes a `done` for it."""
        self._promote(now)
        while self._ready:
            entry = heapq.heappop(self._ready)
            if self._ready_of.get(entry.key) is entry:
                return self._hand_out(entry.key, now)
        return None

    def done(self, key: K, now: float) -> None:
        """Take the key back from its worker; it becomes ready again if it was added meanwhile.

        Raises:
            ValueError: The key is not in work; handing it out again could make two workers meet.
        """
        self._promote(now)
        work = self._in_work.pop(key, None)
        if work is None:
            raise ValueError(f"done: expected a key in work, found {key!r}")
        self.last_work_seconds = now - work.started_at
        pending = self._pending.get(key)
        if pending is not None:
            self._enqueue(key, now, pending.priority)

    def finish(self, key: K, now: float, outcome: Outcome, *, after_seconds: float = 0.0) -> None:
        """`done`, with what controller-runtime does next: forget, retry with backoff, or come back later.

        Args:
            after_seconds: For `Outcome.REQUEUE_AFTER`: when to come back; ignored for every other outcome.
        """
        self.outcomes[outcome] += 1
        if outcome in (Outcome.ERROR, Outcome.REQUEUE):
            self.add_rate_limited(key, now)
        elif outcome is Outcome.REQUEUE_AFTER:
            self.forget(key)
            self.add_after(key, after_seconds, now)
        elif outcome is Outcome.SUCCESS:
            self.forget(key)
        self.done(key, now)

    def next_wake(self, now: float) -> float | None:
        """When the next delayed key becomes due, always later than ``now``; None when none is delayed.

        Keys that are ready already are not counted: ask `get` first, then sleep until here.
        """
        self._promote(now)
        while self._delayed:
            entry = self._delayed[0]
            if self._delayed_of.get(entry.key) is entry:
                return entry.due
            heapq.heappop(self._delayed)
        return None

    # --- figures ------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Keys that `get` could hand out, as of the latest call."""
        return len(self._ready_of)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._delayed_of)

    @property
    def in_work(self) -> int:
        """Keys that workers hold."""
        return len(self._in_work)

    def depth_by_priority(self) -> dict[int, int]:
        """`depth` parted by priority, highest first."""
        counts = Counter(-entry.rank for entry in self._ready_of.values())
        return dict(sorted(counts.items(), reverse=True))

    def unfinished_work_seconds(self, now: float) -> float:
        """The time all keys in work have been there, added up."""
        return sum(now - work.started_at for work in self._in_work.values())

    def longest_running_seconds(self, now: float) -> float:
        """The time the oldest key in work has been there, 0 when there is none."""
        return max((now - work.started_at for work in self._in_work.values()), default=0.0)

    # --- inside -------------------------------------------------------------------------------------

    def _promote(self, now: float) -> None:
        """Make every delayed key that is due pending, ready since it was due."""
        while self._delayed and self._delayed[0].due <= now:
            entry = heapq.heappop(self._delayed)
            if self._delayed_of.get(entry.key) is entry:
                del self._delayed_of[entry.key]
                self._add(entry.key, entry.due, entry.priority)

    def _add(self, key: K, since: float, priority: int) -> None:
        pending = self._pending.get(key)
        if pending is None:
            self.adds += 1
            self._pending[key] = _Pending(priority, since)
            if key not in self._in_work:
                self._enqueue(key, since, priority)
        elif priority > pending.priority:
            self._pending[key] = _Pending(priority, pending.added_at)
            self._raise_priority(key, priority)

    def _raise_priority(self, key: K, priority: int) -> None:
        """A ready key keeps its age and its place in the order of arrival."""
        entry = self._ready_of.get(key)
        if entry is not None:
            self._push(_Ready(-priority, entry.since, entry.sequence, key))

    def _enqueue(self, key: K, since: float, priority: int) -> None:
        self._push(_Ready(-priority, since, self._next_sequence(), key))

    def _push(self, entry: _Ready[K]) -> None:
        self._ready_of[entry.key] = entry
        heapq.heappush(self._ready, entry)

    def _delay(self, key: K, due: float, priority: int) -> None:
        """Of two delays the earlier due time holds, and of their priorities the higher."""
        known = self._delayed_of.get(key)
        if known is not None:
            if known.due <= due and known.priority >= priority:
                return
            due, priority = min(due, known.due), max(priority, known.priority)
        entry = _Delayed(due, self._next_sequence(), priority, key)
        self._delayed_of[key] = entry
        heapq.heappush(self._delayed, entry)

    def _hand_out(self, key: K, now: float) -> K:
        del self._ready_of[key]
        pending = self._pending.pop(key)
        self._in_work[key] = _InWork(pending.priority, now)
        self.last_queue_seconds = now - pending.added_at
        return key

    def _priority_in_work(self, key: K) -> int:
        work = self._in_work.get(key)
        return DEFAULT_PRIORITY if work is None else work.priority

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
