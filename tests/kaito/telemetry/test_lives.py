"""Phases moment by moment are those of the whole list at once."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from kaito.history.phases import runs
from kaito.telemetry.lives import Phases
from tests.kaito.lives import at

Moments = list[tuple[int, str]]


def moments() -> st.SearchStrategy[Moments]:
    """Seconds, never backwards, and what holds from then on."""
    steps = st.lists(
        st.tuples(st.sampled_from((0, 0, 1, 5)), st.sampled_from("abc")), min_size=1, max_size=12
    )
    return steps.map(
        lambda found: [(sum(gap for gap, _ in found[: i + 1]), name) for i, (_, name) in enumerate(found)]
    )


def told(found: Moments, *, over: bool) -> list[tuple[str, float]]:
    """What ends, when all that happens at one instant is appended together."""
    phases, ended = Phases(), []
    for second, together in groupby(found, lambda moment: moment[0]):
        ended += [phases.moment(at(second), name) for _, name in together]
        ended.append(phases.settle())
    if over:
        ended += phases.end(at(found[-1][0] + 10))
    return [each for each in ended if each is not None]


@given(found=moments())
def test_phases_that_ended_are_those_of_the_list(found: Moments) -> None:
    known = [(at(second), name) for second, name in found]
    later = at(found[-1][0]) + timedelta(seconds=10)

    whole = [(name, (stop - start).total_seconds()) for name, start, stop in runs(known, later)]

    assert told(found, over=False) == whole[:-1]
    assert told(found, over=True) == whole


@given(found=moments())
def test_clock_that_goes_backwards_shortens_nothing(found: Moments) -> None:
    phases = Phases()
    for second, name in found:
        phases.moment(at(second), name)
    phases.settle()

    back = phases.moment(at(-100), "z")

    assert back is None
    assert all(seconds > 0 for _, seconds in phases.end(at(10_000)))
