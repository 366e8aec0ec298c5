"""Workspaces from files that a user gives: YAML or JSON, several documents a file, ``-`` for standard input.

Every fault becomes one line ``FILE:LINE: FIELD: expected …, found …``, and either all documents of a file are
taken or none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaito.api import yaml_reading
from kaito.api.errors import Finding, InputError, InvalidObject, describe, printable
from kaito.api.workspace import API_VERSION, KIND, Workspace

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Document:
    """One Workspace of a file: as written, and as the API server would store it."""

    source: str
    parsed: yaml_reading.Parsed
    workspace: Workspace

    @property
    def object(self) -> dict[str, Any]:
        """The document as it was written, without defaults."""
        found: dict[str, Any] = self.parsed.value
        return found

    @property
    def line(self) -> int:
        return self.parsed.line

    def place(self, field: str = "") -> str:
        """``FILE:LINE`` of a field, or of its nearest parent in the file."""
        return f"{self.source}:{self.parsed.line_of(field)}"


def load_documents(path: Path | str) -> list[Document]:
    """The Workspaces of one file, at least one.

    Raises:
        InputError: The file or one of its documents cannot be used; every fault of the file, one line each.
    """
    source = "standard input" if str(path) == STANDARD_INPUT else str(path)
    parsed = yaml_reading.parse(read_text(str(path), source), source)
    documents: list[Document] = []
    messages: list[str] = []
    for document in (found for found in parsed if found.value is not None):
        try:
            documents.append(Document(source, document, Workspace.from_user(_checked_kind(document.value))))
        except InvalidObject as error:
            messages += [_message(source, document, finding) for finding in error.findings]
    if not messages and not documents:
        messages.append(f"{source}:1: expected a Workspace, found an empty file")
    messages += repeated_names(documents)
    if messages:
        raise InputError(messages)
    return documents


def repeated_names(documents: Iterable[Document]) -> list[str]:
    """One message for each document whose namespace and name an earlier one has, of this file or another."""
    first: dict[tuple[str, str], Document] = {}
    messages = []
    for document in documents:
        workspace = document.workspace
        earlier = first.setdefault((workspace.namespace, workspace.name), document)
        if workspace.name and earlier is not document:
            whose = f"{workspace.namespace}/{workspace.name}"
            place, before = document.place("metadata.name"), earlier.place("metadata.name")
            messages.append(f"{place}: metadata.name: expected one {whose}, found another at {before}")
    return messages


def read_text(path: str, source: str) -> str:
    """A file's text, or that of standard input.

    Raises:
        InputError: It cannot be read or is not UTF-8; names ``source``.
    """
    try:
        raw = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        reason = (error.strerror or "an error").lower()
        raise InputError([f"{source}: expected a file that can be read, found: {reason}"]) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError([f"{source}:{line}: expected UTF-8, found byte 0x{raw[error.start]:02x}"]) from error


def _checked_kind(value: Any) -> dict[str, Any]:
    """The value, if it is a Workspace at all: the faults of another kind's fields would only confuse."""
    if not isinstance(value, dict):
        raise InvalidObject([Finding("", "a mapping", describe(value))])
    wanted = (("kind", KIND), ("apiVersion", API_VERSION))
    for field, expected in wanted:
        if value.get(field) != expected:
            shown = value.get(field)
            found = printable(shown) if isinstance(shown, str) else describe(shown)
            raise InvalidObject([Finding(field, expected, found)])
    return value


def _message(source: str, document: yaml_reading.Parsed, finding: Finding) -> str:
    return f"{source}:{document.line_of(finding.field)}: {finding}"
