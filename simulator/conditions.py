"""The conditions of a Machine, kept as the provisioner's library keeps them.

Conditions are sorted by type. ``lastTransitionTime`` moves whenever status, reason or message changes, not
only the status. ``Ready`` sums up the living set: a False one makes it False with the same reason and
message, and a missing one leaves it Unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kaito.runtime.ports import Object
from simulator.process import timestamp

LAUNCHED = "MachineLaunched"
REGISTERED = "MachineRegistered"
INITIALIZED = "MachineInitialized"
READY = "Ready"

_LIVING = (LAUNCHED, REGISTERED, INITIALIZED)


def marked_true(conditions: Sequence[Object], *types: str, now: datetime) -> list[Object]:
    """The conditions with these True, and Ready computed anew."""
    kept = _by_type(conditions)
    for type_ in types:
        _set(kept, type_, "True", now=now)
    failed = [kept[type_] for type_ in _LIVING if type_ in kept and kept[type_]["status"] == "False"]
    if failed:
        _set(kept, READY, "False", failed[-1].get("reason", ""), failed[-1].get("message", ""), now=now)
    else:
        complete = all(type_ in kept and kept[type_]["status"] == "True" for type_ in _LIVING)
        _set(kept, READY, "True" if complete else "Unknown", now=now)
    return _sorted(kept)


def marked_false(
    conditions: Sequence[Object], type_: str, reason: str, message: str, *, now: datetime
) -> list[Object]:
    """The conditions with this one False, and Ready False for the same reason."""
    kept = _by_type(conditions)
    _set(kept, type_, "False", reason, message, now=now)
    _set(kept, READY, "False", reason, message, now=now)
    return _sorted(kept)


def _set(
    kept: dict[str, Object], type_: str, status: str, reason: str = "", message: str = "", *, now: datetime
) -> None:
    told = {"type": type_, "status": status}
    told |= {name: text for name, text in (("reason", reason), ("message", message)) if text}
    before = kept.get(type_, {})
    if {name: value for name, value in before.items() if name != "lastTransitionTime"} != told:
        kept[type_] = {**told, "lastTransitionTime": timestamp(now)}


def _by_type(conditions: Sequence[Object]) -> dict[str, Object]:
    return {each["type"]: each for each in conditions}


def _sorted(kept: dict[str, Object]) -> list[Object]:
    return [kept[type_] for type_ in sorted(kept)]
