"""Distributions of durations and rates, as values that a profile can hold.

A value is in seconds, or in bytes per second where it describes a transfer. Parameters are what a reader of a
measurement knows, the median and the 95th percentile, not the moments of a logarithm. Sampling draws from the
`random.Random` it is given and from nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import NormalDist
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, Strict, model_validator

_NORMAL = NormalDist()
_Z95 = 1.645
"""The 95th percentile of the standard normal distribution; the fits behind the profiles use these digits."""
_WEIGHT_TOLERANCE = 1e-9


class Frozen(BaseModel):
    """A value that is checked once, when it is made, and refuses what it does not know."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Fixed(Frozen):
    """Always the same value: a phase of which one measurement is all there is."""

    distribution: Literal["fixed"] = "fixed"
    value: NonNegativeFloat

    @property
    def positive(self) -> bool:
        """Whether every sample is above zero; each distribution has this."""
        return self.value > 0

    @property
    def mean(self) -> float:
        return self.value

    def sample(self, random: Random) -> float:
        return self.value

    def quantile(self, p: float) -> float:
        return self.value

    def cdf(self, x: float) -> float:
        return 1.0 if x >= self.value else 0.0


class Uniform(Frozen):
    """Anything between two bounds, equally likely: a phase of which only the bounds are known."""

    distribution: Literal["uniform"] = "uniform"
    low: NonNegativeFloat
    high: NonNegativeFloat

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, found {self.low:g} and {self.high:g}")
        return self

    @property
    def positive(self) -> bool:
        return self.low > 0

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    def sample(self, random: Random) -> float:
        return random.uniform(self.low, self.high)

    def quantile(self, p: float) -> float:
        return self.low + p * (self.high - self.low)

    def cdf(self, x: float) -> float:
        if self.high == self.low:
            return 1.0 if x >= self.low else 0.0
        return min(1.0, max(0.0, (x - self.low) / (self.high - self.low)))


class Lognormal(Frozen):
    """A product of many small causes: skewed, never negative, given by its median and 95th percentile.

    ``sigma = ln(p95 / median) / 1.645``.
    """

    distribution: Literal["lognormal"] = "lognormal"
    median: PositiveFloat
    p95: PositiveFloat

    @model_validator(mode="after")
    def _tail_above_median(self) -> Lognormal:
        if self.p95 < self.median:
            raise ValueError(f"p95 must not be below the median, found {self.p95:g} and {self.median:g}")
        return self

    @property
    def positive(self) -> bool:
        return True

    @property
    def mu(self) -> float:
        return math.log(self.median)

    @property
    def sigma(self) -> float:
        return math.log(self.p95 / self.median) / _Z95

    @property
    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)

    def sample(self, random: Random) -> float:
        return random.lognormvariate(self.mu, self.sigma)

    def quantile(self, p: float) -> float:
        return math.exp(self.mu + self.sigma * _NORMAL.inv_cdf(p))

    def cdf(self, x: float) -> float:
        if x <= 0:
            return 0.0
        if self.sigma == 0:
            return 1.0 if x >= self.median else 0.0
        return _NORMAL.cdf((math.log(x) - self.mu) / self.sigma)


class Part(Frozen):
    """One component of a mixture and how often it is the one."""

    weight: Annotated[float, Field(gt=0, le=1)]
    of: Component


class Mixture(Frozen):
    """One of several distributions, chosen by weight: the ordinary case and the rare slow one."""

    distribution: Literal["mixture"] = "mixture"
    parts: Annotated[tuple[Part, ...], Strict(False), Field(min_length=1)]

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Mixture:
        total = math.fsum(part.weight for part in self.parts)
        if abs(total - 1) > _WEIGHT_TOLERANCE:
            raise ValueError(f"the weights must sum to 1, found {total:g}")
        return self

    @property
    def positive(self) -> bool:
        return all(part.of.positive for part in self.parts)

    @property
    def mean(self) -> float:
        return math.fsum(part.weight * part.of.mean for part in self.parts)

    def sample(self, random: Random) -> float:
        mark = random.random()
        for part in self.parts[:-1]:
            if mark < part.weight:
                return part.of.sample(random)
            mark -= part.weight
        return self.parts[-1].of.sample(random)

    def quantile(self, p: float) -> float:
        quantiles = [part.of.quantile(p) for part in self.parts]
        return _invert(self.cdf, p, min(quantiles), max(quantiles))

    def cdf(self, x: float) -> float:
        return math.fsum(part.weight * part.of.cdf(x) for part in self.parts)


Component: TypeAlias = Annotated[Fixed | Uniform | Lognormal, Field(discriminator="distribution")]
LatencyDistribution: TypeAlias = Annotated[
    Fixed | Uniform | Lognormal | Mixture, Field(discriminator="distribution")
]
Part.model_rebuild()


def transfer_seconds(size_bytes: float, bytes_per_second: float) -> float:
    """How long a transfer takes at a drawn rate; a rate of zero never ends and is refused.

    Raises:
        ValueError: the rate is not positive.
    """
    if size_bytes == 0:
        return 0.0
    if bytes_per_second <= 0:
        raise ValueError(f"a transfer needs a rate above 0 bytes per second, not {bytes_per_second:g}")
    return size_bytes / bytes_per_second


def _invert(cdf: Callable[[float], float], p: float, low: float, high: float) -> float:
    """The smallest x with ``cdf(x) >= p``, by bisection to a relative precision of 2**-60."""
    for _ in range(60):
        middle = (low + high) / 2
        if cdf(middle) >= p:
            high = middle
        else:
            low = middle
    return high
