"""A provisioner that changes nothing: reads go through, and a write is one line that says what it would do.

A command that writes has no outcome, so the core stands before it as after a crash, looks again now and then
and asks for the same; the line is not repeated. What the live read before a write settles is answered, or
every pool that is there already would be told as one to be made.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from kaito.manager.informers import LiveApi
from kaito.manager.logs import fields
from kaito.runtime.machines.executor import MachineExecutor
from kaito.runtime.pools import AgentPools, Operation, Pool, PoolSpec, PoolState
from kaito.runtime.ports import Clock, Object, Page, Resource, WatchStream
from kaito.runtime.targets import Target
from statemachine.machine import commands as cmd
from statemachine.machine.observations import MachineOutcome
from statemachine.observations import Result

_LOGGER = logging.getLogger(__name__)


class Announcer:
    """Writes what would be done, once for each object until something else would be done to it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, verb: str, name: str, **details: Any) -> None:
        with self._lock:
            if self._told.get((verb, name)) == details:
                return
            self._told[verb, name] = details
        _LOGGER.info(f"would {verb}", extra=fields(dry_run=True, name=name, **details))


class DryRunApi(LiveApi):
    """The Kubernetes API without its writes: each returns what is there, or what was asked for."""

    def __init__(self, api: LiveApi, announce: Announcer) -> None:
        self._api = api
        self._announce = announce

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._api.get(resource, name, namespace)

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> Page:
        return self._api.list(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_=continue_,
            resource_version=resource_version,
        )

    def open_watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 300,
        bookmarks: bool = True,
    ) -> WatchStream:
        return self._api.open_watch(
            resource,
            namespace,
            label_selector=label_selector,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
            bookmarks=bookmarks,
        )

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        self._announce(f"create {resource.kind}", body["metadata"].get("name", ""))
        return body

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        self._announce(f"update {resource.kind}", body["metadata"].get("name", ""))
        return body

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        self._announce(f"patch {resource.kind}", name)
        return self._api.get(resource, name, namespace)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        dry_run: bool = False,
    ) -> Object:
        self._announce(f"delete {resource.kind}", name)
        return self._api.get(resource, name, namespace)

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        self._announce("evict Pod", f"{namespace}/{name}")


class DryRunPools(AgentPools):
    """The agent pools without their writes."""

    def __init__(self, pools: AgentPools, announce: Announcer) -> None:
        self._pools = pools
        self._announce = announce

    def begin_create(self, spec: PoolSpec) -> Operation:
        self._announce("create agent pool", spec.name, vm_size=spec.vm_size)
        return Operation(url="")

    def get(self, name: str) -> Pool:
        return self._pools.get(name)

    def list(self) -> list[Pool]:
        return self._pools.list()

    def begin_delete(self, name: str) -> Operation:
        self._announce("delete agent pool", name)
        return Operation(url="")

    def operation(self, url: str) -> Operation:
        return self._pools.operation(url)


class DryRunExecutor(MachineExecutor):
    """Announces the commands that write, and carries out those that read."""

    def __init__(self, api: DryRunApi, pools: DryRunPools, clock: Clock, announce: Announcer) -> None:
        super().__init__(api, pools, clock)
        self._announce = announce

    def execute(self, command: cmd.MachineCommand, target: Target) -> MachineOutcome | None:
        if isinstance(command, cmd.ReadPool | cmd.ReadOperation):
            return super().execute(command, target)
        settled = self._settled(command, target.name)
        if settled is None:
            verb, details = describe(command)
            self._announce(verb, target.name, **details)
        return settled

    def _settled(self, command: cmd.MachineCommand, machine: str) -> MachineOutcome | None:
        """What the executor answers from its live read of the pool, before it would write."""
        if not isinstance(command, cmd.SubmitPool | cmd.DeletePool | cmd.RemoveFinalizer):
            return None
        found = self._find_pool(machine)
        match command:
            case cmd.SubmitPool() if found is not None:
                return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
            case cmd.RemoveFinalizer() if found is not None and found.owner == machine:
                return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
            case cmd.DeletePool() if found is None:
                return MachineOutcome(command=command, result=Result.NOT_FOUND)
            case cmd.DeletePool() if found is not None and found.owner != machine:
                return MachineOutcome(command=command, result=Result.REFUSED, pool=found)
            case cmd.DeletePool() if found is not None and found.state is PoolState.DELETING:
                return MachineOutcome(command=command, result=Result.DONE, pool=found)
        return None


def describe(command: cmd.MachineCommand) -> tuple[str, dict[str, Any]]:
    """What a command that writes does, in words, and its particulars."""
    match command:
        case cmd.AddFinalizer():
            return "add the finalizer to the Machine", {}
        case cmd.WriteStatus():
            return "write the status of the Machine", {
                "conditions": _conditions(command),
                "node": command.node,
            }
        case cmd.DeletePool():
            return "delete the agent pool of the Machine", {}
        case cmd.DeleteMachine():
            return "delete the Machine", {}
        case cmd.RemoveFinalizer():
            return "remove the finalizer from the Machine", {}
        case cmd.SubmitPool():
            details = {"vm_size": command.vm_size, "os_disk_gb": command.os_disk_gb}
            return "create the agent pool of the Machine", {**details, "attempt": command.attempt}
        case cmd.EvictPod():
            return "evict a pod from its node", {"pod": f"{command.namespace}/{command.name}"}
        case cmd.RegisterNode():
            return "register its node", {"node": command.node}
        case cmd.InitializeNode():
            return "mark its node as initialized", {"node": command.node}
        case cmd.CordonNode():
            return "cordon its node", {"node": command.node}
        case cmd.DeleteNode():
            return "delete its node", {"node": command.node}
        case cmd.RemoveNodeFinalizer():
            return "remove the finalizer from its node", {"node": command.node}
    raise TypeError(f"{type(command).__name__} writes nothing")


def _conditions(command: cmd.WriteStatus) -> dict[str, str]:
    return {kind: f"{found.status} {found.reason}".strip() for kind, found in command.conditions.items()}
