"""Structural schemas, as the virtual API server applies them: pruning, defaulting and validation.

The rules and the words are those of a real API server of the oldest supported version (1.20); the tests under
``tests/e2e`` compare them case by case. Nulls are dropped where the schema does not allow them, defaults take
their place, and items of lists are not numbered in paths. Nothing is ratcheted: what is refused on create is
refused on update too, where newer servers let pass what was stored already.

A schema is compiled once into nodes; objects are shared, so what does not change is returned as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

import msgspec

from kaito.runtime.ports import Object

INT64 = (-(2**63), 2**63 - 1)

_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)t([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.]\d+)?(z|[+-]\d\d:\d\d)",
    re.ASCII | re.IGNORECASE,
)


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a compiled schema.

    Attributes:
        types: The JSON types that are allowed; empty for any.
        properties: The known fields; None where the schema names none.
        extra: The schema of every field that is not known.
        open: Unknown fields are kept.
        deep: Something below may have to be pruned, so a walk is worth its time.
        defaults: The fields to fill in at this level.
        below: The fields below which there are defaults.
    """

    types: tuple[str, ...] = ()
    properties: Mapping[str, Node] | None = None
    extra: Node | None = None
    items: Node | None = None
    open: bool = False
    deep: bool = False
    nullable: bool = False
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    below: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    shortest: int = 0
    longest: int | None = None
    pattern: re.Pattern[str] | None = None
    spelled: str = ""
    is_time: bool = False


class StructuralSchema:
    """The schema of a kind, for `simulator.kinds`; compiled when it is used for the first time.

    Args:
        load: Gives the ``openAPIV3Schema`` of a CRD.
    """

    def __init__(self, load: Callable[[], Mapping[str, Any]]) -> None:
        self._load = load

    @cached_property
    def _root(self) -> Node:
        schema = dict(self._load())
        # The API server knows metadata by itself.
        known = {**schema.get("properties", {}), "metadata": {"x-kubernetes-preserve-unknown-fields": True}}
        return compiled({**schema, "properties": known})

    def prune(self, obj: Object) -> Object:
        """Without unknown fields and nulls that may not be; a whole float becomes the integer it is."""
        pruned: Object = _pruned(self._root, obj)
        return pruned

    def default(self, obj: Object) -> Object:
        """With the defaults of missing fields; a parent that is missing gets none of its children's."""
        complete: Object = _completed(self._root, obj)
        return complete

    def validate(self, new: Object, old: Object | None) -> Sequence[str]:
        """Every cause to refuse the object, each one once.

        What stands at the top level as it stood before was found valid then: a status that changes every
        few seconds does not cost the spec a look each time.
        """
        return list(dict.fromkeys(_object_causes(self._root, new, "", old or {})))


def compiled(schema: Mapping[str, Any]) -> Node:
    """The nodes of a structural schema."""
    properties = {name: compiled(child) for name, child in schema.get("properties", {}).items()}
    extra, items = schema.get("additionalProperties"), schema.get("items")
    open_ = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    pattern = schema.get("pattern", "")
    return Node(
        types=_types(schema),
        properties=properties if "properties" in schema else None,
        extra=compiled(extra) if isinstance(extra, Mapping) else None,
        items=compiled(items) if items is not None else None,
        open=open_,
        deep=_is_deep(schema, open_),
        nullable=bool(schema.get("nullable")),
        required=tuple(schema.get("required", ())),
        defaults={
            name: child["default"]
            for name, child in schema.get("properties", {}).items()
            if "default" in child
        },
        below=tuple(name for name, child in properties.items() if _has_defaults(child)),
        enum=tuple(schema.get("enum", ())),
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        shortest=schema.get("minLength", 0),
        longest=schema.get("maxLength"),
        # A dollar sign ends the text, also before a line break.
        pattern=re.compile(re.sub(r"\$$", r"\\Z", pattern)) if pattern else None,
        spelled=pattern,
        is_time=schema.get("format") == "date-time",
    )


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (schema["type"],) if "type" in schema else ()


def _is_deep(schema: Mapping[str, Any], open_: bool) -> bool:
    inside = schema.get("properties") or schema.get("items") or schema.get("additionalProperties")
    return bool(inside) or (schema.get("type") in ("object", "integer") and not open_)


