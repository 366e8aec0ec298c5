"""Ratios measured in one run: what is compared runs in turns, so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Protocol

import pytest

Action = Callable[[], object]


class Compare(Protocol):
    """Measures ``ours`` and ``theirs`` in turns and returns the seconds of the median round of each."""

    def __call__(
        self, ours: Action, theirs: Action, *, rounds: int, before: Action | None = None
    ) -> tuple[float, float]: ...


@pytest.fixture
def compare(benchmark: Any) -> Compare:
    def run(
        ours: Action, theirs: Action, *, rounds: int, before: Action | None = None
    ) -> tuple[float, float]:
        seconds: list[float] = []

        def their_turn() -> None:
            if before is not None:
                before()
            start = time.perf_counter()
            theirs()
            seconds.append(time.perf_counter() - start)

        benchmark.pedantic(ours, setup=their_turn, rounds=rounds, iterations=1)
        return benchmark.stats.stats.median, median(seconds)

    return run


@pytest.fixture
def say(pytestconfig: pytest.Config, benchmark: Any) -> Iterator[Callable[[str, float, str], None]]:
    """Print a ratio where it can be seen, and keep it with the benchmark's own figures."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    lines: list[str] = []

    def note(what: str, ratio: float, promise: str = "") -> None:
        benchmark.extra_info[what] = round(ratio, 2)
        lines.append(f"{what}: {ratio:.2f}" + (f" (promised {promise})" if promise else ""))

    yield note
    with capture.global_and_fixture_disabled():
        print("\n  " + "\n  ".join(lines), end="")
