"""Every event as one plain sentence, and times as readers want them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from kaito import durations
from statemachine import events as ev
from statemachine.machine import events as mev
from store.records import StoredEvent


def clock(at: datetime) -> str:
    """The time of day to the millisecond, cut like the published logs cut it."""
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


def stamp(at: datetime) -> str:
    """The whole instant, such that ``--at`` takes it back."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def whole_seconds(at: datetime) -> str:
    """The instant as the Kubernetes API writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def elapsed(duration: timedelta) -> str:
    return (
        durations.rounded(duration) if duration >= timedelta(seconds=10) else durations.rounded(duration, 1)
    )


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def describe(event: StoredEvent) -> str:
    """What happened, in one sentence without its time."""
    return _TEXTS[type(event)](event)


def _wanted(event: ev.WorkspaceMet) -> str:
    size = f" of {event.instance_type}" if event.instance_type else ""
    served = f", to serve {event.inference}" if event.inference else ""
    return f"{counted(event.node_count, 'node')}{size}{served}"


def _retry(event: ev.MachineCreationRefused | ev.MachineLaunchFailed) -> str:
    return f"; next attempt at {clock(event.retry_at)}" if event.retry_at else ""


def _seconds(seconds: float) -> str:
    return durations.of_seconds(seconds)


def _uncertain(event: ev.InferenceBecameReady) -> str:
    late = event.precision_seconds
    return f", or up to {_seconds(late)} later" if late else ""


_TEXTS: dict[type[StoredEvent], Callable[[Any], str]] = {
    ev.WorkspaceCreated: lambda e: f"Workspace created: {_wanted(e)}",
    ev.WorkspaceRestored: lambda e: f"Workspace restored, the cluster was set back: {_wanted(e)}",
    ev.WorkspaceAdopted: lambda e: f"Workspace adopted, its earlier history is not known: {_wanted(e)}",
    ev.SpecChanged: lambda e: f"Spec changed: generation {e.generation}",
    ev.LimitsChanged: lambda e: (
        f"Limits changed: a Machine is slow after {_seconds(e.limits.machine_slow_after)} "
        f"and times out after {_seconds(e.limits.machine_timeout)}, "
        f"inference after {_seconds(e.limits.inference_timeout)}"
    ),
    ev.SpecRefused: lambda e: f"Spec of generation {e.generation} refused: {e.message}",
    ev.NodeAssigned: lambda e: f"Slot {e.slot}: node {e.node}, which was there already, taken",
    ev.MachineRequested: lambda e: f"Slot {e.slot}: Machine {e.machine} requested (attempt {e.attempt})",
    ev.MachineCreated: lambda e: f"Slot {e.slot}: Machine {e.machine} created",
    ev.MachineCreationRefused: lambda e: (
        f"Slot {e.slot}: creation of Machine {e.machine} refused: {e.message}{_retry(e)}"
    ),
    ev.MachineAdopted: lambda e: (
        f"Machine {e.machine} found"
        + (", which fills no slot" if e.slot is None else f" and taken for slot {e.slot}")
    ),
    ev.MachineLaunched: lambda e: f"Slot {e.slot}: Machine {e.machine} launched",
    ev.MachineLaunchFailed: lambda e: (
        f"Slot {e.slot}: launch of Machine {e.machine} failed, {e.reason}: {e.message}{_retry(e)}"
    ),
    ev.MachineLaunchResumed: lambda e: f"Slot {e.slot}: launch of Machine {e.machine} tried again",
    ev.MachineWaitSlowed: lambda e: (
        f"Slot {e.slot}: Machine {e.machine} is slow, not ready after {_seconds(e.elapsed_seconds)}"
    ),
    ev.MachineWaitTimedOut: lambda e: (
        f"Slot {e.slot}: the wait for Machine {e.machine} timed out after {_seconds(e.elapsed_seconds)}"
    ),
    ev.MachineBecameReady: lambda e: f"Slot {e.slot}: Machine {e.machine} ready, its node is {e.node}",
    ev.MachineLost: lambda e: f"Slot {e.slot}: Machine {e.machine} lost, it is {e.cause}",
    ev.NodeBecameUsable: lambda e: f"Slot {e.slot}: node {e.node} usable",
    ev.NodeLost: lambda e: f"Slot {e.slot}: node {e.node} lost, it is {e.cause}",
    ev.NodeReleased: lambda e: f"Slot {e.slot}: node {e.node} given up",
    ev.NodePluginsInstalled: lambda e: f"All nodes usable: {', '.join(e.nodes)}",
    ev.ProvisioningResumed: lambda e: "No slot is in trouble any more; some still wait",
    ev.WorkerNodesChosen: lambda e: f"Worker nodes chosen: {', '.join(e.nodes)}",
    ev.ServiceCreated: lambda e: f"Service {e.name} created",
    ev.ServiceLost: lambda e: f"Service {e.name} is gone",
    ev.WorkloadCreated: lambda e: f"{e.kind} {e.name} created",
    ev.WorkloadLost: lambda e: f"{e.kind} {e.name} is gone",
    ev.InferenceProgressed: lambda e: f"Inference {e.phase or 'waits'}: {e.message}",
    ev.InferenceTroubled: lambda e: f"Inference in trouble, {e.reason}: {e.message}",
    ev.InferenceWaitTimedOut: lambda e: (
        f"The wait for inference timed out after {_seconds(e.elapsed_seconds)}"
    ),
    ev.InferenceBecameReady: lambda e: f"Inference ready: {e.ready} of {e.desired} replicas{_uncertain(e)}",
    ev.InferenceDegraded: lambda e: (
        f"Inference degraded, {e.reason}: {e.ready} of {e.desired} replicas ready: {e.message}"
    ),
    ev.WorkspaceDeletionRequested: lambda e: "Deletion of the Workspace requested",
    ev.MachineDeletionRequested: lambda e: f"Deletion of Machine {e.machine} requested",
    ev.MachineDeleted: lambda e: f"Machine {e.machine} gone, as asked",
    ev.WorkspaceReleased: lambda e: "Our finalizer is to be removed",
    ev.WorkspaceDeleted: lambda e: "Workspace gone from the API",
    mev.MachineAccepted: lambda e: f"Provisioner: Machine {e.machine} seen",
    mev.MachineSpecChanged: lambda e: f"Provisioner: spec of Machine {e.machine} changed",
    mev.MachineSpecRefused: lambda e: f"Provisioner: Machine {e.machine} refused: {e.message}",
    mev.PoolCreationRequested: lambda e: f"Provisioner: pool {e.pool} of Machine {e.machine} requested",
    mev.PoolCreationSubmitted: lambda e: f"Provisioner: creation of pool {e.pool} accepted",
    mev.PoolFound: lambda e: f"Provisioner: our pool {e.pool} found, {e.state}",
    mev.StalePoolFound: lambda e: f"Provisioner: pool {e.pool} of an earlier Machine found, {e.state}",
    mev.PoolOperationEnded: lambda e: f"Provisioner: operation on pool {e.pool} ended, {e.state}",
    mev.PoolCreationFailed: lambda e: (
        f"Provisioner: creation of pool {e.pool} failed, {e.reason}: {e.message}"
    ),
    mev.LaunchGivenUp: lambda e: f"Provisioner: {e.message}",
    mev.PoolCreationTimedOut: lambda e: f"Provisioner: {e.message}",
    mev.MachineLaunchCompleted: lambda e: f"Provisioner: Machine {e.machine} launched",
    mev.PoolVanished: lambda e: f"Provisioner: {e.message}",
    mev.PoolDeletionRequested: lambda e: f"Provisioner: deletion of pool {e.pool} requested",
    mev.PoolDeletionSubmitted: lambda e: f"Provisioner: deletion of pool {e.pool} accepted",
    mev.PoolDeletionFailed: lambda e: (
        f"Provisioner: deletion of pool {e.pool} failed, {e.reason}: {e.message}"
    ),
    mev.PoolRemoved: lambda e: f"Provisioner: pool {e.pool} gone",
    mev.NodeRegistered: lambda e: f"Provisioner: node {e.node} registered",
    mev.NodesDuplicated: lambda e: f"Provisioner: more than one node: {', '.join(e.nodes)}",
    mev.NodeAwaited: lambda e: f"Provisioner: Machine {e.machine} waits for a node",
    mev.NodeInitializationAwaited: lambda e: f"Provisioner: node {e.node} is not initialized: {e.message}",
    mev.NodeInitialized: lambda e: f"Provisioner: node {e.node} initialized",
    mev.NodeBecameUnready: lambda e: f"Provisioner: node {e.node} is {e.cause}",
    mev.NodeBecameReady: lambda e: f"Provisioner: node {e.node} is ready again",
    mev.NodeRegistrationTimedOut: lambda e: f"Provisioner: {e.message}",
    mev.MachineRemovalRequested: lambda e: (
        f"Provisioner: removal of Machine {e.machine} requested: {e.cause}"
    ),
    mev.MachineRemovalWithdrawn: lambda e: f"Provisioner: removal of Machine {e.machine} withdrawn",
    mev.TerminationStarted: lambda e: f"Provisioner: termination of Machine {e.machine} started",
    mev.DrainStarted: lambda e: f"Provisioner: drain of {', '.join(e.nodes)} started",
    mev.DrainBlocked: lambda e: f"Provisioner: eviction of {e.pod} refused: {e.message}",
    mev.DrainCompleted: lambda e: (
        f"Provisioner: drain of Machine {e.machine} {'cut short' if e.pods else 'done'}"
    ),
    mev.NodeRemoved: lambda e: f"Provisioner: node {e.node} removed",
    mev.MachineReleased: lambda e: "Provisioner: our finalizer is to be removed",
    mev.MachineRemoved: lambda e: f"Provisioner: Machine {e.machine} gone",
    mev.MachineVanished: lambda e: f"Provisioner: Machine {e.machine} gone before its pool",
}