def _has_defaults(node: Node) -> bool:
    return bool(node.defaults or node.below) or (node.items is not None and _has_defaults(node.items))


def _pruned(node: Node, value: Any) -> Any:
    match value:
        case dict() if not node.types or "object" in node.types:
            return _pruned_object(node, value)
        case list() if node.items is not None and node.items.deep:
            items = [_pruned(node.items, item) for item in value]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        case float() if node.types == ("integer",) and value.is_integer():
            return int(value)
    return value


def _pruned_object(node: Node, obj: Object) -> Object:
    known, changed = node.properties or {}, False
    kept: Object = {}
    for name, value in obj.items():
        child = known.get(name, node.extra)
        if child is None:
            if node.open:
                kept[name] = value
            else:
                changed = True
        elif value is None and not child.nullable:
            changed = True
        else:
            new = _pruned(child, value) if child.deep else value
            changed = changed or new is not value
            kept[name] = new
    return kept if changed else obj


def _completed(node: Node, value: Any) -> Any:
    if isinstance(value, list) and node.items is not None and _has_defaults(node.items):
        return [_completed(node.items, item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {name: default for name, default in node.defaults.items() if name not in value}
    for name in node.below:
        if (child := value.get(name)) is not None and node.properties is not None:
            new = _completed(node.properties[name], child)
            if new is not child:
                changed[name] = new
    return {**value, **changed} if changed else value


def _causes(node: Node, value: Any, path: str) -> Iterator[str]:
    found = _type_of(value)
    if node.types and not _is_allowed(node, value, found):
        wanted = ",".join(node.types)
        yield f'{path}: Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    if node.enum and value not in node.enum:
        listed = ", ".join(f'"{one}"' for one in node.enum)
        yield f"{path}: Unsupported value: {_shown(value)}: supported values: {listed}"
    match value:
        case str():
            yield from _text_causes(node, value, path)
        case dict():
            yield from _object_causes(node, value, path)
        case list() if node.items is not None:
            for item in value:
                yield from _causes(node.items, item, path)
        case int() | float() if not isinstance(value, bool):
            yield from _number_causes(node, value, path)


def _is_allowed(node: Node, value: Any, found: str) -> bool:
    if found in node.types or (value is None and node.nullable):
        return True
    return "integer" in node.types and isinstance(value, float) and value.is_integer()


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case int() if INT64[0] <= value <= INT64[1]:
            return "integer"
        case _:
            return "number"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object_causes(node: Node, obj: Object, path: str, found_valid: Object | None = None) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    known = node.properties or {}
    for name, value in obj.items():
        if found_valid and name in found_valid and value == found_valid[name]:
            continue
        if (child := known.get(name, node.extra)) is not None:
            yield from _causes(child, value, prefix + name)
    for name in node.required:
        if name not in obj:
            yield f"{prefix}{name}: Required value"


def _text_causes(node: Node, text: str, path: str) -> Iterator[str]:
    """Of length and pattern only the first fault is told, as the real server does."""
    why = ""
    if node.longest is not None and len(text) > node.longest:
        why = f"should be at most {node.longest} chars long"
    elif len(text) < node.shortest:
        why = f"should be at least {node.shortest} chars long"
    elif node.pattern is not None and not node.pattern.search(text):
        why = f"should match '{node.spelled}'"
    if why:
        yield f"{path}: Invalid value: {_shown(text)}: {path} in body {why}"
    if node.is_time and not _is_time(text):
        shown = _shown(text)
        yield f"{path}: Invalid value: {shown}: {path} in body must be of type date-time: {shown}"


def _is_time(text: str) -> bool:
    matched = _TIME.fullmatch(text)
    if matched is None:
        return False
    try:
        date.fromisoformat(matched["day"])
    except ValueError:
        return False
    return True


def _number_causes(node: Node, number: float, path: str) -> Iterator[str]:
    why = ""
    if node.minimum is not None and number < node.minimum:
        why = f"greater than or equal to {node.minimum}"
    elif node.maximum is not None and number > node.maximum:
        why = f"less than or equal to {node.maximum}"
    if why:
        yield f"{path}: Invalid value: {_shown(number)}: {path} in body should be {why}"
