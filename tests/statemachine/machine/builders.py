"""Values for the Machine's tests: every argument has a default, every time counts from one epoch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.collection import MachineSighting
from statemachine.machine.observations import (
    MachineNode,
    MachineObject,
    MachineOutcome,
    MachinePicture,
    NodePod,
    OperationReading,
    OperationState,
    PoolFault,
    PoolReading,
    PoolState,
)
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine
from statemachine.observations import Result
from statemachine.state import BlockedReason
from tests.builders import EPOCH, SKU, at

NAME = "ws6b3a9f014"
UID = "0e2c5f7a-0000-4000-8000-000000000001"
NODE = f"aks-{NAME}-41071934-vmss000000"
PROVIDER_ID = (
    f"azure:///subscriptions/s/resourceGroups/r/virtualMachineScaleSets/{NODE[:-6]}/virtualMachines/0"
)
CREATE_URL = "https://cloud.example/operations/create-1"
DELETE_URL = "https://cloud.example/operations/delete-1"
RESOURCES = ("cpu=12", "memory=224Gi", "nvidia.com/gpu=2")

SUBMIT = cmd.SubmitPool(attempt=1, uid=UID, vm_size=SKU, os_disk_gb=50)


# --- pictures ---------------------------------------------------------------------------------------


def an_object(**changes: Any) -> MachineObject:
    ordinary: dict[str, Any] = {
        "name": NAME, "uid": UID, "created_at": EPOCH, "has_finalizer": True, "vm_size": SKU,
        "os_disk_gb": 50,
    }  # fmt: skip
    return MachineObject(**{**ordinary, **changes})


def a_node(name: str = NODE, **changes: Any) -> MachineNode:
    """A Ready node with all our marks."""
    ordinary: dict[str, Any] = {
        "provider_id": PROVIDER_ID, "ready": True, "has_finalizer": True, "owned": True,
        "registered": True, "initialized": True, "capacity": RESOURCES, "allocatable": RESOURCES,
    }  # fmt: skip
    return MachineNode(**{"name": name, **ordinary, **changes})


def a_bare_node(name: str = NODE, **changes: Any) -> MachineNode:
    """A node as the cloud makes it."""
    bare = {"has_finalizer": False, "owned": False, "registered": False, "initialized": False}
    return a_node(name, **{**bare, **changes})


def a_pod(name: str = "falcon-0", **changes: Any) -> NodePod:
    return NodePod(**{"namespace": "default", "name": name, "uid": f"uid-{name}", "node": NODE, **changes})


def a_picture(**changes: Any) -> MachinePicture:
    """The object alone, unless told otherwise."""
    return MachinePicture(**{"machine": an_object(), **changes})


def a_launched_picture(**changes: Any) -> MachinePicture:
    return a_picture(**{"nodes": (a_node(),), **changes})


def a_deleting_picture(**changes: Any) -> MachinePicture:
    machine = an_object(deleting=True)
    return a_picture(**{"machine": machine, "nodes": (a_node(cordoned=True),), **changes})


# --- answers ----------------------------------------------------------------------------------------


def a_fault(reason: BlockedReason = BlockedReason.QUOTA_EXCEEDED, **changes: Any) -> PoolFault:
    ordinary = {
        "code": "OperationNotAllowed",
        "message": "exceeding approved standardNCSv3Family Cores quota",
    }
    return PoolFault(**{"reason": reason, **ordinary, **changes})


QUOTA = a_fault(family="standardNCSv3Family", limit=100, used=96, needed=64)
STOCK_OUT = a_fault(BlockedReason.INSUFFICIENT_CAPACITY, code="AllocationFailed", message="no capacity")
NO_SKU = a_fault(
    BlockedReason.SKU_NOT_AVAILABLE, code="VMSizeNotSupported", message="not allowed", terminal=True
)


def a_pool(state: PoolState = PoolState.CREATING, **changes: Any) -> PoolReading:
    ordinary = {"name": NAME, "owner": NAME, "owner_uid": UID, "vm_size": SKU, "created_at": EPOCH}
    return PoolReading(**{"state": state, **ordinary, **changes})


def an_answer(command: cmd.MachineCommand, result: Result = Result.DONE, **changes: Any) -> MachineOutcome:
    return MachineOutcome(command=command, result=result, **changes)


def accepted(url: str = CREATE_URL, command: cmd.MachineCommand = SUBMIT) -> MachineOutcome:
    return an_answer(command, operation=OperationReading(url=url))


def refused(fault: PoolFault = QUOTA, command: cmd.MachineCommand = SUBMIT) -> MachineOutcome:
    return an_answer(command, Result.REFUSED, fault=fault)


def ended(
    state: OperationState = OperationState.SUCCEEDED, url: str = CREATE_URL, fault: PoolFault | None = None
) -> MachineOutcome:
    reading = OperationReading(url=url, state=state, fault=fault)
    return an_answer(cmd.ReadOperation(url=url), operation=reading)


def read(pool: PoolReading | None = None, command: cmd.MachineCommand | None = None) -> MachineOutcome:
    result = Result.NOT_FOUND if pool is None else Result.DONE
    return an_answer(command or cmd.ReadPool(), result, pool=pool)


# --- histories --------------------------------------------------------------------------------------


def an_acceptance(**changes: Any) -> ev.MachineAccepted:
    ordinary: dict[str, Any] = {
        "at": EPOCH, "machine": NAME, "uid": UID, "generation": 1, "created_at": EPOCH, "vm_size": SKU,
        "os_disk_gb": 50,
    }  # fmt: skip
    return ev.MachineAccepted(**{**ordinary, **changes})


def a_request(attempt: int = 1, seconds: float = 0) -> ev.PoolCreationRequested:
    return ev.PoolCreationRequested(
        at=at(seconds), machine=NAME, pool=NAME, attempt=attempt, vm_size=SKU, os_disk_gb=50
    )


def a_submission(seconds: float = 1) -> ev.PoolCreationSubmitted:
    return ev.PoolCreationSubmitted(at=at(seconds), machine=NAME, pool=NAME, operation=CREATE_URL)


def a_failure(seconds: float = 5, **changes: Any) -> ev.PoolCreationFailed:
    ordinary: dict[str, Any] = {
        "at": at(seconds), "machine": NAME, "pool": NAME, "attempt": 1,
        "reason": BlockedReason.QUOTA_EXCEEDED, "code": "OperationNotAllowed", "message": "no quota",
        "retry_at": at(605),
    }  # fmt: skip
    return ev.PoolCreationFailed(**{**ordinary, **changes})


def a_registration(seconds: float = 258, **changes: Any) -> ev.NodeRegistered:
    ordinary: dict[str, Any] = {
        "at": at(seconds), "machine": NAME, "node": NODE, "provider_id": PROVIDER_ID,
        "capacity": RESOURCES, "allocatable": RESOURCES,
    }  # fmt: skip
    return ev.NodeRegistered(**{**ordinary, **changes})


def a_launch(seconds: float = 258) -> list[ev.MachineEvent]:
    """Accepted, submitted and created, without a node."""
    return [
        an_acceptance(),
        a_request(),
        a_submission(),
        ev.MachineLaunchCompleted(at=at(seconds), machine=NAME, provider_id=""),
    ]


def a_history(seconds: float = 258) -> list[ev.MachineEvent]:
    """The ordinary way to Ready."""
    return [
        *a_launch(seconds),
        a_registration(seconds),
        ev.NodeInitialized(at=at(seconds), machine=NAME, node=NODE),
    ]


def a_termination(seconds: float = 3000) -> list[ev.MachineEvent]:
    """Drained in 31 s, the pool gone after another 33 s, as in the reference run."""
    drained, gone = at(seconds + 31), at(seconds + 64)
    return [
        ev.TerminationStarted(at=at(seconds), machine=NAME),
        ev.DrainStarted(at=at(seconds), machine=NAME, nodes=(NODE,)),
        ev.DrainCompleted(at=drained, machine=NAME),
        ev.PoolDeletionRequested(at=drained, machine=NAME, pool=NAME),
        ev.PoolDeletionSubmitted(at=drained, machine=NAME, pool=NAME, operation=DELETE_URL),
        ev.PoolOperationEnded(
            at=gone, machine=NAME, pool=NAME, operation=DELETE_URL, state=OperationState.SUCCEEDED
        ),
        ev.PoolRemoved(at=gone, machine=NAME, pool=NAME),
        ev.NodeRemoved(at=gone, machine=NAME, node=NODE),
        ev.MachineReleased(at=gone, machine=NAME),
        ev.MachineRemoved(at=gone + timedelta(seconds=1), machine=NAME),
    ]


def a_machine(events: Iterable[ev.MachineEvent] = ()) -> Machine:
    """A Machine that was accepted and lived through these events."""
    return fold([an_acceptance(), *events])


def a_sighting(name: str = NAME, **changes: Any) -> MachineSighting:
    """A Machine in good health."""
    ordinary = {"uid": f"uid-{name}", "launched": True, "registered": True}
    return MachineSighting(**{"name": name, **ordinary, **changes})
