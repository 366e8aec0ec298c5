"""Keys of the workqueue, streams of the log, and the labels that tie objects to a Workspace."""

from __future__ import annotations

from typing import NamedTuple

from kaito.runtime.cache import labels_of
from kaito.runtime.ports import Object

FINALIZER = "workspace.finalizer.kaito.sh"
NAME_LABEL = "kaito.sh/workspace"
NAMESPACE_LABEL = "kaito.sh/workspacenamespace"
UID_LABEL = "kaito.sh/workspace-uid"
"""Ours: tells the Machines of one life of a name from those of the next."""

POOL_LABEL = "kubernetes.azure.com/agentpool"
MACHINE_TYPE_LABEL = "kaito.sh/machine-type"
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
ACCELERATOR_LABEL = "accelerator"
GPU_RESOURCE = "nvidia.com/gpu"
GENERATION_ANNOTATION = "kaito.sh/workspace-generation"
"""On the workload: the Workspace's generation it was rendered from."""

MACHINE_TIMEOUT_ANNOTATION = "kaito.sh/machine-timeout"


class WorkspaceKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


STREAM_PREFIX = "workspace/"


def stream_of(key: WorkspaceKey, uid: str) -> str:
    """The stream of one life of a Workspace."""
    return f"{stream_prefix(key)}{uid}"


def stream_prefix(key: WorkspaceKey) -> str:
    return f"{STREAM_PREFIX}{key.namespace}/{key.name}/"


def key_by_labels(object_: Object) -> WorkspaceKey | None:
    """The Workspace a Machine or node names in its labels; both labels are needed."""
    labels = labels_of(object_)
    namespace, name = labels.get(NAMESPACE_LABEL), labels.get(NAME_LABEL)
    return WorkspaceKey(namespace, name) if namespace and name else None


def key_by_owner(object_: Object) -> WorkspaceKey | None:
    """The Workspace that controls an object of its namespace."""
    for owner in object_["metadata"].get("ownerReferences", ()):
        if owner.get("kind") == "Workspace" and owner.get("controller"):
            return WorkspaceKey(object_["metadata"]["namespace"], owner["name"])
    return None


def machine_labels(key: WorkspaceKey) -> dict[str, str]:
    """What every Machine of a Workspace of this name carries, whichever life it belongs to."""
    return {NAME_LABEL: key.name, NAMESPACE_LABEL: key.namespace}


def belongs_to(machine: Object, uid: str) -> bool:
    """Whether a Machine with the right labels belongs to this life.

    One without our UID label was made by the original operator, which had one life per name.
    """
    return labels_of(machine).get(UID_LABEL, uid) == uid
