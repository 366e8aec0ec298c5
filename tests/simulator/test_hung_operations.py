"""Operations that never answer: they hold no worker, delay nobody, and are given up in the end."""

from __future__ import annotations

from kaito.runtime.ports import MACHINES
from kaito.runtime.translation import conditions_of
from simulator.azure.scripts import Hang, Lose
from tests.simulator.campaigns import MINUTE, SECOND, Laboratory, a_machine, calm

ROOM = {"pool_limit": 1000}
HUNG = 500


def test_five_hundred_hung_machines_delay_no_other() -> None:
    alone, crowded = calm(azure=ROOM), calm(azure=ROOM)
    crowded.arm.fail(Hang(), "put", "hung*", times=None)
    for number in range(HUNG):
        crowded.cluster.create(MACHINES, a_machine(f"hung{number:03d}"))
    for lab in (alone, crowded):
        lab.engine.run(until=lab.engine.now() + 10 * SECOND)
        lab.cluster.create(MACHINES, a_machine())

    expected, found = _ready_after(alone), _ready_after(crowded)

    assert found == expected
    assert sum(pool.busy for pool in crowded.arm.service.pools.values()) == HUNG


def _ready_after(lab: Laboratory) -> float:
    """When the one Machine that matters is Ready, in seconds after the start."""

    def is_ready() -> bool:
        found = conditions_of(lab.cluster.get(MACHINES, "ws000000001"))
        return bool(found.get("Ready", {}).get("status") == "True")

    lab.engine.run(until=lab.engine.now() + 15 * MINUTE, stop=is_ready)
    assert is_ready()
    return lab.engine.monotonic()


def test_creation_that_hangs_is_given_up_and_replaced() -> None:
    lab = calm(azure={"delete_preempts": True})
    lab.arm.fail(Hang(), "put")
    lab.cluster.create(MACHINES, a_machine())

    lab.run(45 * MINUTE)

    assert _is_ready(lab)
    assert lab.checker.machine("ws000000001").attempt == 2


def test_lost_operation_is_found_out_from_the_pool() -> None:
    for seen_as in ("missing", "running"):
        lab = calm()
        lab.arm.fail(Lose(seen_as=seen_as), "put")
        lab.cluster.create(MACHINES, a_machine())

        lab.run(60 * MINUTE)

        assert _is_ready(lab), seen_as


def _is_ready(lab: Laboratory) -> bool:
    found = conditions_of(lab.cluster.get(MACHINES, "ws000000001"))
    return bool(found.get("Ready", {}).get("status") == "True")
