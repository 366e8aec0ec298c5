"""Loading the catalogues: the presets and instance types that come with the operator, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from kaito.api import yaml_reading
from kaito.api.errors import InputError
from kaito.catalogue.entries import InstanceType, Preset

_HERE = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")
_AT = re.compile(r"^(?P<why>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_LISTED = re.compile(r"Object (?P<kind>contains unknown|missing required) field `(?P<field>\w+)`")
_TYPE = re.compile(r"`([^`]*)`")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
}
_FIELD = re.compile(r"^(?P<field>\w+): (?P<why>.*)$", re.DOTALL)


class Catalogue(msgspec.Struct, frozen=True):
    """What can be served, and on what."""

    presets: Mapping[str, Preset]
    instance_types: Mapping[str, InstanceType]

    @staticmethod
    def load(extra_presets: Path | None = None) -> Catalogue:
        """The built-in catalogue, with the presets of a directory added.

        A preset of the directory replaces a built-in one of its name.

        Raises:
            InputError: A file cannot be read or is no preset; one line a file, and nothing is loaded.
        """
        found = presets()
        if extra_presets is not None:
            found = MappingProxyType(dict(sorted({**found, **read_presets(extra_presets)}.items())))
        return Catalogue(presets=found, instance_types=instance_types())


def load_catalogue(extra_presets: Path | None = None) -> Catalogue:
    return Catalogue.load(extra_presets)


@cache
def presets() -> Mapping[str, Preset]:
    """The built-in models by name."""
    return MappingProxyType(read_presets(_HERE / "presets"))


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """The known virtual machine sizes by name, in the published order."""
    path = _HERE / "instance_types.yaml"
    rows = _read(path, list[InstanceType])
    return MappingProxyType({row.name: row for row in rows})


def read_presets(directory: Path) -> dict[str, Preset]:
    """Every preset of a directory by name: one file each, ending in .yaml or .yml.

    Raises:
        InputError: One line for each file that is no preset, or repeats a name.
    """
    found: dict[str, Preset] = {}
    messages: list[str] = []
    for path in _files(directory):
        try:
            preset = _read(path, Preset)
        except InputError as error:
            messages += error.messages
            continue
        if preset.name in found:
            messages.append(f"{path}: name: expected each name in one file, found {preset.name} again")
        found[preset.name] = preset
    if messages:
        raise InputError(messages)
    return dict(sorted(found.items()))


def _files(directory: Path) -> list[Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES)
    except OSError as error:
        raise InputError(
            [f"{directory}: expected a directory of presets, found: {error.strerror}"]
        ) from error
    if not found:
        raise InputError([f"{directory}: expected at least one preset file (*.yaml), found none"])
    return found


def _read(path: Path, kind: Any) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are no UTF-8"
        raise InputError([f"{path}: expected a file that can be read, found: {reason}"]) from error
    documents = yaml_reading.parse(text, str(path))
    if len(documents) != 1:
        raise InputError([f"{path}: expected one document, found {len(documents)}"])
    try:
        return msgspec.convert(documents[0].value, kind)
    except msgspec.ValidationError as error:
        raise InputError([_message(path, documents[0], error)]) from error


def _message(path: Path, document: yaml_reading.Parsed, error: Exception) -> str:
    """One line from a validation error: ``FILE:LINE: FIELD: expected …, found …``."""
    at = _AT.match(str(error))
    why, field = (at["why"], (at["path"] or "")) if at else (str(error), "")
    field = field.replace("[...]", "").lstrip(".")
    if own := _FIELD.match(why):
        field, why = f"{field}.{own['field']}".lstrip("."), own["why"]
    elif listed := _LISTED.fullmatch(why):
        field = f"{field}.{listed['field']}".lstrip(".")
        why = (
            "expected a known field"
            if listed["kind"] == "contains unknown"
            else "expected a value, found nothing"
        )
    where = f"{path}:{document.line_of(field)}:"
    return f"{where} {field}: {_worded(why)}" if field else f"{where} {_worded(why)}"


def _worded(why: str) -> str:
    """The library's sentence in the words of all our messages."""
    why = why.replace("Invalid enum value ", "expected another value, found ")
    why = _TYPE.sub(lambda found: _listed([_WORDS.get(word, word) for word in found[1].split(" | ")]), why)
    return why.replace("Expected ", "expected ").replace(", got ", ", found ")


def _listed(words: list[str]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
