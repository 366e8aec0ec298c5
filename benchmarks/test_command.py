"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

PROMISED_SECONDS = 0.35


def test_help_answers_at_once(benchmark: Any, say: Callable[..., None]) -> None:
    command = [sys.executable, "-m", "kaito", "--help"]

    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True),
        rounds=10,
        iterations=1,
        warmup_rounds=1,
    )

    best = benchmark.stats.stats.min
    say("kaito --help, s (best of 10)", best, "< 0.35")
    assert best < PROMISED_SECONDS
