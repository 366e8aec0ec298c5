"""The fold: what a stream's events make of a Machine.

What an event does to stage, pool and conditions stands in `tables`; the handlers here note the plain data
beside them. An event that a table does not list in the present state raises IllegalTransition: the stream
is poisoned, and nobody guesses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from statemachine.errors import IllegalTransition
from statemachine.machine import events as ev
from statemachine.machine.state import InitializationReason, Machine, MachineConditionType
from statemachine.machine.tables import COMPILED, STATE_TRIGGERED
from statemachine.rows import Move
from statemachine.state import BlockedReason, Condition, ConditionStatus, NodeLossCause, Stage


def apply(state: Machine, event: ev.MachineEvent) -> Machine:
    """The state after one more event; the state given is left as it was.

    Raises:
        IllegalTransition: The tables do not list the event in this state.
    """
    return fold((event,), state)


def fold(events: Iterable[ev.MachineEvent], initial: Machine | None = None) -> Machine:
    """The state after these events, from the empty Machine or from a snapshot.

    Raises:
        IllegalTransition: The tables do not list an event in the state it met.
    """
    machine = Machine() if initial is None else copy.copy(initial)
    advance(machine, events)
    return machine


def advance(machine: Machine, events: Iterable[ev.MachineEvent]) -> None:
    """Apply events in place: for owners of a Machine that nobody else has seen, like `fold`."""
    for event in events:
        _advance(machine, event)


def _advance(machine: Machine, event: ev.MachineEvent) -> None:
    rule = COMPILED.get(type(event))
    if rule is None:
        raise _illegal("Machine", machine.stage, event)
    stage = rule.stages.get(machine.stage)
    if stage is None:
        raise _illegal("Stage", machine.stage, event)
    if machine.stage is Stage.GONE and stage is Stage.LIVE:
        _forget(machine)  # the name lives again
    phase = rule.phases.get(machine.phase) if rule.phases else machine.phase
    if phase is None:
        raise _illegal("Pool", machine.phase.name, event)
    machine.stage, machine.phase = stage, phase
    machine.name = machine.name or event.machine
    handler = _HANDLERS[type(event)]
    if handler is not None:
        handler(machine, event)
    for field, moves in rule.conditions:
        present = getattr(machine, field)
        move = moves.get(present.status)
        if move is None:
            raise _illegal(field, present.status, event)
        setattr(machine, field, _moved(present, move, event, machine))
    if stage is Stage.LIVE:
        _join(machine, event)


def _illegal(subject: str, state: str, event: ev.MachineEvent) -> IllegalTransition:
    return IllegalTransition(subject, state, type(event).__name__)


def _forget(machine: Machine) -> None:
    for field, value in zip(Machine.__struct_fields__, _fields_of(Machine()), strict=True):
        setattr(machine, field, value)


def _fields_of(machine: Machine) -> list[Any]:
    return [getattr(machine, field) for field in Machine.__struct_fields__]


# --- conditions -------------------------------------------------------------------------------------


def _moved(present: Condition, move: Move, event: ev.MachineEvent, machine: Machine) -> Condition:
    """As published for this object, the time moves when any of status, reason and message does."""
    dest, reason, message, write = move
    if reason is None:
        return present
    if write is not None:
        reason, message = write(event, machine)
    same = (dest, reason, message) == (present.status, present.reason, present.message)
    return present if same else Condition(dest, reason, message, event.at)


_LIVING = (MachineConditionType.LAUNCHED, MachineConditionType.REGISTERED, MachineConditionType.INITIALIZED)
_Statuses: TypeAlias = tuple[ConditionStatus, ...]


def joint_move(statuses: _Statuses) -> Move | None:
    """The first joint row whose needs the statuses of the living conditions, in their order, meet."""
    found = dict(zip(_LIVING, statuses, strict=True))
    for needs, _, dest, reason, message in STATE_TRIGGERED:
        if all(found[condition] is status for condition, status in needs.items()):
            return Move.of(dest, reason, message, names="e, m")
    return None


_JOINT = {
    (launched, registered, initialized): joint_move((launched, registered, initialized))
    for launched in ConditionStatus
    for registered in ConditionStatus
    for initialized in ConditionStatus
}


def _join(machine: Machine, event: ev.MachineEvent) -> None:
    statuses = (machine.launched.status, machine.registered.status, machine.initialized.status)
    move = _JOINT[statuses]
    if move is not None:
        machine.ready = _moved(machine.ready, move, event, machine)


# --- the object -------------------------------------------------------------------------------------


def _accepted(machine: Machine, event: ev.MachineAccepted) -> None:
    machine.uid = event.uid
    machine.generation = event.generation
    machine.created_at = event.created_at
    machine.vm_size = event.vm_size
    machine.os_disk_gb = event.os_disk_gb


def _spec_changed(machine: Machine, event: ev.MachineSpecChanged) -> None:
    machine.generation = event.generation
    machine.vm_size = event.vm_size
    machine.os_disk_gb = event.os_disk_gb
    _unblock(machine)


def _spec_refused(machine: Machine, event: ev.MachineSpecRefused) -> None:
    machine.refused = event.message
    machine.blocked = BlockedReason.CONFIGURATION_INVALID
    machine.terminal = True
    machine.retry_at = None


def _unblock(machine: Machine) -> None:
    machine.refused = ""
    machine.blocked = ""
    machine.failures = 0
    machine.capacity_since = None
    machine.terminal = False
    machine.retry_at = None


# --- the agent pool ---------------------------------------------------------------------------------


def _creation_requested(machine: Machine, event: ev.PoolCreationRequested) -> None:
    if event.attempt <= machine.attempt:
        raise _illegal("Pool", f"attempt {machine.attempt}", event)
    machine.attempt = event.attempt
    machine.retry_at = None
    machine.operation = ""
    machine.submitted_at = machine.launched_at = None


def _creation_submitted(machine: Machine, event: ev.PoolCreationSubmitted) -> None:
    machine.operation = event.operation
    machine.submitted_at = event.at


def _pool_found(machine: Machine, event: ev.PoolFound) -> None:
    machine.operation = ""
    machine.submitted_at = event.at


def _stale_found(machine: Machine, event: ev.StalePoolFound) -> None:
    machine.cleared = machine.released = False


def _operation_ended(machine: Machine, event: ev.PoolOperationEnded) -> None:
    machine.operation = ""


def _creation_failed(machine: Machine, event: ev.PoolCreationFailed) -> None:
    _fail(machine, event.reason, event)
    machine.terminal = event.retry_at is None


_Failure: TypeAlias = (
    ev.PoolCreationFailed | ev.PoolCreationTimedOut | ev.PoolVanished | ev.NodeRegistrationTimedOut
)


def _fail(machine: Machine, reason: str, event: _Failure) -> None:
    machine.failures = machine.failures + 1 if machine.blocked == reason else 1
    machine.blocked = reason
    machine.retry_at = event.retry_at
    machine.operation = ""
    machine.submitted_at = machine.launched_at = machine.awaiting_since = None
    # Being busy or throttled in between does not end a row of stock-outs; only a launch does.
    if reason == BlockedReason.INSUFFICIENT_CAPACITY:
        machine.capacity_since = machine.capacity_since or event.at


def _launch_given_up(machine: Machine, event: ev.LaunchGivenUp) -> None:
    machine.terminal = True
    machine.retry_at = None


def _creation_timed_out(machine: Machine, event: ev.PoolCreationTimedOut) -> None:
    _fail(machine, BlockedReason.PROVIDER_FAULT, event)


def _launch_completed(machine: Machine, event: ev.MachineLaunchCompleted) -> None:
    machine.provider_id = event.provider_id
    machine.operation = ""
    machine.launched_at = machine.awaiting_since = event.at
    machine.retry_at = machine.capacity_since = None


def _vanished(machine: Machine, event: ev.PoolVanished) -> None:
    _fail(machine, BlockedReason.PROVIDER_FAULT, event)
    _forget_node(machine)


def _deletion_submitted(machine: Machine, event: ev.PoolDeletionSubmitted) -> None:
    machine.operation = event.operation
    machine.leaving_since = event.at


def _deletion_requested(machine: Machine, event: ev.PoolDeletionRequested) -> None:
    machine.operation = ""
    machine.delete_at = None
    machine.deletion_failures = 0


def _deletion_failed(machine: Machine, event: ev.PoolDeletionFailed) -> None:
    machine.operation = ""
    machine.deletion_failures += 1
    machine.delete_at = event.retry_at


def _pool_removed(machine: Machine, event: ev.PoolRemoved) -> None:
    machine.operation = ""
    machine.cleared = machine.stage is Stage.DELETING


# --- the node ---------------------------------------------------------------------------------------


def _forget_node(machine: Machine) -> None:
    machine.node = machine.provider_id = machine.unready_cause = ""
    machine.capacity = machine.allocatable = machine.duplicates = ()
    machine.initialized_at = machine.unready_since = machine.steady_since = None
    machine.awaiting_since = None


def _registered(machine: Machine, event: ev.NodeRegistered) -> None:
    _forget_node(machine)
    machine.node = event.node
    machine.provider_id = event.provider_id
    machine.capacity = event.capacity
    machine.allocatable = event.allocatable


def _duplicated(machine: Machine, event: ev.NodesDuplicated) -> None:
    _forget_node(machine)
    machine.duplicates = event.nodes


def _awaited(machine: Machine, event: ev.NodeAwaited) -> None:
    _forget_node(machine)
    machine.awaiting_since = event.at


def _initialization_awaited(machine: Machine, event: ev.NodeInitializationAwaited) -> None:
    unready = event.reason == InitializationReason.NODE_NOT_READY
    machine.unready_since = (machine.unready_since or event.at) if unready else None
    machine.unready_cause = NodeLossCause.NOT_READY if unready else ""


def _initialized(machine: Machine, event: ev.NodeInitialized) -> None:
    machine.initialized_at = machine.initialized_at or event.at
    machine.unready_since = machine.steady_since = None
    machine.unready_cause = ""
    _unblock(machine)


def _became_unready(machine: Machine, event: ev.NodeBecameUnready) -> None:
    # Said again with another cause, the loss is as old as it was.
    machine.unready_since = machine.unready_since or event.at
    machine.unready_cause = event.cause
    machine.steady_since = None


def _became_ready(machine: Machine, event: ev.NodeBecameReady) -> None:
    machine.unready_since = None
    machine.steady_since = event.at


def _registration_timed_out(machine: Machine, event: ev.NodeRegistrationTimedOut) -> None:
    _fail(machine, BlockedReason.NODE_BOOTSTRAP_FAILED, event)
    _forget_node(machine)


# --- removal and termination ------------------------------------------------------------------------


def _removal_requested(machine: Machine, event: ev.MachineRemovalRequested) -> None:
    machine.removal = event.cause


def _removal_withdrawn(machine: Machine, event: ev.MachineRemovalWithdrawn) -> None:
    machine.removal = ""


def _termination_started(machine: Machine, event: ev.TerminationStarted) -> None:
    machine.terminating_since = event.at


def _drain_started(machine: Machine, event: ev.DrainStarted) -> None:
    machine.drain_since = event.at


def _drain_blocked(machine: Machine, event: ev.DrainBlocked) -> None:
    others = [blocker for blocker in machine.blockers if not blocker.startswith(f"{event.pod}: ")]
    machine.blockers = tuple(sorted([*others, f"{event.pod}: {event.message}"]))


def _drain_completed(machine: Machine, event: ev.DrainCompleted) -> None:
    machine.drained = True
    machine.blockers = ()


def _node_removed(machine: Machine, event: ev.NodeRemoved) -> None:
    machine.node = ""


def _released(machine: Machine, event: ev.MachineReleased) -> None:
    machine.released = True


_Handler: TypeAlias = Callable[[Machine, Any], None]
_HANDLERS: dict[type[ev.MachineEvent], _Handler | None] = {
    ev.MachineAccepted: _accepted,
    ev.MachineSpecChanged: _spec_changed,
    ev.MachineSpecRefused: _spec_refused,
    ev.PoolCreationRequested: _creation_requested,
    ev.PoolCreationSubmitted: _creation_submitted,
    ev.PoolFound: _pool_found,
    ev.StalePoolFound: _stale_found,
    ev.PoolOperationEnded: _operation_ended,
    ev.PoolCreationFailed: _creation_failed,
    ev.LaunchGivenUp: _launch_given_up,
    ev.PoolCreationTimedOut: _creation_timed_out,
    ev.MachineLaunchCompleted: _launch_completed,
    ev.PoolVanished: _vanished,
    ev.PoolDeletionRequested: _deletion_requested,
    ev.PoolDeletionSubmitted: _deletion_submitted,
    ev.PoolDeletionFailed: _deletion_failed,
    ev.PoolRemoved: _pool_removed,
    ev.NodeRegistered: _registered,
    ev.NodesDuplicated: _duplicated,
    ev.NodeAwaited: _awaited,
    ev.NodeInitializationAwaited: _initialization_awaited,
    ev.NodeInitialized: _initialized,
    ev.NodeBecameUnready: _became_unready,
    ev.NodeBecameReady: _became_ready,
    ev.NodeRegistrationTimedOut: _registration_timed_out,
    ev.MachineRemovalRequested: _removal_requested,
    ev.MachineRemovalWithdrawn: _removal_withdrawn,
    ev.TerminationStarted: _termination_started,
    ev.DrainStarted: _drain_started,
    ev.DrainBlocked: _drain_blocked,
    ev.DrainCompleted: _drain_completed,
    ev.NodeRemoved: _node_removed,
    ev.MachineReleased: _released,
    ev.MachineRemoved: None,
    ev.MachineVanished: None,
}
if unhandled := set(ev.MACHINE_EVENTS) ^ set(_HANDLERS):  # it would be ignored in silence
    raise TypeError(f"events without a rule: {unhandled}")
