"""The shell line that starts a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from kaito.api.workspace import Workspace
from kaito.catalogue.entries import Preset
from kaito.manifests import names

Flags: TypeAlias = Mapping[str, str | int | float]

POD_ORDINAL = "$(echo $HOSTNAME | grep -o '[^-]*$')"
"""What the shell in the pod makes the rank of its node: the last part of a StatefulSet pod's name."""


def command(workspace: Workspace, preset: Preset) -> list[str]:
    """The container's command; flags in the order of the preset file, so the same line every time."""
    launcher, rendezvous = _distribution(workspace, preset)
    parts = [
        preset.base_command,
        *_rendered(launcher),
        *_rendered(rendezvous),
        preset.program,
        *_rendered(preset.model_flags),
    ]
    return ["/bin/sh", "-c", " ".join(part for part in parts if part)]


def _rendered(flags: Flags) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _distribution(workspace: Workspace, preset: Preset) -> tuple[Flags, Flags]:
    """Launcher and rendezvous flags, for a distributed model with what the node count makes of them.

    The published operator read the Service's ClusterIP for ``master_addr``. Pod 0's name in the headless
    Service does without that read, stays true when the Service is made anew, and is where rank 0 is.
    Admission sees to it that the node count divides the world size.
    """
    if not preset.distributed:
        return preset.launcher_flags, preset.rendezvous_flags
    nodes = max(workspace.resource.count, 1)
    launcher = preset.launcher_flags | {"nproc_per_node": max(preset.world_size // nodes, 1)}
    if nodes > 1:
        launcher |= {
            "nnodes": nodes,
            "node_rank": POD_ORDINAL,
            "master_addr": names.first_pod_address(workspace),
            "master_port": names.TORCH_PORT,
        }
    endpoint = f"{names.first_pod_address(workspace)}:{names.TORCH_PORT}"
    return launcher, preset.rendezvous_flags | {"rdzv_id": "job", "rdzv_endpoint": endpoint}
