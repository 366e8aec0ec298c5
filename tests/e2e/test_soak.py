"""Both processes for long, while Workspaces come, change and go and their connections are cut: nothing grows.

``KAITO_SOAK_MINUTES`` says how long: 3 without it, 30 for the figures that are told of a release. They are
printed, and written to ``out/soak.json`` and ``out/soak.png``.
"""

from __future__ import annotations

import os

import pytest

from tests.e2e.churn import Churn
from tests.e2e.growth import Samples, Watcher, draw_memory, write_figures
from tests.e2e.real_world import ROOT, RealWorld
from tests.e2e.waiting import holds

pytestmark = [pytest.mark.real_server, pytest.mark.campaign]

MINUTES = float(os.environ.get("KAITO_SOAK_MINUTES", "3"))
SAMPLE_SECONDS = 3.0 if MINUTES < 10 else 10.0

MOST_GAINED_MIB = 10.0
"""Over the whole measured time, however short: the allocator takes memory in large pieces."""

SPARE = 4
"""Connections more or less are a matter of which calls happen to be under way at once."""

SETTLED_MINUTES = 10.0
"""The provisioner's workers keep a connection each to the cloud and to the API server, and it takes some ten
minutes of this churn until every one of them has worked; before that, more is no growth."""

MOST = {"threads": 32, "descriptors": 52, "sockets": 42}
"""What both hold at most, with some room: one leaked at each cut of a watch would pass it within minutes."""


def nothing_is_left(world: RealWorld) -> bool:
    left = (world.workspaces(), world.machines(), world.nodes(), world.pods(), world.deployments())
    return not any(left) and not world.services() and not world.pools()


def is_bounded(samples: Samples) -> bool:
    settled = samples.settled
    minutes = (settled[-1].seconds - settled[0].seconds) / 60
    return samples.slope() * minutes <= MOST_GAINED_MIB


def test_churn_leaves_no_growth_behind(world: RealWorld) -> None:
    processes = {"operator": world.operator().process, "provisioner": world.provisioner().process}
    pids = [process.pid for process in processes.values()]

    with (
        world.heartbeats(10.0),
        Watcher(processes, SAMPLE_SECONDS) as watcher,
        Churn(world) as churn,
    ):
        holds(lambda: all(process.running for process in processes.values()), MINUTES * 60)
    churn.delete_all()
    world.until(lambda: nothing_is_left(world), 120)
    write_figures(ROOT / "out" / "soak.json", watcher.samples, changes=churn.changes)
    draw_memory(ROOT / "out" / "soak.png", watcher.samples)
    for name, samples in watcher.samples.items():
        print(f"\n{name}: {samples.figures()}")
    print(churn.changes)

    assert [process.pid for process in processes.values()] == pids
    assert min(churn.changes.values()) > 0
    assert (churn.troubles, world.players.troubles) == ([], [])
    for samples in watcher.samples.values():
        assert is_bounded(samples), samples.figures()
        for what, most in MOST.items():
            assert samples.figures()[f"{what}_most"] <= most, (what, samples.figures())
            assert MINUTES < SETTLED_MINUTES or samples.gained(what) <= SPARE, (what, samples.figures())
