"""Which Events are worth a request: the same told again is counted, and nobody is flooded.

The numbers are client-go's. Time is monotonic seconds and passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

REPEAT_SECONDS = 600.0
"""The same reason and message about an object within this time is the same Event, counted once more."""

BURST = 25
REFILL_SECONDS = 300.0
"""For each object: so many Events at once, then one in five minutes."""

REMEMBERED = 4096
"""Objects, and different Events; of more the oldest are forgotten, and those that mean nothing any more."""

V = TypeVar("V")


class Latest(Generic[V]):
    """A mapping that keeps what was used last."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._values: OrderedDict[object, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: object) -> V | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: object, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: object) -> None:
        self._values.pop(key, None)

    def forget_oldest(self, stale: Callable[[V], bool]) -> None:
        """Up to the first that is not stale."""
        while self._values and stale(next(iter(self._values.values()))):
            self._values.popitem(last=False)


class Sent(msgspec.Struct, frozen=True):
    """An Event that is in the API: the name it has there, how often it was told, and when last."""

    name: str
    count: int
    at: float


class _Bucket(msgspec.Struct, frozen=True):
    tokens: float
    at: float


class Correlator:
    def __init__(self, most: int = REMEMBERED) -> None:
        self._sent: Latest[Sent] = Latest(most)
        self._buckets: Latest[_Bucket] = Latest(most)

    def __len__(self) -> int:
        """How much is remembered: Events sent, and objects told about."""
        return len(self._sent) + len(self._buckets)

    def allows(self, about: object, now: float) -> bool:
        """Take a token of this object; False when it has none left."""
        found = self._buckets.get(about) or _Bucket(BURST, now)
        tokens = min(found.tokens + (now - found.at) / REFILL_SECONDS, float(BURST))
        spent = tokens >= 1
        self._buckets.forget_oldest(lambda full: now - full.at >= BURST * REFILL_SECONDS)
        self._buckets.put(about, _Bucket(tokens - spent, now))
        return spent

    def known(self, key: object, now: float) -> Sent | None:
        """The Event that is told again; None when it has to be a new one."""
        sent = self._sent.get(key)
        return sent if sent is not None and now - sent.at < REPEAT_SECONDS else None

    def sent(self, key: object, name: str, count: int, now: float) -> None:
        self._sent.forget_oldest(lambda sent: now - sent.at >= REPEAT_SECONDS)
        self._sent.put(key, Sent(name, count, now))

    def forget(self, key: object) -> None:
        """The Event is no longer in the API."""
        self._sent.forget(key)
