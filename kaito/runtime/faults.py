"""The catalogue of what Azure refuses, and why: from its codes and texts to our closed set of reasons.

Both implementations of `AgentPools` classify through this module, so that a run in the simulator and one in
production tell the same fault by the same name. Recognised is the code first, then a fragment of the text,
then the HTTP status. Nothing here raises, whatever a service answers.

Sources: spec/provisioner.md §4.5 (AKS troubleshooting articles, ARM's throttling page, Azure's Karpenter
provider); the classes in the margin are those of its table.
"""

from __future__ import annotations

import math

from kaito.runtime.fault_texts import (
    EXIT_CODES,
    LONGEST_TEXT,
    ErrorText,
    exit_code_in,
    nested_errors,
    quota_in,
    text_of,
)
from kaito.runtime.pools import PoolError, PoolFault, PoolNotFound, PoolRefused, PoolUnanswered
from statemachine.state import BlockedReason

POOL_EXISTS = "PoolExists"
"""The code of a create-only PUT that found a pool of this name."""
UNREADABLE = "Unknown"
"""The code of an error that came without one."""

_QUOTA = BlockedReason.QUOTA_EXCEEDED
_CAPACITY = BlockedReason.INSUFFICIENT_CAPACITY
_SKU = BlockedReason.SKU_NOT_AVAILABLE
_AUTHORIZATION = BlockedReason.NOT_AUTHORIZED
_CONFIGURATION = BlockedReason.CONFIGURATION_INVALID
_THROTTLED = BlockedReason.THROTTLED
_BUSY = BlockedReason.OPERATION_IN_PROGRESS
_BOOTSTRAP = BlockedReason.NODE_BOOTSTRAP_FAILED
_SERVICE = BlockedReason.PROVIDER_FAULT

TERMINAL, RETRY = True, False

# A row holds for its code, in lower case, where its fragment occurs in the text; the first that fits decides.
# An empty fragment always fits. Rows of one code stand together, the narrower ones first.
#    code                                      fragment                        reason          terminal
CATALOGUE: tuple[tuple[str, str, BlockedReason, bool], ...] = (
    ("operationnotallowed",                    "cores quota",                  _QUOTA,         RETRY),
    ("operationnotallowed",                    "lowprioritycores",             _QUOTA,         RETRY),
    ("operationnotallowed",                    "since deletion was issued",    _BUSY,          RETRY),
    ("operationnotallowed",                    "in progress",                  _BUSY,          RETRY),
    ("operationnotallowed",                    "in-progress",                  _BUSY,          RETRY),
    ("quotaexceeded",                          "",                             _QUOTA,         RETRY),
    ("errcode_insufficientvcpuquota",          "",                             _QUOTA,         RETRY),
    ("insufficientvcpuquota",                  "",                             _QUOTA,         RETRY),
    ("maxagentpoolcountreached",               "",                             _QUOTA,         RETRY),
    ("badrequest",                             "not allowed in your subscription", _SKU,       TERMINAL),
    ("badrequest",                             "is not supported for subscription", _SKU,      TERMINAL),
    ("vmsizenotsupported",                     "",                             _SKU,           TERMINAL),
    ("skunotavailable",                        "",                             _SKU,           RETRY),
    ("allocationfailed",                       "",                             _CAPACITY,      RETRY),
    ("zonalallocationfailed",                  "",                             _CAPACITY,      RETRY),
    ("overconstrainedallocationrequest",       "",                             _CAPACITY,      RETRY),
    ("overconstrainedzonalallocationrequest",  "",                             _CAPACITY,      RETRY),
    ("akscapacityerror",                       "",                             _CAPACITY,      RETRY),
    ("akscapacityheavyusage",                  "",                             _CAPACITY,      RETRY),
    ("aksoperationpreempted",                  "",                             _BUSY,          RETRY),
    ("aksoperationpreemptedbydelete",          "",                             _BUSY,          RETRY),
    ("deletevmssagentpoolfailed",              "drain did not complete",       _BUSY,          RETRY),
    ("poddrainfailure",                        "",                             _BUSY,          RETRY),
    ("vmextensionprovisioningerror",           "",                             _BOOTSTRAP,     RETRY),
    ("vmextensionprovisioningtimeout",         "",                             _BOOTSTRAP,     RETRY),
    ("subnetisfull",                           "",                             _CONFIGURATION, TERMINAL),
    ("insufficientsubnetsize",                 "",                             _CONFIGURATION, TERMINAL),
    ("nodepoolmcversionincompatible",          "",                             _CONFIGURATION, TERMINAL),
    ("invalidparameter",                       "",                             _CONFIGURATION, TERMINAL),
    ("propertychangenotallowed",               "",                             _CONFIGURATION, TERMINAL),
    ("requestdisallowedbypolicy",              "",                             _AUTHORIZATION, TERMINAL),
    ("linkedauthorizationfailed",              "",                             _AUTHORIZATION, TERMINAL),
    ("authorizationfailed",                    "",                             _AUTHORIZATION, TERMINAL),
    ("setvnetownershipfailed",                 "",                             _SERVICE,       RETRY),
    ("virtualnetworknotinsucceededstate",      "",                             _SERVICE,       RETRY),
    ("nicreservedforanothervm",                "",                             _SERVICE,       RETRY),
    ("internalservererror",                    "",                             _SERVICE,       RETRY),
    ("internaloperationerror",                 "",                             _SERVICE,       RETRY),
    ("throttled",                              "",                             _THROTTLED,     RETRY),
    ("toomanyrequests",                        "",                             _THROTTLED,     RETRY),
    ("subscriptionrequeststhrottled",          "",                             _THROTTLED,     RETRY),
)  # fmt: skip

