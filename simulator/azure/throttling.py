"""Token buckets of ARM and AKS: how many calls are let through, and what the others are told."""

from __future__ import annotations

import math
from collections.abc import Callable

from simulator.azure.refusals import throttled_by_aks, throttled_by_arm
from simulator.azure.scenario import BucketSize, Throttling
from simulator.azure.scripts import Verb


class Bucket:
    """Full at the start; takes one token a call and gets so many a second back."""

    def __init__(self, size: BucketSize, seconds: Callable[[], float]) -> None:
        self._size = size
        self._seconds = seconds
        self._tokens = float(size.burst)
        self._at = seconds()

    @property
    def remaining(self) -> int:
        self._refill()
        return int(self._tokens)

    def take(self) -> int | None:
        """Take a token; without one, the whole seconds until there is one, at least 1."""
        self._refill()
        # Refilling sums fractions, so a token that is due by the clock may be short by a rounding error.
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return None
        return max(1, math.ceil((1 - self._tokens) / self._size.per_second - 1e-6))

    def _refill(self) -> None:
        now = self._seconds()
        gained = (now - self._at) * self._size.per_second
        self._tokens = min(float(self._size.burst), self._tokens + gained)
        self._at = now


class Throttle:
    """The buckets of one subscription and cluster. A call passes ARM's bucket first, then AKS's."""

    def __init__(self, throttling: Throttling, seconds: Callable[[], float]) -> None:
        self.enabled = throttling.enabled
        self.tells_retry_after = throttling.tells_retry_after
        self._reads = Bucket(throttling.arm_reads, seconds)
        self._writes = Bucket(throttling.arm_writes, seconds)
        self._deletes = Bucket(throttling.arm_deletes, seconds)
        self._puts = Bucket(throttling.put_pools, seconds)
        self._lists = Bucket(throttling.list_pools, seconds)

    def admit(self, verb: Verb) -> None:
        """Count a call.

        Raises:
            Refusal: 429.
        """
        if not self.enabled:
            return
        kind, bucket = self._arm_bucket(verb)
        if (wait := bucket.take()) is not None:
            raise throttled_by_arm(kind, self._told(wait))
        aks = {"put": self._puts, "list": self._lists}.get(verb)
        if aks is not None and (wait := aks.take()) is not None:
            raise throttled_by_aks(self._told(wait))

    def headers(self, verb: Verb) -> dict[str, str]:
        """What ARM tells with every answer about the calls that are left."""
        kind, bucket = self._arm_bucket(verb)
        name = "subscription-global-reads" if kind == "read" else f"subscription-{kind}s"
        return {f"x-ms-ratelimit-remaining-{name}": str(bucket.remaining)}

    def _arm_bucket(self, verb: Verb) -> tuple[str, Bucket]:
        if verb in ("put", "abort"):
            return "write", self._writes
        if verb == "delete":
            return "delete", self._deletes
        return "read", self._reads

    def _told(self, wait: int) -> int | None:
        return wait if self.tells_retry_after else None
