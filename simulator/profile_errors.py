"""What is wrong with a profile, in one line: where, what was expected, what was found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError


class InvalidProfile(ValueError):
    """A profile cannot be read, or a value set on it does not fit; one line says where and what."""


def read_yaml(path: Path) -> Any:
    """The tree in a YAML file.

    Raises:
        InvalidProfile: The file is not YAML, or a key occurs twice in one mapping; with line and column.
    """
    try:
        # The loader is a SafeLoader that is stricter about keys.
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        raise InvalidProfile(f"{path}: {_position(error)}{error.problem or error.context}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidProfile(f"{path}: expected a YAML file, found {_one_line(str(error))}") from error


def explain(error: ValidationError) -> str:
    """The first thing that validation found, with the path as the file spells it."""
    first = error.errors(include_url=False)[0]
    path = ".".join(_path(first["loc"]))
    return f"{path}: {_complaint(first)}" if path else _complaint(first)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _path(location: Iterable[int | str]) -> list[str]:
    """The location without the steps that only validation takes.

    Validation puts the fields of a distribution under ``distribution`` and enters a union by its tag, as in
    ``request.distribution.lognormal.median``; the file says ``request.median``.
    """
    steps = [str(step) for step in location]
    path: list[str] = []
    for index, step in enumerate(steps):
        is_tag = index > 0 and steps[index - 1] in ("distribution", "of")
        is_gathered = step == "distribution" and index + 1 < len(steps)
        if not is_tag and not is_gathered:
            path.append(step)
    return path


def _complaint(error: Any) -> str:
    kind, found = error["type"], _one_line(repr(error["input"]))
    if kind == "missing":
        return "expected a value, found none"
    if kind == "extra_forbidden":
        return "expected no field of this name"
    if kind in ("model_type", "dict_type"):
        return f"expected a mapping, found {found}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        known, tag = error["ctx"].get("expected_tags", "a known kind"), error["ctx"].get("tag", found)
        return f"expected a distribution out of {known}, found {tag}"
    expected = error["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return f"expected {expected[:1].lower()}{expected[1:]}, found {found}"


def _one_line(text: str) -> str:
    """At most 80 characters, for a whole section may stand where a number should."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."
