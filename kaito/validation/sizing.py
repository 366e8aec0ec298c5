"""Whether the nodes can hold the model: GiB against GiB, total = nodes × memory per node."""

from __future__ import annotations

from kaito.api.errors import printable
from kaito.api.workspace import ResourceSpec
from kaito.catalogue.catalogue import Catalogue
from kaito.catalogue.entries import InstanceType, Preset
from kaito.validation.messages import Report

GPU_PREFIX = "Standard_N"
CPU_PREFIX = "Standard_D"

_PATH = "resource.instanceType"


def check_resource(
    resource: ResourceSpec, preset: Preset | None, catalogue: Catalogue, report: Report
) -> None:
    """The instance type is known or at least of a known family, and large enough for the preset."""
    sku, known = resource.instance_type, catalogue.instance_types.get(resource.instance_type)
    if known is None and not sku.startswith((GPU_PREFIX, CPU_PREFIX)):
        supported = ", ".join(catalogue.instance_types)
        report.invalid(f"Unsupported instance type {printable(sku)}. Supported SKUs: {supported}", _PATH)
    if resource.count < 1:
        report.invalid(f"{resource.count}, at least 1 node is needed", "resource.count")
    elif preset is not None:
        _check_gpus(resource, preset, known, report)
        _check_share(resource.count, preset, report)
        if known is not None:
            _check_memory(resource, preset, known, report)


def _check_gpus(resource: ResourceSpec, preset: Preset, known: InstanceType | None, report: Report) -> None:
    """Of the D family it is known without a table that it has no GPUs; of an unlisted N nothing is."""
    if known is None and not resource.instance_type.startswith(CPU_PREFIX):
        return
    offered = resource.count * known.gpus if known else 0
    if offered < preset.gpus:
        report.invalid(
            f"Insufficient number of GPUs: Instance type {printable(resource.instance_type)} provides "
            f"{offered}, but preset {preset.name} requires at least {preset.gpus}",
            _PATH,
        )


def _check_memory(resource: ResourceSpec, preset: Preset, known: InstanceType, report: Report) -> None:
    if known.memory_per_gpu_gib < preset.per_gpu_memory_gib:
        report.invalid(
            f"Insufficient per GPU memory: Instance type {known.name} provides {known.memory_per_gpu_gib} "
            f"per GPU, but preset {preset.name} requires at least {preset.per_gpu_memory_gib} per GPU",
            _PATH,
        )
    offered = resource.count * known.memory_gib
    if offered < preset.total_memory_gib:
        report.invalid(
            f"Insufficient total GPU memory: Instance type {known.name} has a total of {offered}, "
            f"but preset {preset.name} requires at least {preset.total_memory_gib}",
            _PATH,
        )


def _check_share(nodes: int, preset: Preset, report: Report) -> None:
    """Each node runs the same number of a distributed model's processes, so the nodes must divide them."""
    if preset.distributed and preset.world_size % nodes:
        report.invalid(
            f"{nodes}, the {preset.world_size} processes of preset {preset.name} "
            "must be shared evenly among the nodes",
            "resource.count",
        )
