"""Workspaces as somebody wrote them, from files of any Kubernetes objects.

Nothing is judged here: an object that claims to be a Workspace is one, however odd it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kaito.api import yaml_reading
from kaito.api.errors import InputError, describe, printable
from kaito.api.loading import STANDARD_INPUT, read_text
from kaito.api.workspace import KIND

GROUP = "kaito.sh/"


@dataclass(frozen=True)
class Manifest:
    """One object of a file."""

    source: str
    parsed: yaml_reading.Parsed

    @property
    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parsed.value
        return found

    @property
    def kind(self) -> str:
        return printable(str(self.object.get("kind", "")))

    @property
    def namespace(self) -> str:
        return self._of_metadata("namespace") or "default"

    @property
    def name(self) -> str:
        """The name, or the part of it that is known, with an asterisk for what the server generates."""
        prefix = self._of_metadata("generateName")
        return self._of_metadata("name") or (f"{prefix}*" if prefix else "")

    @property
    def title(self) -> str:
        return f"{printable(self.namespace)}/{printable(self.name)}"

    @property
    def is_workspace(self) -> bool:
        version = self.object.get("apiVersion")
        if not isinstance(version, str):
            version = ""
        return version.startswith(GROUP) or (self.object.get("kind") == KIND and "/" not in version)

    def line_of(self, field: str = "") -> int:
        """The line of a field, also of one that stands under a ``spec``, where Workspaces have none."""
        top = field.partition(".")[0]
        nested = top not in self.parsed.lines and f"spec.{top}" in self.parsed.lines
        return self.parsed.line_of(f"spec.{field}" if nested else field)

    def place(self, field: str = "") -> str:
        """``FILE:LINE`` of a field, or of its nearest parent in the file."""
        return f"{self.source}:{self.line_of(field)}"

    def _of_metadata(self, field: str) -> str:
        metadata = self.object.get("metadata")
        value = metadata.get(field) if isinstance(metadata, dict) else None
        return value if isinstance(value, str) else ""


def load(path: str) -> list[Manifest]:
    """Every object of a file or of standard input (``-``); the items of a List one by one.

    Raises:
        InputError: The file cannot be read, is no YAML, or holds something that is no object.
    """
    source = "standard input" if path == STANDARD_INPUT else path
    documents = yaml_reading.parse(read_text(path, source), source)
    written = [document for document in documents if document.value is not None]
    parts = [part for document in written for part in _listed(document)]
    if messages := [text for part in parts if (text := _complaint(source, part))]:
        raise InputError(messages)
    return [Manifest(source, part) for part in parts]


def _listed(document: yaml_reading.Parsed) -> Iterator[yaml_reading.Parsed]:
    """The items of a List, as kubectl prints several objects, each with its own lines."""
    value = document.value
    if not isinstance(value, dict) or not _is_list(value):
        yield document
        return
    for index, item in enumerate(value["items"]):
        prefix = f"items[{index}]"
        lines = {
            field.removeprefix(f"{prefix}."): line
            for field, line in document.lines.items()
            if field.startswith(f"{prefix}.")
        }
        yield yaml_reading.Parsed(item, document.line_of(prefix), lines)


def _is_list(value: dict[str, Any]) -> bool:
    return str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list)


def _complaint(source: str, part: yaml_reading.Parsed) -> str:
    if not isinstance(part.value, dict):
        return f"{source}:{part.line}: expected a mapping, found {describe(part.value)}"
    kind = part.value.get("kind")
    if not isinstance(kind, str):
        return f"{source}:{part.line_of('kind')}: kind: expected {KIND}, found {describe(kind)}"
    return ""
