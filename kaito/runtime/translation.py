"""From API objects to the core's views: what decisions read, and nothing else.

Objects come from a server that validates some of them and not others, so every field may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kaito.runtime.cache import labels_of
from kaito.runtime.keys import (
    ACCELERATOR_LABEL,
    GENERATION_ANNOTATION,
    GPU_RESOURCE,
    INSTANCE_TYPE_LABEL,
    MACHINE_TYPE_LABEL,
    POOL_LABEL,
    key_by_labels,
)
from kaito.runtime.ports import Object
from statemachine.machine.messages import retry_at
from statemachine.observations import (
    MachineFailure,
    MachineView,
    NodeView,
    PodView,
    ServiceView,
    StatusView,
    WorkloadView,
)
from statemachine.state import BlockedReason, Condition, ConditionStatus, ConditionType

OWN_CONDITIONS = frozenset(str(kind) for kind in ConditionType)
_BLOCKED = frozenset(str(reason) for reason in BlockedReason)
_STATUSES = {str(status): status for status in ConditionStatus}


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time of the API, aware; None when it is missing or not one."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def conditions_of(object_: Object) -> dict[str, Mapping[str, Any]]:
    """`.status.conditions` by type; the last one wins where a type stands twice."""
    status = object_.get("status") or {}
    return {found.get("type", ""): found for found in status.get("conditions") or ()}


def _is_true(conditions: Mapping[str, Mapping[str, Any]], kind: str) -> bool:
    return conditions.get(kind, {}).get("status") == "True"


def is_deleting(object_: Object) -> bool:
    return bool(object_["metadata"].get("deletionTimestamp"))


def status_view(workspace: Object) -> StatusView:
    """Our conditions and the node list as they stand on the Workspace."""
    own = {kind: found for kind, found in conditions_of(workspace).items() if kind in OWN_CONDITIONS}
    generations = [int(found.get("observedGeneration") or 0) for found in own.values()]
    return StatusView(
        conditions={kind: _condition(found) for kind, found in own.items()},
        worker_nodes=tuple((workspace.get("status") or {}).get("workerNodes") or ()),
        observed_generation=min(generations, default=0),
    )


def _condition(found: Mapping[str, Any]) -> Condition:
    return Condition(
        _STATUSES.get(str(found.get("status")), ConditionStatus.ABSENT),
        found.get("reason") or "",
        found.get("message") or "",
        parse_time(found.get("lastTransitionTime")),
    )


def machine_view(machine: Object) -> MachineView:
    conditions = conditions_of(machine)
    return MachineView(
        name=machine["metadata"]["name"],
        uid=machine["metadata"].get("uid", ""),
        deleting=is_deleting(machine),
        launched=_is_true(conditions, "MachineLaunched"),
        ready=_is_true(conditions, "Ready"),
        node=(machine.get("status") or {}).get("nodeName") or "",
        failure=_machine_failure(conditions),
    )


def _machine_failure(conditions: Mapping[str, Mapping[str, Any]]) -> MachineFailure | None:
    launched = conditions.get("MachineLaunched", {})
    if launched.get("status") != "False":
        return None
    reason = str(launched.get("reason"))
    message = launched.get("message") or "the provider gave no reason"
    return MachineFailure(
        reason=reason if reason in _BLOCKED else BlockedReason.LAUNCH_FAILED,
        message=message,
        retry_at=retry_at(message),
    )


def node_view(node: Object) -> NodeView:
    labels = labels_of(node)
    owner = key_by_labels(node)
    return NodeView(
        name=node["metadata"]["name"],
        instance_type=labels.get(INSTANCE_TYPE_LABEL, ""),
        ready=_is_true(conditions_of(node), "Ready"),
        deleting=is_deleting(node),
        gpus=_quantity((node.get("status") or {}).get("allocatable") or {}, GPU_RESOURCE),
        owner=str(owner) if owner else "",
        machine=labels.get(POOL_LABEL, ""),
        has_machine_type=MACHINE_TYPE_LABEL in labels,
        has_accelerator_label=labels.get(ACCELERATOR_LABEL) == "nvidia",
    )


def _quantity(resources: Mapping[str, Any], name: str) -> int:
    """A count of devices: extended resources are whole numbers, so anything else counts as none."""
    text = str(resources.get(name, "0"))
    return int(text) if text.isdecimal() else 0


def is_controlled_by(object_: Object, uid: str) -> bool:
    owners = object_["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid and owner.get("controller") for owner in owners)


def service_view(service: Object, uid: str) -> ServiceView:
    return ServiceView(name=service["metadata"]["name"], owned=is_controlled_by(service, uid))


def workload_view(workload: Object, kind: str, uid: str) -> WorkloadView:
    metadata, status = workload["metadata"], workload.get("status") or {}
    replicas = (workload.get("spec") or {}).get("replicas")
    return WorkloadView(
        kind=kind,
        name=metadata["name"],
        owned=is_controlled_by(workload, uid),
        desired=1 if replicas is None else int(replicas),
        ready=int(status.get("readyReplicas") or 0),
        generation=_rendered_generation(metadata),
        current=int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0),
    )


def _rendered_generation(metadata: Mapping[str, Any]) -> int | None:
    text = str((metadata.get("annotations") or {}).get(GENERATION_ANNOTATION, ""))
    return int(text) if text.isdecimal() else None


def pod_view(pod: Object) -> PodView:
    status = pod.get("status") or {}
    conditions = conditions_of(pod)
    container = _worst_container(status.get("containerStatuses") or ())
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, last.get("terminated") or state.get("terminated") or {}
    scheduled = conditions.get("PodScheduled", {})
    return PodView(
        name=pod["metadata"]["name"],
        node=(pod.get("spec") or {}).get("nodeName") or "",
        phase=status.get("phase") or "Pending",
        ready=_is_true(conditions, "Ready"),
        started="running" in state,
        waiting=waiting.get("reason") or status.get("reason") or "",
        message=waiting.get("message") or status.get("message") or "",
        terminated=ended.get("reason") or "",
        exit_code=ended.get("exitCode"),
        restarts=int(container.get("restartCount") or 0),
        unschedulable=_unschedulable(scheduled),
    )


def _worst_container(containers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The container that keeps the pod from being ready: the first that is not, else the first."""
    found = sorted(containers, key=lambda container: bool(container.get("ready")))
    return found[0] if found else {}


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return ""
    return scheduled.get("message") or "no node fits"