# Texts that tell the fault whatever code they come with.
#    fragment                              reason          terminal
TEXTS: tuple[tuple[str, BlockedReason, bool], ...] = (
    ("cores quota",                        _QUOTA,         RETRY),
    ("exceeding quota limits",             _QUOTA,         RETRY),
    ("insufficient vcpu quota",            _QUOTA,         RETRY),
    ("not allowed in your subscription",   _SKU,           TERMINAL),
    ("is not supported for subscription",  _SKU,           TERMINAL),
    ("is currently not available in",      _SKU,           RETRY),
    ("not have sufficient capacity",       _CAPACITY,      RETRY),
    ("allocation failed",                  _CAPACITY,      RETRY),
    ("since deletion was issued",          _BUSY,          RETRY),
    ("operation is in progress",           _BUSY,          RETRY),
    ("pool operation in progress",         _BUSY,          RETRY),
    ("extension 'vmsscse'",                _BOOTSTRAP,     RETRY),
)  # fmt: skip

_WRAPPERS = frozenset(
    (
        "reconcilevmssagentpoolfailed",
        "createvmssagentpoolfailed",
        "deletevmssagentpoolfailed",
        "deploymentfailed",
        "resourcedeploymentfailure",
    )
)
"""Codes that say only that something inside failed; without a known error inside, a fault of the service."""

_NO_SUCH_PLACE = frozenset(
    (
        "resourcegroupnotfound",
        "subscriptionnotfound",
        "invalidsubscriptionid",
        "parentresourcenotfound",
        "invalidresourcetype",
        "invalidresourcenamespace",
    )
)
"""404 codes of a wrong address: nothing can be concluded about the pool."""

_UNANSWERED = frozenset((0, 408, 502, 504))
"""Statuses of somebody on the way: whether the service took the request is unknown."""


def fault_of(
    code: object = "",
    message: object = "",
    details: object = (),
    status: int | None = None,
    retry_after: object = None,
) -> PoolFault:
    """What is wrong, from an error of a response or of a long-running operation.

    A wrapper such as ReconcileVMSSAgentPoolFailed is classified, and named, by the code inside it; the text
    stays the whole one. ``terminal`` is class T of the specification: no repeat as it stands.

    Args:
        details: The nested errors, as sent.
        status: Of the response, None for an operation's error.
        retry_after: Seconds, as a number or as the header's text.
    """
    error = ErrorText(text_of(code), text_of(message), details)
    if status == 412 or error.code.lower() in ("preconditionfailed", POOL_EXISTS.lower()):
        return _fault(ErrorText(POOL_EXISTS, error.message), _CONFIGURATION, terminal=True)
    decided, reason, terminal = _classified(error, status)
    whole = error.message if decided.message in error.message else f"{error.message} {decided.message}"
    named = ErrorText(decided.code, whole.strip()[:LONGEST_TEXT])
    return _fault(named, reason, terminal=terminal, retry_after=retry_after)


