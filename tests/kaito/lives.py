"""Hand-written lives of Workspaces, as records of a log in memory and as a log in a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from kaito.history.chronicle import Chronicle, load
from statemachine import events as ev
from statemachine.limits import Limits
from statemachine.machine import events as mev
from store.memory import MemoryEventLog
from store.records import EventLog, StoredEvent

START = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)
NAME, NAMESPACE, UID = "falcon", "default", "uid-1"
STREAM = f"workspace/{NAMESPACE}/{NAME}/{UID}"
MACHINE, NODE = "wsaaa", "aks-wsaaa-vmss000000"
LIMITS = Limits(
    machine_slow_after=240,
    machine_timeout=900,
    inference_timeout=1800,
    machine_usual_p50=272,
    machine_usual_p95=481,
    inference_usual_p50=590,
    inference_usual_p95=1200,
)


def at(seconds: float) -> datetime:
    """So many seconds after the creation."""
    return START + timedelta(seconds=seconds)


def created(**changes: object) -> ev.WorkspaceCreated:
    fields: dict[str, object] = {
        "at": START,
        "uid": UID,
        "namespace": NAMESPACE,
        "name": NAME,
        "generation": 1,
        "node_count": 1,
        "instance_type": "Standard_NC12s_v3",
        "inference": "preset falcon-7b-instruct",
        "limits": LIMITS,
    }
    return ev.WorkspaceCreated(**{**fields, **changes})  # type: ignore[arg-type]  # builders override by name


def requested(seconds: float = 0.2, slot: int = 0, attempt: int = 1, machine: str = MACHINE) -> StoredEvent:
    return ev.MachineRequested(at=at(seconds), slot=slot, attempt=attempt, machine=machine)


def made(seconds: float = 1, slot: int = 0, machine: str = MACHINE) -> StoredEvent:
    return ev.MachineCreated(at=at(seconds), slot=slot, machine=machine)


def launched(seconds: float = 250, slot: int = 0, machine: str = MACHINE) -> StoredEvent:
    return ev.MachineLaunched(at=at(seconds), slot=slot, machine=machine)


def launch_failed(seconds: float, reason: str, message: str, retry: float | None) -> StoredEvent:
    retry_at = None if retry is None else at(retry)
    return ev.MachineLaunchFailed(
        at=at(seconds), slot=0, machine=MACHINE, reason=reason, message=message, retry_at=retry_at
    )


def ready(seconds: float = 260, slot: int = 0, machine: str = MACHINE, node: str = NODE) -> StoredEvent:
    return ev.MachineBecameReady(at=at(seconds), slot=slot, machine=machine, node=node)


def usable(seconds: float = 270, slot: int = 0, node: str = NODE) -> StoredEvent:
    return ev.NodeBecameUsable(at=at(seconds), slot=slot, node=node)


def chosen(seconds: float = 270, nodes: tuple[str, ...] = (NODE,)) -> tuple[StoredEvent, ...]:
    return (
        ev.NodePluginsInstalled(at=at(seconds), nodes=nodes),
        ev.WorkerNodesChosen(at=at(seconds), nodes=nodes),
    )


def serving(seconds: float = 275) -> tuple[StoredEvent, ...]:
    return (
        ev.ServiceCreated(at=at(seconds), name=NAME),
        ev.WorkloadCreated(at=at(seconds), kind="Deployment", name=NAME),
    )


def progressed(seconds: float, phase: str) -> StoredEvent:
    return ev.InferenceProgressed(at=at(seconds), phase=phase, message=f"pod x: {phase.lower()}")


def inferring(seconds: float = 975, precision: float = 0.0) -> StoredEvent:
    return ev.InferenceBecameReady(at=at(seconds), ready=1, desired=1, precision_seconds=precision)


PROVISIONED = (created(), requested(), made(), launched(), ready(), usable(), *chosen())
DEPLOYED = (*PROVISIONED, *serving())
READY = (
    *DEPLOYED,
    progressed(276, "Scheduling"),
    progressed(280, "Pulling"),
    progressed(700, "Loading"),
    inferring(),
)
DELETING = (
    *READY,
    ev.WorkspaceDeletionRequested(at=at(2770)),
    ev.MachineDeletionRequested(at=at(2770), machine=MACHINE),
)
DELETED = (
    *DELETING,
    ev.MachineDeleted(at=at(2834), machine=MACHINE),
    ev.WorkspaceReleased(at=at(2834)),
    ev.WorkspaceDeleted(at=at(2835)),
)
TWO_SLOTS = (
    created(node_count=2),
    requested(0.2, 0, 1, "wsaaa"),
    requested(0.2, 1, 1, "wsbbb"),
    made(1, 0, "wsaaa"),
    made(1, 1, "wsbbb"),
    launched(200, 0, "wsaaa"),
    ready(210, 0, "wsaaa", "node-a"),
    usable(220, 0, "node-a"),
    launched(300, 1, "wsbbb"),
    ready(310, 1, "wsbbb", "node-b"),
    usable(320, 1, "node-b"),
    *chosen(320, ("node-a", "node-b")),
)

# The shape of an imported run: the Workspace goes before its Machine, whose stream tells launch and removal.
IMPORTED = (
    created(inference=""),
    requested(1),
    made(1),
    ready(260),
    usable(262),
    *chosen(262),
    *serving(263),
    inferring(960, precision=60),
    ev.WorkspaceDeletionRequested(at=at(2770)),
    ev.MachineDeletionRequested(at=at(2770), machine=MACHINE),
    ev.WorkspaceReleased(at=at(2770.1)),
    ev.WorkspaceDeleted(at=at(2770.1)),
)
PROVISIONER = (
    mev.PoolCreationRequested(at=at(1.1), machine=MACHINE, pool=MACHINE),
    mev.MachineLaunchCompleted(at=at(258.5), machine=MACHINE, provider_id="azure:///vm"),
    mev.PoolDeletionRequested(at=at(2800), machine=MACHINE, pool=MACHINE),
    mev.NodeRemoved(at=at(2833), machine=MACHINE, node=NODE),
    mev.MachineRemoved(at=at(2834), machine=MACHINE),
)


def write(log: EventLog, events: Sequence[StoredEvent], stream: str = STREAM) -> None:
    for version, event in enumerate(events):
        log.append(stream, [event], expected_version=version, cause=f"test/{version}")


def chronicle(events: Sequence[StoredEvent], provisioner: Sequence[StoredEvent] = ()) -> Chronicle:
    """The history that these events make."""
    log = MemoryEventLog(lambda: START)
    write(log, events)
    write(log, provisioner, f"machine/{MACHINE}")
    return load(log, STREAM)
