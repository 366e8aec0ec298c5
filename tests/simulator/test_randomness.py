"""Named generators: one seed, and no draw of one process shifts another's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from simulator.randomness import Generators

REPOSITORY = Path(__file__).resolve().parents[2]


def draws(random: Random, count: int = 5) -> list[float]:
    return [random.random() for _ in range(count)]


@given(st.integers(), st.text())
def test_same_seed_and_name_repeat(seed: int, name: str) -> None:
    assert draws(Generators(seed).generator(name)) == draws(Generators(seed).generator(name))


def test_other_seed_or_name_differs() -> None:
    first = draws(Generators(1).generator("launch"))

    assert first != draws(Generators(2).generator("launch"))
    assert first != draws(Generators(1).generator("deletion"))


def test_a_name_means_one_generator() -> None:
    generators = Generators(7)

    assert generators.generator("launch") is generators.generator("launch")


def test_draws_do_not_shift_other_processes() -> None:
    quiet, busy = Generators(7), Generators(7)

    draws(busy.generator("launch"), 1000)

    assert draws(quiet.generator("deletion")) == draws(busy.generator("deletion"))


def test_numbers_ignore_the_hash_seed() -> None:
    program = "from simulator.randomness import Generators; print(Generators(3).generator('x').random())"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }

    assert found == {f"{Generators(3).generator('x').random()}\n"}
