"""``metadata`` of an object: the fields that exist, their types, and what may be written into them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kaito.runtime.ports import Object
from simulator import names, refusals
from simulator.kinds import Kind

ANNOTATIONS_BYTES = 256 * 1024
"""Keys and values of all annotations of one object together."""

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)


class OwnerReference(msgspec.Struct, omit_defaults=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Unknown fields are dropped and empty ones are not stored, so equal metadata has equal bytes."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []


def read(kind: Kind, obj: Object) -> ObjectMeta:
    """The metadata of a request's object.

    Raises:
        BadRequest: It is not an object or a field has the wrong type.
    """
    metadata = obj.get("metadata") or {}
    if isinstance(metadata, dict):
        metadata = {key: _without_null(value) for key, value in metadata.items() if value is not None}
    try:
        return msgspec.convert(metadata, ObjectMeta)
    except msgspec.ValidationError as error:
        text = str(error).replace("`$", "`metadata")
        where = "" if "`metadata" in text else " - at `metadata`"
        raise refusals.cannot_be_handled(kind.resource, text + where) from error


def _without_null(value: Any) -> Any:
    """A null for a text, as in labels, reads as an empty one."""
    if isinstance(value, dict) and None in value.values():
        return {key: "" if each is None else each for key, each in value.items()}
    return value


def write(meta: ObjectMeta) -> Object:
    """The metadata as JSON, fields in a fixed order."""
    plain: Object = msgspec.to_builtins(meta)
    return plain


def name_causes(kind: Kind, meta: ObjectMeta) -> Iterator[str]:
    if not meta.name:
        yield "metadata.name: Required value: name or generateName is required"
    else:
        for complaint in kind.name_rule(meta.name):
            yield f'metadata.name: Invalid value: "{meta.name}": {complaint}'
    for complaint in names.label(meta.namespace) if meta.namespace else ():
        yield f'metadata.namespace: Invalid value: "{meta.namespace}": {complaint}'


def content_causes(meta: ObjectMeta, old: ObjectMeta | None) -> Iterator[str]:
    """What is wrong with labels, annotations, finalizers and owner references.

    Parts that stand in the old object already are not looked at again.
    """
    if old is None or meta.labels != old.labels:
        yield from _label_causes(meta.labels)
    if old is None or meta.annotations != old.annotations:
        yield from _annotation_causes(meta.annotations)
    if old is None or meta.finalizers != old.finalizers:
        yield from _finalizer_causes(meta.finalizers)
    if old is None or meta.owner_references != old.owner_references:
        yield from _owner_causes(meta.owner_references)
    if old is not None and old.deletion_timestamp:
        yield from _new_finalizer_causes(meta.finalizers, old.finalizers)


def _label_causes(labels: dict[str, str]) -> Iterator[str]:
    for key, value in labels.items():
        for complaint in names.label_key(key):
            yield f'metadata.labels: Invalid value: "{key}": {complaint}'
        for complaint in names.label_value(value):
            yield f'metadata.labels: Invalid value: "{value}": {complaint}'


def _annotation_causes(annotations: dict[str, str]) -> Iterator[str]:
    for key in annotations:
        for complaint in names.label_key(key.lower()):
            yield f'metadata.annotations: Invalid value: "{key}": {complaint}'
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES:
        yield f"metadata.annotations: Too long: must have at most {ANNOTATIONS_BYTES} bytes"


def _finalizer_causes(finalizers: list[str]) -> Iterator[str]:
    for finalizer in finalizers:
        for complaint in names.label_key(finalizer):
            yield f'metadata.finalizers: Invalid value: "{finalizer}": {complaint}'
    if FOREGROUND in finalizers and ORPHAN in finalizers:
        both = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        found = ", ".join(f'"{finalizer}"' for finalizer in finalizers)
        yield f"metadata.finalizers: Invalid value: []string{{{found}}}: {both}"


def unqualified_finalizers(meta: ObjectMeta) -> Iterator[str]:
    """Of a built-in kind; asked when it is created, not when it is updated."""
    for number, finalizer in enumerate(meta.finalizers):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield f'metadata.finalizers[{number}]: Invalid value: "{finalizer}": {why}'


def _new_finalizer_causes(new: list[str], old: list[str]) -> Iterator[str]:
    if added := sorted({finalizer for finalizer in new if finalizer not in old}):
        found = ", ".join(f'"{finalizer}"' for finalizer in added)
        yield (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{found}}}"
        )


def _owner_causes(owners: list[OwnerReference]) -> Iterator[str]:
    for owner in owners:
        for field, noun, value in (
            ("apiVersion", "version", owner.api_version),
            ("kind", "kind", owner.kind),
            ("name", "name", owner.name),
            ("uid", "uid", owner.uid),
        ):
            if not value:
                yield f'metadata.ownerReferences.{field}: Invalid value: "": {noun} must not be empty'
        if owner.kind == "Event" and owner.api_version in ("v1", "events.k8s.io/v1"):
            yield f"metadata.ownerReferences: Invalid value: {owner.name}: is disallowed from being an owner"
    controllers = [owner.name for owner in owners if owner.controller]
    if len(controllers) > 1:
        yield (
            "metadata.ownerReferences: Invalid value: Only one reference can have Controller set to true. "
            f'Found "true" in references for {" and ".join(controllers)}'
        )


def stamped(obj: Object, revision: int) -> Object:
    """The object with another resourceVersion; all else is shared."""
    metadata: dict[str, Any] = {**obj["metadata"], "resourceVersion": str(revision)}
    return {**obj, "metadata": metadata}
