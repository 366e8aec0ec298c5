"""The conditions of a Machine: what Ready sums up, and when times move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kaito.runtime.ports import Object
from simulator.conditions import INITIALIZED, LAUNCHED, READY, REGISTERED, marked_false, marked_true

NOW = datetime(2024, 4, 5, 18, 34, 16, 533000, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def by_type(conditions: list[Object]) -> dict[str, Object]:
    return {each["type"]: each for each in conditions}


@pytest.mark.parametrize(
    ("types", "ready"),
    [
        ((), "Unknown"),
        ((LAUNCHED,), "Unknown"),
        ((LAUNCHED, REGISTERED), "Unknown"),
        ((REGISTERED, INITIALIZED), "Unknown"),
        ((LAUNCHED, REGISTERED, INITIALIZED), "True"),
    ],
)
def test_ready_needs_all_three(types: tuple[str, ...], ready: str) -> None:
    assert by_type(marked_true([], *types, now=NOW))[READY]["status"] == ready


@pytest.mark.parametrize("failed", [LAUNCHED, REGISTERED, INITIALIZED])
def test_one_false_keeps_ready_false(failed: str) -> None:
    others = [type_ for type_ in (LAUNCHED, REGISTERED, INITIALIZED) if type_ != failed]
    conditions = marked_false([], failed, "Reason", "text", now=NOW)

    ready = by_type(marked_true(conditions, *others, now=LATER))[READY]

    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "Reason", "text")
    assert ready["lastTransitionTime"] == "2024-04-05T18:34:16Z"


def test_conditions_are_sorted_by_type() -> None:
    conditions = marked_true([], REGISTERED, LAUNCHED, INITIALIZED, now=NOW)

    assert [each["type"] for each in conditions] == sorted(each["type"] for each in conditions)


def test_unchanged_condition_keeps_its_time() -> None:
    conditions = marked_false([], LAUNCHED, "LaunchFailed", "text", now=NOW)

    assert marked_false(conditions, LAUNCHED, "LaunchFailed", "text", now=LATER) == conditions


def test_other_message_moves_the_time() -> None:
    conditions = marked_false([], LAUNCHED, "LaunchFailed", "text", now=NOW)

    moved = marked_false(conditions, LAUNCHED, "LaunchFailed", "other", now=LATER)

    assert by_type(moved)[LAUNCHED]["lastTransitionTime"] == "2024-04-05T18:34:21Z"


def test_given_conditions_are_not_changed() -> None:
    conditions = marked_false([], LAUNCHED, "LaunchFailed", "text", now=NOW)
    before = [dict(each) for each in conditions]

    marked_true(conditions, LAUNCHED, REGISTERED, INITIALIZED, now=LATER)

    assert conditions == before
