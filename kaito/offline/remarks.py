"""What admission lets pass and an author should know: ignored fields, and what cannot be checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from kaito.api.errors import printable
from kaito.api.reading import read_strict
from kaito.api.workspace import LOAD_BALANCER_ANNOTATION, PresetSpec, Workspace
from kaito.catalogue import Catalogue, InstanceType, Preset

_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][-A-Za-z0-9.]*(?::\d+)?/)?{_PATH_PART}(?:/{_PATH_PART})*"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(?:@[A-Za-z][-A-Za-z0-9_+.]*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
"""An image reference, as the container runtimes take it."""

_OPTIONS = "inference.preset.presetOptions"


class Remark(NamedTuple):
    """``field`` is the path it stands at."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.text}: {self.field}"


def remarks(workspace: Workspace, catalogue: Catalogue, written: dict[str, Any]) -> list[Remark]:
    """Every remark on a Workspace that may pass, in the order of the fields.

    Args:
        written: The object the Workspace was read from.
    """
    preset = catalogue.presets.get(workspace.preset_name)
    known = catalogue.instance_types.get(workspace.resource.instance_type)
    return [
        *_metadata(workspace, written),
        *_size(workspace, preset, known),
        *_inference(workspace, preset),
        *_status(written),
    ]


def _metadata(workspace: Workspace, written: dict[str, Any]) -> Iterator[Remark]:
    for finding in read_strict(Workspace, written)[1]:
        if finding.field.startswith("metadata.") and finding.found != "nothing":
            yield Remark(finding.field, f"unknown field is ignored, expected {finding.expected}")
    annotation = workspace.metadata.annotations.get(LOAD_BALANCER_ANNOTATION)
    if annotation not in (None, "True"):
        path = f"metadata.annotations.{LOAD_BALANCER_ANNOTATION}"
        yield Remark(path, f"{printable(str(annotation))} has no effect, only True has")


def _size(workspace: Workspace, preset: Preset | None, known: InstanceType | None) -> Iterator[Remark]:
    size = workspace.resource.instance_type
    if preset is None:
        return
    if known is None:
        text = f"instance type {printable(size)} is not in the table, nothing checks that the model fits"
        yield Remark("resource.instanceType", text)
    elif not preset.distributed and (known.gpus < preset.gpus or known.memory_gib < preset.total_memory_gib):
        yield Remark("resource.instanceType", _too_small(preset, known))


def _too_small(preset: Preset, known: InstanceType) -> str:
    return (
        f"preset {preset.name} cannot be spread over nodes, and one {known.name} with {known.gpus} GPUs "
        f"and {known.memory_gib} GiB cannot hold its {preset.gpus} GPUs and {preset.total_memory_gib} GiB"
    )


def _inference(workspace: Workspace, preset: Preset | None) -> Iterator[Remark]:
    inference = workspace.inference
    if inference is None:
        return
    if inference.preset is not None and preset is not None:
        yield from _options(inference.preset, preset)
    for index, container in enumerate(_containers(workspace)):
        yield from _image(container.get("image"), f"inference.template.spec.containers[{index}].image")
    if inference.adapters:
        yield Remark("inference.adapters", "adapters are ignored, they are not supported yet")


def _options(chosen: PresetSpec, preset: Preset) -> Iterator[Remark]:
    options = chosen.preset_options
    if chosen.access_mode == "private" or preset.access == "private":
        yield from _image(options.image, f"{_OPTIONS}.image")
        return
    for field, value in (("image", options.image), ("imagePullSecrets", options.image_pull_secrets)):
        if value:
            yield Remark(f"{_OPTIONS}.{field}", f"{field} is ignored, as accessMode is public")


def _containers(workspace: Workspace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ((workspace.template or {}).get("spec") or {}).get("containers") or []
    return found


def _image(image: Any, path: str) -> Iterator[Remark]:
    if not _IMAGE.fullmatch(str(image)):
        yield Remark(path, f"{printable(str(image))} is no image reference, so it can never be pulled")


def _status(written: dict[str, Any]) -> Iterator[Remark]:
    if written.get("status"):
        yield Remark("status", "status is ignored, the operator alone writes it")
