"""Each process is killed at each of its calls of a lifecycle in turn, and nobody can tell afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from kaito.clock import WallClock
from tests.e2e.dooms import Doom, Point, about_lease, of_a_lifecycle, points_of, told
from tests.e2e.journal import Match
from tests.e2e.lifecycles import SHORT_TERMS, Life, Lifecycles, Picture
from tests.e2e.real_world import Member, RealWorld
from tests.e2e.rules import AFTER, BEFORE, When

pytestmark = pytest.mark.real_server

FEWEST = {"operator": 15, "provisioner": 22}
"""Calls of a lifecycle, at the least: an enumeration of nothing would prove nothing."""

EVENT_STRIDE = 4
"""Of the Events, which are a courtesy, every fourth."""

both_fates = pytest.mark.parametrize("when", [BEFORE, AFTER], ids=["before", "after"])
both_processes = pytest.mark.parametrize("name", ["operator", "provisioner"])


@pytest.fixture
def lives(world: RealWorld) -> Iterator[Lifecycles]:
    """Both processes, whose logs have to be sound at the end."""
    lives = Lifecycles(world, *SHORT_TERMS)
    yield lives
    assert world.players.troubles == []
    for member in (lives.operator, lives.provisioner):
        check_log(member)


@both_fates
@both_processes
def test_killed_at_any_call_it_ends_alike(lives: Lifecycles, name: str, when: When) -> None:
    picture, points = calm_life(lives, name, of_a_lifecycle)

    missed = kill_at_each(lives, name, when, points, picture)

    # The last of several alike may be one more than this life needed.
    assert len(points) >= FEWEST[name]
    assert not [point for point in missed if point.nth == 1]
    assert len(missed) <= len(points) // 4


@both_fates
@both_processes
def test_killed_at_an_event_it_ends_alike(lives: Lifecycles, name: str, when: When) -> None:
    picture, points = calm_life(lives, name, told)

    missed = kill_at_each(lives, name, when, points[::EVENT_STRIDE], picture)

    assert missed == []


@both_fates
@both_processes
def test_killed_at_its_lease_it_ends_alike(lives: Lifecycles, name: str, when: When) -> None:
    member = lives.world.members[name]
    picture = lives.live().picture
    asked = {point.kind: point for point in points_of(member.journal.since(0, about_lease))}
    first_life = [Point(kind, 1) for kind in asked if kind.method != "POST"]
    points = [*first_life, *(Point(kind, 3) for kind in asked if kind.method == "PUT")]

    missed = kill_at_each(lives, name, when, points, picture, anew=True)

    assert [point.kind.method for point in points] == ["GET", "PUT", "PUT"]
    assert missed == []


def calm_life(lives: Lifecycles, name: str, match: Match) -> tuple[Picture, list[Point]]:
    """What there is when nothing happens, and the calls that this takes."""
    kube, arm = lives.world.members[name].kube.journal, lives.world.members[name].arm.journal
    marks = len(kube), len(arm)
    life = lives.live()
    return life.picture, points_of([*kube.since(marks[0], match), *arm.since(marks[1], match)])


def kill_at_each(
    lives: Lifecycles, name: str, when: When, points: list[Point], picture: Picture, *, anew: bool = False
) -> list[Point]:
    """One life for each of the calls; those that did not come to pass.

    Args:
        anew: Whether the process is started anew at the beginning of each life.
    """
    member, missed = lives.world.members[name], []
    begun, longest = WallClock().monotonic(), 0.0
    for point in points:
        if anew:
            member.process.kill()
        with Doom(member, when, point) as doom:
            life = lives.live(like=picture)
        check(life, f"{name} killed {when.value} {point}: {doom.struck}")
        longest = max(longest, life.ready_seconds)
        missed += [] if doom.struck else [point]
    seconds = WallClock().monotonic() - begun
    killed = len(points) - len(missed)
    print(f"{name} killed {when.value} {killed} calls in {seconds:.0f} s, {lives.starts} starts")
    print(f"  led again after {max(lives.back_seconds):.1f} s at most, Workspace ready after {longest:.1f} s")
    print(f"  not asked this time: {[str(each) for each in missed]}")
    return missed


def check(life: Life, what: str) -> None:
    """One Machine was ever made, and one pool, which is its own."""
    assert len(life.machines) == 1, f"{what}: {life.machines}"
    assert life.puts == life.machines, f"{what}: {life.puts}"


def check_log(member: Member) -> None:
    """`kaito log verify` finds nothing."""
    url = next(each for each in member.process.arguments if each.startswith("sqlite:"))
    command = [sys.executable, "-m", "kaito", "log", "verify", "--log", url]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
