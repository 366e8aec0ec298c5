"""AdmissionReview ``admission.k8s.io/v1``: from the bytes of a request to those of the answer.

Pure: no socket, no clock. Whatever the bytes are, they are either nonsense, which has an HTTP code of its
own, or a review, which is answered under its uid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from kaito.api.errors import describe, one_line
from kaito.api.reading import read_strict
from kaito.api.workspace import Workspace
from kaito.catalogue.catalogue import Catalogue
from kaito.manager.logs import fields
from kaito.offline.remarks import remarks
from kaito.validation.admission import validate_create, validate_update

_LOGGER = logging.getLogger(__name__)

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"

MAX_DEPTH = 128
"""Levels of an object. A pod template has some 15; CPython gives up near 1 000, wherever it then is."""

MAX_MESSAGE = 16_384
MAX_WARNINGS, MAX_WARNING = 8, 240
"""Characters. A warning travels in a header, where the API server keeps 256 of each and 4 096 of all."""

CREATION, UPDATE, OTHER = "creation", "update", ""

_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")


class Nonsense(Exception):
    """The body is no review that could be answered under its uid."""


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a review's request that is looked at; the objects are decoded when they are needed."""

    uid: str
    operation: str
    name: str | None = None
    namespace: str | None = None
    sub_resource: str | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: Request


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    deletion_timestamp: str | None = None


class _Mortal(msgspec.Struct, frozen=True):
    metadata: _Metadata


class Answer(NamedTuple):
    """What is said to one request.

    Attributes:
        judged: By which rules: CREATION, UPDATE or OTHER, for none.
        workspace: ``namespace/name``, for the log.
        code: 200, or that of the Status that refuses.
    """

    request: Request
    judged: str = OTHER
    workspace: str = ""
    message: str = ""
    code: int = 200
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.message

    @property
    def operation(self) -> str:
        return self.request.operation


class _Undecodable(Exception):
    """An object of the request cannot be read at all."""


_REVIEWS = msgspec.json.Decoder(_Review)
_OBJECTS = msgspec.json.Decoder()
_MORTALS = msgspec.json.Decoder(_Mortal)
# A lone surrogate, a number of 5 000 digits and 100 000 brackets each end the decoder in a way of its own.
_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)


def decode(body: bytes) -> Request:
    """The request of a review.

    Raises:
        Nonsense: The bytes are no AdmissionReview v1 that has a request with a uid.
    """
    try:
        review = _REVIEWS.decode(body)
    except _FAULTS as error:
        raise Nonsense(f"could not decode body: {_told(error)}") from None
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        found = one_line(f"{review.api_version[:80]} {review.kind[:80]}")
        raise Nonsense(f"could not decode body: expected {API_VERSION} {KIND}, found {found}")
    if not review.request.uid:
        raise Nonsense("could not decode body: expected a uid, found none: request.uid")
    if review.request.operation not in _OPERATIONS:
        expected = f"expected one of {', '.join(_OPERATIONS)}, found {describe(review.request.operation)}"
        raise Nonsense(f"could not decode body: {expected}: request.operation")
    return review.request


def judge(request: Request, catalogue: Catalogue) -> Answer:
    """The answer to one request; a defect of ours is an answer too.

    An HTTP 5xx, or no answer, would hand the decision to the configuration's failurePolicy. Under Fail the
    object would be refused with a text about a broken webhook; under Ignore, which somebody may have set to
    get out of trouble, an object would pass that nobody has judged. So it is refused here, in words.
    """
    if request.operation not in ("CREATE", "UPDATE"):
        # The rules do not ask for them, but a configuration is easily widened, and nothing may keep a
        # Workspace, which costs money, from being deleted.
        return Answer(request)
    try:
        return _judged(request, catalogue)
    except Exception:
        _LOGGER.exception("admission failed", extra=fields(uid=request.uid, operation=request.operation))
        text = "Internal error occurred: the validation failed on this object, the operator's log says why"
        return _about(request)._replace(message=text, code=500, reason="InternalError")


