"""Detection in what the cloud and the API server answered to one command.

A reading is live and outranks the log: a pool that is there with our tag is ours, whatever the log forgot.
A pool without our tag is nobody's business here; it only keeps ours from being made.
"""

from __future__ import annotations

from datetime import timedelta

from statemachine.machine import events as ev
from statemachine.machine.commands import (
    DeletePool,
    EvictPod,
    ReadOperation,
    ReadPool,
    RemoveFinalizer,
    SubmitPool,
)
from statemachine.machine.draft import Draft
from statemachine.machine.holdoffs import attempt_at, blocked_reason, deletion_at, is_terminal
from statemachine.machine.limits import MachineLimits
from statemachine.machine.messages import failure, with_retry
from statemachine.machine.observations import (
    MachineOutcome,
    OperationReading,
    OperationState,
    PoolFault,
    PoolReading,
    PoolState,
)
from statemachine.machine.state import Machine, PoolPhase
from statemachine.observations import Result
from statemachine.state import BlockedReason, Stage

_ENDED_BADLY = (OperationState.FAILED, OperationState.CANCELED)


def detect_answer(draft: Draft, outcome: MachineOutcome) -> None:
    match outcome.command:
        case SubmitPool():
            _detect_submission(draft, outcome)
        case ReadOperation() if outcome.operation is not None:
            _detect_operation(draft, outcome, outcome.operation)
        case ReadPool():
            _detect_reading(draft, outcome)
        case DeletePool():
            _detect_deletion(draft, outcome)
        case EvictPod():
            _detect_eviction(draft, outcome.command, outcome)
        case RemoveFinalizer():
            _detect_remainder(draft, outcome)
        case _:
            pass


# --- creation ---------------------------------------------------------------------------------------


def _detect_submission(draft: Draft, outcome: MachineOutcome) -> None:
    state = draft.state
    if state.phase is not PoolPhase.REQUESTED or state.stage is not Stage.LIVE:
        return
    if outcome.result is Result.DONE:
        url = outcome.operation.url if outcome.operation else ""
        draft.record(
            ev.PoolCreationSubmitted(at=draft.now, machine=state.name, pool=state.name, operation=url)
        )
    elif outcome.pool is not None:
        _detect_occupant(draft, outcome.pool)
    elif outcome.fault is not None:
        _record_failure(draft, outcome.fault)


def _detect_occupant(draft: Draft, pool: PoolReading) -> None:
    """What stands where our pool should: ours already, ours of an earlier life, or a stranger's."""
    state = draft.state
    if pool.owner != state.name:
        text = f"agent pool {pool.name} exists and belongs to somebody else"
        fault = PoolFault(reason=BlockedReason.CONFIGURATION_INVALID, code="PoolExists", message=text)
        _record_failure(draft, fault)
    elif pool.owner_uid not in ("", state.uid) or pool.state is PoolState.DELETING:
        draft.record(_stale(draft, pool))
    else:
        draft.record(ev.PoolFound(at=draft.now, machine=state.name, pool=state.name, state=str(pool.state)))
        _detect_creation(draft, pool)


def _stale(draft: Draft, pool: PoolReading) -> ev.StalePoolFound:
    return ev.StalePoolFound(
        at=draft.now,
        machine=draft.state.name,
        pool=pool.name,
        state=str(pool.state),
        owner_uid=pool.owner_uid,
    )


def _record_failure(draft: Draft, fault: PoolFault) -> None:
    state = draft.state
    reason = blocked_reason(fault.reason)
    failures = state.failures + 1 if state.blocked == reason else 1
    final = is_terminal(fault)
    at = None if final else attempt_at(fault, failures, draft.now, state.uid, state.attempt)
    draft.record(
        ev.PoolCreationFailed(
            at=draft.now,
            machine=state.name,
            pool=state.name,
            attempt=state.attempt,
            reason=reason,
            code=fault.code,
            message=failure(fault, at),
            family=fault.family,
            limit=fault.limit,
            used=fault.used,
            needed=fault.needed,
            retry_at=at,
        )
    )


