"""Merge patch (RFC 7386) and JSON patch (RFC 6902) over shared objects: what is not touched is not copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaito.runtime.ports import BadRequest, Invalid, Object
from simulator.documents import same
from simulator.refusals import RequestTooLarge

MAX_OPERATIONS = 10_000
"""Of one JSON patch, as the real server allows."""


def merge_patch(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` merged in; null deletes, anything but an object replaces.

    Beyond the RFC, and as the real server's library does it, what is new or replaces something else than an
    object loses its nulls, also those below lists.
    """
    if not isinstance(target, dict):
        return _without_nulls(patch)
    if not isinstance(patch, dict):
        return patch
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_nulls(each) for key, each in value.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in value if each is not None]
    return value


def json_patch(target: Object, operations: Sequence[Any]) -> Object:
    """``target`` with all operations applied in order, or none.

    Raises:
        BadRequest: An operation is no object.
        Invalid: An operation is malformed, a path is not there, or a ``test`` found another value.
        RequestTooLarge: More operations than the server takes.
    """
    if len(operations) > MAX_OPERATIONS:
        raise RequestTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    result: Any = target
    for number, operation in enumerate(operations):
        result = _apply(result, operation, number)
    patched: Object = result
    return patched


def _apply(document: Any, operation: Any, number: int) -> Any:
    if not isinstance(operation, Mapping):
        raise BadRequest(
            f"json: cannot unmarshal {_name(operation)} into Go value of type jsonpatch.Operation"
        )
    path = _pointer(operation, "path", number)
    match operation.get("op"):
        case "add":
            return _changed(document, path, "add", _operand(operation))
        case "replace":
            return _changed(document, path, "replace", _operand(operation))
        case "remove":
            return _changed(document, path, "remove", None)
        case "test":
            return _tested(document, path, _operand(operation))
        case "copy":
            return _changed(document, path, "add", _copied(document, _pointer(operation, "from", number)))
        case "move":
            return _moved(document, _pointer(operation, "from", number), path)
        case other:
            raise _refusal(f"operation {number}: unknown op {other!r}")


def _pointer(operation: Mapping[str, Any], field: str, number: int) -> tuple[str, ...]:
    pointer = operation.get(field)
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise _refusal(f"operation {number}: {field}: expected a JSON pointer, found {pointer!r}")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _operand(operation: Mapping[str, Any]) -> Any:
    """The value; where there is none, a null is meant."""
    return operation.get("value")


def _tested(document: Any, path: tuple[str, ...], value: Any) -> Any:
    try:
        found = _found(document, path)
    except Invalid:
        # A null is compared with a missing field as if that were null.
        found = None
    if not same(found, value):
        raise _refusal(f"testing path {_text(path)} failed: test failed")
    return document


def _copied(document: Any, source: tuple[str, ...]) -> Any:
    """What stands there; of a member that is missing the real server's library makes a null."""
    if source:
        parent = _found(document, source[:-1])
        if isinstance(parent, dict) and source[-1] not in parent:
            return None
    return _found(document, source)


def _moved(document: Any, source: tuple[str, ...], path: tuple[str, ...]) -> Any:
    if path[: len(source)] == source and path != source:
        raise _refusal(f"moving {_text(source)} into itself")
    value = _found(document, source)
    return _changed(_changed(document, source, "remove", None), path, "add", value)


def _found(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(step, len(document), path)]
        else:
            raise _missing(path)
    return document


def _changed(document: Any, path: tuple[str, ...], op: str, value: Any) -> Any:
    """A copy of the document along the path, with the operation done at its end."""
    return _descend(document, path, path, op, value)


def _descend(node: Any, rest: tuple[str, ...], path: tuple[str, ...], op: str, value: Any) -> Any:
    if not rest:
        # RFC 6902 would allow to replace it; the real server's library does not.
        raise _refusal(f"{op}: the whole document is no target")
    if isinstance(node, dict):
        return _descend_object(node, rest, path, op, value)
    if isinstance(node, list):
        return _descend_array(node, rest, path, op, value)
    raise _missing(path)


def _descend_object(
    node: Object, rest: tuple[str, ...], path: tuple[str, ...], op: str, value: Any
) -> Object:
    step, *below = rest
    # RFC 6902 would refuse to replace a member that is missing; the real server's library puts it.
    if step not in node and (below or op == "remove"):
        raise _missing(path)
    copied = dict(node)
    if below:
        copied[step] = _descend(node[step], tuple(below), path, op, value)
    elif op == "remove":
        del copied[step]
    else:
        copied[step] = value
    return copied


def _descend_array(
    node: list[Any], rest: tuple[str, ...], path: tuple[str, ...], op: str, value: Any
) -> list[Any]:
    step, *below = rest
    copied = list(node)
    if not below and op == "add":
        copied.insert(len(node) if step == "-" else _index(step, len(node) + 1, path), value)
        return copied
    index = _index(step, len(node), path)
    if below:
        copied[index] = _descend(node[index], tuple(below), path, op, value)
    elif op == "remove":
        del copied[index]
    else:
        copied[index] = value
    return copied


def _index(step: str, length: int, path: tuple[str, ...]) -> int:
    if not (step == "0" or (step.isascii() and step.isdigit() and not step.startswith("0"))):
        raise _refusal(f"{_text(path)}: expected an array index, found '{step}'")
    if int(step) >= length:
        raise _missing(path)
    return int(step)


def _missing(path: tuple[str, ...]) -> Invalid:
    return _refusal(f"path {_text(path)} does not exist")


def _refusal(why: str) -> Invalid:
    return Invalid("the server rejected our request due to an error in our request", causes=[why])


def _text(path: tuple[str, ...]) -> str:
    return (
        "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path) or "(the whole document)"
    )


def _name(value: object) -> str:
    match value:
        case str():
            return "string"
        case bool():
            return "bool"
        case list():
            return "array"
    return "number"
