"""Decisions for a Machine that is being deleted, or that is gone and has left a pool behind.

In this order, each step only after the one before: cordon, evict (critical pods last), delete the pool by
name, delete the nodes and take our finalizer off them, take our finalizer off the Machine. The pool is asked
to be deleted even when none is known: a live read that finds none is cheap, a pool that nobody owns is not.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.draft import Draft
from statemachine.machine.nodes import STUCK_POD_AFTER, waited_for
from statemachine.machine.observations import MachineObject, MachinePicture, NodePod
from statemachine.machine.projection import status_command
from statemachine.machine.state import Machine, PoolPhase
from statemachine.state import Stage

DRAIN_RETRY = timedelta(seconds=5)
"""How soon refused evictions are tried again; pods that go are seen at once."""


def decide_termination(
    draft: Draft, picture: MachinePicture, found: MachineObject | None
) -> tuple[list[cmd.MachineCommand], list[datetime]]:
    """Commands and wake-ups; ``found`` is None when the object is gone and its pool may not be."""
    _decide_intents(draft, picture)
    state, now = draft.state, draft.now
    commands: list[cmd.MachineCommand] = []
    if found is not None:
        commands += status_command(state, found)
    if found is not None and state.cleared:
        commands += _node_removals(picture)
        if state.released and found.has_finalizer:
            commands.append(cmd.RemoveFinalizer())
    elif found is not None and not _is_drained(state, picture):
        commands += _drain(picture, now)
    if state.phase is PoolPhase.DOOMED and (state.delete_at is None or now >= state.delete_at):
        commands.append(cmd.DeletePool())
    return commands, _wakes(state, picture, found, now)


def _decide_intents(draft: Draft, picture: MachinePicture) -> None:
    state = draft.state
    if state.stage is Stage.DELETING and state.cleared:
        if not state.released and not _unfinished(picture):
            draft.record(ev.MachineReleased(at=draft.now, machine=state.name))
    elif state.phase < PoolPhase.DOOMED:
        _decide_pool(draft, picture)


def _decide_pool(draft: Draft, picture: MachinePicture) -> None:
    state = draft.state
    if state.is_abandoned:
        return
    if state.stage is Stage.GONE or _is_drained(state, picture):
        draft.record(ev.PoolDeletionRequested(at=draft.now, machine=state.name, pool=state.name))
    elif state.drain_since is None:
        names = tuple(sorted(node.name for node in picture.nodes))
        draft.record(ev.DrainStarted(at=draft.now, machine=state.name, nodes=names))


def _is_drained(state: Machine, picture: MachinePicture) -> bool:
    """Whether nothing is left to evict, there being no node, or the pool is going already."""
    untouched = state.drain_since is None and not picture.nodes
    return state.drained or untouched or state.phase >= PoolPhase.DOOMED


def _drain(picture: MachinePicture, now: datetime) -> list[cmd.MachineCommand]:
    commands: list[cmd.MachineCommand] = [
        cmd.CordonNode(node=node.name)
        for node in sorted(picture.nodes, key=lambda node: node.name)
        if not node.cordoned
    ]
    return commands + [
        cmd.EvictPod(namespace=pod.namespace, name=pod.name, uid=pod.uid)
        for pod in _next_to_go(waited_for(picture.pods, now))
        if pod.deletion_at is None
    ]


def _next_to_go(pods: list[NodePod]) -> list[NodePod]:
    """Critical pods are touched only when no other is left: the others may need them to stop."""
    return [pod for pod in pods if not pod.critical] or pods


def _unfinished(picture: MachinePicture) -> list[str]:
    """Nodes that are not yet on their way out, or that our finalizer still holds."""
    return [node.name for node in picture.nodes if node.has_finalizer or not node.deleting]


def _node_removals(picture: MachinePicture) -> list[cmd.MachineCommand]:
    commands: list[cmd.MachineCommand] = []
    for node in sorted(picture.nodes, key=lambda node: node.name):
        if not node.deleting:
            commands.append(cmd.DeleteNode(node=node.name))
        if node.has_finalizer:
            commands.append(cmd.RemoveNodeFinalizer(node=node.name))
    return commands


def _wakes(
    state: Machine, picture: MachinePicture, found: MachineObject | None, now: datetime
) -> list[datetime]:
    wakes = [state.delete_at] if state.phase is PoolPhase.DOOMED and state.delete_at else []
    if found is not None and state.drain_since is not None and not state.drained:
        wakes.append(state.drain_since + timedelta(seconds=found.limits.drain_limit))
        wakes += [pod.deletion_at + STUCK_POD_AFTER for pod in picture.pods if pod.deletion_at is not None]
        if picture.pods:
            wakes.append(now + DRAIN_RETRY)
    return wakes
