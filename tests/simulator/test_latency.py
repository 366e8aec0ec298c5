"""Distributions: samples agree with the declared medians, quantiles and means."""

from __future__ import annotations

import math
import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator.latency import (
    Fixed,
    LatencyDistribution,
    Lognormal,
    Mixture,
    Part,
    Uniform,
    transfer_seconds,
)
from tests.simulator.published import observed_seconds

SLOW_TAIL = Mixture(
    parts=(
        Part(weight=0.97, of=Lognormal(median=245, p95=400)),
        Part(weight=0.03, of=Lognormal(median=1200, p95=2000)),
    )
)
THREE_PARTS = Mixture(
    parts=(
        Part(weight=0.2, of=Uniform(low=0, high=1)),
        Part(weight=0.3, of=Uniform(low=10, high=11)),
        Part(weight=0.5, of=Uniform(low=20, high=21)),
    )
)
EVERY_KIND: tuple[LatencyDistribution, ...] = (
    Fixed(value=3),
    Uniform(low=0, high=14),
    Lognormal(median=245, p95=400),
    SLOW_TAIL,
    THREE_PARTS,
    Mixture(parts=(Part(weight=0.5, of=Fixed(value=0)), Part(weight=0.5, of=Uniform(low=0, high=14)))),
)

every_kind = pytest.mark.parametrize("distribution", EVERY_KIND, ids=repr)


def samples(distribution: LatencyDistribution, count: int = 20_000) -> list[float]:
    random = Random("samples")
    return sorted(distribution.sample(random) for _ in range(count))


@every_kind
@pytest.mark.parametrize("p", [0.05, 0.25, 0.75, 0.95])
def test_samples_reach_the_declared_quantiles(distribution: LatencyDistribution, p: float) -> None:
    drawn = samples(distribution)

    assert drawn[int(p * len(drawn))] == pytest.approx(distribution.quantile(p), rel=0.03, abs=0.05)


@every_kind
def test_samples_reach_the_declared_mean(distribution: LatencyDistribution) -> None:
    assert statistics.fmean(samples(distribution)) == pytest.approx(distribution.mean, rel=0.02)


@every_kind
def test_samples_are_never_negative(distribution: LatencyDistribution) -> None:
    assert samples(distribution, 2000)[0] >= 0


@every_kind
def test_same_generator_state_repeats_samples(distribution: LatencyDistribution) -> None:
    assert samples(distribution, 50) == samples(distribution, 50)


@given(st.sampled_from(EVERY_KIND), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_quantiles_rise_with_probability(distribution: LatencyDistribution, p: float, q: float) -> None:
    low, high = sorted((p, q))

    assert distribution.quantile(low) <= distribution.quantile(high)


@given(st.floats(0.02, 0.98))
def test_quantile_inverts_the_mixture(p: float) -> None:
    assert SLOW_TAIL.cdf(SLOW_TAIL.quantile(p)) == pytest.approx(p, abs=1e-6)


def test_lognormal_is_given_by_median_and_p95() -> None:
    distribution = Lognormal(median=245, p95=400)

    assert distribution.sigma == pytest.approx(math.log(400 / 245) / 1.645)
    assert distribution.quantile(0.5) == pytest.approx(245)
    assert distribution.quantile(0.95) == pytest.approx(400, rel=1e-4)


def test_lognormal_without_spread_is_its_median() -> None:
    distribution = Lognormal(median=5, p95=5)

    assert distribution.sample(Random("any")) == pytest.approx(5)
    assert (distribution.cdf(4.9), distribution.cdf(5)) == (0, 1)


@pytest.mark.parametrize(
    ("distribution", "x", "expected"),
    [
        (Fixed(value=3), 2.9, 0),
        (Fixed(value=3), 3, 1),
        (Uniform(low=2, high=4), 1, 0),
        (Uniform(low=2, high=4), 3, 0.5),
        (Uniform(low=2, high=4), 5, 1),
        (Uniform(low=2, high=2), 2, 1),
        (Lognormal(median=2, p95=4), 0, 0),
        (Lognormal(median=2, p95=4), 2, 0.5),
    ],
)
def test_cdf_at_known_points(distribution: LatencyDistribution, x: float, expected: float) -> None:
    assert distribution.cdf(x) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distribution", "positive"),
    [
        (Fixed(value=0), False),
        (Fixed(value=1), True),
        (Uniform(low=0, high=1), False),
        (Uniform(low=0.1, high=1), True),
        (Lognormal(median=1, p95=2), True),
        (EVERY_KIND[-1], False),
        (SLOW_TAIL, True),
    ],
)
def test_positive_means_every_sample(distribution: LatencyDistribution, positive: bool) -> None:
    assert distribution.positive is positive


@pytest.mark.parametrize(
    ("kind", "fields", "complaint"),
    [
        (Fixed, {"value": -1}, "greater than or equal to 0"),
        (Fixed, {"value": math.inf}, "finite"),
        (Fixed, {"value": "3"}, "valid number"),
        (Uniform, {"low": 2, "high": 1}, "low must not exceed high"),
        (Lognormal, {"median": 2, "p95": 1}, "p95 must not be below the median"),
        (Lognormal, {"median": 0, "p95": 1}, "greater than 0"),
        (Lognormal, {"median": 1, "p95": 2, "p99": 3}, "Extra inputs"),
        (Mixture, {"parts": ()}, "at least 1 item"),
        (Mixture, {"parts": [{"weight": 0.5, "of": Fixed(value=1)}]}, "weights must sum to 1, found 0.5"),
    ],
)
def test_impossible_parameters_are_refused(
    kind: type[LatencyDistribution], fields: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        kind.model_validate(fields)


@pytest.mark.parametrize(
    ("elapsed", "interval", "seen"),
    [(0, 30, 0), (0.1, 30, 30), (30, 30, 30), (30.1, 30, 60), (225, 30, 240), (17.5, 0, 17.5)],
)
def test_poller_sees_at_its_next_look(elapsed: float, interval: float, seen: float) -> None:
    assert observed_seconds(elapsed, interval) == seen


@given(st.floats(0, 1e5), st.floats(0.1, 1e3))
def test_poller_is_late_by_less_than_an_interval(elapsed: float, interval: float) -> None:
    late = observed_seconds(elapsed, interval) - elapsed

    assert -1e-6 <= late < interval + 1e-6


def test_transfer_takes_size_over_rate() -> None:
    assert transfer_seconds(22e9, 44e6) == 500
    assert transfer_seconds(0, 0) == 0


def test_transfer_at_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 bytes per second"):
        transfer_seconds(1, 0)
