"""From a pydantic model to the structural OpenAPI v3 schema that a CRD carries.

The models are more patient than the CRD: what a stored object may lack, a request must have. What the CRD
demands beyond the models is in the tables here and in the models' ``REQUIRED`` and ``CRD_DEFAULTS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import annotated_types as limits
from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from kaito.api.machine import Quantity
from kaito.api.meta import ApiModel, Condition, LabelSelector, ObjectMeta
from kaito.api.workspace import InferenceSpec

Schema: TypeAlias = dict[str, Any]

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
"""What the formats of integers stand for; the models state the same limits as ``ge`` and ``lt``."""

_QUANTITY: Schema = {
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
    "x-kubernetes-int-or-string": True,
}

_MORE: dict[tuple[type[ApiModel], str], Schema] = {
    (Condition, "reason"): {"minLength": 1, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    (Condition, "type"): {
        "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
    },
}
"""What the API's own types say of a field beyond what reading it needs."""

_INSTEAD: dict[tuple[type[ApiModel], str], Schema] = {
    # A pod template has no schema: the API server of the cluster knows its own pods better.
    (InferenceSpec, "template"): {"x-kubernetes-preserve-unknown-fields": True},
}

_ATOMIC = (LabelSelector,)
"""Models whose objects one owner sets as a whole."""

_ROOT_TEXTS = {
    "apiVersion": "Version of the form of this object; a server may refuse one that it does not know.",
    "kind": "The kind of this object, in CamelCase; it cannot be changed.",
}


def root_schema(model: type[ApiModel]) -> Schema:
    """The schema of a whole object; its metadata is the API server's own business."""
    schema = object_schema(model)
    schema.pop("required", None)
    for name, text in _ROOT_TEXTS.items():
        schema["properties"][name] = {"description": text, "type": "string"}
    return schema


def object_schema(model: type[ApiModel]) -> Schema:
    schema: Schema = {"description": _sentence(model), "type": "object", "properties": {}}
    for name, field in model.model_fields.items():
        schema["properties"][field.alias or name] = _property(model, name, field)
    if model.REQUIRED:
        schema["required"] = sorted(model.REQUIRED)
    if model in _ATOMIC:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _property(model: type[ApiModel], name: str, field: FieldInfo) -> Schema:
    if field.annotation is ObjectMeta:
        return {"type": "object"}
    if (instead := _INSTEAD.get((model, name))) is None:
        schema = {**_of(field.annotation, field.metadata), **_MORE.get((model, name), {})}
    else:
        schema = dict(instead)
    if name in model.CRD_DEFAULTS:
        schema["default"] = field.default
    text = field.description or schema.get("description", "")
    return {"description": text, **{key: value for key, value in schema.items() if key != "description"}}


def _sentence(model: type[ApiModel]) -> str:
    """The model's docstring on one line, without the marks of code."""
    return " ".join((model.__doc__ or "").replace("``", "").split())


def _of(annotation: Any, metadata: Iterable[Any] = ()) -> Schema:
    """The schema of one type with the limits that stand beside it."""
    if annotation == Quantity:
        return dict(_QUANTITY)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, UnionType):
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _of(only, metadata)
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    return _named(annotation, list(_flat(metadata)))


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for each in metadata:
        yield from _flat(each.metadata) if isinstance(each, FieldInfo) else [each]


def _named(annotation: Any, beside: list[Any]) -> Schema:
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        return _integer(beside)
    if annotation is str:
        longest = [each.max_length for each in beside if isinstance(each, limits.MaxLen)]
        return {"type": "string", **({"maxLength": min(longest)} if longest else {})}
    if annotation is AwareDatetime:
        return {"type": "string", "format": "date-time"}
    if issubclass(annotation, ApiModel):
        return object_schema(annotation)
    raise TypeError(f"no schema for {annotation}")


def _integer(beside: list[Any]) -> Schema:
    """The format stands for the limits of the type, the rest are the field's own."""
    lows: list[Any] = [each.ge for each in beside if isinstance(each, limits.Ge)]
    highs: list[Any] = [each.le for each in beside if isinstance(each, limits.Le)]
    format_, type_limits = ("int32", INT32) if INT32[0] in lows else ("int64", INT64)
    low, high = max(lows, default=type_limits[0]), min(highs, default=type_limits[1])
    schema: Schema = {"type": "integer", "format": format_}
    if low > type_limits[0]:
        schema["minimum"] = low
    if high < type_limits[1]:
        schema["maximum"] = high
    return schema