def error_of(
    status: int,
    code: object = "",
    message: object = "",
    details: object = (),
    retry_after: object = None,
) -> PoolError:
    """The error that an implementation of `AgentPools` raises for a response that is no success.

    A 404 is PoolNotFound unless it says that the cluster itself is not there, or nothing: a wrong address
    or a broken proxy must never look like a deleted pool. What a gateway answers, and a 5xx that says
    nothing, is PoolUnanswered.
    """
    error = ErrorText(text_of(code), text_of(message), details)
    silent = not (error.code or error.message)
    if status in _UNANSWERED or (silent and (status == 404 or status >= 500)):
        return PoolUnanswered(f"HTTP {status}: {error.code} {error.message}".rstrip(" :"))
    if status == 404 and _is_wrong_address(error):
        return PoolRefused(_fault(error, _CONFIGURATION, terminal=True))
    if status == 404:
        return PoolNotFound(error.message or error.code)
    return PoolRefused(fault_of(error.code, error.message, details, status, retry_after))


def _is_wrong_address(error: ErrorText) -> bool:
    text = error.message.lower()
    about_cluster = "managedclusters/" in text and "agentpools" not in text
    return error.code.lower() in _NO_SUCH_PLACE or about_cluster


def _classified(error: ErrorText, status: int | None) -> tuple[ErrorText, BlockedReason, bool]:
    """The error that decides, the outer one or one inside it, with its reason and whether it is terminal."""
    inside = nested_errors(error.details, error.message)
    candidates = [error, *reversed(inside)]
    for each in candidates:
        if row := _row(each):
            return each, *row
    for each in candidates:
        text = each.message.lower()
        for fragment, reason, terminal in TEXTS:
            if fragment in text:
                return each, reason, terminal
    if error.code.lower() in _WRAPPERS:
        return error, _SERVICE, RETRY
    return error, *_by_status(status)


def _row(error: ErrorText) -> tuple[BlockedReason, bool] | None:
    code, text = error.code.lower(), error.message.lower()
    for known, fragment, reason, terminal in CATALOGUE:
        if code == known and fragment in text:
            return reason, terminal
    return None


def _by_status(status: int | None) -> tuple[BlockedReason, bool]:
    if status == 429:
        return _THROTTLED, RETRY
    if status == 409:
        return _BUSY, RETRY
    if status in (401, 403):
        return _AUTHORIZATION, status == 403
    if status in (400, 413, 415, 422):
        return _CONFIGURATION, TERMINAL
    if status is not None and (status >= 500 or status == 408):
        return _SERVICE, RETRY
    return BlockedReason.LAUNCH_FAILED, RETRY


def _fault(
    error: ErrorText, reason: BlockedReason, *, terminal: bool, retry_after: object = None
) -> PoolFault:
    text = _with_exit_code(error.message) if reason == _BOOTSTRAP else error.message
    quota = quota_in(error.message) if reason == _QUOTA else None
    return PoolFault(
        reason=str(reason),
        code=error.code or UNREADABLE,
        message=text or "the service gave no text",
        terminal=terminal,
        family=quota.family if quota else "",
        limit=quota.limit if quota else None,
        used=quota.used if quota else None,
        needed=quota.needed if quota else None,
        retry_after_seconds=_seconds(retry_after),
    )


def _with_exit_code(message: str) -> str:
    """The text, and what its exit code means, which the text does not say."""
    meaning = EXIT_CODES.get(exit_code_in(message) or 0)
    return f"{message} ({meaning})"[:LONGEST_TEXT] if meaning else message


def _seconds(value: object) -> float | None:
    """The Retry-After header where it holds seconds; a date, which Azure does not send, is not read."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # whatever it is, it either converts or not
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
