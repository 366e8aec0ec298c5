"""How an object goes: preconditions of a DELETE, finalizers, grace, and the mark that deletion has begun."""

from __future__ import annotations

from datetime import datetime, timedelta

from kaito.runtime.ports import Invalid, Object, Resource
from simulator import refusals, writing
from simulator.kinds import Kind
from simulator.metadata import FOREGROUND, ORPHAN

COLLECTOR_FINALIZER = {"": "", "Background": "", "Foreground": FOREGROUND, "Orphan": ORPHAN}
"""By propagation policy: the finalizer by which the object waits for the garbage collector."""

DEFAULT_GRACE_SECONDS = 30
"""terminationGracePeriodSeconds of a pod that names none (API default)."""


def check_preconditions(resource: Resource, current: Object, uid: str, resource_version: str) -> None:
    standing = current["metadata"]
    if uid and uid != standing["uid"]:
        raise refusals.delete_uid_mismatch(resource, standing["name"], uid, standing["uid"])
    found = standing["resourceVersion"]
    if resource_version and resource_version != found:
        raise refusals.delete_version_mismatch(resource, standing["name"], resource_version, found)


def check_propagation(propagation: str) -> None:
    if propagation not in COLLECTOR_FINALIZER:
        raise Invalid(
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
            f'"{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"'
        )


def finalizers_after(current: Object, propagation: str) -> list[str]:
    """The finalizers of an object once it is being deleted.

    An explicit policy sets or clears the collector's finalizers; without one those that are there stay.
    """
    finalizers = list(current["metadata"].get("finalizers", ()))
    if not propagation:
        return finalizers
    wanted = COLLECTOR_FINALIZER[propagation]
    kept = [each for each in finalizers if each == wanted or each not in (FOREGROUND, ORPHAN)]
    return kept if not wanted or wanted in kept else [*kept, wanted]


def grace_seconds(kind: Kind, current: Object, asked: int | None) -> int:
    """How long the object may take to end once a DELETE that asks for this grace is accepted.

    Only what runs somewhere needs any: a pod that is bound and has not ended. A pod in deletion may be given
    less than it was given before, never more.
    """
    metadata = current["metadata"]
    if not kind.graceful:
        return 0
    wanted = asked if asked is None or asked >= 0 else 1
    if "deletionTimestamp" in metadata:
        standing: int = metadata["deletionGracePeriodSeconds"]
        return standing if wanted is None else min(wanted, standing)
    ended = (current.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if ended or not current["spec"].get("nodeName"):
        return 0
    own = current["spec"].get("terminationGracePeriodSeconds")
    default = DEFAULT_GRACE_SECONDS if own is None else int(own)
    return default if wanted is None else wanted


def changes_nothing(current: Object, grace: int) -> bool:
    """Whether a DELETE finds the object waiting for its end already, with no more grace than that.

    Its propagation policy is then ignored, as on the real server.
    """
    metadata = current["metadata"]
    return "deletionTimestamp" in metadata and 0 < metadata["deletionGracePeriodSeconds"] <= grace


def marked(current: Object, finalizers: list[str], now: datetime, grace: int = 0) -> Object:
    """The object in deletion, which must end ``grace`` seconds after the first DELETE.

    The first DELETE counts as a change of generation; a later one may bring the end forward.
    """
    metadata = {**current["metadata"], "finalizers": finalizers}
    if not finalizers:
        del metadata["finalizers"]
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = writing.timestamp(now + timedelta(seconds=grace))
        if "generation" in metadata:
            metadata["generation"] += 1
    elif earlier := metadata["deletionGracePeriodSeconds"] - grace:
        end = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=earlier)
        metadata["deletionTimestamp"] = writing.timestamp(end)
    metadata["deletionGracePeriodSeconds"] = grace
    return {**current, "metadata": metadata}


def complete(obj: Object) -> bool:
    """Whether an object in deletion has nobody left to wait for."""
    metadata = obj["metadata"]
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not waits
