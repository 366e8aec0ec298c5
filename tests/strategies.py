"""Hypothesis strategies, named as plurals."""

from __future__ import annotations

from hypothesis import strategies as st

from statemachine.observations import MachineFailure
from statemachine.state import BlockedReason
from tests.statemachine.toy_cluster import FRESH, Fate, Lag


def lags(longest: int = 40) -> st.SearchStrategy[Lag]:
    """How far each cache is behind: mostly not at all, now and then a long way."""
    behind = st.sampled_from((0, 0, 0, 1, 2, 5, longest))
    return st.one_of(st.just(FRESH), st.builds(Lag, behind, behind, behind, behind))


def fates() -> st.SearchStrategy[tuple[Fate, ...]]:
    """What becomes of the commands of one reconcile, in order; the ones beyond are done."""
    some = st.lists(st.sampled_from(Fate), max_size=5).map(tuple)
    return st.one_of(st.just(()), some)


def failures() -> st.SearchStrategy[MachineFailure]:
    messages = st.sampled_from(("limit 100, used 56, need 64", "no capacity in zone 1"))
    return st.builds(MachineFailure, reason=st.sampled_from(BlockedReason), message=messages)


def pauses() -> st.SearchStrategy[float]:
    """Seconds between two moments: around every timer, and between them."""
    return st.sampled_from((0.0, 1.0, 10.0, 59.0, 240.0, 300.0, 660.0, 901.0, 1801.0))
