"""What becomes of an object on its way into the store: who may set which part of it.

The client owns the content, the server the identity and the counters; the status has a door of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kaito.runtime.ports import ApiError, BadRequest, Object
from simulator import refusals
from simulator.documents import same
from simulator.kinds import Kind
from simulator.metadata import (
    ObjectMeta,
    content_causes,
    name_causes,
    read,
    unqualified_finalizers,
    write,
)

DEFAULT_NAMESPACE = "default"


def timestamp(now: datetime) -> str:
    """RFC 3339 in whole seconds, as metadata carries it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def namespace_of(kind: Kind, namespace: str) -> str:
    return (namespace or DEFAULT_NAMESPACE) if kind.resource.namespaced else ""


def create_namespace(kind: Kind, meta: ObjectMeta, requested: str) -> str:
    """The namespace of a new object: the request's, else its own, else the default one."""
    if not kind.resource.namespaced:
        return ""
    if requested and meta.namespace and requested != meta.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return requested or meta.namespace or DEFAULT_NAMESPACE


def typed(kind: Kind, body: object) -> Object:
    """The body with apiVersion and kind in front, which may be left out but not be somebody else's."""
    resource = kind.resource
    if not isinstance(body, dict):
        raise refusals.cannot_be_handled(resource, f"expected an object, found {type(body).__name__}")
    full = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, **body}
    if kind.custom and full["apiVersion"] != resource.api_version:
        raise refusals.another_version(resource, full["apiVersion"])
    if not kind.custom and (full["apiVersion"], full["kind"]) != (resource.api_version, resource.kind):
        raise refusals.another_type(resource, full["apiVersion"], full["kind"])
    return full


def check_kind(kind: Kind, body: Object, name: str) -> None:
    """Of a custom object, whose kind is validated with its content."""
    if body["kind"] != kind.resource.kind:
        raise refusals.another_kind(kind.resource, body["kind"], name)


def created(kind: Kind, body: Object, meta: ObjectMeta, *, uid: str, now: str) -> Object:
    """A new object, complete but for its resourceVersion."""
    meta.uid = uid
    meta.creation_timestamp = now
    meta.deletion_timestamp = ""
    meta.deletion_grace_period_seconds = None
    meta.generation = 1 if kind.generation else 0
    new = kind.schema.default(kind.schema.prune(body))
    status = _initial_status(kind, new)
    return _assembled(new, meta, status, kind.status)


def updated(kind: Kind, body: Object, meta: ObjectMeta, current: Object) -> Object:
    """The current object with the body's content and labels; its status stays, the server's fields stay."""
    old = read(kind, current)
    for field in (
        "namespace",
        "uid",
        "resource_version",
        "creation_timestamp",
        "deletion_timestamp",
        "deletion_grace_period_seconds",
    ):
        setattr(meta, field, getattr(old, field))
    content = kind.schema.default(kind.schema.prune(body))
    meta.generation = old.generation
    if kind.generation and not (
        _same_content(kind, content, current)
        and (not kind.annotations_count or meta.annotations == old.annotations)
    ):
        meta.generation += 1
    return _assembled(content, meta, current.get("status"), kind.status)


def status_updated(kind: Kind, body: Object, meta: ObjectMeta, current: Object) -> Object:
    """The current object with the body's status and nothing else of it."""
    new = {key: value for key, value in current.items() if key != "status"}
    if body.get("status") is not None:
        new["status"] = body["status"]
    new = kind.schema.default(kind.schema.prune(new))
    # The store stamps the metadata of what it is given, so it must not be the current object's own.
    return {**new, "metadata": dict(current["metadata"])}


def check_preconditions(kind: Kind, meta: ObjectMeta, current: Object) -> None:
    """What the body says of the object it means: name and resourceVersion.

    Raises:
        BadRequest: The body is another object's.
        Conflict: The object has changed since it was read.
        Invalid: A custom resource is written without a resourceVersion.
    """
    resource, standing = kind.resource, current["metadata"]
    name = standing["name"]
    if meta.name != name:
        raise BadRequest(f"the name of the object ({meta.name}) does not match the name on the URL ({name})")
    namespace = standing.get("namespace", "")
    if resource.namespaced and meta.namespace and meta.namespace != namespace:
        raise BadRequest(
            f"the namespace of the object ({meta.namespace}) does not match "
            f"the namespace on the URL ({namespace})"
        )
    if meta.resource_version in ("", "0"):
        if kind.custom:
            raise refusals.unconditional_update(resource, name)
    elif not meta.resource_version.isdecimal():
        # A plain error of the storage, so it reads as a fault.
        raise ApiError(f'strconv.ParseUint: parsing "{meta.resource_version}": invalid syntax')
    elif meta.resource_version != standing["resourceVersion"]:
        raise refusals.modified(resource, name)


def creation_causes(kind: Kind, meta: ObjectMeta) -> list[str]:
    """What is wrong with the metadata of a new object."""
    causes = [*name_causes(kind, meta), *content_causes(meta, None)]
    return causes if kind.custom else [*causes, *unqualified_finalizers(meta)]


def update_causes(kind: Kind, meta: ObjectMeta, current: Object) -> list[str]:
    """What may not become of the metadata; asked before `updated` restores what is the server's."""
    old = read(kind, current)
    causes = list(content_causes(meta, old))
    if meta.uid and meta.uid != old.uid:
        causes.append(f'metadata.uid: Invalid value: "{meta.uid}": field is immutable')
    if meta.deletion_timestamp and not old.deletion_timestamp:
        value = _go_time(meta.deletion_timestamp)
        causes.append(f"metadata.deletionTimestamp: Invalid value: {value}: field is immutable")
    if (grace := meta.deletion_grace_period_seconds) not in (None, old.deletion_grace_period_seconds):
        causes.append(f"metadata.deletionGracePeriodSeconds: Invalid value: {grace}: field is immutable")
    if kind.versioned and not meta.resource_version:
        causes.append('metadata.resourceVersion: Invalid value: "": must be specified for an update')
    return causes


def _go_time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    except ValueError:
        return text


def _initial_status(kind: Kind, body: Object) -> object:
    if not kind.status or kind.created_status is None:
        return body.get("status")
    return dict(kind.created_status) or None


def _assembled(content: Object, meta: ObjectMeta, status: object, has_status: bool) -> Object:
    """A new top level, so that the store can own it; ``status`` comes last and only if there is one."""
    new = {**content, "metadata": write(meta)}
    if has_status:
        new.pop("status", None)
        if status is not None:
            new["status"] = status
    return new


def _same_content(kind: Kind, one: Object, other: Object) -> bool:
    """Whether nothing differs but what does not count for the generation."""
    apart = ("metadata", "status") if kind.status else ("metadata",)
    return _keys(one, apart) == _keys(other, apart) and all(
        same(one[key], other[key]) for key in _keys(one, apart)
    )


def _keys(obj: Object, apart: Iterable[str]) -> set[str]:
    return {key for key in obj if key not in apart}
