"""What a Workspace waits for: since when, how long that usually takes, and what would end it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from kaito import durations
from kaito.history.chronicle import Moment
from kaito.history.phases import reached
from kaito.history.sentences import clock, elapsed
from statemachine.detection import waiting_since
from statemachine.state import (
    BlockedReason,
    ConditionStatus,
    InferencePhase,
    InferenceReason,
    NodeLossCause,
    Slot,
    SlotPhase,
    Stage,
    Trouble,
    Workspace,
)

BLOCKED_UNTIL = {
    BlockedReason.QUOTA_EXCEEDED: "the quota is raised, or cores counted against it are given back",
    BlockedReason.INSUFFICIENT_CAPACITY: "the region has room for this size again",
    BlockedReason.SKU_NOT_AVAILABLE: "the size is offered to this subscription in this region",
    BlockedReason.NOT_AUTHORIZED: "the provisioner's identity is given the role or the exemption it lacks",
    BlockedReason.CONFIGURATION_INVALID: "the configuration that the message names is put right",
    BlockedReason.THROTTLED: "the cloud's request budget has refilled; nobody has to do anything",
    BlockedReason.OPERATION_IN_PROGRESS: "the other operation has finished; nobody has to do anything",
    BlockedReason.NODE_BOOTSTRAP_FAILED: "another virtual machine boots in place of the one that did not",
    BlockedReason.PROVIDER_FAULT: "the fault on the provider's side is over",
    BlockedReason.LAUNCH_FAILED: "what the message names is over",
}

TROUBLED_UNTIL = {
    InferenceReason.FAILED: "all replicas become ready after all, or the spec changes",
    InferenceReason.UNSCHEDULABLE: "a node has room for the pod",
    InferenceReason.IMAGE_PULL_ERROR: "the image can be pulled: its name, the pull secret, the registry",
    InferenceReason.CRASH_LOOP: "the container stays up; its own log says why it does not",
    InferenceReason.OOM_KILLED: "the container gets along with its memory: a larger size, or a smaller model",
    InferenceReason.START_ERROR: "what the message names is there",
    InferenceReason.EVICTED: "a new pod takes its place and becomes ready",
    InferenceReason.NAME_TAKEN: "the object of somebody else is removed or renamed",
    InferenceReason.NOT_READY: "all replicas are ready again",
}

STEPS = {
    InferencePhase.SCHEDULING: "the pods to be placed on a node",
    InferencePhase.PULLING: "the image to be pulled",
    InferencePhase.LOADING: "the model to be loaded",
}

READY_TURNS = "MachineReady turns True"


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is waited for. ``what`` completes "Waiting for …"; ``ends`` are whole clauses.

    The usual durations are the p50 and p95 of the Workspace's limits; None where nothing is known.
    """

    what: str
    since: datetime | None = None
    elapsed_seconds: float | None = None
    usual_p50_seconds: float | None = None
    usual_p95_seconds: float | None = None
    ends: tuple[str, ...] = ()

    def sentence(self) -> str:
        text = f"Waiting for {self.what}"
        if self.since is not None and self.elapsed_seconds is not None:
            lasting = elapsed(timedelta(seconds=self.elapsed_seconds))
            text += f", since {clock(self.since)}, for {lasting} so far"
        if self.usual_p50_seconds is None or self.usual_p95_seconds is None:
            return text + "."
        half, most = (
            durations.of_seconds(self.usual_p50_seconds),
            durations.of_seconds(self.usual_p95_seconds),
        )
        return f"{text}. Usually it takes {half} (p50), at most {most} in 95 % of cases (p95)."


def waits(moment: Moment, at: datetime) -> list[Wait]:
    """What the state after this moment waits for at an instant, most important first; empty for nothing."""
    state = moment.state
    if state.stage is not Stage.LIVE:
        return _deletion_waits(moment, at)
    if state.refused:
        end = "a newer generation of the spec is accepted"
        return [Wait(what="another spec: this one is refused and will not be tried again", ends=(end,))]
    if state.waiting:
        waiting = [slot for slot in state.slots if slot.phase is not SlotPhase.USABLE]
        return [_slot_wait(slot, moment, at) for slot in waiting]
    if state.resource_ready.status is not ConditionStatus.TRUE:
        return [_next_look("the choice of the worker nodes")]
    if state.inference_ready.status is not ConditionStatus.TRUE:
        return [_inference_wait(state, at)]
    return []


def _next_look(what: str) -> Wait:
    return Wait(what=what, ends=("the operator's next reconcile does it",))


def _since(since: datetime | None, at: datetime) -> tuple[datetime | None, float | None]:
    return since, (max((at - since).total_seconds(), 0.0) if since else None)


# --- machines ---------------------------------------------------------------------------------------


def _slot_wait(slot: Slot, moment: Moment, at: datetime) -> Wait:
    limits = moment.state.limits
    since, seconds = _since(waiting_since(slot) or slot.lost_at or slot.ready_at, at)
    usual = bool(slot.machine) and slot.trouble is not Trouble.NODE_LOST
    return Wait(
        what=_what(slot, reached(slot, moment)),
        since=since,
        elapsed_seconds=seconds,
        usual_p50_seconds=limits.machine_usual_p50 if usual else None,
        usual_p95_seconds=limits.machine_usual_p95 if usual else None,
        ends=(*_slot_ends(slot, moment), *_limits(slot, moment.state, at)),
    )


