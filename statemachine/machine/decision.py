"""What to do about the difference between the Machine that is wanted and what is seen.

`decide` returns intents to be logged first, commands to be executed after, and when to look again at the
latest. Commands follow from state and picture alone, so deciding twice issues the same ones. Calls to the
Kubernetes API come before the one call to the cloud: when the cloud does not answer, the rest is done.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.detection import given_up_at, is_outdated, present
from statemachine.machine.draft import Draft
from statemachine.machine.holdoffs import poll_at
from statemachine.machine.limits import MachineLimits
from statemachine.machine.nodes import steady_from
from statemachine.machine.observations import MachineNode, MachineObject, MachinePicture
from statemachine.machine.projection import status_command
from statemachine.machine.state import Machine, PoolPhase
from statemachine.machine.termination import decide_termination
from statemachine.state import BlockedReason, ConditionStatus, Stage

RECHECK = timedelta(minutes=5)
"""How often an unsettled Machine is looked at though nothing happened: a lost wake-up only delays."""

NODE_SEEN_POLL = timedelta(seconds=5)
"""How soon the pool is looked at again once its node is there: its creation is about to end."""


class Decision(msgspec.Struct, frozen=True):
    """``wake_at`` is None when only a change in the cluster can matter."""

    events: tuple[ev.MachineEvent, ...] = ()
    commands: tuple[cmd.MachineCommand, ...] = ()
    wake_at: datetime | None = None


Plan: TypeAlias = tuple[list[cmd.MachineCommand], list[datetime]]


def decide(state: Machine, picture: MachinePicture, now: datetime) -> Decision:
    """Desired minus observed."""
    draft = Draft(state, now)
    if is_outdated(state, picture) and state.stage is not Stage.GONE:
        return Decision(wake_at=now + RECHECK)
    found = present(state, picture)
    commands: list[cmd.MachineCommand] = []
    wakes: list[datetime] = []
    if state.stage is Stage.LIVE and found is not None:
        commands, wakes = _decide_live(draft, picture, found)
    elif state.stage in (Stage.DELETING, Stage.GONE) and not state.is_over:
        commands, wakes = decide_termination(draft, picture, found)
    polls, looks = _poll(draft.state, picture, found, now)
    commands += polls
    wakes = [wake for wake in [*wakes, *looks] if wake > now]
    if commands or not _is_settled(draft.state):
        wakes.append(now + RECHECK)
    return Decision(tuple(draft.events), tuple(commands), min(wakes, default=None))


def _is_settled(state: Machine) -> bool:
    """Whether only a change in the cluster can matter."""
    if state.stage in (Stage.ABSENT, Stage.GONE):
        return state.phase is PoolPhase.NONE
    return state.stage is Stage.LIVE and state.ready.status is ConditionStatus.TRUE


# --- a live Machine ---------------------------------------------------------------------------------


def _decide_live(draft: Draft, picture: MachinePicture, found: MachineObject) -> Plan:
    _decide_intents(draft)
    state = draft.state
    commands: list[cmd.MachineCommand] = []
    if not found.has_finalizer:
        commands.append(cmd.AddFinalizer())
    commands += status_command(state, found)
    commands += _node_commands(state, picture.nodes)
    commands += _departures(state, picture.nodes)
    if state.removal:
        commands.append(cmd.DeleteMachine(uid=state.uid))
    if state.phase is PoolPhase.REQUESTED:
        commands.append(_submission(state))
    if state.phase is PoolPhase.DOOMED and _is_due(state.delete_at, draft.now):
        commands.append(cmd.DeletePool())
    return commands, _wakes(state, picture, found)


def _decide_intents(draft: Draft) -> None:
    state = draft.state
    if state.phase is PoolPhase.SPOILED:
        draft.record(ev.PoolDeletionRequested(at=draft.now, machine=state.name, pool=state.name))
    elif state.phase is PoolPhase.NONE and may_attempt(state) and _is_due(state.retry_at, draft.now):
        draft.record(
            ev.PoolCreationRequested(
                at=draft.now,
                machine=state.name,
                pool=state.name,
                attempt=state.attempt + 1,
                vm_size=state.vm_size,
                os_disk_gb=state.os_disk_gb,
            )
        )


def may_attempt(state: Machine) -> bool:
    """Whether a pool may be asked for: not after a terminal verdict, nor when the Machine is to go."""
    return not state.terminal and not state.removal


def _is_due(at: datetime | None, now: datetime) -> bool:
    return at is None or now >= at


def _submission(state: Machine) -> cmd.SubmitPool:
    return cmd.SubmitPool(
        attempt=state.attempt, uid=state.uid, vm_size=state.vm_size, os_disk_gb=state.os_disk_gb
    )


def _node_commands(state: Machine, nodes: tuple[MachineNode, ...]) -> list[cmd.MachineCommand]:
    """What the one trusted node lacks of our marks; a node that is going gets none."""
    commands: list[cmd.MachineCommand] = []
    for node in nodes:
        if node.name != state.node or node.deleting:
            continue
        if not (node.has_finalizer and node.owned and node.registered):
            commands.append(cmd.RegisterNode(node=node.name))
        if state.initialized_at is not None and not node.initialized:
            commands.append(cmd.InitializeNode(node=node.name))
    return commands


def _departures(state: Machine, nodes: tuple[MachineNode, ...]) -> list[cmd.MachineCommand]:
    """Release nodes of an earlier pool, or life, of this Machine: only our finalizer still holds them.

    Nobody drains for them any more, and beside the node of the next pool they would count as its double.
    In the first attempt there was no earlier pool, whatever a log that was lost may have known.
    """
    earlier = state.attempt - (state.phase is not PoolPhase.NONE)
    return [
        cmd.RemoveNodeFinalizer(node=node.name)
        for node in nodes
        if node.deleting and node.has_finalizer and node.name != state.node and (earlier or not node.owned)
    ]


def _wakes(state: Machine, picture: MachinePicture, found: MachineObject) -> list[datetime]:
    wakes = [
        given_up_at(state, found.limits, picture.watched_since),
        steady_from(state, found),
        state.delete_at if state.phase is PoolPhase.DOOMED else None,
        state.retry_at if state.phase is PoolPhase.NONE and may_attempt(state) else None,
        _capacity_end(state, found.limits),
    ]
    return [wake for wake in wakes if wake is not None]


def _capacity_end(state: Machine, limits: MachineLimits) -> datetime | None:
    waits = state.blocked == BlockedReason.INSUFFICIENT_CAPACITY and not state.terminal
    since = state.capacity_since if waits else None
    return since + timedelta(seconds=limits.capacity_limit) if since else None


# --- looking at the cloud ---------------------------------------------------------------------------


def _poll(state: Machine, picture: MachinePicture, found: MachineObject | None, now: datetime) -> Plan:
    """The one read that is due, or when one will be, while an operation is under way."""
    if state.is_abandoned:
        return _look_rarely(picture, now)
    creating = state.phase is PoolPhase.CREATING and state.stage is Stage.LIVE
    if not creating and state.phase is not PoolPhase.LEAVING:
        return [], []
    limits = found.limits if found else MachineLimits()
    due = _poll_due(state, picture, limits)
    if due is not None and now < due:
        return [], [due]
    read = cmd.ReadOperation(url=state.operation) if state.operation else cmd.ReadPool()
    return [read], [poll_at(state.uid, now, limits)]


def _look_rarely(picture: MachinePicture, now: datetime) -> Plan:
    """At a pool that is somebody else's to delete."""
    due = None if picture.polled_at is None else picture.polled_at + RECHECK
    return ([], [due]) if due is not None and now < due else ([cmd.ReadPool()], [now + RECHECK])


def _poll_due(state: Machine, picture: MachinePicture, limits: MachineLimits) -> datetime | None:
    """When the next look is due; None for at once."""
    if picture.polled_at is None:
        return None
    if picture.nodes_changed_at is not None and picture.polled_at < picture.nodes_changed_at:
        return None
    due = poll_at(state.uid, picture.polled_at, limits)
    if state.phase is PoolPhase.CREATING and picture.nodes:
        return min(due, picture.polled_at + NODE_SEEN_POLL)
    return due
