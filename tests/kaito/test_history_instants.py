from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.history import instants
from kaito.history.chronicle import Chronicle
from kaito.problems import Problem
from tests.kaito import lives

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def living(start: datetime, seconds: float) -> Chronicle:
    """A life from ``start`` on whose last event is so much later."""
    events = [
        lives.created(at=start),
        lives.ev.SpecChanged(at=start + timedelta(seconds=seconds), generation=2),
    ]
    return lives.chronicle(events)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2024-04-05T18:34:10Z", lives.at(250)),
        ("2024-04-05T20:34:10+02:00", lives.at(250)),
        ("2024-04-05 18:34:10", lives.at(250)),
        ("2024-04-05T18:34:10.123456789Z", lives.at(250.123456)),
        ("18:34:10", lives.at(250)),
        ("18:34", lives.at(240)),
        ("18:34:10.5Z", lives.at(250.5)),
        ("4m18s", lives.at(258)),
        ("+4m18s", lives.at(258)),
        ("18:00", lives.at(-1800)),
    ],
)
def test_every_form_names_its_instant(text: str, expected: datetime) -> None:
    chronicle = lives.chronicle(lives.DELETED)

    assert instants.resolve(instants.parse(text), chronicle, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:99", "18:34:60", "2024-13-05T00:00:00Z", "-4m", "4", "20240405", "++4m"]
)
def test_unreadable_time_says_what_was_expected(text: str) -> None:
    with pytest.raises(Problem, match=r"--at: expected 2024-04-05T18:34:10Z, 18:34:10 .* or now; found"):
        instants.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = instants.parse(text)
    except Problem:
        return

    assert found is None or isinstance(found, datetime | time | timedelta)


def test_time_of_day_crosses_midnight() -> None:
    chronicle = living(datetime(2024, 4, 5, 23, 50, tzinfo=UTC), seconds=1800)

    resolved = instants.resolve(instants.parse("00:10"), chronicle, NOW)

    assert resolved == datetime(2024, 4, 6, 0, 10, tzinfo=UTC)


def test_last_event_may_be_after_midnight() -> None:
    chronicle = living(datetime(2024, 4, 5, 23, 50, tzinfo=UTC), seconds=1200)

    found = [instants.resolve(instants.parse(text), chronicle, NOW).day for text in ("00:10", "00:10:01")]

    assert found == [6, 5]


def test_time_of_the_creation_is_that_day() -> None:
    chronicle = living(lives.START, seconds=100_000)

    assert instants.resolve(instants.parse("18:30"), chronicle, NOW) == lives.START


def test_time_before_creation_stays_on_its_day() -> None:
    chronicle = living(datetime(2024, 4, 5, 23, 50, tzinfo=UTC), seconds=60)

    resolved = instants.resolve(instants.parse("00:10"), chronicle, NOW)

    assert resolved == datetime(2024, 4, 5, 0, 10, tzinfo=UTC)


def test_age_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(Problem, match="beyond the calendar"):
        instants.resolve(timedelta(days=999_999_999), lives.chronicle(lives.READY), NOW)


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (lives.at(1000), lives.at(1000)),
        (lives.at(975 + 86_399), lives.at(975 + 86_399)),
        (lives.at(975 + 86_400), lives.at(975)),
        (lives.at(900), lives.at(975)),
    ],
    ids=["being written", "quiet for a day less a second", "of the past", "ahead of the clock"],
)
def test_now_is_the_end_of_a_past_log(wall: datetime, expected: datetime) -> None:
    chronicle = lives.chronicle(lives.READY)

    assert instants.default_now(chronicle, chronicle.last_at, wall) == expected


def test_other_streams_keep_a_log_present() -> None:
    chronicle = lives.chronicle(lives.READY)

    assert instants.default_now(chronicle, lives.at(5000), NOW) == lives.at(5000)
