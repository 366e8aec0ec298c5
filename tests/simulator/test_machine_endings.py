"""Deleting a Machine ends, wherever in its life it is, also while the cloud fails half of all calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kaito.runtime.ports import MACHINES, NODES, PODDISRUPTIONBUDGETS, PODS
from kaito.runtime.translation import conditions_of
from simulator.azure.scripts import Fail, Hang, Refuse, Reset
from statemachine.machine.state import PoolPhase
from tests.simulator.budgets import a_budget
from tests.simulator.campaigns import FAMILY, MINUTE, SIZE, Laboratory, calm, make_machine

NAME = "ws000000001"
HALF_OF_ALL_CALLS = {"calls": {"error": 0.3, "reset_before": 0.1, "reset_after": 0.1}}


def _made(azure: dict[str, Any], prepare: Callable[[Laboratory], object], minutes: float) -> Laboratory:
    lab = calm(azure=azure)
    prepare(lab)
    make_machine(lab)
    lab.run(minutes * MINUTE)
    return lab


def _nothing(lab: Laboratory) -> None:
    return None


def _cloud_silent(lab: Laboratory) -> None:
    lab.arm.fail(Reset(done=False), "put", times=20)


def _hung(lab: Laboratory) -> None:
    lab.arm.fail(Hang(), "put")


def _no_quota(lab: Laboratory) -> None:
    lab.arm.set_quota(FAMILY, 0)


def _out_of_stock(lab: Laboratory) -> None:
    lab.arm.run_out(SIZE)


def _failed_and_stuck(lab: Laboratory) -> None:
    lab.arm.fail(Fail(machine_stays=True), "put")
    lab.arm.fail(Refuse(status=409, code="OperationNotAllowed", message="in progress"), "delete", times=8)


def _failed_and_leaving(lab: Laboratory) -> None:
    lab.arm.fail(Fail(machine_stays=True), "put")
    lab.arm.fail(Hang(), "delete")


PLACES = {
    "requested": (_cloud_silent, 0.1, PoolPhase.REQUESTED),
    "creating": (_nothing, 1, PoolPhase.CREATING),
    "hung": (_hung, 20, PoolPhase.CREATING),
    "blocked by quota": (_no_quota, 3, PoolPhase.NONE),
    "out of stock": (_out_of_stock, 12, PoolPhase.NONE),
    "failed, deletion refused": (_failed_and_stuck, 3, PoolPhase.DOOMED),
    "failed, deletion hangs": (_failed_and_leaving, 3, PoolPhase.LEAVING),
    "launched": (_nothing, 10, PoolPhase.LAUNCHED),
}


@pytest.mark.parametrize("place", sorted(PLACES))
def test_machine_ends_from_every_phase(place: str) -> None:
    prepare, minutes, phase = PLACES[place]
    lab = _made({"delete_preempts": True}, prepare, minutes)
    reached = lab.checker.machine(NAME).phase

    lab.cluster.delete(MACHINES, NAME)
    lab.run(60 * MINUTE)
    lab.arm.release()  # a deletion that hangs keeps its pool until it ends
    lab.run(60 * MINUTE)

    assert reached is phase
    assert _is_gone(lab)


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("preempts", [True, False])
def test_machine_ends_though_half_of_all_calls_fail(place: str, preempts: bool) -> None:
    prepare, minutes, _ = PLACES[place]
    lab = _made({**HALF_OF_ALL_CALLS, "delete_preempts": preempts}, prepare, minutes)

    lab.cluster.delete(MACHINES, NAME)
    lab.run(60 * MINUTE)
    lab.arm.release()  # what hangs keeps its pool until it ends
    lab.run(180 * MINUTE)

    assert _is_gone(lab)


def test_machine_without_a_node_ends() -> None:
    lab = _made({"failures": {"node_never": 1.0}}, _nothing, 8)
    assert lab.cluster.list(NODES).items == []

    lab.cluster.delete(MACHINES, NAME)
    lab.run(5 * MINUTE)

    assert _is_gone(lab)


def test_machine_with_two_nodes_ends() -> None:
    lab = _made({"failures": {"node_twice": 1.0}}, _nothing, 8)
    assert len(lab.cluster.list(NODES).items) == 2

    lab.cluster.delete(MACHINES, NAME)
    lab.run(5 * MINUTE)

    assert _is_gone(lab)
    assert lab.cluster.list(NODES).items == []


def test_machine_with_a_terminal_verdict_ends() -> None:
    lab = _made({"unavailable_sizes": [SIZE]}, _nothing, 1)
    assert lab.checker.machine(NAME).terminal

    lab.cluster.delete(MACHINES, NAME)
    lab.run(MINUTE)

    assert _is_gone(lab)


def _is_gone(lab: Laboratory) -> bool:
    """No trace in the cluster or the cloud, and the story is over; no law was broken on the way."""
    assert lab.checker.violations == []
    assert lab.checker.pool_names() == []
    assert lab.cluster.list(MACHINES).items == []
    return lab.checker.machine(NAME).is_over


# --- drains -----------------------------------------------------------------------------------------


def test_drain_waits_for_a_budget_and_names_the_pod() -> None:
    lab = _drained_against_a_budget()

    said = conditions_of(lab.cluster.get(MACHINES, NAME))["MachineTerminating"]

    assert "default/web" in said["message"]
    assert lab.cluster.get(PODS, "web", "default")["metadata"].get("deletionTimestamp") is None
    assert lab.checker.pool_names() == [NAME]


def test_drain_goes_on_when_the_budget_allows() -> None:
    lab = _drained_against_a_budget()

    lab.cluster.delete(PODDISRUPTIONBUDGETS, "web", "default")
    lab.run(5 * MINUTE)

    assert _is_gone(lab)


def test_drain_ends_at_its_limit() -> None:
    lab = _drained_against_a_budget()

    lab.run(40 * MINUTE)

    assert _is_gone(lab)


def _drained_against_a_budget() -> Laboratory:
    """A Machine that is to go, with one pod that a budget does not let go."""
    lab = _made({}, _nothing, 10)
    (node,) = lab.cluster.list(NODES).items
    name = node["metadata"]["name"]
    container = {"name": "web", "image": "web", "resources": {}}
    spec = {"containers": [container], "nodeName": name}
    pod = {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}
    lab.cluster.create(PODS, pod, "default")
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    lab.cluster.patch(PODS, "web", {"status": ready}, "default", subresource="status")
    lab.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=1), "default")
    lab.run(20 * MINUTE)  # until its image is there and it is ready
    lab.cluster.delete(MACHINES, NAME)
    lab.run(2 * MINUTE)
    return lab
