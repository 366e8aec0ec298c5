"""One call a command, to the Kubernetes API or to the cloud, with the live reads an irreversible one needs.

What either side refuses becomes an outcome for the core; what was not answered is raised, and the reconcile
is repeated: every command may be issued twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from kaito.runtime.cache import labels_of
from kaito.runtime.machines.keys import (
    EXCLUDE_LABEL,
    FINALIZER,
    INITIALIZED_LABEL,
    MACHINE_TYPE_LABEL,
    PROVISIONER,
    PROVISIONER_LABEL,
    REGISTERED_LABEL,
)
from kaito.runtime.machines.translation import operation_reading, pool_reading, taint_text
from kaito.runtime.pools import (
    CREATED_TAG,
    OWNER_TAG,
    OWNER_UID_TAG,
    AgentPools,
    OperationState,
    PoolNotFound,
    PoolRefused,
    PoolSpec,
    PoolState,
)
from kaito.runtime.ports import (
    MACHINES,
    NODES,
    ApiError,
    Clock,
    Conflict,
    KubeApi,
    NotFound,
    Object,
    Throttled,
)
from kaito.runtime.targets import Target
from kaito.runtime.translation import is_deleting
from statemachine.machine import commands as cmd
from statemachine.machine.observations import MachineOutcome, PoolReading
from statemachine.observations import Result
from statemachine.state import Condition

GPU_MARK = "Standard_N"
"""The published test for a GPU size: its name contains this."""


class MachineExecutor:
    def __init__(self, api: KubeApi, pools: AgentPools, clock: Clock) -> None:
        self._api = api
        self._pools = pools
        self._clock = clock

    def execute(self, command: cmd.MachineCommand, target: Target) -> MachineOutcome | None:
        """Carry out one command; None when there is nothing to tell the core.

        Raises:
            ApiError, PoolError: The call may be repeated; whether it took effect may be unknown.
        """
        match command:
            case cmd.AddFinalizer():
                target.hold(self._api, FINALIZER)
            case cmd.WriteStatus():
                self._write_status(command, target)
            case cmd.SubmitPool():
                return self._submit_pool(command, target)
            case cmd.ReadPool():
                return self._read_pool(command, target)
            case cmd.ReadOperation():
                return self._read_operation(command, target)
            case cmd.DeletePool():
                return self._delete_pool(command, target)
            case cmd.EvictPod():
                return self._evict(command)
            case cmd.DeleteMachine():
                with contextlib.suppress(NotFound):
                    self._api.delete(MACHINES, target.name, uid=command.uid)
            case cmd.RemoveFinalizer():
                return self._remove_finalizer(command, target)
            case _:
                self._change_node(command, target)
        return None

    # --- the Machine --------------------------------------------------------------------------------

    def _write_status(self, command: cmd.WriteStatus, target: Target) -> None:
        def change(found: Object) -> Object:
            present = (found.get("status") or {}).get("conditions") or ()
            others = [dict(c) for c in present if c.get("type") not in command.conditions]
            ours = [condition_json(kind, condition) for kind, condition in command.conditions.items()]
            conditions = sorted(ours + others, key=lambda condition: str(condition.get("type")))
            return {"status": {**known, "conditions": conditions}}

        known = {
            "nodeName": command.node or None,
            "providerID": command.provider_id or None,
            "capacity": _resources(command.capacity),
            "allocatable": _resources(command.allocatable),
        }
        target.patch(self._api, change, "status")

    def _remove_finalizer(self, command: cmd.RemoveFinalizer, target: Target) -> MachineOutcome:
        found = self._find_pool(target.name)
        if found is not None and found.owner == target.name:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
        try:
            target.release(self._api, FINALIZER)
        except NotFound:
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        return MachineOutcome(command=command, result=Result.DONE)

    # --- the cloud ----------------------------------------------------------------------------------

    def _find_pool(self, name: str) -> PoolReading | None:
        try:
            return pool_reading(self._pools.get(name), self._clock.now())
        except PoolNotFound:
            return None

    def _submit_pool(self, command: cmd.SubmitPool, target: Target) -> MachineOutcome:
        machine = self._live_machine(command, target)
        if machine is None:
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        found = self._find_pool(target.name)
        if found is not None:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
        try:
            operation = self._pools.begin_create(self._spec(command, machine))
        except PoolRefused as refusal:
            # Somebody may have been quicker; then what is there says more than the refusal.
            found = self._find_pool(target.name) if refusal.fault.code == "PoolExists" else None
            fault = None if found else refusal.fault
            return MachineOutcome(command=command, result=Result.REFUSED, pool=found, fault=fault)
        reading = operation_reading(operation)
        return MachineOutcome(command=command, result=Result.DONE, operation=reading)

    def _live_machine(self, command: cmd.SubmitPool, target: Target) -> Object | None:
        try:
            found = self._api.get(MACHINES, target.name)
        except NotFound:
            return None
        metadata = found["metadata"]
        held = FINALIZER in (metadata.get("finalizers") or ())
        return found if metadata.get("uid") == command.uid and held and not is_deleting(found) else None

    def _spec(self, command: cmd.SubmitPool, machine: Object) -> PoolSpec:
        machine_type = "gpu" if GPU_MARK in command.vm_size else "cpu"
        labels = {PROVISIONER_LABEL: PROVISIONER, **labels_of(machine), MACHINE_TYPE_LABEL: machine_type}
        name = machine["metadata"]["name"]
        return PoolSpec(
            name=name,
            vm_size=command.vm_size,
            labels=dict(sorted(labels.items())),
            taints=tuple(taint_text(taint) for taint in (machine.get("spec") or {}).get("taints") or ()),
            os_disk_gb=command.os_disk_gb,
            tags={
                OWNER_TAG: name,
                OWNER_UID_TAG: command.uid,
                CREATED_TAG: self._clock.now().isoformat(timespec="seconds"),
            },
        )

    def _read_pool(self, command: cmd.ReadPool, target: Target) -> MachineOutcome:
        found = self._find_pool(target.name)
        result = Result.NOT_FOUND if found is None else Result.DONE
        return MachineOutcome(command=command, result=result, pool=found)

    def _read_operation(self, command: cmd.ReadOperation, target: Target) -> MachineOutcome:
        reading = operation_reading(self._pools.operation(command.url))
        if reading.state is not OperationState.SUCCEEDED:
            return MachineOutcome(command=command, result=Result.DONE, operation=reading)
        pool = self._find_pool(target.name)
        result = Result.NOT_FOUND if pool is None else Result.DONE
        return MachineOutcome(command=command, result=result, operation=reading, pool=pool)

    def _delete_pool(self, command: cmd.DeletePool, target: Target) -> MachineOutcome:
        found = self._find_pool(target.name)
        if found is None:
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        if found.owner != target.name:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
        if found.state is PoolState.DELETING:
            return MachineOutcome(command=command, result=Result.DONE, pool=found)
        try:
            operation = self._pools.begin_delete(target.name)
        except PoolNotFound:
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        except PoolRefused as refusal:
            return MachineOutcome(command=command, result=Result.REFUSED, fault=refusal.fault)
        reading = operation_reading(operation)
        return MachineOutcome(command=command, result=Result.DONE, operation=reading)

    # --- nodes and pods -----------------------------------------------------------------------------

    def _change_node(self, command: cmd.MachineCommand, target: Target) -> None:
        """Nodes that are gone are an answer: the next picture shows it."""
        with contextlib.suppress(NotFound):
            match command:
                case cmd.RegisterNode():
                    self._register(command.node, target)
                case cmd.InitializeNode():
                    self._label(command.node, {INITIALIZED_LABEL: "true"})
                case cmd.CordonNode():
                    labels = {"labels": {EXCLUDE_LABEL: "karpenter"}}
                    patch = {"metadata": labels, "spec": {"unschedulable": True}}
                    self._api.patch(NODES, command.node, patch)
                case cmd.DeleteNode():
                    self._api.delete(NODES, command.node)
                case cmd.RemoveNodeFinalizer():
                    self._release_node(command.node)
                case _:
                    raise TypeError(f"no call for {type(command).__name__}")

    def _label(self, node: str, labels: Mapping[str, str]) -> None:
        self._api.patch(NODES, node, {"metadata": {"labels": dict(labels)}})

    def _register(self, node: str, target: Target) -> None:
        metadata = self._api.get(NODES, node)["metadata"]
        owners = [o for o in metadata.get("ownerReferences") or () if o.get("uid") != target.uid]
        owner = {
            "apiVersion": MACHINES.api_version,
            "kind": MACHINES.kind,
            "name": target.name,
            "uid": target.uid,
            "blockOwnerDeletion": True,
        }
        finalizers = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
        changed = {
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": [*finalizers, FINALIZER],
            "ownerReferences": [*owners, owner],
            "labels": {REGISTERED_LABEL: "true"},
        }
        self._api.patch(NODES, node, {"metadata": changed})

    def _release_node(self, node: str) -> None:
        metadata = self._api.get(NODES, node)["metadata"]
        kept = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
        changed = {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}
        self._api.patch(NODES, node, {"metadata": changed})

    def _evict(self, command: cmd.EvictPod) -> MachineOutcome | None:
        try:
            self._api.evict(command.name, command.namespace, uid=command.uid)
        except NotFound:
            return None
        except Conflict:
            return None  # another pod has the name by now; the next picture shows it
        except Throttled as refusal:
            return MachineOutcome(command=command, result=Result.REFUSED, message=_who_blocks(refusal))
        except ApiError as refusal:
            if refusal.code != 500:
                raise
            return MachineOutcome(command=command, result=Result.REFUSED, message=_who_blocks(refusal))
        return None


def _who_blocks(refusal: ApiError) -> str:
    """The server's text and its causes, for only these name the budget."""
    return " ".join([refusal.message, *refusal.causes])


def _resources(pairs: tuple[str, ...]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in pairs)


def condition_json(kind: str, condition: Condition) -> Object:
    """Without what is empty: servers before 1.21 take an empty string for null, which the schema forbids."""
    since = condition.since
    fields = {
        "reason": condition.reason,
        "message": condition.message,
        "severity": "" if condition.status == "True" else "Error",
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else "",
    }
    given = {name: text for name, text in fields.items() if text}
    return {"type": kind, "status": str(condition.status), **given}
