"""What an observation proves that the Machine's log does not hold yet.

`detect` records changes, not sightings: seeing the same picture again records nothing. It never decides; an
intent is `decision`'s. What concerns the node is in `nodes`, what the cloud answers in `answers`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from statemachine.machine import events as ev
from statemachine.machine.answers import detect_answer, detect_stuck_deletion
from statemachine.machine.draft import Draft
from statemachine.machine.holdoffs import attempt_at
from statemachine.machine.limits import MachineLimits
from statemachine.machine.messages import CAPACITY_GIVEN_UP, with_retry
from statemachine.machine.nodes import detect_drain, detect_nodes
from statemachine.machine.observations import (
    MachineObject,
    MachineObservation,
    MachineOutcome,
    MachinePicture,
    PoolFault,
    RemovalGranted,
)
from statemachine.machine.state import Machine, PoolPhase
from statemachine.state import BlockedReason, Stage

CACHE_LAG = timedelta(minutes=2)
"""How much later than a live read a picture may show the same, at worst."""


def detect(state: Machine, observation: MachineObservation, now: datetime) -> tuple[ev.MachineEvent, ...]:
    """The events that bring the log up to this observation.

    Settled after one round: ``detect(fold(detect(s, o), s), o) == ()``.
    """
    draft = Draft(state, now)
    match observation:
        case MachinePicture():
            _detect_picture(draft, observation)
        case MachineOutcome():
            detect_answer(draft, observation)
        case RemovalGranted():
            _detect_grant(draft, observation)
    return tuple(draft.events)


def present(state: Machine, picture: MachinePicture) -> MachineObject | None:
    """The object of the life that the state is about, or of a later one; None without such an object.

    A lagging cache may show a life that the log knows to be over: creation times tell.
    """
    found = picture.machine
    if found is None:
        return None
    if found.uid == state.uid:
        return None if state.stage is Stage.GONE and not picture.restored else found
    return found if state.created_at is None or found.created_at >= state.created_at else None


def is_outdated(state: Machine, picture: MachinePicture) -> bool:
    """Whether the picture shows an object, but of a life that is over: it says nothing of the present."""
    return picture.machine is not None and present(state, picture) is None


def _detect_picture(draft: Draft, picture: MachinePicture) -> None:
    if is_outdated(draft.state, picture):
        return
    _detect_object(draft, present(draft.state, picture))
    found = present(draft.state, picture)
    detect_stuck_deletion(draft, found.limits if found else MachineLimits())
    if found is None:
        return
    if draft.state.stage is Stage.LIVE:
        _detect_spec(draft, found)
        detect_nodes(draft, found, picture.nodes)
        _detect_limits(draft, found, picture.watched_since)
    elif draft.state.stage is Stage.DELETING:
        detect_drain(draft, found, picture)


# --- the object -------------------------------------------------------------------------------------


def _detect_object(draft: Draft, found: MachineObject | None) -> None:
    state = draft.state
    if state.stage in (Stage.LIVE, Stage.DELETING) and (found is None or found.uid != state.uid):
        _detect_end(draft)
    if found is None:
        return
    if draft.state.stage in (Stage.ABSENT, Stage.GONE):
        draft.record(_acceptance(found, draft.now))
    if draft.state.stage is Stage.LIVE and found.deleting:
        draft.record(ev.TerminationStarted(at=draft.now, machine=found.name))


def _detect_end(draft: Draft) -> None:
    """Gone as asked, or gone while its pool may exist. A stream that was only imported has no UID."""
    name = draft.state.name
    as_asked = draft.state.released or not draft.state.uid
    end = ev.MachineRemoved if as_asked else ev.MachineVanished
    draft.record(end(at=draft.now, machine=name))


def _acceptance(found: MachineObject, now: datetime) -> ev.MachineAccepted:
    return ev.MachineAccepted(
        at=now,
        machine=found.name,
        uid=found.uid,
        generation=found.generation,
        created_at=found.created_at,
        vm_size=found.vm_size,
        os_disk_gb=found.os_disk_gb,
    )


def _detect_spec(draft: Draft, found: MachineObject) -> None:
    state = draft.state
    # A newer provisioner may accept what an older one refused, so a verdict that changed counts as a change.
    if found.generation > state.generation or (state.refused and found.refused != state.refused):
        draft.record(
            ev.MachineSpecChanged(
                at=draft.now,
                machine=found.name,
                generation=max(found.generation, state.generation),
                vm_size=found.vm_size,
                os_disk_gb=found.os_disk_gb,
            )
        )
    if found.refused and not draft.state.terminal and draft.state.phase is PoolPhase.NONE:
        draft.record(
            ev.MachineSpecRefused(
                at=draft.now, machine=found.name, generation=found.generation, message=found.refused
            )
        )


def _detect_grant(draft: Draft, grant: RemovalGranted) -> None:
    state = draft.state
    lost = state.unready_since is not None and _is_lost(state.unready_since, grant.since, draft.now)
    if state.stage is Stage.LIVE and grant.uid == state.uid and lost and not state.removal:
        draft.record(ev.MachineRemovalRequested(at=draft.now, machine=state.name, cause=grant.cause))


def _is_lost(unready_since: datetime, suspected_since: datetime, now: datetime) -> bool:
    """Whether log and collector mean the same loss, or the later one has lasted for the whole limit.

    A node that was Ready for a moment between two rounds is one loss for the collector, and two for the log.
    """
    limit = timedelta(seconds=MachineLimits().not_ready_limit)
    return unready_since <= suspected_since + CACHE_LAG or now - unready_since >= limit


# --- limits -----------------------------------------------------------------------------------------


def given_up_at(state: Machine, limits: MachineLimits, watched_since: datetime | None) -> datetime | None:
    """When the present pool is given up; None while nothing is waited for that has a limit."""
    if state.phase is PoolPhase.CREATING:
        since, limit = state.submitted_at, limits.launch_limit
    elif state.phase is PoolPhase.LAUNCHED:
        since, limit = state.awaiting_since, limits.registration_limit
    else:
        return None
    if since is None:
        return None
    return max(since, watched_since or since) + timedelta(seconds=limit)


def _detect_limits(draft: Draft, found: MachineObject, watched_since: datetime | None) -> None:
    state = draft.state
    end = given_up_at(state, found.limits, watched_since)
    if end is not None and draft.now >= end:
        if state.phase is PoolPhase.CREATING:
            _record_launch_timeout(draft, (draft.now - (state.submitted_at or end)).total_seconds())
        else:
            _record_registration_timeout(draft, (draft.now - (state.awaiting_since or end)).total_seconds())
    _detect_capacity_limit(draft, found)


def _detect_capacity_limit(draft: Draft, found: MachineObject) -> None:
    state = draft.state
    since = state.capacity_since if state.phase is PoolPhase.NONE and not state.terminal else None
    if since is None or state.blocked != BlockedReason.INSUFFICIENT_CAPACITY:
        return
    elapsed = (draft.now - since).total_seconds()
    if elapsed >= found.limits.capacity_limit:
        draft.record(
            ev.LaunchGivenUp(
                at=draft.now, machine=state.name, elapsed_seconds=elapsed, message=CAPACITY_GIVEN_UP
            )
        )


def _record_launch_timeout(draft: Draft, elapsed: float) -> None:
    state = draft.state
    text = f"agent pool {state.name} is not created after {elapsed:.0f} s"
    at = _next_attempt(state, BlockedReason.PROVIDER_FAULT, draft.now)
    draft.record(
        ev.PoolCreationTimedOut(
            at=draft.now,
            machine=state.name,
            pool=state.name,
            attempt=state.attempt,
            elapsed_seconds=elapsed,
            message=with_retry(text, at),
            retry_at=at,
        )
    )


def _record_registration_timeout(draft: Draft, elapsed: float) -> None:
    state = draft.state
    text = f"agent pool {state.name} was created and no node registered within {elapsed:.0f} s"
    at = _next_attempt(state, BlockedReason.NODE_BOOTSTRAP_FAILED, draft.now)
    draft.record(
        ev.NodeRegistrationTimedOut(
            at=draft.now,
            machine=state.name,
            pool=state.name,
            elapsed_seconds=elapsed,
            message=with_retry(text, at),
            retry_at=at,
        )
    )


def _next_attempt(state: Machine, reason: BlockedReason, now: datetime) -> datetime:
    failures = state.failures + 1 if state.blocked == reason else 1
    fault = PoolFault(reason=reason, code="", message="")
    return attempt_at(fault, failures, now, state.uid, state.attempt)
