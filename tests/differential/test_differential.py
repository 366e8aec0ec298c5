"""The virtual API server answers as the real one does, but for what the ledger explains.

How many programs run is set by ``KAITO_DIFFERENTIAL_PROGRAMS``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.calls import Program
from tests.differential.programs import programs
from tests.differential.regressions import LEDGER_PROGRAMS, PROGRAMS
from tests.differential.trial import Trials

pytestmark = pytest.mark.real_server

BUDGET = int(os.environ.get("KAITO_DIFFERENTIAL_PROGRAMS", "200"))


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_found_difference_stays_fixed(trials: Trials, program: Program) -> None:
    trials.run(program)


@pytest.mark.parametrize("entry", [*LEDGER_PROGRAMS])
def test_entry_of_the_ledger_is_needed(trials: Trials, entry: str) -> None:
    before = trials.ledger.hits[entry]

    trials.run(LEDGER_PROGRAMS[entry], shown=entry)

    assert trials.ledger.hits[entry] > before


def test_random_programs_are_answered_alike(trials: Trials) -> None:
    @settings(
        max_examples=BUDGET,
        deadline=None,
        # Each program takes a few dozen calls of a server, however it was found.
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    @given(program=programs())
    def campaign(program: Program) -> None:
        trials.run(program)

    campaign()


def test_ledger_has_no_entry_too_many(trials: Trials) -> None:
    ids = [entry.id for entry in trials.ledger.entries]

    assert ids == sorted(set(ids), key=ids.index), "each id once"
    assert [*LEDGER_PROGRAMS] == ids, "each entry has a program that shows it"
    assert trials.ledger.unused == []
