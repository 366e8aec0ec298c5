"""What can be read out of Azure's error texts: the error itself, nested codes, quota numbers, exit codes.

Azure's errors are prose with structure hidden in it, and the same fault comes in several forms. Nothing here
raises, whatever it is given: a text that cannot be read yields less, never a crash of the controller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

LONGEST_TEXT = 4096
"""Characters of a message that are kept; the longest texts known have some 2 000."""
DEEPEST = 8
"""How far details are followed into details; real ones nest two or three times."""
MOST_DETAILS = 100

REGIONAL = "Total Regional"
"""The family of a quota on all cores of a region."""
LOW_PRIORITY = "LowPriority"
"""The family of the quota on spot cores."""

EXIT_CODES: Mapping[int, str] = MappingProxyType(
    {
        34: "the kubelet did not start",
        41: "the CNI download failed",
        50: "no outbound connection",
        51: "the API server cannot be reached",
        52: "the API server's name does not resolve",
        53: "the API server's name does not resolve",
        83: "the GPU driver download failed",
        84: "the GPU driver did not start",
        85: "the GPU driver installation timed out",
        86: "the GPU device plugin failed",
        87: "the GPU's infoROM is corrupt",
        124: "the bootstrap script timed out",
    }
)
"""Exit codes of the node bootstrap script, from AKS troubleshooting articles (spec/provisioner.md §4.5)."""


class ErrorText(msgspec.Struct, frozen=True):
    """An error as it stands in a body. ``details`` are as sent: a list of errors, or anything at all."""

    code: str
    message: str
    details: Any = ()


class QuotaText(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a quota refusal in cores; None where the text does not give them.

    One of the three forms tells what ``remaining`` is and not how it comes about.
    """

    family: str = ""
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    remaining: int | None = None


_APPROVED = re.compile(r"exceeding approved ([\w .-]{0,80}?) ?cores quota", re.IGNORECASE)
_CURRENT = re.compile(
    r"Current Limit: ?(\d{1,9}),? ?Current Usage: ?(\d{1,9}),? ?Additional Required: ?(\d{1,9})",
    re.IGNORECASE,
)
_MAXIMUM = re.compile(
    r"Maximum allowed: ?(\d{1,9}),? ?Current in use: ?(\d{1,9}),? ?Additional requested: ?(\d{1,9})",
    re.IGNORECASE,
)
_INSUFFICIENT = re.compile(
    r"Insufficient vcpu quota requested (\d{1,9}), remaining (\d{1,9}) "
    r"for family ([\w .-]{1,80}?) for region",
    re.IGNORECASE,
)
_EXIT = re.compile(r'exit ?(?:status|code)"?\\?"? ?[=:]? ?\\?"?(\d{1,4})\b', re.IGNORECASE)
_NESTED = re.compile(r'\b(?:sub)?code\\?"? ?[=:] ?\\?"?([A-Za-z]\w{2,80})', re.IGNORECASE)


def text_of(value: object) -> str:
    """The value as text of bounded length; empty for what is no text."""
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def error_in(body: object) -> ErrorText | None:
    """The error in a response body, of ARM's shape or AKS's flat one; None when there is none to read.

    ARM sends ``{"error": {"code", "message", "details"}}``, AKS also ``{"code", "message", "details"}``.

    Args:
        body: Bytes or text of JSON, or the decoded document.
    """
    document = _decoded(body)
    if not isinstance(document, Mapping):
        return None
    inner = document.get("error")
    error = inner if isinstance(inner, Mapping) else document
    found = ErrorText(text_of(error.get("code")), text_of(error.get("message")), error.get("details") or ())
    return found if found.code or found.message else None


def nested_errors(details: object, message: str) -> list[ErrorText]:
    """The errors inside an error, the innermost last: those of the details, then those named in the text."""
    found: list[ErrorText] = []
    _gather(details, found, DEEPEST)
    told = [ErrorText(code, message) for code in _NESTED.findall(message)]
    return found + told


def quota_in(message: str) -> QuotaText | None:
    """The numbers of a quota refusal, from any of the three forms that Azure uses."""
    if found := _INSUFFICIENT.search(message):
        needed, remaining, family = found.groups()
        return QuotaText(family=family, needed=int(needed), remaining=int(remaining))
    approved = _APPROVED.search(message)
    numbers = _CURRENT.search(message) or _MAXIMUM.search(message)
    if approved is None and numbers is None:
        return None
    limit, used, needed = map(int, numbers.groups()) if numbers else (None, None, None)
    return QuotaText(family=approved[1] if approved else "", limit=limit, used=used, needed=needed)


def exit_code_in(message: str) -> int | None:
    """The exit code of the node bootstrap script, where the text tells one."""
    found = _EXIT.search(message)
    return int(found[1]) if found else None


def _decoded(body: object) -> object:
    if not isinstance(body, (bytes, bytearray, str)):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _gather(details: object, into: list[ErrorText], depth: int) -> None:
    """Walk the details depth first; what is no error is passed over."""
    if depth == 0 or len(into) >= MOST_DETAILS:
        return
    if isinstance(details, Mapping):
        details = [details]
    if not isinstance(details, (list, tuple)):
        return
    for each in details[:MOST_DETAILS]:
        error = error_in(each) if isinstance(each, Mapping) else None
        if error is not None:
            into.append(error)
            _gather(error.details, into, depth - 1)
