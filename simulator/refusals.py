"""What the virtual API server answers when it refuses, in the words of the real one.

Clients and people match on these texts, so each is spelled as kube-apiserver spells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaito.runtime.ports import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Gone,
    Invalid,
    NotFound,
    Object,
    Resource,
    Unavailable,
)


class ResourceVersionTooLarge(Unavailable):
    """The client has seen a later state than this server (504): repeat after a second, or list anew."""

    code, reason = 504, "Timeout"


class RequestTooLarge(BadRequest):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(BadRequest):
    code, reason = 415, "UnsupportedMediaType"


def qualified(resource: Resource, noun: str = "") -> str:
    """``workspaces.kaito.sh``, or ``pods`` for the core group; ``noun`` replaces the plural."""
    noun = noun or resource.plural
    return f"{noun}.{resource.group}" if resource.group else noun


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{qualified(resource)} "{name}" not found')


def unknown_resource() -> NotFound:
    return NotFound("the server could not find the requested resource")


def already_exists(resource: Resource, name: str, *, deleting: bool) -> AlreadyExists:
    prefix = "object is being deleted: " if deleting else ""
    return AlreadyExists(f'{prefix}{qualified(resource)} "{name}" already exists')


def conflict(resource: Resource, name: str, why: str) -> Conflict:
    return Conflict(f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}')


def modified(resource: Resource, name: str) -> Conflict:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def uid_mismatch(
    resource: Resource, key: str, name: str, wanted: str, found: str, *, dry_run: bool
) -> Conflict:
    """A PUT names another UID than that of the object, or of one that is gone: then ``found`` is empty."""
    # The place in etcd, which a dry run knows only from where the server's own prefix ends.
    path = "/".join(part for part in (resource.group, resource.plural, key) if part)
    prefix = "" if dry_run else "/registry"
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {prefix}/{path}, ResourceVersion: 0, "
        "AdditionalErrorMsg: Precondition failed: "
        f"UID in precondition: {wanted}, UID in object meta: {found}",
    )


def delete_uid_mismatch(resource: Resource, name: str, wanted: str, found: str) -> Conflict:
    return _delete_conflict(
        resource,
        name,
        f"the UID in the precondition ({wanted}) does not match the UID in record ({found}). "
        "The object might have been deleted and then recreated",
    )


def delete_version_mismatch(resource: Resource, name: str, wanted: str, found: str) -> Conflict:
    return _delete_conflict(
        resource,
        name,
        f"the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record "
        f"({found}). The object might have been modified",
    )


def _delete_conflict(resource: Resource, name: str, why: str) -> Conflict:
    # The real server names the kind here, not the plural.
    return Conflict(f'Operation cannot be fulfilled on {qualified(resource, resource.kind)} "{name}": {why}')


def invalid(resource: Resource, name: str, causes: Sequence[str]) -> Invalid:
    """One 422 for all causes; each is ``path: Kind of error: …``."""
    listed = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
    return Invalid(f'{qualified(resource, resource.kind)} "{name}" is invalid: {listed}')


def unsupported_patch() -> UnsupportedMediaType:
    taken = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {taken}"
    )


def unconditional_update(resource: Resource, name: str) -> Invalid:
    # The real server names the plural here, not the kind.
    why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    return Invalid(f'{qualified(resource)} "{name}" is invalid: {why}')


def cannot_be_handled(resource: Resource, why: str) -> BadRequest:
    return BadRequest(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'
    )


def another_type(resource: Resource, api_version: Any, kind: Any) -> BadRequest:
    """The body is of another type than its address, which the decoder of a built-in kind cannot read."""
    version = str(api_version).rpartition("/")[2]
    return BadRequest(
        f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
        f'no kind "{kind}" is registered for version "{api_version}"'
    )


def another_version(resource: Resource, api_version: Any) -> BadRequest:
    return BadRequest(
        f"the API version in the data ({api_version}) does not match "
        f"the expected API version ({resource.api_version})"
    )


def another_kind(resource: Resource, kind: Any, name: str) -> Invalid:
    noun = qualified(resource, str(kind))
    return Invalid(f'{noun} "{name}" is invalid: kind: Invalid value: "{kind}": must be {resource.kind}')


def too_old(wanted: int, oldest: int) -> Gone:
    """``oldest`` is the lowest resourceVersion whose successors are all still known."""
    return Gone(f"too old resource version: {wanted} ({oldest})")


def expired_continue() -> Gone:
    return Gone(
        "The provided continue parameter is too old to display a consistent list result. "
        "You can start a new list without the continue parameter."
    )


def too_large(wanted: int, current: int) -> ResourceVersionTooLarge:
    return ResourceVersionTooLarge(
        f"Timeout: Too large resource version: {wanted}, current: {current}", retry_after_seconds=1.0
    )


def future_revision() -> ApiError:
    """As `too_large`, of an exact request: it is passed on to etcd, whose refusal reads as a fault."""
    return ApiError("etcdserver: mvcc: required revision is a future revision")


def status_of(error: ApiError) -> Object:
    """The error as the Status object that a watch or an HTTP answer carries."""
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }
    details: Object = {"causes": [{"message": cause} for cause in error.causes]} if error.causes else {}
    if error.retry_after_seconds is not None:
        details["retryAfterSeconds"] = max(1, round(error.retry_after_seconds))
    return {**status, "details": details} if details else status
