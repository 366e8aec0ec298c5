"""The CRDs as files of a directory: written, and compared with what the models say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kaito.crds.definitions import DEFINITIONS, Definition
from kaito.files import write_whole
from kaito.problems import Problem


def chosen(names: Sequence[str]) -> list[Definition]:
    """The definitions of these names in any letter case, in our order; all of them for none.

    Raises:
        Problem: A name is no CRD's.
    """
    asked = {name.lower() for name in names}
    unknown = sorted(asked - {alias for each in DEFINITIONS for alias in each.aliases})
    if unknown:
        known = " or ".join(each.name for each in DEFINITIONS)
        raise Problem(f"NAME: expected {known}; found {unknown[0]}")
    return [each for each in DEFINITIONS if not asked or not asked.isdisjoint(each.aliases)]


def write(definitions: Iterable[Definition], directory: Path) -> list[Path]:
    """Write one file each, and the directory where it is missing.

    Raises:
        Problem: The directory or a file cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{directory}: expected a directory to write to, found: {error.strerror}") from error
    written = []
    for definition in definitions:
        path = directory / definition.file_name
        write_whole(path, [definition.to_yaml().encode()])
        written.append(path)
    return written


def differences(definitions: Iterable[Definition], directory: Path) -> list[str]:
    """One line for each file that is missing or is not, byte for byte, what the models say.

    Raises:
        Problem: A file is there and cannot be read.
    """
    compared = ((directory / each.file_name, each.to_yaml().encode()) for each in definitions)
    return [line for path, expected in compared if (line := _difference(path, expected))]


def _difference(path: Path, expected: bytes) -> str:
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return f"{path}: is missing"
    except OSError as error:
        raise Problem(f"{path}: expected a file that can be read, found: {error.strerror}") from error
    if found == expected:
        return ""
    ours, theirs = expected.splitlines(), found.splitlines()
    pairs = zip(ours, theirs, strict=False)
    line = next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))
    return f"{path}:{line + 1}: differs from what the models say"
