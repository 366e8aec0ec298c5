"""What the messages of Kaito's controllers mean; `understand` is the one dictionary of them.

Sources: the workspace controller at v0.2.x and the gpu-provisioner at 0.2.0 with its karpenter-core. A line
whose message is in neither table is not understood, also when its format is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kaito.importing.entries import Entry
from kaito.importing.evidence import Kind, WorkspaceKey
from statemachine.state import ConditionType

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


class Meaning(NamedTuple):
    """The fields of `Evidence` that the message fills."""

    kind: Kind
    workspace: WorkspaceKey | None = None
    machine: str = ""
    name: str = ""
    status: str = ""
    reason: str = ""
    text: str = ""


class _Strange(Exception):
    """A field that the message needs is missing or is no Kubernetes name."""


UNDERSTOOD: Final = Meaning(Kind.UNDERSTOOD)


def understand(entry: Entry) -> Meaning | None:
    """What the line says: its meaning, `UNDERSTOOD` for plumbing, None for something this import ignores."""
    reader = _RELEVANT.get(entry.message)
    if reader is not None:
        try:
            return reader(entry.fields)
        except _Strange:
            return None
    if entry.message in _IRRELEVANT or entry.message.startswith(_IRRELEVANT_STARTS):
        return UNDERSTOOD
    if not entry.severe and entry.origin.startswith(_PLUMBING):
        return UNDERSTOOD
    return None


# --- relevant messages ------------------------------------------------------------------------------

_Fields = Mapping[str, Any]
_Reader = Callable[[_Fields], Meaning]


def _text(fields: _Fields, key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise _Strange(key)
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise _Strange(value)
    return value


def _named(fields: _Fields, key: str) -> str:
    return _name(fields.get(key))


def _key(text: str) -> WorkspaceKey:
    namespace, _, name = text.partition("/")
    return _name(namespace), _name(name)


def _about_workspace(kind: Kind) -> _Reader:
    return lambda fields: Meaning(kind, _key(_text(fields, "workspace")))


def _about_machine(kind: Kind, field: str = "machine") -> _Reader:
    return lambda fields: Meaning(kind, machine=_named(fields, field))


def _condition(fields: _Fields) -> Meaning:
    kind, status = _text(fields, "conditionType"), _text(fields, "status")
    if kind not in _CONDITIONS or status not in _STATUSES:
        raise _Strange(kind)
    return Meaning(
        Kind.CONDITION,
        _key(_text(fields, "workspace")),
        name=kind,
        status=status,
        reason=_text(fields, "reason"),
        text=_text(fields, "message"),
    )


def _created(kind: Kind, field: str, text: str = "") -> _Reader:
    def read(fields: _Fields) -> Meaning:
        key = _key(_text(fields, field))
        return Meaning(kind, key, name=key[1], text=text)

    return read


def _workload_ready(field: str, kind: str) -> _Reader:
    return lambda fields: Meaning(Kind.WORKLOAD_READY, name=_named(fields, field), text=kind)


def _machine_creation(fields: _Fields) -> Meaning:
    namespace, machine = _key(_text(fields, "machine"))
    return Meaning(Kind.MACHINE_CREATION, machine=machine, text=namespace)


def _reconcile_failed(fields: _Fields) -> Meaning:
    if fields.get("controller") != "workspace":
        return UNDERSTOOD
    key = (_named(fields, "namespace"), _named(fields, "name"))
    return Meaning(Kind.RECONCILE_FAILED, key, text=_text(fields, "error"))


def _admission(fields: _Fields) -> Meaning:
    """Only an allowed creation of a Workspace itself proves something; the rest is webhook plumbing."""
    created = (
        fields.get("operation") == "CREATE"
        and fields.get("allowed") is True
        and not fields.get("subresource")
        and str(fields.get("kind")).endswith("Kind=Workspace")
    )
    if not created:
        return UNDERSTOOD
    return Meaning(Kind.ADMITTED, (_named(fields, "namespace"), _named(fields, "name")))


def _launch(fields: _Fields) -> Meaning:
    return Meaning(Kind.LAUNCH, machine=_named(fields, "machine"), text=_text(fields, "provider_id"))


def _machine_deleted(fields: _Fields) -> Meaning:
    node = fields.get("node")
    return Meaning(Kind.MACHINE_DELETED, machine=_named(fields, "machine"), name=_name(node) if node else "")


_CONDITIONS = frozenset(str(condition) for condition in ConditionType)
_STATUSES = frozenset({"True", "False", "Unknown"})

_RELEVANT: Final[dict[str, _Reader]] = {
    "remote admission controller audit annotations=map[string]string(nil)": _admission,
    "Reconciling": _about_workspace(Kind.RECONCILING),
    "no current nodes match the workspace resource spec": _about_workspace(Kind.NODES_MISSING),
    "updateStatusCondition": _condition,
    "updateStatusNodeList": _about_workspace(Kind.NODE_LIST),
    "CreateMachine": _machine_creation,
    "CheckMachineStatus": _about_machine(Kind.MACHINE_CHECK),
    "machine status is ready": _about_machine(Kind.MACHINE_READY),
    "UpdateNodeWithLabel": lambda fields: Meaning(Kind.NODE_LABELLED, name=_named(fields, "nodeName")),
    "CreateService": _created(Kind.SERVICE_CREATED, "service"),
    "CreateDeployment": _created(Kind.WORKLOAD_CREATED, "deployment", "Deployment"),
    "CreateStatefulSet": _created(Kind.WORKLOAD_CREATED, "statefulset", "StatefulSet"),
    "An inference workload already exists for workspace": _about_workspace(Kind.WORKLOAD_SEEN),
    "deployment status is ready": _workload_ready("deployment", "Deployment"),
    "statefulset status is ready": _workload_ready("statefulset", "StatefulSet"),
    "Reconciler error": _reconcile_failed,
    "deleteWorkspace": _about_workspace(Kind.DELETION),
    "garbageCollectWorkspace": _about_workspace(Kind.COLLECTION),
    "successfully removed the workspace finalizers": _about_workspace(Kind.RELEASE),
    "createAgentPool": _about_machine(Kind.POOL_CREATION, "agentpool"),
    "launched machine": _launch,
    "deleteAgentPool": _about_machine(Kind.POOL_DELETION, "agentpool"),
    "deleted node": lambda fields: Meaning(Kind.NODE_DELETED, name=_named(fields, "node")),
    "deleted machine": _machine_deleted,
}

# --- messages that no event tells -------------------------------------------------------------------

_PLUMBING = (
    "webhook",
    "fallback",
    "controller.pricing",
    "reflector.go",
    "leaderelection.go",
    "request.go",
    "trace.go",
    "shared_informer.go",
)
"""Loggers and client-go files whose lines, unless they are errors, say nothing about a Workspace."""

_IRRELEVANT: Final = frozenset(
    {
        # the workspace controller: start, end, and steps that other lines prove better
        "starting webhook reconcilers",
        "starting manager",
        "starting webhook",
        "Validate creation",
        "Validate update",
        "need to create more nodes",
        "There exists a machine with the same name, retry with a different name",
        "failed to create machine",
        "failed to get workspace",
        "failed to update workspace status",
        "failed to ensure the finalizer to the workspace",
        "failed to remove the finalizer from the workspace",
        "failed to delete the machine",
        "A tuning workload already exists for workspace",
        "nvidia plugin cannot be installed, node not found",
        "cannot get node",
        "cannot update node label",
        "unable to start manager",
        "unable to create controller",
        "unable to set up health check",
        "unable to set up ready check",
        "problem running manager",
        # controller-runtime
        "Metrics server is starting to listen",
        "Starting server",
        "starting server",
        "Starting EventSource",
        "Starting Controller",
        "starting controller",
        "Starting workers",
        "Shutdown signal received, waiting for all workers to finish",
        "All workers finished",
        "Stopping and waiting for non leader election runnables",
        "Stopping and waiting for leader election runnables",
        "Stopping and waiting for caches",
        "Stopping and waiting for webhooks",
        "Stopping and waiting for HTTP servers",
        "Wait completed, proceeding to shutdown the manager",
        # knative
        "Unable to read vcs.revision from binary",
        "Starting configuration manager...",
        "Starting informers...",
        "Starting controllers...",
        # the provisioner
        "Create",
        "Instance.Create",
        "Get",
        "List",
        "Delete",
        "Instance.Delete",
        "Instance.List",
        "cordoned node",
        "drained node",
        "registered machine",
        "initialized machine",
        "terminating machine due to registration ttl",
    }
)
_IRRELEVANT_STARTS: Final = (
    "Webhook ServeHTTP request=",
    "remote admission controller audit annotations=",
    "Profiling enabled: ",
    "Registering ",
    "Update heartbeat for ",
    "updated on-demand pricing for region ",
    "http: TLS handshake error from ",
)
