"""Scenarios of the simulated cloud from YAML.

A scenario is a file, or the section ``azure`` of a larger one. Two come with the simulator: ``calm``, in
which nothing fails, and ``aks``, with the rates of spec/provisioner.md §6.3. A file says with ``based_on``
which of them it changes, and holds only what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.azure.scenario import AzureScenario
from simulator.profile_errors import InvalidProfile, explain, read_yaml

NAMES = ("aks", "calm")

_BUILT_IN = Path(__file__).parent / "scenarios"


class InvalidScenario(ValueError):
    """A scenario cannot be read; one line says where, what was expected and what was found."""


def load(name_or_path: str) -> AzureScenario:
    """A scenario by its name, or from a YAML file.

    Raises:
        InvalidScenario: There is no such scenario, or the file is not one.
    """
    if name_or_path in NAMES:
        return _built_in(name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        known = " or ".join(NAMES)
        raise InvalidScenario(f"{name_or_path}: expected {known} or a YAML file, found neither")
    return from_section(_read(path), str(path))


def from_section(section: Any, where: str = "azure") -> AzureScenario:
    """A scenario from a decoded section, on top of the one that ``based_on`` names, ``calm`` by default.

    Raises:
        InvalidScenario: The section does not have the form of a scenario; ``where`` begins the line.
    """
    if not isinstance(section, Mapping):
        raise InvalidScenario(f"{where}: expected a mapping, found {type(section).__name__}")
    changes = dict(section)
    base = changes.pop("based_on", "calm")
    if base not in NAMES:
        raise InvalidScenario(f"{where}: based_on: expected {' or '.join(NAMES)}, found {base!r}")
    tree = _merged(_built_in(base).model_dump(mode="json", exclude_none=True), changes)
    try:
        return AzureScenario.model_validate(tree)
    except ValidationError as error:
        raise InvalidScenario(f"{where}: {_explained(error)}") from error


@cache
def _built_in(name: str) -> AzureScenario:
    """Kept: the value is frozen, and a campaign loads it for every run."""
    path = _BUILT_IN / f"{name}.yaml"
    try:
        return AzureScenario.model_validate(_read(path))
    except ValidationError as error:
        raise InvalidScenario(f"{path}: {_explained(error)}") from error


def _read(path: Path) -> Any:
    try:
        return read_yaml(path)
    except InvalidProfile as error:
        raise InvalidScenario(str(error)) from error


def _merged(base: Any, changes: Any) -> Any:
    """The changes laid over the base; a distribution is replaced whole, for its fields belong together."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping) or "distribution" in changes:
        return changes
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merged(base[key], value) if key in base else value
    return merged


def _explained(error: ValidationError) -> str:
    """The first fault; the shared wording knows only unions of distributions, and ours holds faults."""
    text = explain(error)
    return (
        text.replace("expected a distribution out of", "expected a fault out of") if "fault" in text else text
    )