def _detect_creation(draft: Draft, pool: PoolReading) -> None:
    """What our own pool, being created as far as the log knows, says of itself."""
    if pool.state is PoolState.SUCCEEDED:
        _record_launch(draft)
    elif pool.state in (PoolState.FAILED, PoolState.CANCELED):
        _record_failure(draft, pool.fault or _unexplained(pool.name, pool.state))


def _record_launch(draft: Draft) -> None:
    # No reading of a pool names its virtual machine; the node's own provider id will.
    draft.record(ev.MachineLaunchCompleted(at=draft.now, machine=draft.state.name, provider_id=""))


def _unexplained(pool: str, state: str) -> PoolFault:
    return PoolFault(
        reason=BlockedReason.LAUNCH_FAILED, code=str(state), message=f"agent pool {pool} says no more"
    )


# --- operations and pools ---------------------------------------------------------------------------


def _detect_operation(draft: Draft, outcome: MachineOutcome, found: OperationReading) -> None:
    state = draft.state
    if not state.operation or found.url != state.operation or found.state is OperationState.IN_PROGRESS:
        return
    if state.phase is PoolPhase.CREATING and state.stage is Stage.LIVE:
        _detect_created(draft, outcome, found)
    elif state.phase is PoolPhase.LEAVING:
        _detect_deleted(draft, outcome, found)


def _detect_created(draft: Draft, outcome: MachineOutcome, found: OperationReading) -> None:
    if _only_the_pool_tells(found):
        _record_operation_end(draft, found)
    elif found.state is not OperationState.SUCCEEDED:
        _record_failure(draft, found.fault or _unexplained(draft.state.name, found.state))
    elif outcome.result is Result.NOT_FOUND:
        _record_vanishing(draft)
    else:
        _record_launch(draft)


def _detect_deleted(draft: Draft, outcome: MachineOutcome, found: OperationReading) -> None:
    if outcome.result is Result.NOT_FOUND:
        _record_removal(draft)
    elif found.state in _ENDED_BADLY:
        _record_deletion_failure(draft, found.fault or _unexplained(draft.state.name, found.state))
    else:
        _record_operation_end(draft, found)


def _record_operation_end(draft: Draft, found: OperationReading) -> None:
    name = draft.state.name
    draft.record(
        ev.PoolOperationEnded(
            at=draft.now, machine=name, pool=name, operation=found.url, state=str(found.state)
        )
    )


def _only_the_pool_tells(found: OperationReading) -> bool:
    """A lost operation says nothing, and one that another operation preempted nothing about the pool."""
    preempted = found.fault is not None and found.fault.reason == BlockedReason.OPERATION_IN_PROGRESS
    return found.state is OperationState.LOST or (found.state in _ENDED_BADLY and preempted)


def _detect_reading(draft: Draft, outcome: MachineOutcome) -> None:
    state = draft.state
    pool = outcome.pool if outcome.pool is not None and _is_ours(state, outcome.pool) else None
    if outcome.result is not Result.NOT_FOUND and outcome.pool is None:
        return
    match state.phase:
        case PoolPhase.NONE if state.stage is Stage.LIVE and pool is not None:
            draft.record(_stale(draft, pool))  # no attempt is under way that could be about this one
        case PoolPhase.CREATING | PoolPhase.LAUNCHED if state.stage is Stage.LIVE:
            if pool is None:
                _record_vanishing(draft)
            elif state.phase is PoolPhase.CREATING:
                _detect_creation(draft, pool)
        case PoolPhase.LAUNCHED if state.is_abandoned and pool is None:
            draft.record(ev.PoolDeletionRequested(at=draft.now, machine=state.name, pool=state.name))
            _record_removal(draft)
        case PoolPhase.LEAVING:
            if pool is None:
                _record_removal(draft)
            elif pool.state not in _LEAVING_ON and not state.operation:
                _record_deletion_failure(draft, _without_effect(pool))


