"""YAML read so that a fault can be told by its line: safe tags only, no duplicate keys, no alias bombs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kaito.api.errors import InputError, printable

_LoaderBase: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")

MOST_VALUES = 100_000
"""Values in one document once its aliases are written out; real manifests stay far below."""


@dataclass(frozen=True)
class Parsed:
    """One document: its value, the line it starts on, and the line of each field by dotted path."""

    value: Any
    line: int
    lines: dict[str, int]

    def line_of(self, field: str) -> int:
        """The line of the field, or of its nearest parent that stands in the file; lines count from 1."""
        while field and field not in self.lines:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return self.lines.get(field, self.line)


def parse(text: str, source: str) -> list[Parsed]:
    """All documents of a text that are not empty.

    Raises:
        InputError: The text is no YAML, a key stands twice, or an alias makes it endless. Names ``source``.
    """
    loader = _LoaderBase("")
    try:
        loader = _LoaderBase(text)
        return [_parsed(loader, node, source) for node in _nodes(loader)]
    except yaml.MarkedYAMLError as error:
        raise InputError([_syntax_error(error, source)]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else error.character
        raise InputError([f"{source}:{line}: expected YAML, found the character {character}"]) from error
    except RecursionError:
        raise InputError([f"{source}:1: expected YAML, found values nested too deeply"]) from None
    except (ValueError, OverflowError) as error:
        raise InputError([f"{source}:1: expected YAML, found {printable(str(error))}"]) from error
    finally:
        loader.dispose()


def _nodes(loader: Any) -> Iterator[Any]:
    while loader.check_node():
        yield loader.get_node()


def _parsed(loader: Any, node: Any, source: str) -> Parsed:
    lines: dict[str, int] = {}
    walk = _Walk(source, lines)
    walk.visit(node, "")
    line = node.start_mark.line + 1
    return Parsed(loader.construct_document(node), line, lines)


class _Walk:
    """One pass over the nodes of a document: notes lines, counts values, refuses what YAML would let pass."""

    def __init__(self, source: str, lines: dict[str, int]) -> None:
        self._source = source
        self._lines = lines
        self._values = 0

    def visit(self, node: Any, path: str) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._refusal(node, path, f"at most {MOST_VALUES} values", "more, or an alias of itself")
        if isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                child = f"{path}[{index}]"
                self._lines[child] = item.start_mark.line + 1
                self.visit(item, child)

    def _visit_mapping(self, node: Any, path: str) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            child = f"{path}.{printable(name)}" if path else printable(name)
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
                shown = printable(name) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise self._refusal(key, path, "a string as key", f"{shown}; quotes make it one")
            if name in seen:
                raise self._refusal(key, child, "each key once", f"{printable(name)} again")
            seen.add(name)
            self._lines[child] = key.start_mark.line + 1
            self.visit(value, child)

    def _refusal(self, node: Any, path: str, expected: str, found: str) -> InputError:
        where = f"{self._source}:{node.start_mark.line + 1}:"
        field = f" {path}:" if path else ""
        return InputError([f"{where}{field} expected {expected}, found {found}"])


def _syntax_error(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else f"{source}:1"
    problem = ", ".join(printable(part) for part in (error.context, error.problem) if part)
    return f"{where}: expected YAML, found a syntax error: {problem}"
