"""Leader election by a Lease, without I/O: what to ask the API server next, and what its answers mean.

The rules are client-go's (15 s lease, 10 s to renew it, an attempt every 2 s): a candidate judges another's
lease by its own monotonic clock, from the moment at which it saw the record change, never by the times in
it. The elector that comes with the `kubernetes` client cannot serve: it sleeps in a loop without an end,
measures by the time of day, which can jump, and knows neither a release nor an epoch.

The epoch is the record's ``leaseTransitions``. Every takeover raises it above all that the event log has
seen, so that it never falls, whatever happens to the Lease: an append of a former leader is refused even
when somebody deleted the Lease or restored the cluster from a backup.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from kaito.runtime.ports import LEASES, AlreadyExists, Conflict, NotFound, Object

JITTER = 1.2
"""Attempts to take over are up to this much of a period apart from the next, so that candidates spread."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, client-go's defaults.

    ``lease_seconds`` is how long others wait for a leader that falls silent; the leader itself gives up
    ``lease_seconds - renew_seconds`` earlier, which is what clocks of different rates may cost.
    """

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def faults(self) -> list[str]:
        """What client-go refuses, too: the leader has to give up before others take over."""
        found = []
        if not self.lease_seconds > self.renew_seconds:
            found.append(
                f"lease-duration: expected more than the renew deadline of {self.renew_seconds:g} s, "
                f"found {self.lease_seconds:g} s"
            )
        if not self.renew_seconds > JITTER * self.retry_seconds > 0:
            found.append(
                f"renew-deadline: expected more than {JITTER} retry periods of {self.retry_seconds:g} s, "
                f"found {self.renew_seconds:g} s"
            )
        return found


class Verb(StrEnum):
    GET = "get"
    CREATE = "create"
    UPDATE = "update"


class Ask(msgspec.Struct, frozen=True):
    """One call about the Lease; ``body`` is for create and update, which carries a resourceVersion."""

    verb: Verb
    body: Object | None = None


class Wait(msgspec.Struct, frozen=True):
    """Nothing to ask before ``until``, in monotonic seconds."""

    until: float


class Standing(StrEnum):
    CANDIDATE = "candidate"
    LEADER = "leader"
    LOST = "lost"
    """It led, and does not any more; the process has to end."""


class Elector:
    """One candidate of one Lease.

    Args:
        identity: Another one for every start of a process, so that none takes its former life's lease for
            its own.
        floor: The highest epoch that may have written so far.
        random: Spreads the attempts.

    Attributes:
        standing: See `Standing`; ask `leads` for what may be done now.
        epoch: That of our term; 0 before it.
        holder: Who holds the lease, as last seen.
        last_error: Of the last call that failed, empty after one that did not.
    """

    def __init__(
        self,
        name: str,
        namespace: str,
        identity: str,
        floor: Callable[[], int],
        random: Random,
        terms: Terms | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self.terms = terms or Terms()
        self.standing = Standing.CANDIDATE
        self.epoch = 0
        self.holder = ""
        self.last_error = ""
        self._floor = floor
        self._random = random
        self._lease: Object | None = None
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0
        self._look = True
        self._next = 0.0
        self._asked_at = 0.0
        self._renewed_at = 0.0

    def leads(self, now: float) -> bool:
        """Whether writes may go out now: nobody else can have taken over before ``lease_seconds``."""
        return self.standing is Standing.LEADER and now < self._renewed_at + self.terms.renew_seconds

    def expires_at(self) -> float:
        """Until when we lead if nothing more is heard; monotonic seconds."""
        return self._renewed_at + self.terms.renew_seconds

    def next_action(self, now: float, today: datetime) -> Ask | Wait:
        """What to do now; the answer goes to `on_lease` or `on_error`.

        Args:
            today: The time of day, for people who read the Lease; nothing is decided by it.
        """
        if self.standing is Standing.LEADER and now >= self.expires_at():
            self.standing = Standing.LOST
        if self.standing is Standing.LOST:
            return Wait(float("inf"))
        if now < self._next:
            return Wait(min(self._next, self.expires_at()) if self.epoch else self._next)
        self._asked_at = now
        if self._look:
            return Ask(Verb.GET)
        if self._lease is None:
            return Ask(Verb.CREATE, self._body({}, today))
        free_at = self._free_at()
        if now < free_at:
            # Not later than it may be ours, or a fall of the leader would cost two more periods.
            self._look, self._next = True, min(self._spread(now), free_at)
            return Wait(self._next)
        return Ask(Verb.UPDATE, self._body(self._lease, today))

    def on_lease(self, asked: Ask, lease: Object, now: float) -> None:
        """Take the answer to an `Ask`."""
        self.last_error, self._look = "", False
        self._observe(lease, now)
        if asked.verb is not Verb.GET:
            self._renewed_at, self._next = self._asked_at, now + self.terms.retry_seconds
            self.epoch, self.standing = _transitions(lease), Standing.LEADER
        elif self.standing is Standing.LEADER and self.holder != self.identity:
            self.standing = Standing.LOST

    def on_error(self, asked: Ask, error: Exception, now: float) -> None:
        """Take the failure of an `Ask`: somebody was faster, or the server cannot be reached."""
        if isinstance(error, NotFound) and asked.verb is Verb.GET:
            # It is made anew at once: a leader whose Lease was deleted has to be faster than the others.
            self._lease, self._look = None, False
            return
        # A look at the Lease says how things stand.
        self._look = True
        if isinstance(error, (Conflict, AlreadyExists, NotFound)):
            self._next = now
        else:
            self.hold_off(error, now)

    def hold_off(self, error: Exception, now: float) -> None:
        """Try again a period later: the server, or the log that knows the floor, cannot be reached."""
        self.last_error = f"{type(error).__name__}: {error}"
        self._next = self._spread(now)

    def step_down(self, error: Exception, now: float, today: datetime) -> Ask | None:
        """Give up a term in which nothing was done yet, because the log cannot be reached, and stand again.

        Somebody else may reach it. The call names the resourceVersion of our own write, so it may be made
        though the term is over by now; whatever comes of it, `hold_off` has its next attempt wait.
        """
        if self.standing is not Standing.LEADER or self._lease is None:
            return None
        ask = Ask(Verb.UPDATE, self._let_go(self._lease, today))
        self.standing, self.epoch, self._look = Standing.CANDIDATE, 0, True
        self.hold_off(error, now)
        return ask

    def release(self, now: float, today: datetime) -> Ask | None:
        """Let go of the lease, so that the next leader need not wait; None when it is not ours."""
        if not self.leads(now) or self._lease is None:
            return None
        body = self._let_go(self._lease, today)
        self.standing = Standing.LOST
        return Ask(Verb.UPDATE, body)

    def _let_go(self, lease: Object, today: datetime) -> Object:
        body = self._body(lease, today)
        body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        return body

    def _observe(self, lease: Object, now: float) -> None:
        spec = lease.get("spec") or {}
        seen = (spec.get("holderIdentity"), spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        self._lease = lease
        self.holder = spec.get("holderIdentity") or ""

    def _free_at(self) -> float:
        """When another's lease is over unless it changes; the beginning of time for one that is free."""
        spec = (self._lease or {}).get("spec") or {}
        told = spec.get("leaseDurationSeconds")
        # Another candidate may have been told to be more patient than we are.
        lease_seconds = max(self.terms.lease_seconds, told if isinstance(told, int) else 0)
        return float("-inf") if self.holder in ("", self.identity) else self._seen_at + lease_seconds

    def _body(self, found: Object, today: datetime) -> Object:
        """The Lease as ours: renewed in the same term, or taken over in a new one."""
        stamp = today.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        leading = self.standing is Standing.LEADER
        kept: dict[str, Any] = found.get("spec") or {}
        ours = {
            "acquireTime": kept.get("acquireTime", stamp) if leading else stamp,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(round(self.terms.lease_seconds), 1),
            "leaseTransitions": self.epoch if leading else max(_transitions(found), self._floor()) + 1,
            "renewTime": stamp,
        }
        metadata = found.get("metadata") or {"name": self.name, "namespace": self.namespace}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": dict(metadata),
            "spec": {**kept, **ours},
        }

    def _spread(self, now: float) -> float:
        spread = 1.0 if self.standing is Standing.LEADER else 1.0 + JITTER * self._random.random()
        return now + self.terms.retry_seconds * spread


def _transitions(lease: Object) -> int:
    found = (lease.get("spec") or {}).get("leaseTransitions")
    return found if isinstance(found, int) else 0
