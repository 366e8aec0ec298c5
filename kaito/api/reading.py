"""From a JSON object to a model: strict for what a user wrote, lenient for what a cluster stores.

Strict means that unknown fields, missing required ones and wrong types are all reported, together and with
the nearest known name. Lenient means that unknown fields are kept and that a field of a wrong type is left
out, with its default in its place and the fault noted, so that one odd object never stops a controller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kaito.api.errors import Finding, InvalidObject, describe, printable
from kaito.api.meta import ApiModel

Model = TypeVar("Model", bound=ApiModel)

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "string_unicode": "text that is valid Unicode",
    "timezone_aware": "a time with its zone, such as 2024-04-05T18:29:58Z",
}
_TIME = "a time such as 2024-04-05T18:29:58Z"


def read_strict(model: type[Model], obj: Any) -> tuple[Model | None, list[Finding]]:
    """The model and every fault; the model is None only when something has the wrong type."""
    findings = list(_unlisted(model, obj, ""))
    try:
        return model.model_validate(obj), findings
    except ValidationError as error:
        return None, sorted({*findings, *_findings(error)})


def read_lenient(model: type[Model], obj: Any) -> tuple[Model, list[Finding]]:
    """The model without the fields that cannot be read, and what was wrong with them.

    Raises:
        InvalidObject: It is not a mapping at all.
    """
    if not isinstance(obj, dict):
        raise InvalidObject([Finding("", "a mapping", describe(obj))])
    findings: set[Finding] = set()
    while True:
        try:
            return model.model_validate(obj), sorted(findings)
        except ValidationError as error:
            findings.update(_findings(error))
            smaller = obj
            for details in error.errors(include_url=False):
                smaller = _without(smaller, details["loc"][:2])
            if smaller is obj:
                raise InvalidObject(sorted(findings)) from error
            obj = smaller


def identity_findings(obj: Any, api_version: str, kind: str) -> list[Finding]:
    """Whether apiVersion and kind, where present, are these."""
    found = obj if isinstance(obj, dict) else {}
    return [
        Finding(field, wanted, printable(found[field]))
        for field, wanted in (("apiVersion", api_version), ("kind", kind))
        if isinstance(found.get(field), str) and found[field] != wanted
    ]


def _without(obj: dict[Any, Any], path: Sequence[int | str]) -> dict[Any, Any]:
    """A copy that lacks the value at the path, or keys that are no text when the path is that of the parent.

    The object itself, when there is nothing to take out.
    """
    if not path:
        return obj if all(map(_is_text, obj)) else {key: obj[key] for key in obj if _is_text(key)}
    name = next((key for key in obj if str(key) == str(path[0])), None)
    if name is None:
        return obj
    if len(path) > 1 and isinstance(obj[name], dict):
        smaller = _without(obj[name], path[1:])
        return obj if smaller is obj[name] else {**obj, name: smaller}
    return {key: value for key, value in obj.items() if key != name}


def _is_text(key: Any) -> bool:
    """Whether it is a string that UTF-8 can write; JSON can bring one that it cannot."""
    return isinstance(key, str) and key.encode("utf-8", "replace").decode("utf-8") == key


def _findings(error: ValidationError) -> Iterator[Finding]:
    for details in error.errors(include_url=False):
        # That a key of an object is no string is told with the unknown fields.
        if details["type"] != "invalid_key":
            yield Finding(_dotted(details["loc"]), _expectation(details), describe(_input(details)))


def _input(details: ErrorDetails) -> Any:
    return None if details["type"] == "missing" else details["input"]


def _expectation(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    match kind:
        case "missing":
            return "a value"
        case "literal_error":
            return str(context["expected"]).replace("'", "")
        case "greater_than_equal":
            return f"a number of at least {context['ge']}"
        case "less_than" | "less_than_equal":
            limit = context["lt"] - 1 if kind == "less_than" else context["le"]
            return f"a number of at most {limit}"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case _:
            return _TIME if kind.startswith("datetime") or kind == "value_error" else details["msg"]


def _dotted(location: Sequence[int | str]) -> str:
    path = ""
    for step in location:
        path = join(path, step) if step != "[key]" else path
    return path


def join(path: str, step: int | str) -> str:
    """The path of a child: ``a.b`` for a field, ``a[0]`` for an item of a list."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{printable(step)}" if path else printable(step)


def _unlisted(model: type[ApiModel], obj: Any, path: str) -> Iterator[Finding]:
    """Unknown fields, and required fields that are missing, in the object and below it."""
    if not isinstance(obj, dict):
        return
    known = _known(model)
    for key, value in obj.items():
        if key not in known:
            where = join(path, str(key))
            expected = model.MISPLACED.get(key) or _nearest(str(key), list(known))
            yield Finding(where, expected, printable(str(key)))
        elif (child := known[key]) is not None:
            yield from _unlisted_below(child, value, join(path, key))
    for name in model.REQUIRED:
        if obj.get(name) is None:
            yield Finding(join(path, name), "a value", "nothing")


def _unlisted_below(child: type[ApiModel], value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield from _unlisted(child, value, path)
        return
    for index, item in enumerate(value):
        yield from _unlisted(child, item, join(path, index))


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name[:100], known, n=2)
    if close:
        return f"a known field, nearest {'is' if len(close) == 1 else 'are'} {' and '.join(close)}"
    return f"one of {', '.join(sorted(known))}"


@cache
def _known(model: type[ApiModel]) -> dict[str, type[ApiModel] | None]:
    """The fields of a model by alias, each with the model that its value, or an item of it, has."""
    return {field.alias or name: _model_in(field.annotation) for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[ApiModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found), None)
