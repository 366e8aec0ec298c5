"""Detection in the nodes of a Machine's pool and, while it is being drained, in their pods."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from statemachine.machine import events as ev
from statemachine.machine.draft import Draft
from statemachine.machine.observations import MachineNode, MachineObject, MachinePicture, NodePod
from statemachine.machine.state import InitializationReason, Machine, PoolPhase
from statemachine.state import ConditionStatus, NodeLossCause

EPHEMERAL_TAINTS: Final = frozenset(
    {
        "node.kubernetes.io/not-ready:NoSchedule",
        "node.kubernetes.io/unreachable:NoSchedule",
        "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
    }
)

STUCK_POD_AFTER: Final = timedelta(minutes=1)
"""A pod so long past its deletionTimestamp, which includes its grace period, is not waited for."""


def detect_nodes(draft: Draft, found: MachineObject, nodes: tuple[MachineNode, ...]) -> None:
    """Registration, initialization and health; for a live Machine whose pool was created."""
    if draft.state.phase is not PoolPhase.LAUNCHED:
        return
    if len(nodes) > 1:
        names = tuple(sorted(node.name for node in nodes))
        if draft.state.duplicates != names:
            draft.record(ev.NodesDuplicated(at=draft.now, machine=found.name, nodes=names))
    elif nodes:
        _detect_node(draft, found, nodes[0])
    elif draft.state.duplicates:
        draft.record(ev.NodeAwaited(at=draft.now, machine=found.name))
    elif draft.state.node:
        _detect_loss(draft, NodeLossCause.GONE)


def _detect_node(draft: Draft, found: MachineObject, node: MachineNode) -> None:
    state = draft.state
    if state.node != node.name or state.provider_id != node.provider_id:
        draft.record(
            ev.NodeRegistered(
                at=draft.now,
                machine=found.name,
                node=node.name,
                provider_id=node.provider_id,
                capacity=node.capacity,
                allocatable=node.allocatable,
            )
        )
    if draft.state.removal and unready(node) is None:
        draft.record(ev.MachineRemovalWithdrawn(at=draft.now, machine=found.name))
    if draft.state.initialized_at is None:
        _detect_initialization(draft, found, node)
    elif (cause := unready(node)) is not None:
        _detect_loss(draft, cause)
    elif draft.state.initialized.status is not ConditionStatus.TRUE:
        _detect_recovery(draft, found, node)


def unready(node: MachineNode) -> NodeLossCause | None:
    """Why an initialized node cannot be relied upon; None when it can."""
    if node.deleting:
        return NodeLossCause.DELETING
    return None if node.ready else NodeLossCause.NOT_READY


# --- initialization ---------------------------------------------------------------------------------


def _detect_initialization(draft: Draft, found: MachineObject, node: MachineNode) -> None:
    lacking = _lacking(found, node)
    if lacking is None:
        draft.record(ev.NodeInitialized(at=draft.now, machine=found.name, node=node.name))
        return
    reason, message = lacking
    present = draft.state.initialized
    newly_unready = unready(node) is not None and draft.state.unready_since is None
    if newly_unready or (present.reason, present.message) != (reason, message):
        draft.record(
            ev.NodeInitializationAwaited(
                at=draft.now, machine=found.name, node=node.name, reason=reason, message=message
            )
        )


def _lacking(found: MachineObject, node: MachineNode) -> tuple[str, str] | None:
    """The first thing that keeps the node from being initialized, in the published order and words."""
    if unready(node) is not None:
        return InitializationReason.NODE_NOT_READY, "Node status is NotReady"
    for taint in found.startup_taints:
        if taint in node.taints:
            return InitializationReason.STARTUP_TAINTS, f'StartupTaint "{taint}" still exists'
    for taint in sorted(EPHEMERAL_TAINTS.intersection(node.taints)):
        return InitializationReason.EPHEMERAL_TAINTS, f'KnownEphemeralTaint "{taint}" still exists'
    for name in found.requests:
        if not _offers(node, name):
            message = f'Resource "{name}" was requested but not registered'
            return InitializationReason.RESOURCE_MISSING, message
    return None


def _offers(node: MachineNode, resource: str) -> bool:
    quantities = dict(entry.split("=", 1) for entry in node.allocatable)
    return quantities.get(resource, "0").lstrip("0") != ""


# --- health -----------------------------------------------------------------------------------------


def _detect_loss(draft: Draft, cause: NodeLossCause) -> None:
    state = draft.state
    if state.initialized_at is None:
        _detect_early_loss(draft)
    elif state.unready_since is None or state.unready_cause != cause:
        draft.record(ev.NodeBecameUnready(at=draft.now, machine=state.name, node=state.node, cause=cause))


def _detect_early_loss(draft: Draft) -> None:
    """A node that was registered and never initialized is gone: the wait for a node goes on."""
    draft.record(ev.NodeAwaited(at=draft.now, machine=draft.state.name))


def _detect_recovery(draft: Draft, found: MachineObject, node: MachineNode) -> None:
    """Ready again is trusted once it lasts, so that a flapping node does not make the status flap."""
    if draft.state.steady_since is None:
        draft.record(ev.NodeBecameReady(at=draft.now, machine=found.name, node=node.name))
    steady_at = steady_from(draft.state, found)
    if steady_at is not None and draft.now >= steady_at:
        draft.record(ev.NodeInitialized(at=draft.now, machine=found.name, node=node.name))


def steady_from(state: Machine, found: MachineObject) -> datetime | None:
    """When a node that is Ready again will have been so for long enough."""
    since = state.steady_since
    return since + timedelta(seconds=found.limits.steady_after) if since else None


# --- drain ------------------------------------------------------------------------------------------


def waited_for(pods: tuple[NodePod, ...], now: datetime) -> list[NodePod]:
    """The pods that a drain waits for, by namespace and name."""
    pods_left = [
        pod
        for pod in pods
        if not pod.stays and not (pod.deletion_at is not None and now >= pod.deletion_at + STUCK_POD_AFTER)
    ]
    return sorted(pods_left, key=lambda pod: (pod.namespace, pod.name))


def detect_drain(draft: Draft, found: MachineObject, picture: MachinePicture) -> None:
    """The end of a drain: nothing left to wait for on cordoned nodes, or the limit is over."""
    state = draft.state
    if state.drain_since is not None and not state.drained:
        pods = waited_for(picture.pods, draft.now)
        names = tuple(f"{pod.namespace}/{pod.name}" for pod in pods)
        # An uncordoned node may get another pod at any moment.
        empty = not pods and all(node.cordoned for node in picture.nodes)
        over = draft.now >= state.drain_since + timedelta(seconds=found.limits.drain_limit)
        if empty or over:
            draft.record(ev.DrainCompleted(at=draft.now, machine=state.name, pods=names))
    elif state.cleared and state.node and state.node not in {node.name for node in picture.nodes}:
        draft.record(ev.NodeRemoved(at=draft.now, machine=state.name, node=state.node))
