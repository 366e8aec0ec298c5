from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito import durations

PARSED = [
    ("4m", 240),
    ("240s", 240),
    ("1h30m", 5400),
    ("1.5h", 5400),
    ("500ms", 0.5),
    ("4m17.575344s", 257.575344),
    ("2d3h", 183_600),
    ("0s", 0),
]
REFUSED = ["", "4", "m", "4 m", "-4m", "4M", "4m4m", "5s4m", "1e3s", "4m18", "four", "9" * 30 + "d", "٤m"]
# kubectl's HumanDuration, at both sides of every change of unit.
AGES = [
    (-1, "0s"), (0, "0s"), (51.9, "51s"), (119, "119s"), (120, "2m"), (242, "4m2s"), (258, "4m18s"),
    (599, "9m59s"), (600, "10m"), (659, "10m"),
    (1019, "16m"), (10_799, "179m"), (10_800, "3h"), (18_060, "5h1m"),
    (28_799, "7h59m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"), (183_600, "2d3h"),
    (691_199, "7d23h"), (691_200, "8d"),
    (63_071_999, "729d"), (63_072_000, "2y"), (63_158_400, "2y1d"), (252_288_000, "8y"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), PARSED)
def test_written_durations_are_read(text: str, seconds: float) -> None:
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", REFUSED)
def test_other_texts_say_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 4m"):
        durations.parse(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100_000)))
def test_exact_text_reads_back_equal(duration: timedelta) -> None:
    assert durations.parse(durations.exact(duration)) == duration


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=1000)), st.integers(0, 3))
def test_rounding_stays_within_half_a_step(duration: timedelta, digits: int) -> None:
    shown = durations.parse(durations.rounded(duration, digits))

    assert abs(shown - duration) * 2 <= timedelta(seconds=10**-digits)


@pytest.mark.parametrize(("seconds", "shown"), AGES)
def test_ages_read_as_kubectl_prints_them(seconds: float, shown: str) -> None:
    assert durations.age(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("seconds", "digits", "shown"),
    [(257.575, 0, "4m18s"), (257.575, 1, "4m17.6s"), (0.698, 1, "0.7s"), (59.96, 1, "1m"), (0, 1, "0s")],
)
def test_rounded_durations_read_easily(seconds: float, digits: int, shown: str) -> None:
    assert durations.rounded(timedelta(seconds=seconds), digits) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(699.66, "11m39s"), (0.4, "0s"), (3600, "1h")])
def test_floored_durations_count_whole_seconds(seconds: float, shown: str) -> None:
    assert durations.floored(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(240.0, "4m"), (0.5, "500ms"), (240.4, "4m")])
def test_limits_in_seconds_read_as_durations(seconds: float, shown: str) -> None:
    assert durations.of_seconds(seconds) == shown
