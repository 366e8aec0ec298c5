"""Values for tests: every argument has a default, every time counts from one epoch.

A builder gives the ordinary thing of its kind (one GPU node, a Deployment of one replica), so that a test
names only what it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from statemachine import events as ev
from statemachine.commands import Command
from statemachine.limits import Limits
from statemachine.naming import machine_name
from statemachine.observations import (
    ClusterView,
    CommandOutcome,
    MachineFailure,
    MachineView,
    NodeView,
    PodView,
    Result,
    ServiceView,
    WorkloadView,
    WorkspaceView,
)
from statemachine.replay import fold
from statemachine.state import BlockedReason, Slot, SlotPhase, Workspace

EPOCH = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
UID = "6a2f1d5e-0000-4000-8000-000000000001"
NAME = "workspace-falcon-7b-instruct"
SKU = "Standard_NC12s_v3"


def at(seconds: float) -> datetime:
    """A moment so many seconds after the epoch of the tests."""
    return EPOCH + timedelta(seconds=seconds)


def a_machine_name(slot: int = 0, attempt: int = 1) -> str:
    return machine_name(UID, slot, attempt)


# --- pictures ---------------------------------------------------------------------------------------


def a_workspace_view(**changes: Any) -> WorkspaceView:
    ordinary: dict[str, Any] = {
        "uid": UID,
        "namespace": "default",
        "name": NAME,
        "has_finalizer": True,
        "instance_type": SKU,
        "inference": "preset falcon-7b-instruct",
    }
    return WorkspaceView(**{**ordinary, **changes})


def a_machine_view(name: str = "", **changes: Any) -> MachineView:
    name = name or a_machine_name()
    return MachineView(**{"name": name, "uid": f"uid-{name}", **changes})


def a_ready_machine_view(slot: int = 0, attempt: int = 1, **changes: Any) -> MachineView:
    """A Machine that is ready and names the node ``node-<slot>``."""
    ready = {"launched": True, "ready": True, "node": f"node-{slot}"}
    return a_machine_view(a_machine_name(slot, attempt), **{**ready, **changes})


def a_failure(**changes: Any) -> MachineFailure:
    ordinary = {"reason": BlockedReason.QUOTA_EXCEEDED, "message": "limit 100, used 56, need 64"}
    return MachineFailure(**{**ordinary, **changes})


def a_node_view(name: str = "node-0", **changes: Any) -> NodeView:
    """A usable GPU node that nobody made a Machine for."""
    ordinary = {"instance_type": SKU, "ready": True, "gpus": 2, "has_accelerator_label": True}
    return NodeView(**{"name": name, **ordinary, **changes})


def a_service_view(**changes: Any) -> ServiceView:
    return ServiceView(**{"name": NAME, **changes})


def a_workload_view(**changes: Any) -> WorkloadView:
    return WorkloadView(**{"kind": "Deployment", "name": NAME, **changes})


def a_pod_view(**changes: Any) -> PodView:
    """A pod on a node whose container has not started."""
    return PodView(**{"name": f"{NAME}-0", "node": "node-0", **changes})


def a_cluster_view(**changes: Any) -> ClusterView:
    """The object alone, unless told otherwise."""
    return ClusterView(**{"workspace": a_workspace_view(), **changes})


def a_provisioned_view(count: int = 1, **changes: Any) -> ClusterView:
    """The object with so many ready Machines and their usable nodes."""
    machines = tuple(sorted((a_ready_machine_view(i) for i in range(count)), key=lambda m: m.name))
    nodes = tuple(a_node_view(f"node-{i}", machine=a_machine_name(i)) for i in range(count))
    ordinary = {"workspace": a_workspace_view(node_count=count), "machines": machines, "nodes": nodes}
    return ClusterView(**{**ordinary, **changes})


def a_serving_view(count: int = 1, **changes: Any) -> ClusterView:
    """Everything there and ready: nodes, Service, workload."""
    serving = {"service": a_service_view(), "workload": a_workload_view(desired=count, ready=count)}
    return a_provisioned_view(count, **{**serving, **changes})


def an_outcome(command: Command, result: Result = Result.DONE, **changes: Any) -> CommandOutcome:
    return CommandOutcome(command=command, result=result, **changes)


# --- states -----------------------------------------------------------------------------------------


def a_slot(**changes: Any) -> Slot:
    return Slot(**{"index": 0, "phase": SlotPhase.FREE, **changes})


def a_workspace(events: Iterable[ev.WorkspaceEvent] = (), **created: Any) -> Workspace:
    """A Workspace that was created with these fields and lived through these events."""
    return fold([a_creation(**created), *events])


# --- events and histories ---------------------------------------------------------------------------


def a_creation(**changes: Any) -> ev.WorkspaceCreated:
    ordinary: dict[str, Any] = {
        "at": EPOCH,
        "uid": UID,
        "namespace": "default",
        "name": NAME,
        "generation": 1,
        "node_count": 1,
        "instance_type": SKU,
        "inference": "preset falcon-7b-instruct",
        "limits": Limits(),
    }
    return ev.WorkspaceCreated(**{**ordinary, **changes})


def a_request(slot: int = 0, attempt: int = 1, seconds: float = 0) -> ev.MachineRequested:
    return ev.MachineRequested(
        at=at(seconds), slot=slot, attempt=attempt, machine=a_machine_name(slot, attempt)
    )


def a_provisioning(count: int = 1, launch_seconds: float = 120, attempt: int = 1) -> list[ev.WorkspaceEvent]:
    """Machines requested, created, launched and usable; all slots in parallel."""
    slots = [(i, a_machine_name(i, attempt), f"node-{i}") for i in range(count)]
    usable = launch_seconds + 1
    return [
        *[a_request(i, attempt) for i, _, _ in slots],
        *[ev.MachineCreated(at=at(0), slot=i, machine=m, uid=f"uid-{m}") for i, m, _ in slots],
        *[ev.MachineLaunched(at=at(launch_seconds), slot=i, machine=m) for i, m, _ in slots],
        *[ev.MachineBecameReady(at=at(usable), slot=i, machine=m, node=n) for i, m, n in slots],
        *[ev.NodeBecameUsable(at=at(usable), slot=i, node=n) for i, _, n in slots],
        ev.NodePluginsInstalled(at=at(usable), nodes=tuple(n for _, _, n in slots)),
        ev.WorkerNodesChosen(at=at(usable), nodes=tuple(n for _, _, n in slots)),
    ]


def a_serving(seconds: float = 130, count: int = 1) -> list[ev.WorkspaceEvent]:
    """Service and workload created, image pulled, model loaded, ready."""
    later = [at(seconds + extra) for extra in (0, 1, 240, 700)]
    return [
        ev.ServiceCreated(at=later[0], name=NAME),
        ev.WorkloadCreated(at=later[0], kind="Deployment", name=NAME),
        ev.InferenceProgressed(at=later[1], phase="Pulling", message="pulling the image"),
        ev.InferenceProgressed(at=later[2], phase="Loading", message="loading the model"),
        ev.InferenceBecameReady(at=later[3], ready=count, desired=count),
    ]


def a_deletion(machines: Sequence[str] = (), seconds: float = 3000) -> list[ev.WorkspaceEvent]:
    """The object deleted, its Machines gone a minute later, the finalizer released."""
    machines = machines or (a_machine_name(),)
    gone = at(seconds + 64)
    return [
        ev.WorkspaceDeletionRequested(at=at(seconds)),
        *[ev.MachineDeletionRequested(at=at(seconds), machine=machine) for machine in machines],
        *[ev.MachineDeleted(at=gone, machine=machine) for machine in machines],
        ev.WorkspaceReleased(at=gone),
        ev.WorkspaceDeleted(at=gone),
    ]


def a_history(count: int = 1, launch_seconds: float = 120, deleted: bool = False) -> list[ev.WorkspaceEvent]:
    """The ordinary life: created, provisioned, serving and, where wanted, deleted."""
    machines = sorted(a_machine_name(i) for i in range(count))
    return [
        a_creation(node_count=count),
        *a_provisioning(count, launch_seconds),
        *a_serving(launch_seconds + 10, count),
        *(a_deletion(machines) if deleted else []),
    ]
