"""What an answer of the API server means: one of the errors of the port, by HTTP code and Status.reason.

An answer that carries no Status comes from something between us and the API server, or from a handler in
front of its REST layer. Its 404 says nothing about an object, so it is not `NotFound`: a proxy's error page
must not read as the deletion of a Workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from kaito.runtime.ports import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Throttled,
    Unavailable,
)

MAX_TEXT = 300
"""Characters that are quoted of a body that is not a Status."""


MAX_RETRY_AFTER_SECONDS = 3600.0
"""Whoever sends more does not mean it, and a controller must not be parked for a year."""


class Unauthorized(ApiError):
    """The credentials were refused (401): they may have been replaced when the call is repeated."""

    code, reason = 401, "Unauthorized"


KINDS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: BadRequest,
    406: BadRequest,
    408: Unavailable,
    409: Conflict,
    410: Gone,
    413: BadRequest,
    415: BadRequest,
    422: Invalid,
    429: Throttled,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class _Cause(msgspec.Struct):
    message: str | None = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None
    retryAfterSeconds: float | None = None  # noqa: N815 (the API's spelling)


class _Status(msgspec.Struct):
    kind: str
    message: str | None = ""
    reason: str | None = ""
    details: _Details | None = None


_STATUS = msgspec.json.Decoder(_Status)


T = TypeVar("T")


def decoded(raw: bytes, request: str, decoder: msgspec.json.Decoder[T]) -> T:
    """The content of a successful answer.

    Raises:
        Unavailable: It is none, though the request may have taken effect.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Unavailable(f"{request}: expected a JSON object of the API, found other content") from None


def refusal(request: str, code: int, headers: Mapping[str, str], raw: bytes) -> ApiError:
    """The error that an answer stands for.

    Args:
        request: Method and path, for the message where the server gave none.
    """
    status = _status_of(raw)
    if status is None:
        return _unexplained(request, code, headers, raw)
    reason, details = status.reason or "", status.details or _Details()
    kind = _kind_of(code, reason)
    error = kind(
        status.message or f"{request}: {code} {reason}".rstrip(),
        retry_after_seconds=_retry_after(headers, details.retryAfterSeconds),
        causes=[cause.message for cause in details.causes or () if cause.message],
    )
    error.code, error.reason = code, reason or kind.reason
    return error


def _status_of(raw: bytes) -> _Status | None:
    try:
        status = _STATUS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return status if status.kind == "Status" else None


def _kind_of(code: int, reason: str) -> type[ApiError]:
    if reason == AlreadyExists.reason:
        return AlreadyExists
    # A 500 of this reason is the server's way to say that it was too slow and may be asked again.
    if reason == "ServerTimeout":
        return Unavailable
    return KINDS.get(code, ApiError)


def _unexplained(request: str, code: int, headers: Mapping[str, str], raw: bytes) -> ApiError:
    kind = Unavailable if code == NotFound.code else KINDS.get(code, ApiError)
    error = kind(f"{request}: {code}: {quoted(raw)}", retry_after_seconds=_retry_after(headers, None))
    error.code = code
    return error


def _retry_after(headers: Mapping[str, str], told: float | None) -> float | None:
    """Seconds: the header's number or date, else what the Status says."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        told = float(text)
    elif (until := _seconds_between(headers.get("Date", ""), text)) is not None:
        told = until
    return None if told is None else min(max(told, 0.0), MAX_RETRY_AFTER_SECONDS)


def _seconds_between(start: str, end: str) -> float | None:
    # Both dates are the server's, so its clock and ours need not agree.
    try:
        return (parsedate_to_datetime(end) - parsedate_to_datetime(start)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def quoted(raw: bytes) -> str:
    """One printable line of whatever this is."""
    text = raw[: 4 * MAX_TEXT].decode(errors="replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"{line[:MAX_TEXT]}…" if len(line) > MAX_TEXT else line or "an empty body"
