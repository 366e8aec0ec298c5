"""Which pair to serve and what to write, so that no request is refused while certificates change.

The laws that make it so, for any number of replicas that work without a word to each other:

1. An authority that the configuration trusts stays trusted until it has expired. Its key was thrown away,
   so this trusts one certificate and nothing else; after that end nobody accepts the certificate anyway,
   so no replica can miss it, however long it was asleep.
2. A replica goes over to another pair only when it has seen the configuration trust that pair's authority
   for `propagation_seconds`, which every API server needs at most to hear of a change by its watch.
3. The Secret's own pair changes by the same rule: its successor waits beside it (`Bundle.following`) until
   then. A replica that restarts in the middle finds the pair that is trusted.

So a rotation is: announce (the next pair into the Secret, both authorities into the configuration), switch
(the next pair becomes the pair), and much later forget (the old authority, expired, leaves both). Only when
the pair itself is of no use, missing or expired, is it replaced at once: then there is nothing to lose.

To cast a pair off before its time, delete the Secret, empty the caBundle and restart the replicas.

Sans I/O: the state is a value, times are passed in, and writes are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from kaito.webhook import certificates
from kaito.webhook.certificates import Pair, Terms
from kaito.webhook.secret import Bundle

MAX_AUTHORITIES = 8
"""Two are usual. The limit keeps the objects small if something replaces the Secret again and again."""

Issue = Callable[[Collection[str], datetime], Pair]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all replicas."""

    names: frozenset[str]
    terms: Terms = Terms()
    propagation_seconds: float = 30.0


class Memory(msgspec.Struct, frozen=True):
    """What a replica knows of its own.

    Attributes:
        serving: The pair that it shows in handshakes.
        trusted_since: By authority, since when without a gap the configuration was seen to trust it, in
            monotonic seconds: a clock of the day that jumps must not shorten a delay.
    """

    serving: Pair | None = None
    trusted_since: Mapping[str, float] = {}


class Decision(msgspec.Struct, frozen=True):
    """What follows.

    Attributes:
        bundle: For the Secret, if it has to be written; ``why`` says why.
        authorities: For the configuration, in their order.
        wait_seconds: When to look again without any change; None for no time.
    """

    memory: Memory
    authorities: tuple[str, ...]
    bundle: Bundle | None = None
    why: str = ""
    wait_seconds: float | None = None


def decide(
    found: Bundle,
    trusted: Collection[str] | None,
    memory: Memory,
    now: datetime,
    monotonic: float,
    rules: Rules,
    issue: Issue,
) -> Decision:
    """The next step of one replica.

    Args:
        found: The Secret.
        trusted: The authorities of the configuration; None when there is none.
    """
    situation = _Situation(found, trusted, memory, now, monotonic, rules)
    serving = situation.pair_to_serve()
    bundle, why = situation.bundle_to_store(issue)
    return Decision(
        Memory(serving, situation.since),
        situation.lasting(found),
        bundle,
        why,
        situation.wait_seconds(),
    )


class _Situation:
    """The arguments of `decide`, and what they mean."""

    def __init__(
        self,
        found: Bundle,
        trusted: Collection[str] | None,
        memory: Memory,
        now: datetime,
        monotonic: float,
        rules: Rules,
    ) -> None:
        self._found = found
        self._serving = memory.serving
        self._now = now
        self._monotonic = monotonic
        self._rules = rules
        self.since = {each: memory.trusted_since.get(each, monotonic) for each in trusted or ()}

    def pair_to_serve(self) -> Pair | None:
        candidate, serving = self._found.pair, self._serving
        if candidate == serving or self._fault(candidate):
            return serving
        if serving is None or self._is_settled(candidate):
            return candidate
        # What is refused anyway is not worth keeping, but by the clock alone only what has certainly expired.
        # A name that we are called by since the last start is no reason: the certificate has its own still.
        surely = self._now - self._rules.terms.skew
        useless = certificates.fault(serving, (), surely, self._rules.terms.skew)
        return candidate if useless or serving.authority not in self.since else serving

    def bundle_to_store(self, issue: Issue) -> tuple[Bundle | None, str]:
        found = self._found
        following = found.following if found.following and not self._fault(found.following) else None
        if why := self._fault(found.pair):
            pair = following or issue(self._names(), self._now)
            return self._stored(Bundle(pair, found.authorities)), why
        if following is not None and self._is_settled(following):
            return self._stored(Bundle(following, found.authorities)), "the next pair is trusted"
        if following is None and self._is_due():
            following = issue(self._rules.names, self._now)
            why = f"the certificate expires at {certificates.expiry(found.pair.certificate).isoformat()}"
            return self._stored(Bundle(found.pair, found.authorities, following)), why
        tidy = self._stored(Bundle(found.pair, found.authorities, following))
        if set(tidy.authorities) != set(found.authorities) or following != found.following:
            return tidy, "authorities or the next pair have changed"
        return None, ""

    def lasting(self, bundle: Bundle) -> tuple[str, ...]:
        """Every authority of the bundle and of the configuration that has not expired, in a stable order."""
        first = [bundle.pair.authority, bundle.following.authority if bundle.following else ""]
        others = sorted({*bundle.authorities, *self.since}, key=lambda each: (self._end(each), each))
        alive = [each for each in dict.fromkeys([*first, *reversed(others)]) if self._is_alive(each)]
        return tuple(alive[:MAX_AUTHORITIES])

    def wait_seconds(self) -> float | None:
        """Until the first of: a pair is settled, the certificate is due, an authority can be forgotten."""
        found, terms = self._found, self._rules.terms
        waiting = [pair.authority for pair in (found.pair, found.following) if pair]
        times = [
            self.since[each] + self._rules.propagation_seconds - self._monotonic
            for each in waiting
            if each in self.since
        ]
        ends = [self._end(each) + terms.skew for each in {*found.authorities, *self.since}]
        if not self._fault(found.pair):
            ends.append(certificates.expiry(found.pair.certificate) - terms.renew_before)
            ends.append(certificates.expiry(found.pair.certificate))
        times += [(end - self._now).total_seconds() for end in ends]
        return min((seconds for seconds in times if seconds > 0), default=None)

    def _stored(self, bundle: Bundle) -> Bundle:
        return msgspec.structs.replace(bundle, authorities=self.lasting(bundle))

    def _fault(self, pair: Pair, names: Collection[str] | None = None) -> str:
        wanted = self._rules.names if names is None else names
        return certificates.fault(pair, wanted, self._now, self._rules.terms.skew)

    def _names(self) -> Collection[str]:
        """Ours and, when the certificate only lacks one of them, its own.

        While a new release under another Service name is rolled out, both find the Secret. Without this
        each would replace the other's certificate by one that the other cannot use.
        """
        others = self._found.pair
        return self._rules.names | (
            set() if self._fault(others, ()) else certificates.names_of(others.certificate)
        )

    def _is_settled(self, pair: Pair) -> bool:
        since = self.since.get(pair.authority)
        return since is not None and self._monotonic - since >= self._rules.propagation_seconds

    def _is_due(self) -> bool:
        end = certificates.expiry(self._found.pair.certificate)
        return end - self._now <= self._rules.terms.renew_before

    def _is_alive(self, authority: str) -> bool:
        return bool(authority) and self._end(authority) + self._rules.terms.skew > self._now

    def _end(self, authority: str) -> datetime:
        return certificates.expiry(authority)
