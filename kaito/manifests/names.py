"""Labels, ports and names that several manifests share, and the owner reference."""

from __future__ import annotations

from typing import Any, TypeAlias

from kaito.api.workspace import API_VERSION, KIND, Workspace
from kaito.runtime.keys import NAME_LABEL

Object: TypeAlias = dict[str, Any]

PROVISIONER_LABEL = "karpenter.sh/provisioner-name"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"

INFERENCE_PORT = 5000
SERVICE_PORT = 80
TORCH_PORT = 29500


def metadata(workspace: Workspace, name: str) -> Object:
    """The metadata of a namespaced object that goes when its Workspace goes.

    The owner reference names the UID, so an object never outlives one Workspace to be owned by the next of
    the same name. ``blockOwnerDeletion`` needs the right to update ``workspaces/finalizers`` where the
    cluster enforces owner permissions; the operator's role has it.
    """
    return {
        "name": name,
        "namespace": workspace.namespace,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": workspace.name,
                "uid": workspace.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def selector(workspace: Workspace) -> dict[str, str]:
    """What selects the pods of a Workspace within its namespace."""
    return {NAME_LABEL: workspace.name}


def headless_name(workspace: Workspace) -> str:
    return f"{workspace.name}-headless"


def first_pod_address(workspace: Workspace) -> str:
    """The DNS name of the pod with ordinal 0, through the headless Service."""
    return f"{workspace.name}-0.{headless_name(workspace)}.{workspace.namespace}.svc.cluster.local"
