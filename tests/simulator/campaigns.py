"""Laboratories to test with: whole worlds with both controllers, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kaito.runtime.ports import MACHINES, WORKSPACES, Object
from kaito.runtime.settings import Settings
from kaito.runtime.translation import conditions_of
from simulator.bad_clouds import FAMILY, FOREIGN, SIZE
from simulator.faults import Family, OneFault, Plan
from simulator.laboratory import Laboratory
from simulator.people import a_workspace
from tests.simulator.worlds import a_machine

__all__ = [
    "FAMILY", "FOREIGN", "MINUTE", "SECOND", "SIZE", "Laboratory", "a_machine", "a_workspace", "calm",
    "condition", "make_machine", "puts", "the_machine",
]  # fmt: skip

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

NO_FAULT = OneFault(0, Family.CALL_LOST)


def calm(
    plan: Plan = NO_FAULT,
    azure: Mapping[str, Any] | None = None,
    *,
    seed: int = 1,
    settings: Settings | None = None,
) -> Laboratory:
    """A started world, by default without any fault, in which every phase takes a fixed time."""
    lab = Laboratory(seed, plan, azure or {}, latencies="reference-run", settings=settings or Settings())
    lab.start()
    return lab


def make_machine(lab: Laboratory, name: str = "ws000000001") -> None:
    """A Machine that no Workspace asked for."""
    lab.checker.by_hand.add(name)
    lab.cluster.create(MACHINES, a_machine(name))


def the_machine(lab: Laboratory) -> Object:
    (found,) = lab.cluster.list(MACHINES).items
    return found


def condition(lab: Laboratory, kind: str, name: str = "w") -> Object:
    """A condition of the Workspace; empty while there is none."""
    return dict(conditions_of(lab.cluster.get(WORKSPACES, name, "default")).get(kind, {}))


def puts(lab: Laboratory) -> list[float]:
    """When each PUT went out, in seconds after the start."""
    return [(call.at - lab.engine.start).total_seconds() for call in lab.arm.journal if call.verb == "put"]
