"""How an object goes: preconditions of a DELETE, finalizers, and the mark that deletion has begun."""

from __future__ import annotations

from kaito.runtime.ports import Invalid, Object, Resource
from simulator import refusals
from simulator.metadata import FOREGROUND, ORPHAN

COLLECTOR_FINALIZER = {"": "", "Background": "", "Foreground": FOREGROUND, "Orphan": ORPHAN}
"""By propagation policy: the finalizer by which the object waits for the garbage collector."""


def check_preconditions(resource: Resource, current: Object, uid: str, resource_version: str) -> None:
    standing = current["metadata"]
    if uid and uid != standing["uid"]:
        raise refusals.delete_uid_mismatch(resource, standing["name"], uid, standing["uid"])
    found = standing["resourceVersion"]
    if resource_version and resource_version != found:
        raise refusals.delete_version_mismatch(resource, standing["name"], resource_version, found)


def finalizers_after(current: Object, propagation: str) -> list[str]:
    """The finalizers of an object once it is being deleted.

    An explicit policy sets or clears the collector's finalizers; without one those that are there stay.
    """
    if propagation not in COLLECTOR_FINALIZER:
        raise Invalid(
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
            f'"{propagation}": supported values: "Background", "Foreground", "Orphan", "nil"'
        )
    finalizers = list(current["metadata"].get("finalizers", ()))
    if not propagation:
        return finalizers
    wanted = COLLECTOR_FINALIZER[propagation]
    kept = [each for each in finalizers if each == wanted or each not in (FOREGROUND, ORPHAN)]
    return kept if not wanted or wanted in kept else [*kept, wanted]


def marked(current: Object, finalizers: list[str], now: str) -> Object:
    """The object in deletion. Its first DELETE sets the timestamp and counts as a change of generation."""
    metadata = {**current["metadata"], "finalizers": finalizers}
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = now
        metadata["deletionGracePeriodSeconds"] = 0
        if "generation" in metadata:
            metadata["generation"] += 1
    return {**current, "metadata": metadata}


def complete(obj: Object) -> bool:
    """Whether an object in deletion has nobody left to wait for."""
    metadata = obj["metadata"]
    return "deletionTimestamp" in metadata and not metadata.get("finalizers")