def encode(answer: Answer) -> bytes:
    """The review that carries the answer."""
    response: dict[str, Any] = {"uid": answer.request.uid, "allowed": answer.allowed}
    if not answer.allowed:
        response["status"] = {
            "status": "Failure",
            "message": answer.message,
            "reason": answer.reason,
            "code": answer.code,
        }
    if answer.warnings:
        response["warnings"] = answer.warnings
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _judged(request: Request, catalogue: Catalogue) -> Answer:
    """Update rules wherever there is an old object, as published; also for writes to the status."""
    answer = _about(request)
    if answer.judged == UPDATE and (_is_deleted(request.old_object) or _is_deleted(request.object)):
        # Its finalizers must be able to go, whatever else it holds.
        return answer
    try:
        new = _object(request.object, "new")
        old = _object(request.old_object, "old") if answer.judged == UPDATE else None
    except _Undecodable as error:
        return _refused(answer, f"decoding request failed: {error}")
    if old is None:
        answer = answer._replace(workspace=_named(request, new))
        faults = validate_create(new, catalogue)
    else:
        faults = [] if _is_free(old, new, request) else validate_update(old, new, catalogue)
    if faults:
        return _refused(answer, "validation failed: " + "\n".join(faults))
    if old is not None and _same_content(old, new):
        return answer
    return answer._replace(warnings=tuple(_warnings(new, catalogue, created=old is None)))


def _is_free(old: Any, new: Any, request: Request) -> bool:
    """Whether the change is none that rules are about.

    An object that was stored under older rules must still be able to get a status, a finalizer or a label:
    its content is what it was. On a write to the status the server itself takes all else from the stored
    object.
    """
    annotated = _metadata(old).get("annotations") == _metadata(new).get("annotations")
    return _same_content(old, new) and (annotated or request.sub_resource == "status")


def _is_deleted(raw: msgspec.Raw) -> bool:
    try:
        return bool(_MORTALS.decode(raw).metadata.deletion_timestamp)
    except _FAULTS:
        return False


def _same_content(old: Any, new: Any) -> bool:
    return bool(_content(old) == _content(new))


def _content(obj: Any) -> Any:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _metadata(obj: Any) -> dict[str, Any]:
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def _refused(answer: Answer, message: str) -> Answer:
    cut = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
    return answer._replace(message=cut, code=400, reason="BadRequest")


def _warnings(new: Any, catalogue: Catalogue, *, created: bool) -> Iterator[str]:
    """What `kaito validate` would remark; of an update, not that it holds the operator's status."""
    workspace = read_strict(Workspace, new)[0]
    if workspace is None:
        return
    said = [r for r in remarks(workspace, catalogue, new) if created or r.field != "status"]
    for remark in said[:MAX_WARNINGS]:
        yield str(remark)[:MAX_WARNING]


def _object(raw: msgspec.Raw, which: str) -> Any:
    """The object, a mapping of not too many levels."""
    try:
        found = _OBJECTS.decode(raw)
    except _FAULTS as error:
        raise _Undecodable(f"cannot decode incoming {which} object: {_told(error)}") from None
    if not isinstance(found, dict):
        expected = f"expected a mapping, found {describe(found)}"
        raise _Undecodable(f"cannot decode incoming {which} object: {expected}")
    if _is_deeper(found, MAX_DEPTH):
        expected = f"expected at most {MAX_DEPTH} levels, found more"
        raise _Undecodable(f"cannot decode incoming {which} object: {expected}")
    return found


def _is_deeper(value: Any, limit: int) -> bool:
    """Level by level, so that no depth is too much for this function."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _inner(parent)]
        if not level:
            return False
    return True


def _inner(value: dict[str, Any] | list[Any]) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value
    return [child for child in children if isinstance(child, dict | list)]


def _about(request: Request) -> Answer:
    """What is known before anything is decoded."""
    judged = CREATION if bytes(request.old_object) == b"null" else UPDATE
    return Answer(request, judged, _named(request, {}))


def _named(request: Request, new: Any) -> str:
    """For the log. A name that is to be generated is not known yet, only how it will begin."""
    metadata = _metadata(new)
    name = request.name or metadata.get("name") or metadata.get("generateName") or ""
    return f"{str(request.namespace or '')[:63]}/{str(name)[:253]}"


def _told(error: Exception) -> str:
    """The fault, without the part of the body that an error may quote."""
    if isinstance(error, RecursionError):
        return "expected fewer levels, found a body that nests too deep"
    if isinstance(error, UnicodeError):
        return "expected UTF-8, found other bytes"
    return one_line(str(error))[:200]
