"""Pod templates: of a preset, and of a user's own template."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from kaito.api.workspace import Workspace
from kaito.catalogue.catalogue import instance_types
from kaito.catalogue.entries import Preset
from kaito.manifests import names, scheduling
from kaito.manifests.commands import command
from kaito.manifests.names import Object
from kaito.runtime.keys import GPU_RESOURCE

PROBE_PATH = "/healthz"
LIVENESS_DELAY_SECONDS = 600
READINESS_DELAY_SECONDS = 30
PROBE_PERIOD_SECONDS = 10
SHARED_MEMORY = "dshm"


def preset_pod(
    workspace: Workspace, preset: Preset, *, registry: str, worker_nodes: Sequence[str] = ()
) -> Object:
    """The pod template of a preset.

    The images run as root from /workspace and write below it, so the pod may not be made to run as another
    user, without write access to its root, or without root's capabilities. What is safe is set: no
    privilege escalation, the runtime's seccomp profile, and no token, as no model talks to the API server.
    """
    spec: Object = {
        "affinity": scheduling.affinity(workspace, worker_nodes),
        "automountServiceAccountToken": False,
        "containers": [_container(workspace, preset, registry)],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": scheduling.tolerations(),
    }
    if secrets := pull_secrets(workspace, preset):
        spec["imagePullSecrets"] = [{"name": secret} for secret in secrets]
    if needs_shared_memory(workspace, preset):
        spec["volumes"] = [{"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory"}}]
    return {"metadata": {"labels": names.selector(workspace)}, "spec": spec}


def template_pod(workspace: Workspace, template: dict[str, Any], worker_nodes: Sequence[str] = ()) -> Object:
    """A user's pod template with our label, node affinity and tolerations joined to theirs."""
    merged = copy.deepcopy(template)
    metadata = merged.get("metadata") or {}
    merged["metadata"] = metadata | {"labels": (metadata.get("labels") or {}) | names.selector(workspace)}
    spec = merged.get("spec") or {}
    merged["spec"] = spec | {
        "affinity": scheduling.affinity(workspace, worker_nodes, spec.get("affinity")),
        "tolerations": scheduling.tolerations(spec.get("tolerations") or ()),
    }
    return merged


def image(workspace: Workspace, preset: Preset, registry: str) -> str:
    """The user's image for private access, also of a public model; else the published one."""
    return _users_image(workspace, preset) or preset.image_in(registry)


def pull_secrets(workspace: Workspace, preset: Preset) -> tuple[str, ...]:
    if not _users_image(workspace, preset) or workspace.preset is None:
        return ()
    return workspace.preset.preset_options.image_pull_secrets


def gpus_per_pod(workspace: Workspace, preset: Preset) -> int:
    """What one replica asks for, at most what its node has.

    A distributed model is spread over the nodes, so each pod gets its share, rounded up. Any other model is
    whole in each replica. Of an instance type that is not listed nothing is known, and nothing is capped.
    """
    nodes = max(workspace.resource.count, 1) if preset.distributed else 1
    share = -(-preset.gpus // nodes)
    known = instance_types().get(workspace.resource.instance_type)
    return min(share, known.gpus) if known else share


def needs_shared_memory(workspace: Workspace, preset: Preset) -> bool:
    """Whether /dev/shm must be larger than the runtime's 64 MiB.

    Published for several nodes; processes that share one node exchange tensors through it as well.
    """
    return workspace.resource.count > 1 or preset.world_size > 1


def _users_image(workspace: Workspace, preset: Preset) -> str:
    chosen = workspace.preset
    private = chosen is not None and (chosen.access_mode == "private" or preset.access == "private")
    return chosen.preset_options.image if chosen is not None and private else ""


def _container(workspace: Workspace, preset: Preset, registry: str) -> Object:
    gpus = str(gpus_per_pod(workspace, preset))
    container: Object = {
        "name": workspace.name,
        "image": image(workspace, preset, registry),
        "command": command(workspace, preset),
        "ports": [{"containerPort": names.INFERENCE_PORT, "protocol": "TCP"}],
        "resources": {"requests": {GPU_RESOURCE: gpus}, "limits": {GPU_RESOURCE: gpus}},
        "livenessProbe": _probe(LIVENESS_DELAY_SECONDS),
        "readinessProbe": _probe(READINESS_DELAY_SECONDS),
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    if needs_shared_memory(workspace, preset):
        container["volumeMounts"] = [{"name": SHARED_MEMORY, "mountPath": "/dev/shm"}]
    return container


def _probe(delay_seconds: int) -> Object:
    return {
        "httpGet": {"path": PROBE_PATH, "port": names.INFERENCE_PORT},
        "initialDelaySeconds": delay_seconds,
        "periodSeconds": PROBE_PERIOD_SECONDS,
    }
