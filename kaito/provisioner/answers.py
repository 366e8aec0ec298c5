"""From what the wire brings to the errors of the `AgentPools` port: bodies, headers, broken connections.

Two rules hold here. Whatever is not a readable answer of the service is PoolUnanswered: a page of a proxy
must neither look like a missing pool nor like a verdict. And no text that leaves this module holds a token,
even when a server sends our own headers back.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.rest import HttpResponse

from kaito.runtime.fault_texts import ErrorText, error_in
from kaito.runtime.faults import error_of
from kaito.runtime.pools import PoolError, PoolFault, PoolRefused, PoolUnanswered
from statemachine.state import BlockedReason

NO_TOKEN = "AuthenticationFailed"
"""The code of a call that was not made because there was no token for it."""

_SECRETS = re.compile(r"(?i:bearer)\s+[^\s\"',;<]+|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|\bsig=[^&\s\"']+")
"""A bearer token, a JSON Web Token, and the signature in a shared access URL."""

_TELLING_STATUSES = frozenset((401, 412, 429))
"""Statuses that say what is wrong without a body."""


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Turn whatever the SDK raises in ``call`` into a `PoolError`.

    The SDK's error is not chained: its text holds whole bodies and URLs with their signatures.
    """
    try:
        yield
    except PoolError:
        raise
    except ClientAuthenticationError as error:
        raise _no_token(call, error) from None
    except AzureError as error:
        raise PoolUnanswered(f"{call}: {_broken(error)}") from None
    except Exception as error:
        # The SDK reads bodies with whatever exceptions their form provokes; none may end a controller.
        raise PoolUnanswered(f"{call}: an answer that cannot be read ({type(error).__name__})") from None


def refusal(response: HttpResponse, now: datetime) -> PoolError:
    """The error for a response that is no success; its body has been read."""
    error = _error(response)
    if error is None and response.status_code not in _TELLING_STATUSES:
        return PoolUnanswered(f"HTTP {response.status_code} with {_described(response)}")
    code, message, details = (error.code, error.message, error.details) if error else ("", "", ())
    status = 404 if response.status_code == 410 else response.status_code  # gone is as good as not found
    return error_of(status, code, message, details, retry_after_seconds(response.headers, now))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """For how long the service asks to be left alone; None when it does not, or not readably.

    A date is compared with the service's own clock where the response tells it, because ours may be off.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (milliseconds := _number(headers.get(name))) is not None:
            return milliseconds / 1000
    value = headers.get("Retry-After")
    if (seconds := _number(value)) is not None:
        return seconds
    until = _date(value)
    return max(0.0, (until - (_date(headers.get("Date")) or now)).total_seconds()) if until else None


def document(response: HttpResponse) -> Mapping[str, Any]:
    """The JSON object in a response.

    Raises:
        PoolUnanswered: There is none.
    """
    try:
        found = json.loads(response.text())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        raise PoolUnanswered(f"HTTP {response.status_code} with {_described(response)}, expected an object")
    return found


def without_secrets(text: str) -> str:
    return _SECRETS.sub("[removed]", text)


def _error(response: HttpResponse) -> ErrorText | None:
    """The error that the response tells; the header names its code with more authority than the body."""
    found = error_in(without_secrets(response.text()))
    header = without_secrets(response.headers.get("x-ms-error-code") or "")
    if not header:
        return found
    return ErrorText(header, found.message if found else "", found.details if found else ())


def _described(response: HttpResponse) -> str:
    """The form of a body, never its contents."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    size = len(response.content)
    return f"{size} bytes of {kind if kind.isprintable() and kind else 'no type'}" if size else "no body"


def _no_token(call: str, error: ClientAuthenticationError) -> PoolError:
    """No request was made. Whether the issuer refused or could not be reached makes the difference."""
    cause = error.__cause__
    if isinstance(cause, (ServiceRequestError, ServiceResponseError)):
        return PoolUnanswered(f"{call}: no token: {_broken(cause)}")
    text = " ".join(without_secrets(error.message).split())
    return PoolRefused(PoolFault(reason=str(BlockedReason.NOT_AUTHORIZED), code=NO_TOKEN, message=text))


def _broken(error: AzureError) -> str:
    """Why there is no answer, in the words of the operating system where it has any."""
    if isinstance(error, ServiceRequestTimeoutError):
        return "connecting took too long"
    if isinstance(error, ServiceResponseTimeoutError):
        return "no answer in time"
    for each in _causes(error):
        if isinstance(each, OSError) and isinstance(each.errno, int) and each.strerror:
            return str(each.strerror)
        if isinstance(each, ConnectionError) and each.args:
            return str(each.args[0])
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors behind an error, nearest first; libraries keep them in arguments and in attributes."""
    seen, waiting = set[int](), deque([error])
    while waiting:
        each = waiting.popleft()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = (
            getattr(each, name, None) for name in ("inner_exception", "reason", "__cause__", "__context__")
        )
        behind = (*kept, *each.args)
        waiting.extend(found for found in behind if isinstance(found, BaseException))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(value or "")
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None
