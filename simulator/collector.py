"""The garbage collector: an actor of its own that removes objects whose owners are gone.

It works through the verbs that every client uses, with UID and resourceVersion preconditions, and never
inside somebody else's write: a write only tells it whom to look at, and the driver decides when it sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kaito.runtime.ports import ApiError, KubeApi, Object, Resource
from simulator.metadata import FOREGROUND, ORPHAN
from simulator.storage import Change, Storage, key_of, owner_uids

ABSENT, SOLID, WAITING = "absent", "solid", "waiting"


class Collector:
    """Background, foreground and orphan deletion as kube-controller-manager does them.

    Args:
        on_garbage: Rung when there is somebody to look at, once until the next sweep.
    """

    def __init__(self, api: KubeApi, storage: Storage, on_garbage: Callable[[], None] | None = None) -> None:
        self.on_garbage = on_garbage
        self._api = api
        self._storage = storage
        self._resources = {(each.api_version, each.kind): each for each in storage.resources}
        self._order = {each: number for number, each in enumerate(storage.resources)}
        self._suspects: set[tuple[int, str]] = set()
        self._rung = False

    @property
    def pending(self) -> bool:
        """Whether a sweep would have anybody to look at."""
        return bool(self._suspects)

    def notice(self, change: Change) -> None:
        """Find whom a write makes suspect."""
        if change.old is not None:
            self._suspect_owners(change.resource, change.old)
        if change.new is None:
            assert change.old is not None, "what is removed was there"
            self._suspect_dependents(change.old)
        elif awaits_collector(change.new):
            self._suspect(change.resource, change.new)
            self._suspect_dependents(change.new)
        elif not self._all_solid(change.resource, change.new):
            self._suspect(change.resource, change.new)
        if self._suspects and not self._rung:
            self._rung = True
            if self.on_garbage is not None:
                self.on_garbage()

    def collect(self) -> int:
        """One sweep over the suspects; returns the number of writes it made.

        What a sweep leaves behind is left for the next one. A suspect that could not be dealt with stays one.
        """
        suspects, self._suspects, self._rung = self._suspects, set(), False
        writes = 0
        for number, key in sorted(suspects):
            try:
                writes += self._process(self._storage.resources[number], key)
            except ApiError:
                self._suspects.add((number, key))
        return writes

    def _suspect(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        key = key_of(metadata.get("namespace", ""), metadata["name"])
        self._suspects.add((self._order[resource], key))

    def _suspect_dependents(self, owner: Object) -> None:
        for resource, dependent in self._storage.dependents(owner["metadata"]["uid"]):
            self._suspect(resource, dependent)

    def _suspect_owners(self, resource: Resource, dependent: Object) -> None:
        """An owner that waits for this dependent may now have waited long enough."""
        for reference in dependent["metadata"].get("ownerReferences", ()):
            owner_resource, owner = self._find(resource, dependent, reference)
            if owner_resource is not None and owner is not None and awaits_collector(owner):
                self._suspect(owner_resource, owner)

    def _process(self, resource: Resource, key: str) -> int:
        obj = self._storage.get(resource, key)
        if obj is None:
            return 0
        if awaits_collector(obj):
            return self._finish(resource, obj)
        if "deletionTimestamp" in obj["metadata"] or not owner_uids(obj):
            return 0
        return self._judge(resource, obj)

    def _finish(self, resource: Resource, owner: Object) -> int:
        """An owner in orphan or foreground deletion: see to its dependents, then take the finalizer off."""
        dependents = self._storage.dependents(owner["metadata"]["uid"])
        if ORPHAN in owner["metadata"]["finalizers"]:
            writes = sum(self._orphan(kind, dependent, owner) for kind, dependent in dependents)
            return writes + self._drop_finalizer(resource, owner, ORPHAN)
        if any(_blocks(dependent, owner) for _, dependent in dependents):
            return 0
        return self._drop_finalizer(resource, owner, FOREGROUND)

    def _judge(self, resource: Resource, obj: Object) -> int:
        """An object with owners: delete it if none is left, else forget those that are gone."""
        owners = obj["metadata"]["ownerReferences"]
        states = [self._owner_state(resource, obj, owner) for owner in owners]
        if SOLID in states:
            kept = [owner for owner, state in zip(owners, states, strict=True) if state == SOLID]
            return 0 if len(kept) == len(owners) else self._set_owners(resource, obj, kept)
        dependents = self._storage.dependents(obj["metadata"]["uid"])
        if WAITING in states and dependents:
            freed = self._unblock_circle(resource, obj, dependents)
            return freed + self._delete(resource, obj, "Foreground")
        return self._delete(resource, obj, _policy(obj))

    def _all_solid(self, resource: Resource, obj: Object) -> bool:
        owners = obj["metadata"].get("ownerReferences", ())
        return all(self._owner_state(resource, obj, owner) == SOLID for owner in owners)

    def _owner_state(self, resource: Resource, obj: Object, reference: Object) -> str:
        owner_resource, owner = self._find(resource, obj, reference)
        if owner_resource is None:
            # Not to be resolved, which is no proof of absence: the real collector keeps the object.
            return SOLID
        if owner is None:
            return ABSENT
        waiting = awaits_collector(owner) and FOREGROUND in owner["metadata"]["finalizers"]
        return WAITING if waiting else SOLID

    def _find(
        self, resource: Resource, dependent: Object, reference: Object
    ) -> tuple[Resource | None, Object | None]:
        """The owner, looked up by kind, namespace and name and told from a namesake by its UID.

        An owner in another namespace counts as absent. The resource is None where the reference leads
        nowhere: an unknown kind, or a namespaced owner of an object without a namespace.
        """
        owner_resource = self._resources.get((reference["apiVersion"], reference["kind"]))
        if owner_resource is None or (owner_resource.namespaced and not resource.namespaced):
            return None, None
        namespace = dependent["metadata"].get("namespace", "") if owner_resource.namespaced else ""
        found = self._storage.get(owner_resource, key_of(namespace, reference["name"]))
        if found is not None and found["metadata"]["uid"] != reference["uid"]:
            found = None
        return owner_resource, found

    def _orphan(self, resource: Resource, dependent: Object, owner: Object) -> int:
        uid = owner["metadata"]["uid"]
        owners = dependent["metadata"]["ownerReferences"]
        return self._set_owners(resource, dependent, [each for each in owners if each["uid"] != uid])

    def _unblock_circle(
        self, resource: Resource, obj: Object, dependents: list[tuple[Resource, Object]]
    ) -> int:
        """Two owners that wait for each other would wait for ever: this one no longer blocks its owners."""
        if not any(awaits_collector(dependent) for _, dependent in dependents):
            return 0
        owners = obj["metadata"]["ownerReferences"]
        return self._set_owners(resource, obj, [{**each, "blockOwnerDeletion": False} for each in owners])

    def _set_owners(self, resource: Resource, obj: Object, owners: list[Any]) -> int:
        return self._patch(resource, obj, {"ownerReferences": owners})

    def _drop_finalizer(self, resource: Resource, obj: Object, finalizer: str) -> int:
        kept = [each for each in obj["metadata"]["finalizers"] if each != finalizer]
        return self._patch(resource, obj, {"finalizers": kept})

    def _patch(self, resource: Resource, obj: Object, metadata: Object) -> int:
        current = obj["metadata"]
        guard = {"uid": current["uid"], "resourceVersion": current["resourceVersion"]}
        patch = {"metadata": {**metadata, **guard}}
        self._api.patch(resource, current["name"], patch, current.get("namespace", ""))
        return 1

    def _delete(self, resource: Resource, obj: Object, propagation: str) -> int:
        current = obj["metadata"]
        name, namespace = current["name"], current.get("namespace", "")
        self._api.delete(resource, name, namespace, uid=current["uid"], propagation=propagation)
        return 1


def awaits_collector(obj: Object) -> bool:
    """In deletion, with a finalizer that is the collector's own."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata:
        return False
    finalizers = metadata.get("finalizers", ())
    return FOREGROUND in finalizers or ORPHAN in finalizers


def _blocks(dependent: Object, owner: Object) -> bool:
    uid = owner["metadata"]["uid"]
    owners = dependent["metadata"].get("ownerReferences", ())
    return any(each["uid"] == uid and each.get("blockOwnerDeletion") for each in owners)


def _policy(obj: Object) -> str:
    """Finalizers that are there already decide how the object's own dependents are treated."""
    finalizers = obj["metadata"].get("finalizers", ())
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"
