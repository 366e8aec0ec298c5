"""From API objects and pools to the views that the Machine's core reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from kaito.runtime.cache import labels_of
from kaito.runtime.keys import INSTANCE_TYPE_LABEL
from kaito.runtime.machines.keys import (
    CRITICAL_CLASSES,
    FINALIZER,
    INITIALIZED_LABEL,
    REGISTERED_LABEL,
    UNSCHEDULABLE_TAINT,
)
from kaito.runtime.pools import CREATED_TAG, OWNER_TAG, OWNER_UID_TAG, Operation, Pool
from kaito.runtime.ports import Object
from kaito.runtime.translation import conditions_of, is_deleting, parse_time
from statemachine.machine.limits import MachineLimits
from statemachine.machine.observations import (
    MachineNode,
    MachineObject,
    MachineStatusView,
    NodePod,
    OperationReading,
    PoolReading,
)
from statemachine.machine.state import MachineConditionType
from statemachine.state import Condition, ConditionStatus

POOL_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
"""What AKS takes as the name of a Linux pool."""

SMALLEST_DISK_GB, LARGEST_DISK_GB = 30, 2048

_UNITS = {
    "": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "m": Decimal("0.001"),
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+)([A-Za-z]*)")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = frozenset(str(kind) for kind in MachineConditionType)
_STATUSES = {str(status): status for status in ConditionStatus}


# --- the Machine ------------------------------------------------------------------------------------


def machine_object(machine: Object, limits: MachineLimits) -> MachineObject:
    metadata, spec = machine["metadata"], machine.get("spec") or {}
    vm_size = _vm_size(spec.get("requirements") or ())
    requests = ((spec.get("resources") or {}).get("requests")) or {}
    return MachineObject(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        created_at=parse_time(metadata.get("creationTimestamp")) or _LONG_AGO,
        generation=int(metadata.get("generation") or 1),
        deleting=is_deleting(machine),
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
        vm_size=vm_size,
        os_disk_gb=disk_gb(str(requests.get("storage", "0"))),
        requests=tuple(sorted(n for n, q in requests.items() if n != "storage" and _amount(str(q)))),
        startup_taints=tuple(taint_text(taint) for taint in spec.get("startupTaints") or ()),
        refused=_refusal(metadata["name"], vm_size),
        limits=limits,
        status=_status_view(machine),
    )


def _vm_size(requirements: Iterable[Mapping[str, Any]]) -> str:
    """The first value, in the user's order, so that a retry asks for the same size."""
    for requirement in requirements:
        if requirement.get("key") == INSTANCE_TYPE_LABEL and requirement.get("operator") == "In":
            return str(next(iter(requirement.get("values") or ()), ""))
    return ""


def _refusal(name: str, vm_size: str) -> str:
    if not POOL_NAME.fullmatch(name):
        return f"no agent pool may be named {name}: a letter and up to 11 letters or digits, all lower case"
    return "" if vm_size else "machine spec has no requirement for instance type"


def disk_gb(storage: str) -> int:
    """The disk to ask for, in GB: 0 for the service's default, else within what Azure takes.

    A bare number up to 2048 means GiB, which is how one published preset spells its disk.
    """
    amount = _amount(storage)
    bare = storage.isdecimal() and amount <= LARGEST_DISK_GB
    gib = amount if bare else amount / 2**30
    return 0 if gib <= 0 else min(max(math.ceil(gib), SMALLEST_DISK_GB), LARGEST_DISK_GB)


def _amount(quantity: str) -> Decimal:
    """A Kubernetes quantity as a number; what is not one counts as nothing."""
    found = _QUANTITY.fullmatch(quantity.strip())
    if found is None or found[2] not in _UNITS:
        return Decimal(0)
    try:
        return Decimal(found[1]) * _UNITS[found[2]]
    except InvalidOperation:
        return Decimal(0)


def _status_view(machine: Object) -> MachineStatusView:
    status = machine.get("status") or {}
    own = {kind: found for kind, found in conditions_of(machine).items() if kind in _OWN}
    return MachineStatusView(
        conditions={kind: _condition(found) for kind, found in own.items()},
        node=status.get("nodeName") or "",
        provider_id=status.get("providerID") or "",
        capacity=resource_list(status.get("capacity")),
        allocatable=resource_list(status.get("allocatable")),
    )


def _condition(found: Mapping[str, Any]) -> Condition:
    return Condition(
        _STATUSES.get(str(found.get("status")), ConditionStatus.ABSENT),
        found.get("reason") or "",
        found.get("message") or "",
        parse_time(found.get("lastTransitionTime")),
    )


# --- its node and pods ------------------------------------------------------------------------------


def machine_node(node: Object, machine_uid: str) -> MachineNode:
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = labels_of(node)
    owners = metadata.get("ownerReferences") or ()
    return MachineNode(
        name=metadata["name"],
        provider_id=spec.get("providerID") or "",
        ready=conditions_of(node).get("Ready", {}).get("status") == "True",
        deleting=is_deleting(node),
        cordoned=bool(spec.get("unschedulable")),
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
        owned=any(owner.get("uid") == machine_uid for owner in owners),
        registered=labels.get(REGISTERED_LABEL) == "true",
        initialized=labels.get(INITIALIZED_LABEL) == "true",
        taints=tuple(taint_text(taint) for taint in spec.get("taints") or ()),
        capacity=resource_list(status.get("capacity")),
        allocatable=resource_list(status.get("allocatable")),
    )


def taint_text(taint: Mapping[str, Any]) -> str:
    """``key=value:Effect``, or ``key:Effect`` without a value."""
    value = taint.get("value")
    return f"{taint.get('key', '')}{f'={value}' if value else ''}:{taint.get('effect', '')}"


def resource_list(resources: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(sorted(f"{name}={quantity}" for name, quantity in (resources or {}).items()))


def node_pod(pod: Object) -> NodePod | None:
    """The pod as a drain sees it; None for one that has ended."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    return NodePod(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node=spec.get("nodeName") or "",
        critical=spec.get("priorityClassName") in CRITICAL_CLASSES,
        stays=_stays(metadata, spec),
        deletion_at=parse_time(metadata.get("deletionTimestamp")),
    )


def _stays(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    owners = {owner.get("kind") for owner in metadata.get("ownerReferences") or ()}
    return bool(owners & {"DaemonSet", "Node"}) or any(
        _tolerates_cordon(toleration) for toleration in spec.get("tolerations") or ()
    )


def _tolerates_cordon(toleration: Mapping[str, Any]) -> bool:
    everything = not toleration.get("key") and toleration.get("operator") == "Exists"
    named = toleration.get("key") == UNSCHEDULABLE_TAINT
    return (everything or named) and toleration.get("effect") in (None, "", "NoSchedule")


# --- the cloud --------------------------------------------------------------------------------------


def pool_reading(pool: Pool, now: datetime) -> PoolReading:
    created_at = parse_time(pool.tags.get(CREATED_TAG))
    return PoolReading(
        name=pool.name,
        state=pool.state,
        owner=pool.tags.get(OWNER_TAG, ""),
        owner_uid=pool.tags.get(OWNER_UID_TAG, ""),
        vm_size=pool.vm_size,
        created_at=created_at if created_at is not None and created_at <= now else None,
        fault=pool.fault,
    )


def operation_reading(operation: Operation) -> OperationReading:
    return OperationReading(url=operation.url, state=operation.state, fault=operation.fault)
