"""The rows of the catalogues: presets (models) and instance types (virtual machine sizes).

They are `msgspec` structures, because a command that only wants a row's name should not pay for pydantic.
Sizes are whole GiB, counts are per node unless a name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec

from kaito import durations

Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
Flags: TypeAlias = dict[str, str | int | float]

DISK_LIMITS_GIB = (30, 2048)
"""What an OS disk of an AKS agent pool may have; 0 asks for the provider's default."""

_FLAG_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*", re.ASCII)
_FLAG_VALUE = re.compile(r"[-A-Za-z0-9_./:=,@%+]*", re.ASCII)
"""What a shell takes as it stands; the flags become part of a shell line."""

_RENAMED = {
    "disk_gib": "diskGiB",
    "total_memory_gib": "totalMemoryGiB",
    "per_gpu_memory_gib": "perGpuMemoryGiB",
    "memory_gib": "memoryGiB",
    "readiness_timeout": "readinessTimeout",
    "world_size": "worldSize",
    "base_command": "baseCommand",
    "launcher_flags": "launcherFlags",
    "rendezvous_flags": "rendezvousFlags",
    "model_flags": "modelFlags",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_RENAMED):
    """Base of all rows; a field that is not listed is refused."""


class Tuning(Entry, frozen=True, kw_only=True):
    """What tuning the model would need; kept as published, not used yet."""

    disk_gib: Size
    gpus: Positive
    total_memory_gib: Size
    per_gpu_memory_gib: Size
    readiness_timeout: str
    base_command: str
    tag: str

    def __post_init__(self) -> None:
        for complaint in _timeout_complaints(self.readiness_timeout):
            raise ValueError(complaint)


class Preset(Entry, frozen=True, kw_only=True):
    """One model: its image, what it needs and how it is started.

    The shell line is ``baseCommand --launcher=flags --rendezvous=flags program --model=flags``, in the
    order of the file.
    """

    name: Name
    family: str
    access: Literal["public", "private"]
    """private: there is no published image, a Workspace must bring its own."""

    gpus: Positive
    """GPUs of the whole model, over all nodes."""
    total_memory_gib: Size
    """GPU memory of the whole model."""
    per_gpu_memory_gib: Size = 0
    """Memory that each GPU must have at least; 0 where it does not matter."""
    disk_gib: Size = 0
    readiness_timeout: str
    tag: str = ""
    image: str = ""
    """A full image reference, in place of ``<registry>/kaito-<name>:<tag>``."""
    distributed: bool = False
    """Whether the model can be spread over nodes: a StatefulSet and a headless Service then."""
    world_size: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    """Processes over all nodes for a model started by torchrun, else 0."""
    base_command: str
    program: str = "inference_api.py"
    launcher_flags: Flags = {}
    rendezvous_flags: Flags = {}
    model_flags: Flags = {}
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise ValueError(complaint)

    @property
    def readiness_timeout_seconds(self) -> float:
        return durations.parse(self.readiness_timeout).total_seconds()

    def image_in(self, registry: str) -> str:
        """The published image, empty for a model that has none."""
        if self.access == "private":
            return ""
        return self.image or f"{registry}/kaito-{self.name}:{self.tag}"


class InstanceType(Entry, frozen=True, kw_only=True):
    """One virtual machine size; a part of a partitioned GPU counts as one GPU, as its node offers it."""

    name: str
    gpus: Positive
    memory_gib: Positive
    """GPU memory of the whole machine."""
    gpu: str
    """The GPU's model, for people."""
    os: tuple[str, ...] = ()
    driver: str = ""

    @property
    def memory_per_gpu_gib(self) -> int:
        return self.memory_gib // self.gpus


def _complaints(preset: Preset) -> list[str]:
    """What the fields cannot say alone; each text starts with the field."""
    found = [
        *_timeout_complaints(preset.readiness_timeout),
        *_image_complaints(preset),
        *_disk_complaints(preset),
    ]
    if preset.distributed and not preset.world_size:
        found.append("worldSize: expected at least 1 for a distributed model, found 0")
    if preset.world_size > preset.gpus:
        found.append(
            f"worldSize: expected at most one process a GPU ({preset.gpus}), found {preset.world_size}"
        )
    for field, flags in (
        ("launcherFlags", preset.launcher_flags),
        ("rendezvousFlags", preset.rendezvous_flags),
        ("modelFlags", preset.model_flags),
    ):
        found += [f"{field}: {complaint}" for complaint in _flag_complaints(flags)]
    return found


def _timeout_complaints(text: str) -> list[str]:
    try:
        seconds = durations.parse(text).total_seconds()
    except ValueError as error:
        return [f"readinessTimeout: {error}"]
    return [] if seconds > 0 else [f"readinessTimeout: expected more than 0s, found {text}"]


def _image_complaints(preset: Preset) -> list[str]:
    if preset.access == "public" and not (preset.tag or preset.image):
        return ["tag: expected a tag or an image for a public model, found neither"]
    if preset.access == "private" and (preset.tag or preset.image):
        return ["tag: expected neither tag nor image for a private model, whose image is the user's"]
    return []


def _disk_complaints(preset: Preset) -> list[str]:
    low, high = DISK_LIMITS_GIB
    if preset.disk_gib == 0 or low <= preset.disk_gib <= high:
        return []
    return [f"diskGiB: expected 0 or {low} to {high}, found {preset.disk_gib}"]


def _flag_complaints(flags: Mapping[str, str | int | float]) -> list[str]:
    names = [f"expected a flag name, found {name!r}" for name in flags if not _FLAG_NAME.fullmatch(name)]
    values = [
        f"expected a value that needs no quoting for {name}, found {value!r}"
        for name, value in flags.items()
        if not _FLAG_VALUE.fullmatch(str(value))
    ]
    return names + values
