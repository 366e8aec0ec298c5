"""Three replicas, any order of their steps, crashes, lost calls and a Secret that others overwrite.

The law: whatever a replica shows in handshakes, once it has been asked, is trusted by each version of the
configuration that an API server may still go by.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaito.runtime.ports import ApiError, Unavailable
from kaito.webhook import certificates, configuration, secret
from kaito.webhook.certificates import Pair
from kaito.webhook.resources import SECRETS
from tests.kaito.webhook.world import (
    NAMESPACE,
    PROPAGATION_SECONDS,
    TERMS,
    HandClock,
    Replica,
    a_cluster,
    set_secret_data,
    the_configuration,
    the_secret,
)

REPLICAS = 3
CLOCKS_OFF = (timedelta(0), timedelta(minutes=20), timedelta(minutes=-20))
MOST_ACCIDENTS = 4
"""Of the Secret: each may bring a new authority, and a configuration holds eight."""

replicas = st.integers(0, REPLICAS - 1)
pauses = st.sampled_from([1.0, 10.0, 31.0, 3600.0, 20 * 3600.0, 76 * 3600.0])


class Fleet(RuleBasedStateMachine):
    """The state of the world, and what has happened to it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.cluster = a_cluster(self.clock)
        self.fleet = [self.started(number) for number in range(REPLICAS)]
        self.places = [0] * REPLICAS
        self.ready_since: list[float | None] = [None] * REPLICAS
        self.accidents = 0
        self.backups: list[dict[str, str]] = []
        self.versions: list[tuple[float, set[str]]] = []
        self.note_configuration()

    def started(self, number: int) -> Replica:
        return Replica(self.cluster, HandClock(CLOCKS_OFF[number], self.clock))

    @initialize()
    def first_round_of_one(self) -> None:
        for _ in range(5):
            self.whole_round(0)

    # --- what happens -------------------------------------------------------------------------------

    @rule(number=replicas)
    def step(self, number: int) -> None:
        """One step of a round; a call that fails ends the round as it would in a process."""
        keeper = self.fleet[number].keeper
        place, self.places[number] = self.places[number], (self.places[number] + 1) % 5
        before = keeper.serving
        try:
            keeper.steps[place]()
        except ApiError:
            self.places[number] = 0
        self.note_configuration()
        if before is not None and keeper.serving != before and self.is_expired(before):
            # Nobody got an answer from it any more, so there was nothing to lose: it begins anew.
            self.ready_since[number] = None
        if self.ready_since[number] is None and not keeper.trouble():
            self.ready_since[number] = self.clock.monotonic()

    @rule(number=replicas)
    def whole_round(self, number: int) -> None:
        for _ in range(5 - self.places[number]):
            self.step(number)

    @rule(seconds=pauses)
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(number=replicas)
    def crash_and_start(self, number: int) -> None:
        self.fleet[number] = self.started(number)
        self.places[number], self.ready_since[number] = 0, None

    @rule(number=replicas, loses_answer=st.booleans())
    def step_with_a_lost_call(self, number: int, loses_answer: bool) -> None:
        api = self.fleet[number].api
        api.fault, api.loses_answers = Unavailable("no answer"), loses_answer
        self.step(number)
        api.fault = None

    @precondition(lambda self: self.accidents < MOST_ACCIDENTS)
    @rule()
    def secret_is_blanked(self) -> None:
        self.accident({})

    @precondition(lambda self: self.accidents < MOST_ACCIDENTS)
    @rule(data=st.data())
    def secret_is_restored(self, data: st.DataObject) -> None:
        self.accident(data.draw(st.sampled_from(self.backups)))

    @precondition(lambda self: self.accidents < MOST_ACCIDENTS)
    @rule()
    def secret_is_deleted(self) -> None:
        self.accidents += 1
        if self.has_secret():
            self.cluster.delete(SECRETS, secret.NAME, NAMESPACE)

    # --- what must hold -----------------------------------------------------------------------------

    @invariant()
    def what_is_served_is_trusted(self) -> None:
        for number, replica in enumerate(self.fleet):
            serving, since = replica.keeper.serving, self.ready_since[number]
            if serving is None or since is None:
                continue
            if self.is_expired(serving):
                continue
            for at, trusted in self.versions_in_use(since):
                assert serving.authority in trusted, f"replica {number}, configuration of {at}"

    def teardown(self) -> None:
        """Left in peace, all come to rest with one pair that is trusted, and write nothing more."""
        for _ in range(8):
            for number in range(REPLICAS):
                self.whole_round(number)
            self.clock.advance(PROPAGATION_SECONDS)
        for replica in self.fleet:
            replica.api.calls.clear()
            replica.run()

        pair = secret.read(the_secret(self.cluster)).pair
        assert [replica.keeper.serving for replica in self.fleet] == [pair] * REPLICAS
        assert [replica.keeper.trouble() for replica in self.fleet] == [""] * REPLICAS
        assert [replica.api.writes for replica in self.fleet] == [[]] * REPLICAS
        left = certificates.expiry(pair.certificate) - self.clock.now()
        assert left > TERMS.renew_before - timedelta(hours=1)

    # --- its parts ----------------------------------------------------------------------------------

    def accident(self, data: dict[str, str]) -> None:
        self.accidents += 1
        if self.has_secret():
            set_secret_data(self.cluster, data)

    def is_expired(self, pair: Pair) -> bool:
        return certificates.expiry(pair.certificate) <= self.clock.now()

    def has_secret(self) -> bool:
        return bool(self.cluster.list(SECRETS).items)

    def note_configuration(self) -> None:
        trusted = set(configuration.trusted(the_configuration(self.cluster)) or ())
        if not self.versions or self.versions[-1][1] != trusted:
            self.versions.append((self.clock.monotonic(), trusted))
        for item in self.cluster.list(SECRETS).items:
            data: dict[str, Any] = item.get("data") or {}
            if data and data not in self.backups:
                self.backups.append(data)

    def versions_in_use(self, ready_since: float) -> list[tuple[float, set[str]]]:
        """The newest, and those that it has replaced so shortly ago that a server may not know.

        For a replica that has just become ready, the newest alone: it has nothing else to show, and its
        Service takes a while to send anybody.
        """
        now = self.clock.monotonic()
        if now - ready_since < PROPAGATION_SECONDS:
            return self.versions[-1:]
        ends = [since for since, _ in self.versions[1:]] + [now + 1.0]
        in_use = zip(self.versions, ends, strict=True)
        return [version for version, end in in_use if end > now - PROPAGATION_SECONDS]


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
