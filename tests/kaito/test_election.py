"""The elector alone: what it asks for, when it leads, and that never two lead at once."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaito.runtime.election import Ask, Elector, Standing, Terms, Verb, Wait
from kaito.runtime.ports import (
    LEASES,
    AlreadyExists,
    ApiError,
    Conflict,
    NotFound,
    Object,
    Unavailable,
)
from simulator.cluster import Cluster
from store.errors import LogUnavailable
from tests.simulator.virtual import SetClock

TODAY = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
NAME, NAMESPACE = "ef60f9b0.io", "kaito-workspace"


class Bench:
    """Candidates on one virtual API server; time is moved by hand.

    Attributes:
        floor: The highest epoch of the log.
    """

    def __init__(self) -> None:
        self.api = Cluster(SetClock(), 7)
        self.now = 0.0
        self.floor = 0

    def candidate(self, identity: str, **terms: float) -> Elector:
        return Elector(NAME, NAMESPACE, identity, lambda: self.floor, Random(identity), Terms(**terms))

    def ask(self, elector: Elector) -> Ask | Wait:
        return elector.next_action(self.now, TODAY + timedelta(seconds=self.now))

    def call(self, ask: Ask) -> Object:
        if ask.body is None:
            return self.api.get(LEASES, NAME, NAMESPACE)
        if ask.verb is Verb.CREATE:
            return self.api.create(LEASES, ask.body, NAMESPACE)
        return self.api.update(LEASES, ask.body)

    def carry_out(self, elector: Elector, ask: Ask) -> None:
        try:
            lease = self.call(ask)
        except ApiError as error:
            elector.on_error(ask, error, self.now)
        else:
            elector.on_lease(ask, lease, self.now)
            if ask.verb is not Verb.GET:
                self.floor = max(self.floor, elector.epoch)

    def run(self, elector: Elector) -> Wait:
        """Let the elector do what it wants to do at this moment."""
        while isinstance(action := self.ask(elector), Ask):
            self.carry_out(elector, action)
        return action

    def spec(self) -> Any:
        return self.api.get(LEASES, NAME, NAMESPACE)["spec"]

    def edit(self, **spec: Any) -> None:
        self.api.patch(LEASES, NAME, {"spec": spec}, NAMESPACE)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def leader(bench: Bench) -> Elector:
    leader = bench.candidate("a")
    bench.run(leader)
    return leader


def test_first_candidate_makes_the_lease(bench: Bench) -> None:
    elector = bench.candidate("a")

    wait = bench.run(elector)

    assert elector.leads(bench.now)
    assert elector.epoch == 1
    assert wait == Wait(2.0)
    assert bench.spec() == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 1,
        "acquireTime": "2024-04-05T18:29:58.000000Z",
        "renewTime": "2024-04-05T18:29:58.000000Z",
    }


def test_epoch_is_above_all_the_log_has_seen(bench: Bench) -> None:
    bench.floor = 41
    elector = bench.candidate("a")

    bench.run(elector)

    assert elector.epoch == 42
    assert bench.spec()["leaseTransitions"] == 42


def test_renewals_keep_the_term(bench: Bench, leader: Elector) -> None:
    for _ in range(50):
        bench.now += 2.0
        bench.run(leader)

    assert leader.leads(bench.now)
    assert leader.epoch == 1
    assert bench.spec()["leaseTransitions"] == 1


def test_second_candidate_waits_while_the_lease_changes(bench: Bench, leader: Elector) -> None:
    second = bench.candidate("b")

    for _ in range(60):
        bench.run(leader)
        bench.run(second)
        bench.now += 1.0

    assert second.standing is Standing.CANDIDATE
    assert second.holder == "a"


def test_silent_leader_is_replaced_after_its_lease(bench: Bench, leader: Elector) -> None:
    second = bench.candidate("b")
    bench.run(second)

    bench.now = 14.9
    bench.run(second)
    early = second.standing
    bench.now = 20.0
    bench.run(second)

    assert early is Standing.CANDIDATE
    assert second.leads(bench.now)
    assert second.epoch == 2
    assert bench.spec()["holderIdentity"] == "b"


def test_leader_gives_up_before_others_take_over(bench: Bench, leader: Elector) -> None:
    assert leader.leads(9.9)
    assert not leader.leads(10.0)


def test_leader_that_stood_still_has_lost(bench: Bench, leader: Elector) -> None:
    bench.now = 60.0

    wait = bench.run(leader)

    assert leader.standing is Standing.LOST
    assert wait == Wait(float("inf"))


def test_leader_loses_when_another_holds_the_lease(bench: Bench, leader: Elector) -> None:
    bench.edit(holderIdentity="somebody")

    bench.now = 2.0
    bench.run(leader)

    assert leader.standing is Standing.LOST
    assert leader.holder == "somebody"


def test_leader_makes_a_deleted_lease_anew(bench: Bench, leader: Elector) -> None:
    bench.api.delete(LEASES, NAME, NAMESPACE)

    bench.now = 2.0
    bench.run(leader)

    assert leader.leads(bench.now)
    assert leader.epoch == 1
    assert bench.spec()["acquireTime"]


def test_successor_after_a_deletion_has_a_higher_epoch(bench: Bench, leader: Elector) -> None:
    bench.api.delete(LEASES, NAME, NAMESPACE)
    second = bench.candidate("b")

    bench.run(second)
    bench.now = 2.0
    bench.run(leader)

    assert second.epoch == 2
    assert leader.standing is Standing.LOST


def test_released_lease_is_taken_at_once(bench: Bench, leader: Elector) -> None:
    second = bench.candidate("b")
    bench.run(second)

    release = leader.release(1.0, TODAY)
    assert release is not None
    bench.call(release)
    bench.now = 4.5
    bench.run(second)

    assert not leader.leads(1.0)
    assert second.leads(bench.now)
    assert second.epoch == 2


@pytest.mark.parametrize("seconds", [0.5, 12.0], ids=["in the term", "after it"])
def test_leader_without_a_log_steps_down_and_stands_again(
    bench: Bench, leader: Elector, seconds: float
) -> None:
    """What waited for the log may have outlasted the term, and nothing was done in it."""
    bench.now = seconds

    ask = leader.step_down(LogUnavailable("the log is locked"), bench.now, TODAY)

    assert ask is not None
    bench.call(ask)
    assert not leader.leads(bench.now)
    assert bench.spec()["holderIdentity"] == ""
    assert "locked" in leader.last_error
    assert bench.run(leader).until > bench.now + 1.9
    bench.now += 5.0
    bench.run(leader)
    assert leader.leads(bench.now)
    assert leader.epoch == 2


def test_lease_that_another_took_meanwhile_stays_his(bench: Bench, leader: Elector) -> None:
    second = bench.candidate("b")
    bench.run(second)
    bench.now = 15.0
    bench.run(second)

    ask = leader.step_down(LogUnavailable("the log is locked"), bench.now, TODAY)

    assert ask is not None
    with pytest.raises(Conflict):
        bench.call(ask)
    bench.now += 5.0
    bench.run(leader)
    assert (leader.holder, leader.standing) == ("b", Standing.CANDIDATE)


def test_candidate_cannot_step_down(bench: Bench, leader: Elector) -> None:
    second = bench.candidate("b")
    bench.run(second)

    assert second.step_down(LogUnavailable("the log is locked"), 1.0, TODAY) is None


def test_candidate_has_nothing_to_release(bench: Bench) -> None:
    assert bench.candidate("a").release(0.0, TODAY) is None


def test_leader_survives_a_server_that_is_away_shortly(bench: Bench, leader: Elector) -> None:
    for bench.now in (2.0, 4.0, 6.0):
        ask = bench.ask(leader)
        assert isinstance(ask, Ask)
        leader.on_error(ask, Unavailable("connection refused"), bench.now)
    bench.now = 8.0
    bench.run(leader)

    assert leader.leads(bench.now)
    assert leader.last_error == ""


def test_unknown_outcome_of_a_takeover_is_looked_at(bench: Bench) -> None:
    elector = bench.candidate("a")
    bench.carry_out(elector, Ask(Verb.GET))
    create = bench.ask(elector)
    assert isinstance(create, Ask)
    bench.call(create)

    elector.on_error(create, Unavailable("no answer in time"), bench.now)
    bench.now = 5.0
    bench.run(elector)

    assert elector.leads(bench.now)
    assert bench.spec()["holderIdentity"] == "a"


@pytest.mark.parametrize("error", [Conflict("changed"), AlreadyExists("there"), NotFound("gone")])
def test_lost_race_is_looked_at_without_a_pause(bench: Bench, error: ApiError) -> None:
    elector = bench.candidate("a")
    bench.carry_out(elector, Ask(Verb.GET))
    create = bench.ask(elector)
    assert isinstance(create, Ask)

    elector.on_error(create, error, bench.now)

    assert bench.ask(elector) == Ask(Verb.GET)


@pytest.mark.parametrize(
    ("terms", "faults"),
    [
        (Terms(), 0),
        (Terms(lease_seconds=10.0), 1),
        (Terms(retry_seconds=9.0), 1),
        (Terms(retry_seconds=0.0), 1),
        (Terms(lease_seconds=1.0, renew_seconds=2.0, retry_seconds=3.0), 2),
    ],
)
def test_terms_that_cannot_work_are_refused(terms: Terms, faults: int) -> None:
    assert len(terms.faults()) == faults


class Candidates(RuleBasedStateMachine):
    """Three processes, each with calls under way, in any order and with any delay; one may die and return."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench()
        self.started = 0
        self.electors = [self.fresh() for _ in range(3)]
        self.under_way: dict[int, tuple[Ask, Object | ApiError]] = {}
        self.epochs: dict[int, str] = {}

    def fresh(self) -> Elector:
        self.started += 1
        return self.bench.candidate(f"process-{self.started}")

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 3.0, 9.9, 15.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule(who=st.integers(0, 2))
    def send(self, who: int) -> None:
        """The request reaches the server now; its answer comes some other time."""
        action = self.bench.ask(self.electors[who])
        if who in self.under_way or not isinstance(action, Ask):
            return
        answer: Object | ApiError
        try:
            answer = self.bench.call(action)
        except ApiError as error:
            answer = error
        if not isinstance(answer, ApiError) and action.verb is not Verb.GET:
            spec = answer["spec"]
            self.bench.floor = max(self.bench.floor, spec["leaseTransitions"])
        self.under_way[who] = (action, answer)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), lost=st.booleans())
    def receive(self, data: st.DataObject, lost: bool) -> None:
        who = data.draw(st.sampled_from(sorted(self.under_way)))
        action, answer = self.under_way.pop(who)
        elector = self.electors[who]
        if lost:
            elector.on_error(action, Unavailable("no answer in time"), self.bench.now)
        elif isinstance(answer, ApiError):
            elector.on_error(action, answer, self.bench.now)
        else:
            elector.on_lease(action, answer, self.bench.now)

    @rule(who=st.integers(0, 2))
    def step_down(self, who: int) -> None:
        if who in self.under_way:
            return
        ask = self.electors[who].step_down(LogUnavailable("the log is locked"), self.bench.now, TODAY)
        if ask is not None:
            with suppress(ApiError):
                self.bench.call(ask)

    @rule(who=st.integers(0, 2))
    def die(self, who: int) -> None:
        self.under_way.pop(who, None)
        self.electors[who] = self.fresh()

    @rule()
    def somebody_deletes_the_lease(self) -> None:
        try:
            self.bench.api.delete(LEASES, NAME, NAMESPACE)
        except NotFound:
            return

    @invariant()
    def an_epoch_has_one_leader(self) -> None:
        for elector in self.electors:
            if elector.epoch:
                assert self.epochs.setdefault(elector.epoch, elector.identity) == elector.identity


class OrderlyCandidates(Candidates):
    """The same, where nobody touches the Lease by hand: then one leads at a time, too."""

    @rule()
    def somebody_deletes_the_lease(self) -> None:
        return

    @invariant()
    def at_most_one_leads(self) -> None:
        assert sum(elector.leads(self.bench.now) for elector in self.electors) <= 1


TestCandidates = Candidates.TestCase
TestOrderlyCandidates = OrderlyCandidates.TestCase
