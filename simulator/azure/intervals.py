"""Things that come and go by themselves: stock-outs, background operations, outages.

Each is a process that alternates between good and bad times of random length. Only the present is kept, so a
run of months costs no more memory than one of minutes.
"""

from __future__ import annotations

import math
from random import Random
from typing import Literal

from pydantic import PositiveFloat, model_validator

from simulator.latency import Frozen
from simulator.profile import Mark, Text

_SECONDS = {"seconds": 1.0, "hours": 3600.0, "days": 86400.0}
_Z95 = 1.645
"""The 95th percentile of the standard normal distribution, in the digits of the fits behind the profiles."""


class Interval(Frozen):
    """How long one such time lasts: exponential by its mean, or lognormal by median and 95th percentile."""

    distribution: Literal["exponential", "lognormal"]
    mean: PositiveFloat | None = None
    median: PositiveFloat | None = None
    p95: PositiveFloat | None = None
    unit: Literal["seconds", "hours", "days"]
    source: Text
    mark: Mark

    @model_validator(mode="after")
    def _parameters_fit(self) -> Interval:
        given = [name for name in ("mean", "median", "p95") if getattr(self, name) is not None]
        wanted = ["mean"] if self.distribution == "exponential" else ["median", "p95"]
        if given != wanted:
            found = " and ".join(given) or "nothing"
            raise ValueError(f"expected {' and '.join(wanted)} for {self.distribution}, found {found}")
        if self.median is not None and self.p95 is not None and self.p95 < self.median:
            raise ValueError(f"p95 must not be below the median, found {self.p95:g} and {self.median:g}")
        return self

    @property
    def mean_seconds(self) -> float:
        mean = self.mean or math.exp(self._mu + self._sigma**2 / 2)
        return mean * _SECONDS[self.unit]

    def sample(self, random: Random) -> float:
        """The length of one, in seconds."""
        return self._draw(random, self._mu if self.mean is None else 0.0) * _SECONDS[self.unit]

    def residual(self, random: Random) -> float:
        """How much is left of the one that is under way at an arbitrary instant.

        An instant falls into a long one more likely than into a short one. For the lognormal that shifts mu
        by the variance, and the instant lies anywhere in it; the exponential has no memory.
        """
        if self.mean is not None:
            return self.sample(random)
        return self._draw(random, self._mu + self._sigma**2) * _SECONDS[self.unit] * random.random()

    @property
    def _mu(self) -> float:
        return math.log(self.median or 1.0)

    @property
    def _sigma(self) -> float:
        return math.log((self.p95 or 1.0) / (self.median or 1.0)) / _Z95

    def _draw(self, random: Random, mu: float) -> float:
        if self.mean is not None:
            return random.expovariate(1 / self.mean)
        return random.lognormvariate(mu, self._sigma)


class Spells(Frozen):
    """An alternation of good and bad times."""

    good: Interval
    bad: Interval


class Alternation:
    """One such process. It starts in its long-run state: bad with the share of time that is bad."""

    def __init__(self, spells: Spells, random: Random) -> None:
        self._spells = spells
        self._random = random
        good, bad = spells.good.mean_seconds, spells.bad.mean_seconds
        self._bad = random.random() < bad / (good + bad)
        self._until = self._interval().residual(random)

    def is_bad(self, at_seconds: float) -> bool:
        """Whether it is bad at this time; asked for times in their order."""
        while self._until <= at_seconds:
            self._bad = not self._bad
            self._until += self._interval().sample(self._random)
        return self._bad

    def _interval(self) -> Interval:
        return self._spells.bad if self._bad else self._spells.good