_LEAVING_ON = (PoolState.DELETING, PoolState.UPDATING, PoolState.UNKNOWN)
"""States in which a deletion may be under way, the service's inventions among them."""


def _is_ours(state: Machine, pool: PoolReading) -> bool:
    return pool.owner == state.name


def _record_vanishing(draft: Draft) -> None:
    state = draft.state
    reason = BlockedReason.PROVIDER_FAULT
    failures = state.failures + 1 if state.blocked == reason else 1
    fault = PoolFault(reason=reason, code="", message="")
    at = attempt_at(fault, failures, draft.now, state.uid, state.attempt)
    message = with_retry(f"agent pool {state.name} is gone though nobody here deleted it", at)
    draft.record(
        ev.PoolVanished(at=draft.now, machine=state.name, pool=state.name, message=message, retry_at=at)
    )


# --- deletion ---------------------------------------------------------------------------------------


def _detect_deletion(draft: Draft, outcome: MachineOutcome) -> None:
    state = draft.state
    if state.phase is not PoolPhase.DOOMED:
        return
    if outcome.result is Result.NOT_FOUND or (outcome.pool and not _is_ours(state, outcome.pool)):
        _record_removal(draft)
    elif outcome.result is Result.DONE:
        url = outcome.operation.url if outcome.operation else ""
        draft.record(
            ev.PoolDeletionSubmitted(at=draft.now, machine=state.name, pool=state.name, operation=url)
        )
    elif outcome.fault is not None and (state.delete_at is None or draft.now >= state.delete_at):
        _record_deletion_failure(draft, outcome.fault)  # before that time nobody has called


def _record_removal(draft: Draft) -> None:
    draft.record(ev.PoolRemoved(at=draft.now, machine=draft.state.name, pool=draft.state.name))


def _without_effect(pool: PoolReading) -> PoolFault:
    text = f"the deletion is over and agent pool {pool.name} is still there, {pool.state}"
    return pool.fault or PoolFault(reason=BlockedReason.PROVIDER_FAULT, code="", message=text)


def _record_deletion_failure(draft: Draft, fault: PoolFault) -> None:
    state = draft.state
    at = deletion_at(fault, state.deletion_failures + 1, draft.now, state.uid)
    draft.record(
        ev.PoolDeletionFailed(
            at=draft.now,
            machine=state.name,
            pool=state.name,
            reason=blocked_reason(fault.reason),
            code=fault.code,
            message=failure(fault, at),
            retry_at=at,
        )
    )


def detect_stuck_deletion(draft: Draft, limits: MachineLimits) -> None:
    """A deletion whose operation never ends is submitted anew, as far as the pool is not leaving."""
    state = draft.state
    if state.phase is not PoolPhase.LEAVING or state.leaving_since is None:
        return
    elapsed = draft.now - state.leaving_since
    if elapsed >= timedelta(seconds=limits.launch_limit):
        text = f"agent pool {state.name} is not deleted after {elapsed.total_seconds():.0f} s"
        _record_deletion_failure(draft, PoolFault(reason=BlockedReason.PROVIDER_FAULT, code="", message=text))


def _detect_remainder(draft: Draft, outcome: MachineOutcome) -> None:
    """The live read before the finalizer goes found our pool after all."""
    state, pool = draft.state, outcome.pool
    if state.stage is Stage.DELETING and state.phase is PoolPhase.NONE and pool and _is_ours(state, pool):
        draft.record(_stale(draft, pool))


def _detect_eviction(draft: Draft, command: EvictPod, outcome: MachineOutcome) -> None:
    state, pod = draft.state, f"{command.namespace}/{command.name}"
    draining = state.stage is Stage.DELETING and state.drain_since is not None and not state.drained
    if outcome.result is not Result.REFUSED or not draining:
        return
    if f"{pod}: {outcome.message}" not in state.blockers:
        draft.record(ev.DrainBlocked(at=draft.now, machine=state.name, pod=pod, message=outcome.message))