def _what(slot: Slot, phase: SlotPhase) -> str:
    if slot.trouble is Trouble.NODE_LOST:
        return f"node {slot.node} in slot {slot.index}, which is {slot.detail}"
    if slot.trouble is Trouble.CREATION_REFUSED:
        return f"Machine {slot.machine} in slot {slot.index}, whose creation is refused: {slot.detail}"
    if slot.trouble is Trouble.LAUNCH_FAILED:
        return f"Machine {slot.machine} in slot {slot.index}, blocked by {slot.blocked}: {slot.detail}"
    match phase:
        case SlotPhase.FREE:
            return f"a Machine for slot {slot.index} to be requested"
        case SlotPhase.REQUESTED:
            return f"Machine {slot.machine} in slot {slot.index} to be created in the API"
        case SlotPhase.CREATED:
            return f"Machine {slot.machine} in slot {slot.index} to be launched by its provider"
        case SlotPhase.LAUNCHED:
            return f"Machine {slot.machine} in slot {slot.index} to become Ready: it is launched"
        case _:
            return f"node {slot.node} in slot {slot.index} to be Ready and offer its GPUs"


def _slot_ends(slot: Slot, moment: Moment) -> Iterable[str]:
    others = moment.state.waiting > 1
    verdict = f"{READY_TURNS} once no other slot waits" if others else READY_TURNS
    if slot.trouble is Trouble.NODE_LOST:
        yield f"the node is usable again: {verdict}"
        if slot.detail == NodeLossCause.GONE and not slot.machine:
            yield "or the operator's next reconcile fills the slot otherwise"
        return
    if slot.phase is SlotPhase.FREE:
        yield (
            "the operator's next reconcile requests it"
            if slot.attempt < 2
            else "the hold-off is over, which doubles with each attempt from 10s to 10m"
        )
        return
    if slot.trouble is Trouble.LAUNCH_FAILED:
        yield BLOCKED_UNTIL.get(BlockedReason(slot.blocked), BLOCKED_UNTIL[BlockedReason.LAUNCH_FAILED])
    if slot.retry_at is not None:
        yield f"the next attempt is at {clock(slot.retry_at)}"
    subject = (
        f"Machine {slot.machine} becomes Ready and its node" if slot.phase < SlotPhase.READY else "the node"
    )
    yield f"{subject} is usable (Ready, with allocatable nvidia.com/gpu on a GPU size): {verdict}"


def _limits(slot: Slot, state: Workspace, at: datetime) -> Iterable[str]:
    since, limits = waiting_since(slot), state.limits
    if since is None:
        return
    slow = since + timedelta(seconds=limits.machine_slow_after)
    late = since + timedelta(seconds=limits.machine_timeout)
    if slot.trouble is Trouble.TIMED_OUT:
        limit = durations.of_seconds(limits.machine_timeout)
        yield f"the limit of {limit} has passed; the Machine may still become Ready, and that heals it"
        return
    if at < slow < late:
        after = durations.of_seconds(limits.machine_slow_after)
        yield f"at {clock(slow)}, after {after}, it is reported as slow (MachineProvisioningSlow)"
    if slot.trouble is Trouble.NONE:
        limit, when = durations.of_seconds(limits.machine_timeout), _when(late, at)
        yield f"{when} the limit of {limit} turns MachineReady False (checkMachineStatusFailed)"


def _when(limit: datetime, at: datetime) -> str:
    return f"at {clock(limit)}" if at < limit else f"at the next reconcile, for {clock(limit)} is past,"


# --- inference and deletion -------------------------------------------------------------------------


def _inference_wait(state: Workspace, at: datetime) -> Wait:
    if not state.workload:
        return _next_look("the Service and the workload to be created")
    since, seconds = _since(state.workload_at, at)
    return Wait(
        what=_inference_what(state),
        since=since,
        elapsed_seconds=seconds,
        usual_p50_seconds=None if state.degraded else state.limits.inference_usual_p50,
        usual_p95_seconds=None if state.degraded else state.limits.inference_usual_p95,
        ends=tuple(_inference_ends(state, at)),
    )


def _inference_what(state: Workspace) -> str:
    workload = state.workload.replace("/", " ")
    condition = state.inference_ready
    if condition.status is ConditionStatus.FALSE:
        return f"{workload} to be ready{' again' if state.degraded else ''}: {condition.message}"
    step = STEPS.get(InferencePhase(state.inference_phase)) if state.inference_phase else None
    return f"{workload} to be ready" + (f"; now for {step}" if step else "")


def _inference_ends(state: Workspace, at: datetime) -> Iterable[str]:
    condition = state.inference_ready
    if condition.status is ConditionStatus.FALSE:
        yield TROUBLED_UNTIL.get(InferenceReason(condition.reason), TROUBLED_UNTIL[InferenceReason.FAILED])
    yield "all replicas are ready: InferenceReady and WorkspaceReady turn True"
    if state.workload_at is None or condition.status is not ConditionStatus.UNKNOWN:
        return
    late = state.workload_at + timedelta(seconds=state.limits.inference_timeout)
    limit, when = durations.of_seconds(state.limits.inference_timeout), _when(late, at)
    yield f"{when} the limit of {limit} turns InferenceReady False (WorkspaceInferenceStatusFailed)"


def _deletion_waits(moment: Moment, at: datetime) -> list[Wait]:
    state = moment.state
    since, seconds = _since(state.deletion_at, at)
    found = [
        Wait(
            what=f"Machine {name} to be gone",
            since=since,
            elapsed_seconds=seconds,
            ends=("its node is drained and its pool deleted; a live read then finds it gone",),
        )
        for name in moment.left
    ]
    if found or state.stage is Stage.GONE:
        return found
    end = "our finalizer is removed, and those of others are"
    return [
        Wait(what="the object to go: no Machine is left", since=since, elapsed_seconds=seconds, ends=(end,))
    ]
