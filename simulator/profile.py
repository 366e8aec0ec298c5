"""Latency profiles: how long each phase of the world takes, with the source of every number.

A profile is a YAML file. Two come with the simulator, ``reference-run`` and ``aks-gpu``; a user's file has
the same form. A parameter is a distribution with its unit, its source and whether it was measured or assumed,
so that a result can be traced to what it rests on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from simulator.latency import Frozen, LatencyDistribution, transfer_seconds
from simulator.profile_errors import InvalidProfile, explain, read_yaml

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Mark = Literal["measured", "assumed"]

DEFAULT_IMAGE = "default"
"""The image entry for images that no preset names."""

_BUILT_IN = Path(__file__).parent / "profiles"
_OF_PARAMETER = ("unit", "source", "mark")


class Parameter(Frozen):
    """One distribution of a profile. In YAML its fields stand beside ``unit``, ``source`` and ``mark``."""

    distribution: LatencyDistribution
    unit: str
    source: Text
    mark: Mark

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Put what belongs to the distribution under one key."""
        if not isinstance(data, Mapping) or not isinstance(data.get("distribution"), str):
            return data
        distribution = {key: value for key, value in data.items() if key not in _OF_PARAMETER}
        return {key: data[key] for key in _OF_PARAMETER if key in data} | {"distribution": distribution}

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        rest = {"unit": self.unit, "source": self.source, "mark": self.mark}
        return self.distribution.model_dump() | rest

    def sample(self, random: Random) -> float:
        return self.distribution.sample(random)


class Seconds(Parameter):
    """How long a phase takes."""

    unit: Literal["seconds"]


class Rate(Parameter):
    """How fast bytes move; every possible value is above zero."""

    unit: Literal["bytes/second"]

    @field_validator("distribution")
    @classmethod
    def _above_zero(cls, distribution: LatencyDistribution) -> LatencyDistribution:
        if not distribution.positive:
            raise ValueError("a rate must be above 0")
        return distribution

    def sample_transfer(self, size_bytes: float, random: Random) -> float:
        """Draw a rate; the seconds that a transfer of this size then takes."""
        return transfer_seconds(size_bytes, self.sample(random))


class MachinePhases(Frozen):
    """From the Machine object to the end of its launch."""

    request: Seconds
    """Create call to its acceptance by the cloud."""
    operation: Seconds
    """The cloud's create operation for a GPU size, from acceptance."""
    cpu_operation: Seconds
    """The same for a size without GPU."""
    node_wait: Seconds
    """End of the operation to the Node joining the cluster."""


class NodePhases(Frozen):
    """From launched to usable."""

    ready: Seconds
    """Node joined to Node Ready."""
    gpu_allocatable: Seconds
    """Node Ready to ``nvidia.com/gpu`` in its allocatable resources."""


class WorkloadPhases(Frozen):
    """From a pod to its readiness. The initial delay and the period of the probe are the pod's own."""

    scheduling: Seconds
    """Pod created to the scheduler's first verdict."""
    pull_rate: Rate
    """Compressed bytes, unpacking included."""
    container_start: Seconds
    framework_start: Seconds
    """Imports and device set-up, before the first weight is read."""
    weights_disk_rate: Rate
    weights_download_rate: Rate
    """Download and load together."""
    engine_init: Seconds
    """Only images of the vllm engine: profiling and graph capture after the weights are there."""
    probe_slack: Seconds
    """The container serves, or the probe's initial delay is over, to the probe that says so."""


class DeletionPhases(Frozen):
    """From a Machine's deletion timestamp to its end."""

    termination_grace: Seconds
    """What a running pod takes to end when it is deleted, at most its own grace; others end at once."""
    request: Seconds
    """Delete call to its acceptance."""
    operation: Seconds
    """The cloud's delete operation, from acceptance."""


class Image(Frozen):
    """What a preset's container must bring to a node before it serves."""

    image_bytes: NonNegativeInt
    """Compressed."""
    weights_bytes: NonNegativeInt
    weights_from: Literal["disk", "download"]
    engine: Literal["transformers", "vllm"]
    source: Text
    mark: Mark


