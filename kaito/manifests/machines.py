"""The Machine that asks the provisioner for one node."""

from __future__ import annotations

from kaito.api.machine import API_VERSION, KIND
from kaito.api.workspace import Workspace
from kaito.catalogue.entries import Preset
from kaito.manifests import names
from kaito.manifests.names import Object
from kaito.runtime.keys import (
    INSTANCE_TYPE_LABEL,
    MACHINE_TYPE_LABEL,
    NAME_LABEL,
    NAMESPACE_LABEL,
    UID_LABEL,
)

PROVISIONER = "default"
MACHINE_TYPE = "gpu"
"""Also asked for on sizes without GPUs, as published: the provisioner labels the node by what it is."""

GPU_TAINT = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def machine(workspace: Workspace, preset: Preset | None, *, name: str) -> Object:
    """The Machine of this name for a Workspace.

    It is cluster-scoped, so it has no namespace and no owner reference: a namespaced owner would have the
    garbage collector delete it at once. Labels say whose it is, and the user's match labels never replace
    them.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "labels": _labels(workspace)},
        "spec": {
            "machineTemplateRef": {"name": name},
            "requirements": _requirements(workspace),
            "resources": {"requests": {"storage": storage(preset)}},
            "taints": [dict(GPU_TAINT)],
        },
    }


def storage(preset: Preset | None) -> str:
    """The OS disk as a quantity; ``0`` leaves the size to the provider."""
    return f"{preset.disk_gib}Gi" if preset and preset.disk_gib else "0"


def _labels(workspace: Workspace) -> dict[str, str]:
    ours = {
        names.PROVISIONER_LABEL: PROVISIONER,
        NAME_LABEL: workspace.name,
        NAMESPACE_LABEL: workspace.namespace,
        UID_LABEL: workspace.metadata.uid,
    }
    theirs = workspace.resource.selector()
    return ours | {key: theirs[key] for key in sorted(theirs) if key not in ours}


def _requirements(workspace: Workspace) -> list[Object]:
    wanted = {
        INSTANCE_TYPE_LABEL: workspace.resource.instance_type,
        names.PROVISIONER_LABEL: PROVISIONER,
        MACHINE_TYPE_LABEL: MACHINE_TYPE,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    return [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
