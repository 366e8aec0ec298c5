"""The world as a whole: the reference run phase by phase, and one history for one seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kaito.runtime.ports import DEPLOYMENTS, MACHINES, NODES, PODS
from simulator import profile
from tests.simulator.worlds import TestBed, a_machine, a_workload, falcon_life

REPOSITORY = Path(__file__).resolve().parents[2]


def history(profile_name: str, seed: int) -> str:
    bed = TestBed(profile_name, seed=seed)
    falcon_life(bed)
    return "\n".join(bed.history)


def digest(profile_name: str, seed: int) -> str:
    return hashlib.sha256(history(profile_name, seed).encode()).hexdigest()


def test_falcon_life_has_the_measured_phases() -> None:
    bed = TestBed("reference-run")
    bed.cluster.create(MACHINES, a_machine())

    launched = bed.run_until(lambda: bed.all(NODES) != [])
    ready = bed.run_until(lambda: bed.is_ready(MACHINES, "ws000000001"))
    usable = bed.run_until(lambda: bed.gpus() == 2)
    bed.cluster.create(DEPLOYMENTS, a_workload())
    serving = bed.run_until(lambda: bed.ready_replicas() == 1)
    bed.cluster.delete(MACHINES, "ws000000001")
    gone = bed.run_until(lambda: bed.all(MACHINES) == [])

    phases = [launched, ready - launched, usable - ready, serving - usable, gone - serving]
    assert phases == pytest.approx([257.575, 0.698, 1.017, 720, 63.917])


def test_a_life_leaves_nothing_behind() -> None:
    bed = TestBed("aks-gpu")

    falcon_life(bed)

    assert [bed.all(resource) for resource in (MACHINES, NODES, DEPLOYMENTS, PODS)] == [[], [], [], []]
    assert bed.engine.peek() is None


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_same_seed_gives_one_history(seed: int) -> None:
    assert history("aks-gpu", seed) == history("aks-gpu", seed)


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_other_seed_gives_other_times(seed: int, other: int) -> None:
    same_times = [line.split()[0] for line in history("aks-gpu", seed).splitlines()] == [
        line.split()[0] for line in history("aks-gpu", other).splitlines()
    ]

    assert same_times is (seed == other)


def test_reference_run_times_ignore_the_seed() -> None:
    first, second = history("reference-run", 1).splitlines(), history("reference-run", 2).splitlines()

    assert [line.split()[0] for line in first] == [line.split()[0] for line in second]
    assert first != second


def test_history_ignores_the_hash_seed() -> None:
    program = "from tests.simulator.test_world import digest; print(digest('aks-gpu', 5))"
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "1")
    ]

    assert found == [digest("aks-gpu", 5)] * 2


def test_fixing_one_phase_shifts_no_other() -> None:
    """Each parameter has a generator of its own: a fixed launch leaves the plugin's delay as it was."""

    def plugin_delay(bed: TestBed) -> float:
        bed.cluster.create(MACHINES, a_machine())
        ready = bed.run_until(lambda: bed.is_ready(MACHINES, "ws000000001"))
        return bed.run_until(lambda: bed.gpus() > 0) - ready

    drawn = plugin_delay(TestBed("aks-gpu", seed=3))
    fixed = profile.load("aks-gpu").with_values({"machine.operation": 100, "machine.request": 1})

    assert plugin_delay(TestBed(fixed, seed=3)) == pytest.approx(drawn)


def test_many_machines_and_workloads_settle() -> None:
    bed = TestBed("aks-gpu", seed=11)
    for number in range(20):
        bed.cluster.create(MACHINES, a_machine(f"ws0000000{number:02d}"))
        bed.cluster.create(DEPLOYMENTS, a_workload(f"w{number}"))

    bed.engine.run()

    assert bed.gpus() == 40
    assert all(bed.ready_replicas(name=f"w{number}") == 1 for number in range(20))


def test_lost_watches_are_opened_again() -> None:
    bed = TestBed()
    bed.cluster.create(MACHINES, a_machine())
    bed.until(100)
    for watch in bed.cluster.watches():
        watch.cut()
    bed.until(101)
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.engine.run()

    assert bed.ready_replicas() == 1


def test_world_takes_up_what_is_there() -> None:
    """Objects from before the world's start are found by its first look at the cluster."""
    bed = TestBed()
    bed.cluster.create(MACHINES, a_machine())
    bed.with_nodes("node-a")
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.engine.run()

    assert bed.is_ready(MACHINES, "ws000000001")
    assert bed.ready_replicas() == 1