class Profile(Frozen):
    """Every latency of the simulated world."""

    name: Text
    summary: Text
    machine: MachinePhases
    node: NodePhases
    workload: WorkloadPhases
    deletion: DeletionPhases
    images: Annotated[dict[str, Image], Field(min_length=1)]

    @field_validator("images")
    @classmethod
    def _has_default(cls, images: dict[str, Image]) -> dict[str, Image]:
        if DEFAULT_IMAGE not in images:
            raise ValueError(f"an entry {DEFAULT_IMAGE} is needed, for images that no preset names")
        return images

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, in the order of the sections."""
        for section in ("machine", "node", "workload", "deletion"):
            for name, parameter in getattr(self, section):
                yield f"{section}.{name}", parameter

    def image(self, reference: str) -> Image:
        """The sizes of a container image, found by its preset.

        ``registry/path/kaito-falcon-7b-instruct:0.0.4`` is the image of preset ``falcon-7b-instruct``.
        """
        preset = reference.rpartition("/")[2].partition("@")[0].partition(":")[0].removeprefix("kaito-")
        return self.images.get(preset, self.images[DEFAULT_IMAGE])

    def with_values(self, values: Mapping[str, float]) -> Profile:
        """This profile with single numbers replaced.

        Args:
            values: From path to number, seconds for a duration. A path names a number, as
                ``machine.operation.median``, or a parameter, as ``machine.operation``, which is then fixed at
                the number. A leading ``profile.`` is ignored.

        Raises:
            InvalidProfile: No such path, or the profile would not be valid with this number.
        """
        tree = self.model_dump(mode="json")
        for path in sorted(values):
            _replace(tree, path.removeprefix("profile."), values[path])
        return _validated(tree, f"profile {self.name}")


def names() -> list[str]:
    """The profiles that come with the simulator."""
    return sorted(path.stem for path in _BUILT_IN.glob("*.yaml"))


def load(name_or_path: str) -> Profile:
    """A profile by its name, or from a YAML file of the same form.

    Raises:
        InvalidProfile: There is no such profile, or the file is not one.
    """
    if name_or_path in names():
        return _built_in(name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise InvalidProfile(
            f"profile {name_or_path}: expected {' or '.join(names())} or a YAML file, found neither"
        )
    return _read(path)


@cache
def _built_in(name: str) -> Profile:
    """Kept: the value is frozen, and a campaign loads it for every run."""
    return _read(_BUILT_IN / f"{name}.yaml")


def _read(path: Path) -> Profile:
    return _validated(read_yaml(path), str(path))


def _validated(tree: Any, where: str) -> Profile:
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise InvalidProfile(f"{where}: {explain(error)}") from error


def _replace(tree: dict[str, Any], path: str, value: float) -> None:
    """Put the number where the path points, and say in the parameter that it is nobody's measurement.

    Raises:
        InvalidProfile: The path names neither a number nor a parameter.
    """
    *above, last = _keys(tree, path)
    parent, sourced = tree, tree
    for key in above:
        parent = parent[key]
        sourced = parent if "source" in parent else sourced
    target = parent[last]
    if isinstance(target, dict) and "distribution" in target and "source" in target:
        parent[last] = _fixed_by_hand(target, value)
    elif isinstance(target, int | float):
        parent[last] = int(value) if isinstance(target, int) and value == int(value) else value
        sourced |= {"source": f"{last} set by hand; without it: {sourced['source']}", "mark": "assumed"}
    else:
        raise InvalidProfile(f"{path}: expected the path of a number, found {_kind(target)}")


def _fixed_by_hand(parameter: dict[str, Any], value: float) -> dict[str, Any]:
    fixed = {"distribution": "fixed", "value": value, "unit": parameter["unit"]}
    return fixed | {"source": f"set by hand; without it: {parameter['source']}", "mark": "assumed"}


def _keys(tree: Any, path: str) -> list[Any]:
    """The path as keys and list positions that exist in the tree."""
    keys: list[Any] = []
    for step in path.split("."):
        key: Any = int(step) if isinstance(tree, list) and step.isdecimal() else step
        known = range(len(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else ()
        if key not in known:
            raise InvalidProfile(_unknown(".".join(map(str, [*keys, step])), keys, known))
        keys.append(key)
        tree = tree[key]
    return keys


def _unknown(path: str, above: list[Any], known: Iterable[Any]) -> str:
    nearest = difflib.get_close_matches(path.rpartition(".")[2], [str(key) for key in known], n=3, cutoff=0.5)
    hints = [".".join(map(str, [*above, key])) for key in nearest]
    found = f"{path}: expected the path of a number in the profile, found no such path"
    return f"{found}; near it: {', '.join(hints)}" if hints else found


def _kind(target: object) -> str:
    return "a section" if isinstance(target, dict) else "a list" if isinstance(target, list) else "a text"
