"""The simulated clock and the queue of what is still to happen.

Time is an integer number of nanoseconds since the start of the run, so that sums of delays are exact on every
machine. Notices at the same instant run in the order in which they were scheduled. The queue knows nothing of
Kubernetes; an entry is an `EventNotice`, for the word event is taken by the event log.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Callback = Callable[[], object]

_NANOSECONDS = 1_000_000_000

INSTANT_LIMIT = 1_000_000
"""Notices run at one instant before a run counts as stuck; a healthy instant has some tens."""


class StuckAtInstant(RuntimeError):
    """The callbacks schedule each other without ever letting time pass."""

    def __init__(self, at: datetime) -> None:
        super().__init__(
            f"more than {INSTANT_LIMIT} notices ran at {at.isoformat()}: virtual time stands still"
        )
        self.at = at


class EventNotice:
    """One entry of the queue, returned by `Engine.schedule` for a later `Engine.cancel`."""

    __slots__ = ("at_ns", "callback")

    def __init__(self, at_ns: int, callback: Callback) -> None:
        self.at_ns = at_ns
        self.callback: Callback | None = callback

    @property
    def pending(self) -> bool:
        """Whether the callback is still to run: neither run nor cancelled."""
        return self.callback is not None


class Engine:
    """Virtual clock and future event list; the `Clock` of everything that runs in simulated time."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("the start of a run must be an aware datetime")
        self.start = start.astimezone(UTC)
        self.now_ns = 0
        """Nanoseconds since `start`."""
        self._queue: list[tuple[int, int, EventNotice]] = []
        self._order = 0

    def now(self) -> datetime:
        """The virtual time of day, rounded down to the microsecond that a datetime can hold."""
        return self.start + timedelta(microseconds=self.now_ns // 1000)

    def monotonic(self) -> float:
        """Seconds since the start of the run."""
        return self.now_ns / _NANOSECONDS

    def schedule(self, when: float | datetime, callback: Callback) -> EventNotice:
        """Run the callback after a delay in seconds, or at a time of day.

        A time of day that has passed means now, behind what is already scheduled for this instant: deadlines
        computed from a stale picture are late, not wrong.

        Raises:
            ValueError: the delay is negative or not finite.
        """
        at_ns = self._at(when) if isinstance(when, datetime) else self._after(when)
        notice = EventNotice(at_ns, callback)
        self._order += 1
        heapq.heappush(self._queue, (at_ns, self._order, notice))
        return notice

    def cancel(self, notice: EventNotice) -> None:
        """Forget the notice; one that has run or was cancelled before is left as it is."""
        notice.callback = None

    def peek(self) -> datetime | None:
        """When the next notice is due, None when nothing is left to happen."""
        self._drop_cancelled()
        if not self._queue:
            return None
        return self.start + timedelta(microseconds=self._queue[0][0] // 1000)

    def run(self, until: datetime | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Run notices in order of time.

        Args:
            until: Run what is due at or before this time, then set the clock to it. Without it, run until
                the queue is empty.
            stop: Asked after every callback; True ends the run where it is.
        """
        limit = None if until is None else self._offset(until)
        queue, pop = self._queue, heapq.heappop
        here = 0
        while queue and (limit is None or queue[0][0] <= limit):
            at_ns, _, notice = pop(queue)
            callback = notice.callback
            if callback is None:
                continue
            here = here + 1 if at_ns == self.now_ns else 1
            if here > INSTANT_LIMIT:
                raise StuckAtInstant(self.now())
            self.now_ns = at_ns
            notice.callback = None
            callback()
            if stop is not None and stop():
                return
        if limit is not None and limit > self.now_ns:
            self.now_ns = limit

    def _after(self, delay: float) -> int:
        if not 0 <= delay < float("inf"):
            raise ValueError(f"a delay must be a finite number of seconds from 0 on, not {delay}")
        return self.now_ns + round(delay * _NANOSECONDS)

    def _at(self, when: datetime) -> int:
        return max(self.now_ns, self._offset(when))

    def _offset(self, when: datetime) -> int:
        return (when - self.start) // timedelta(microseconds=1) * 1000

    def _drop_cancelled(self) -> None:
        while self._queue and self._queue[0][2].callback is None:
            heapq.heappop(self._queue)
