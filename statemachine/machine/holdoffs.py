"""When a failed call to the cloud is repeated, by class of its error, and when the cloud is looked at again.

The first hold-off of a class doubles with each failure of the same class in a row, up to the class's cap.
Jitter only ever adds, so no wait is shorter than what the cloud asked for; it is derived by hash from the
Machine's UID and a count, because the core has no random source and the same history must wait the same.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from statemachine.machine.limits import MachineLimits
from statemachine.machine.observations import PoolFault
from statemachine.state import BlockedReason


class HoldOff(NamedTuple):
    first: timedelta
    cap: timedelta


_SECONDS, _MINUTES, _HOURS = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

# First hold-offs are those of the published error catalogue, which knows no caps; "doubling to 5 min" for
# busy pools is its own. A quota is raised by people within minutes, so it is asked about all the time;
# capacity comes back within half an hour (median) to 16 hours (p99).
HOLD_OFFS: Final[dict[BlockedReason, HoldOff]] = {
    BlockedReason.QUOTA_EXCEEDED: HoldOff(10 * _MINUTES, 30 * _MINUTES),
    BlockedReason.INSUFFICIENT_CAPACITY: HoldOff(1 * _HOURS, 4 * _HOURS),
    BlockedReason.SKU_NOT_AVAILABLE: HoldOff(1 * _HOURS, 23 * _HOURS),
    BlockedReason.NOT_AUTHORIZED: HoldOff(5 * _MINUTES, 1 * _HOURS),
    BlockedReason.CONFIGURATION_INVALID: HoldOff(5 * _MINUTES, 1 * _HOURS),
    BlockedReason.THROTTLED: HoldOff(1 * _MINUTES, 10 * _MINUTES),
    BlockedReason.OPERATION_IN_PROGRESS: HoldOff(30 * _SECONDS, 5 * _MINUTES),
    BlockedReason.NODE_BOOTSTRAP_FAILED: HoldOff(30 * _SECONDS, 30 * _MINUTES),
    BlockedReason.PROVIDER_FAULT: HoldOff(30 * _SECONDS, 10 * _MINUTES),
    BlockedReason.LAUNCH_FAILED: HoldOff(1 * _MINUTES, 10 * _MINUTES),
}

NO_QUOTA: Final = HoldOff(1 * _HOURS, 4 * _HOURS)
"""For a quota of zero: nobody waits for machines to be given back."""

DELETION_CAP: Final = 5 * _MINUTES
"""A deletion is repeated at least this often, whatever the cloud says is wrong with it."""

JITTER: Final = 0.1
"""The part of a hold-off that is added at most."""


def fraction(*parts: object) -> float:
    """A number in [0, 1), evenly spread over different parts and always the same for the same ones."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def blocked_reason(reason: str) -> BlockedReason:
    """The closed set has a member for what an adapter could not class."""
    try:
        return BlockedReason(reason)
    except ValueError:
        return BlockedReason.LAUNCH_FAILED


def is_terminal(fault: PoolFault) -> bool:
    """Whether only another spec can help; a missing permission is granted without touching the Machine."""
    return fault.terminal and fault.reason != BlockedReason.NOT_AUTHORIZED


def hold_off(reason: BlockedReason, failures: int, *, limit: int | None = None) -> timedelta:
    """How long to wait after so many failures of one class in a row, at least one; without jitter."""
    none_at_all = reason is BlockedReason.QUOTA_EXCEEDED and limit == 0
    first, cap = NO_QUOTA if none_at_all else HOLD_OFFS[reason]
    doublings = min(max(failures, 1) - 1, 16)  # every cap is reached long before
    return min(first * (1 << doublings), cap)


def _jittered(delay: timedelta, *parts: object) -> timedelta:
    return delay * (1 + JITTER * fraction(*parts))


def attempt_at(fault: PoolFault, failures: int, now: datetime, uid: str, attempt: int) -> datetime:
    """When the creation may be attempted again; ``failures`` counts this one."""
    delay = hold_off(blocked_reason(fault.reason), failures, limit=fault.limit)
    return now + _jittered(_as_told(fault, delay), uid, "attempt", attempt)


def deletion_at(fault: PoolFault, failures: int, now: datetime, uid: str) -> datetime:
    """When the deletion may be called again; ``failures`` counts this one."""
    delay = min(hold_off(blocked_reason(fault.reason), failures), DELETION_CAP)
    return now + _jittered(_as_told(fault, delay), uid, "deletion", failures)


def _as_told(fault: PoolFault, delay: timedelta) -> timedelta:
    """What the cloud asks for counts, whatever its length; of a throttled call nothing else does."""
    if fault.retry_after_seconds is None:
        return delay
    told = timedelta(seconds=max(fault.retry_after_seconds, 0.0))
    return told if fault.reason == BlockedReason.THROTTLED else max(told, delay)


def poll_at(uid: str, polled_at: datetime, limits: MachineLimits) -> datetime:
    """When to look at the cloud again after a look at ``polled_at``."""
    spread = limits.poll_jitter * (2 * fraction(uid, "poll", polled_at.isoformat()) - 1)
    return polled_at + timedelta(seconds=limits.poll_after * (1 + spread))
