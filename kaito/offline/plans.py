"""What a Workspace would be given, read off the very manifests that the operator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue, InstanceType, Preset
from kaito.manifests import workload
from kaito.manifests.machines import storage
from kaito.runtime.keys import GPU_RESOURCE

GIB = "Gi"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """None stands for what is not known: an instance type outside the table, a template's needs.

    Attributes:
        nodes: As many as are wanted; those that exist already and qualify are used first.
        gpus_needed: What all replicas ask for.
        memory_needed_gib: GPU memory of all replicas; a model that is spread over the nodes counts once.
        disk_gib: OS disk of each new node; None leaves it to the provider.
        images: One for each container.
    """

    nodes: int
    instance_type: str
    gpus_per_node: int | None
    gpus_needed: int
    memory_needed_gib: int | None
    memory_offered_gib: int | None
    disk_gib: int | None
    workload: str
    images: tuple[str, ...]

    @property
    def gpus_offered(self) -> int | None:
        return None if self.gpus_per_node is None else self.nodes * self.gpus_per_node

    def to_dict(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "instanceType": self.instance_type,
            "gpus": {
                "needed": self.gpus_needed,
                "offered": self.gpus_offered,
                "perNode": self.gpus_per_node,
            },
            "memoryGiB": {"needed": self.memory_needed_gib, "offered": self.memory_offered_gib},
            "diskGiB": self.disk_gib,
            "workload": self.workload,
            "images": list(self.images),
        }


def plan(workspace: Workspace, catalogue: Catalogue) -> Plan | None:
    """The plan for a Workspace that may be created; None without a template or a known preset."""
    preset = None if workspace.template is not None else catalogue.presets.get(workspace.preset_name)
    if preset is None and workspace.template is None:
        return None
    nodes, size = workspace.resource.count, workspace.resource.instance_type
    known = catalogue.instance_types.get(size)
    made = workload(workspace, preset)
    containers = made["spec"]["template"]["spec"].get("containers") or []
    return Plan(
        nodes=nodes,
        instance_type=size,
        gpus_per_node=gpus_of(workspace, known),
        gpus_needed=made["spec"]["replicas"] * sum(_gpus(container) for container in containers),
        memory_needed_gib=_memory(preset, nodes) if preset else None,
        memory_offered_gib=nodes * known.memory_gib if known else None,
        disk_gib=_gib(storage(preset)),
        workload=made["kind"],
        images=tuple(str(container.get("image", "")) for container in containers),
    )


def gpus_of(workspace: Workspace, known: InstanceType | None) -> int | None:
    """GPUs of one node; without a table it is known of the sizes without GPUs alone."""
    if known is not None:
        return known.gpus
    return None if workspace.needs_gpu else 0


def _memory(preset: Preset, nodes: int) -> int:
    return preset.total_memory_gib * (1 if preset.distributed else nodes)


def _gpus(container: dict[str, Any]) -> int:
    """What a container is limited to; a limit that is no whole number is the API server's to refuse."""
    resources = container.get("resources")
    limits = resources.get("limits") if isinstance(resources, dict) else None
    found = limits.get(GPU_RESOURCE, 0) if isinstance(limits, dict) else 0
    return int(found) if str(found).isdecimal() else 0


def _gib(quantity: str) -> int | None:
    return int(quantity.removesuffix(GIB)) or None
