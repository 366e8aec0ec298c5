"""Detection for the serving half of a Workspace: Service, workload and the pods on their way to ready."""

from __future__ import annotations

from statemachine import events as ev
from statemachine.draft import Draft
from statemachine.observations import ClusterView, PodView, WorkloadView
from statemachine.state import ConditionStatus, InferencePhase, InferenceReason

PULL_ERRORS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
START_ERRORS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})

_ORDER = (InferencePhase.SCHEDULING, InferencePhase.PULLING, InferencePhase.LOADING)


def detect_inference(draft: Draft, view: ClusterView) -> None:
    """Record what became of Service, workload and pods; for a live Workspace.

    Nothing is recorded while the spec is refused: that verdict stands until the spec changes.
    """
    if draft.state.refused:
        return
    _detect_service(draft, view)
    _detect_workload(draft, view)
    foreign = _foreign(view)
    if foreign:
        _detect_foreign(draft, view.workload, f"{foreign} exists and belongs to somebody else")
    elif view.workload is not None and draft.state.workload:
        _detect_readiness(draft, view.workload, view.pods)
    elif draft.state.inference_ready.reason == InferenceReason.NAME_TAKEN:
        draft.record(ev.InferenceProgressed(at=draft.now, phase="", message="waiting for resources"))


def _detect_foreign(draft: Draft, workload: WorkloadView | None, message: str) -> None:
    if draft.state.inference_ready.status is ConditionStatus.TRUE and workload is not None:
        _record_degradation(draft, workload, (InferenceReason.NAME_TAKEN, message))
    draft.record_trouble(InferenceReason.NAME_TAKEN, message)


def _foreign(view: ClusterView) -> str:
    """The name of a Service or workload that stands where ours should; empty when none does."""
    if view.service is not None and not view.service.owned:
        return f"Service {view.service.name}"
    if view.workload is not None and not view.workload.owned:
        return f"{view.workload.kind} {view.workload.name}"
    return ""


def _detect_service(draft: Draft, view: ClusterView) -> None:
    ours = view.service is not None and view.service.owned
    if ours and view.service is not None and not draft.state.service:
        draft.record(ev.ServiceCreated(at=draft.now, name=view.service.name))
    elif not ours and draft.state.service:
        draft.record(ev.ServiceLost(at=draft.now, name=draft.state.service))


def _detect_workload(draft: Draft, view: ClusterView) -> None:
    found = view.workload if view.workload is not None and view.workload.owned else None
    known = draft.state.workload
    if known and (found is None or f"{found.kind}/{found.name}" != known):
        kind, _, name = known.partition("/")
        draft.record(ev.WorkloadLost(at=draft.now, kind=kind, name=name))
    if found is not None and not draft.state.workload:
        draft.record(ev.WorkloadCreated(at=draft.now, kind=found.kind, name=found.name))


def _detect_readiness(draft: Draft, workload: WorkloadView, pods: tuple[PodView, ...]) -> None:
    status = draft.state.inference_ready.status
    ready = workload.current and 0 < workload.desired <= workload.ready
    trouble = _trouble(pods)
    if ready:
        if status is not ConditionStatus.TRUE:
            draft.record(
                ev.InferenceBecameReady(at=draft.now, ready=workload.ready, desired=workload.desired)
            )
    elif status is ConditionStatus.TRUE:
        if workload.ready < max(workload.desired, 1):
            _record_degradation(draft, workload, trouble)
    elif trouble is not None:
        draft.record_trouble(*trouble)
    elif draft.state.degraded:
        draft.record_trouble(*_shortfall(workload))
    else:
        _detect_phase(draft, pods)
    _detect_timeout(draft)


def _record_degradation(draft: Draft, workload: WorkloadView, trouble: tuple[str, str] | None) -> None:
    reason, message = trouble or _shortfall(workload)
    draft.record(
        ev.InferenceDegraded(
            at=draft.now, ready=workload.ready, desired=workload.desired, reason=reason, message=message
        )
    )


def _shortfall(workload: WorkloadView) -> tuple[str, str]:
    return InferenceReason.NOT_READY, f"{workload.ready} of {workload.desired} replicas are ready"


def _detect_phase(draft: Draft, pods: tuple[PodView, ...]) -> None:
    """The phase of the pod furthest behind; a trouble that is over shows as the phase it is in now."""
    state = draft.state
    phase, message = _phase(pods)
    timed_out = state.inference_ready.reason == InferenceReason.FAILED
    over = state.inference_ready.status is ConditionStatus.FALSE and not timed_out
    if phase == InferencePhase.SCHEDULING and not state.inference_phase and not over:
        # A pod just made finds its node within a moment, and one that cannot is a trouble: no status is
        # written for it.
        message = state.inference_ready.message
    if phase and (over or phase != state.inference_phase):
        draft.record(ev.InferenceProgressed(at=draft.now, phase=phase, message=message))


def _detect_timeout(draft: Draft) -> None:
    state = draft.state
    if state.workload_at is None or state.inference_ready.status is not ConditionStatus.UNKNOWN:
        return
    elapsed = (draft.now - state.workload_at).total_seconds()
    if elapsed >= state.limits.inference_timeout:
        draft.record(ev.InferenceWaitTimedOut(at=draft.now, elapsed_seconds=elapsed))


def _phase(pods: tuple[PodView, ...]) -> tuple[str, str]:
    phases = sorted((_ORDER.index(_phase_of(pod)), pod.name) for pod in pods if not pod.ready)
    if not phases:
        return "", ""
    phase = _ORDER[phases[0][0]]
    waiting = f"{len(phases)} of {len(pods)} pods" if len(pods) > 1 else f"pod {phases[0][1]}"
    message = {
        InferencePhase.SCHEDULING: f"{waiting}: waiting for a node",
        InferencePhase.PULLING: f"{waiting}: pulling the image",
        InferencePhase.LOADING: f"{waiting}: loading the model",
    }[phase]
    return phase, message


def _phase_of(pod: PodView) -> InferencePhase:
    if pod.started:
        return InferencePhase.LOADING
    return InferencePhase.PULLING if pod.node else InferencePhase.SCHEDULING


def _trouble(pods: tuple[PodView, ...]) -> tuple[str, str] | None:
    """The first trouble by pod name, as (InferenceReason, message); None when no pod has any."""
    found = [trouble for pod in sorted(pods, key=lambda pod: pod.name) if (trouble := _trouble_of(pod))]
    return found[0] if found else None


def _trouble_of(pod: PodView) -> tuple[str, str] | None:
    if pod.ready:
        return None
    if pod.phase == "Failed" and pod.waiting == "Evicted":
        return InferenceReason.EVICTED, f"pod {pod.name} was evicted: {pod.message}"
    if pod.unschedulable:
        return InferenceReason.UNSCHEDULABLE, f"pod {pod.name}: {pod.unschedulable}"
    if pod.waiting in PULL_ERRORS:
        return InferenceReason.IMAGE_PULL_ERROR, f"pod {pod.name}: {pod.message or pod.waiting}"
    if pod.waiting in START_ERRORS:
        return InferenceReason.START_ERROR, f"pod {pod.name}: {pod.message or pod.waiting}"
    if pod.restarts and pod.terminated:
        return _crash(pod)
    return None


def _crash(pod: PodView) -> tuple[str, str]:
    oom = pod.terminated == "OOMKilled"
    reason = InferenceReason.OOM_KILLED if oom else InferenceReason.CRASH_LOOP
    times = "once" if pod.restarts == 1 else f"{pod.restarts} times"
    return reason, f"pod {pod.name} restarted {times}; last exit: {pod.terminated}, code {pod.exit_code}"
