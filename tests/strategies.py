"""Hypothesis strategies, named as plurals; each has a twin that draws from a plain generator."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from statemachine.observations import MachineFailure
from statemachine.state import BlockedReason
from tests.statemachine.toy_cluster import FRESH, Fate, Lag

BEHIND = (0, 0, 0, 1, 2, 5, 40)
"""How many changes one cache is behind: mostly none, now and then a long way."""

PAUSES = (0.0, 1.0, 10.0, 59.0, 240.0, 300.0, 660.0, 901.0, 1801.0)
"""Seconds between two moments: around every timer, and between them."""

FAILURE_MESSAGES = ("limit 100, used 56, need 64", "no capacity in zone 1")


def lags() -> st.SearchStrategy[Lag]:
    """How far each cache is behind."""
    behind = st.sampled_from(BEHIND)
    return st.one_of(st.just(FRESH), st.builds(Lag, behind, behind, behind, behind))


def a_lag(random: Random) -> Lag:
    return random.choice((FRESH, Lag(*random.choices(BEHIND, k=4))))


def fates() -> st.SearchStrategy[tuple[Fate, ...]]:
    """What becomes of the commands of one reconcile, in order; the ones beyond are done."""
    some = st.lists(st.sampled_from(Fate), max_size=5).map(tuple)
    return st.one_of(st.just(()), some)


def some_fates(random: Random) -> tuple[Fate, ...]:
    return tuple(random.choices(tuple(Fate), k=random.choice((0, 0, 1, 3, 5))))


def failures() -> st.SearchStrategy[MachineFailure]:
    messages = st.sampled_from(FAILURE_MESSAGES)
    return st.builds(MachineFailure, reason=st.sampled_from(BlockedReason), message=messages)


def some_failure(random: Random) -> MachineFailure:
    reason = random.choice(tuple(BlockedReason))
    return MachineFailure(reason=reason, message=random.choice(FAILURE_MESSAGES))


def pauses() -> st.SearchStrategy[float]:
    return st.sampled_from(PAUSES)
