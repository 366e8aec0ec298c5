"""The Deployment or StatefulSet that serves a Workspace."""

from __future__ import annotations

from collections.abc import Sequence

from kaito.api.workspace import Workspace
from kaito.catalogue.entries import Preset
from kaito.manifests import names, pods
from kaito.manifests.names import Object

DEFAULT_REGISTRY = "mcr.microsoft.com/aks/kaito"


def workload_kind(workspace: Workspace, preset: Preset | None) -> str:
    """StatefulSet for a distributed preset, whose pods need ordinals; else Deployment."""
    spread = workspace.template is None and preset is not None and preset.distributed
    return "StatefulSet" if spread else "Deployment"


def workload(
    workspace: Workspace,
    preset: Preset | None,
    *,
    registry: str = DEFAULT_REGISTRY,
    worker_nodes: Sequence[str] = (),
) -> Object:
    """The workload named like the Workspace, one replica a node.

    Args:
        workspace: One that admission would accept, with a template or with a preset.
        preset: The catalogue's entry; without meaning for a template.
        registry: Where the published images are.
        worker_nodes: Names of the only nodes to run on; empty for every node of the right labels and type.

    Raises:
        ValueError: There is neither a template nor a preset.
    """
    kind = workload_kind(workspace, preset)
    spec: Object = {
        "replicas": workspace.resource.count,
        "selector": {"matchLabels": names.selector(workspace)},
        "template": _pod(workspace, preset, registry, worker_nodes),
    }
    if kind == "StatefulSet":
        spec |= {"podManagementPolicy": "Parallel", "serviceName": names.headless_name(workspace)}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": names.metadata(workspace, workspace.name),
        "spec": spec,
    }


def _pod(workspace: Workspace, preset: Preset | None, registry: str, worker_nodes: Sequence[str]) -> Object:
    if workspace.template is not None:
        return pods.template_pod(workspace, workspace.template, worker_nodes)
    if preset is None:
        raise ValueError(f"{workspace.namespace}/{workspace.name} has neither a template nor a known preset")
    return pods.preset_pod(workspace, preset, registry=registry, worker_nodes=worker_nodes)
