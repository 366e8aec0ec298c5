"""What the cloud of a fault campaign is like: its chances to fail, and what becomes of single launches."""

from __future__ import annotations

from random import Random
from typing import Any

from simulator.azure.scripts import Fail, Fault, Hang, Lose, Refuse, Take

SIZE, FAMILY = "Standard_NC12s_v3", "standardNCSv3Family"
FORBIDDEN_SIZE = "Standard_NC24s_v3"
"""A size that this subscription may not have."""

FOREIGN = ("ws0foreign01", "gpupool")
"""Pools of somebody else; the first has a name that a Machine could have."""

FAILS = Fail(code="InternalServerError", message="An internal error occurred", after_seconds=45)
FATES: dict[str, Fault] = {
    "service fails": FAILS,
    "canceled": Fail(status="Canceled", code="OperationPreempted", message="preempted", after_seconds=20),
    "out of stock": Fail(
        code="AllocationFailed", message="Allocation failed. We do not have sufficient capacity"
    ),
    "bootstrap fails": Fail(
        code="VMExtensionProvisioningError",
        message="VM has reported a failure when processing extension 'vmssCSE'. exit status=50",
        after_seconds=200,
        machine_stays=True,
    ),
    "hangs": Hang(),
    "lost": Lose(),
    "lost, seen running": Lose(seen_as="running"),
    "slow": Take(seconds=2400),
    "not authorized": Refuse(
        status=403, code="AuthorizationFailed", message="The client does not have authorization"
    ),
    "busy": Refuse(status=409, code="OperationNotAllowed", message="there's an in progress create operation"),
    "service unavailable": Refuse(status=503, code="ServiceUnavailable", message="try again"),
}
"""What a PUT, or its operation, may come to; by the name under which it is counted."""


def bad_cloud(draw: Random) -> dict[str, Any]:
    """A cloud with foreign pools and chances of its own to fail, which end with `end_faults`."""

    def some(*chances: float) -> float:
        return draw.choice((0.0, 0.0, *chances))

    system = {"name": "nodepool1", "vm_size": "Standard_D4s_v5", "mode": "System", "count": 1}
    foreign = [{"name": name, "vm_size": SIZE, "count": 0} for name in FOREIGN]
    return {
        "name": "chaos",
        "pools": [system, *foreign],
        "delete_of_missing": draw.choice((204, 404)),
        "delete_preempts": draw.random() < 0.5,
        "unavailable_sizes": [FORBIDDEN_SIZE],
        "quota": {"told": draw.choice(("call", "operation"))},
        "stockouts": {"wrapped": draw.random() < 0.5},
        "failures": {
            "bootstrap": some(0.1),
            "service": some(0.1),
            "lost_operation": some(0.2),
            "node_never": some(0.1),
            "node_late": some(0.2),
            "node_twice": some(0.1),
            "index_above_zero": some(0.5),
        },
        "calls": {
            "error": some(0.1, 0.3),
            "reset_before": some(0.05),
            "reset_after": some(0.05),
            "garbage": some(0.05),
        },
        "throttling": {"enabled": draw.random() < 0.5, "tells_retry_after": draw.random() < 0.5},
    }
