"""The informer's store: the objects of one kind as the reflector's deltas show them.

Rules it keeps. A delta with a resourceVersion that is not newer than what is stored is ignored, so a
duplicate or late notification changes nothing; a list is taken as it is. An object never changes its
identity in one step: another UID under a known name is delivered as a removal and an addition. Handlers
are called after the store holds the new picture, in the order of (namespace, name) within one list.

Objects are plain dicts, read-only by contract: the store hands out its own, not copies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from kaito.runtime.ports import Object
from kaito.runtime.workqueue import DEFAULT_PRIORITY, LOW_PRIORITY

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for a cluster-wide kind) and name."""

Handler: TypeAlias = Callable[[Object | None, Object | None], None]
"""Called with the old and the new object: (None, new) added, (old, new) changed, (old, None) removed."""

INITIAL_LIST_AGE = timedelta(minutes=1)
"""An object added to the store at this age was there before us: it comes from an initial list."""


class Added(msgspec.Struct, frozen=True):
    object: Object


class Updated(msgspec.Struct, frozen=True):
    object: Object


class Deleted(msgspec.Struct, frozen=True):
    """The object was deleted, or left the selector; its resourceVersion is that of the departure."""

    object: Object


class Replaced(msgspec.Struct, frozen=True):
    """A complete list.

    ``rewound`` says that its resourceVersion is older than one seen before: the server's storage was
    restored from a backup, and resourceVersions may now name other contents than they did.
    """

    items: tuple[Object, ...]
    resource_version: str
    rewound: bool = False


class Progressed(msgspec.Struct, frozen=True):
    """A bookmark: everything up to this resourceVersion has been delivered."""

    resource_version: str


Delta: TypeAlias = Added | Updated | Deleted | Replaced | Progressed


class Change(msgspec.Struct, frozen=True):
    """What one delta did to one key. ``tombstone``: ``old`` is the last known state, not the final one."""

    key: Key
    old: Object | None
    new: Object | None
    tombstone: bool = False


def parse_resource_version(text: object) -> int:
    """The resourceVersion as the number it officially is: comparable within one resource.

    Raises:
        ValueError: It is not a decimal without leading zeros, or it is 0, which no object has.
    """
    if isinstance(text, str) and text.isascii() and text.isdigit() and text[0] != "0":
        return int(text)
    raise ValueError(f"resourceVersion: expected a decimal above 0 without leading zeros, found {text!r}")


def resource_version_of(object_: Object) -> int:
    """Raises ValueError when the object carries no well-formed resourceVersion."""
    return parse_resource_version(_metadata(object_).get("resourceVersion"))


def key_of(object_: Object) -> Key:
    """Raises ValueError when the object has no name."""
    metadata = _metadata(object_)
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"metadata.name: expected a name, found {name!r}")
    return metadata.get("namespace") or "", name


def labels_of(object_: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] | None = _metadata(object_).get("labels")
    return labels or {}


def priority_of_change(old: Object | None, new: Object | None, now: datetime) -> int:
    """The queue priority of what a handler saw: low for initial lists and resyncs, as controller-runtime.

    Args:
        now: The time of day, to tell an object that was there before us from one just made.
    """
    if old is not None and new is not None:
        same = _metadata(old).get("resourceVersion") == _metadata(new).get("resourceVersion")
        return LOW_PRIORITY if same else DEFAULT_PRIORITY
    created = _metadata(new).get("creationTimestamp") if new is not None else None
    if created and now - datetime.fromisoformat(created) > INITIAL_LIST_AGE:
        return LOW_PRIORITY
    return DEFAULT_PRIORITY


class ObjectStore:
    """The objects of one kind, by key and by label.

    Args:
        indexed_labels: By which objects are found at once; None for all labels that they bear.

    Attributes:
        synced: Whether a complete list has been stored; before that, absence means nothing.
        resource_version: The newest the store knows to be complete up to, empty before the first list.
        stale: Deltas ignored because something newer was known.
    """

    def __init__(self, indexed_labels: Iterable[str] | None = ()) -> None:
        self._objects: dict[Key, Object] = {}
        self._indexed = None if indexed_labels is None else tuple(sorted(set(indexed_labels)))
        self._index: dict[tuple[str, str], set[Key]] = {}
        self._handlers: list[Handler] = []
        # Nothing unknown may enter with a resourceVersion up to here: the list or the deletions that set
        # it have told the fate of everything older, so such an object would be a ghost.
        self._floor = 0
        self.synced = False
        self.resource_version = ""
        self.stale = 0

    # --- reading ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self._objects.get((namespace, name))

    def objects(self, namespace: str | None = None) -> list[Object]:
        """All objects, or those of one namespace, sorted by namespace and name."""
        return self._sorted(self._objects, namespace)

    def select(self, labels: Mapping[str, str], namespace: str | None = None) -> list[Object]:
        """The objects that carry all these labels, sorted by namespace and name.

        The smallest index bucket is walked; without an indexed label in the selector, every object is.
        """
        candidates = self._candidates(labels)
        wanted = labels.items()
        found = (key for key in candidates if wanted <= labels_of(self._objects[key]).items())
        return self._sorted(found, namespace)

    def _candidates(self, labels: Mapping[str, str]) -> Collection[Key]:
        terms = self._indexed_terms(labels)
        buckets: list[Collection[Key]] = [self._index.get(term, ()) for term in terms]
        return min(buckets, key=len, default=self._objects)

    # --- handlers -----------------------------------------------------------------------------------

    def add_handler(self, handler: Handler) -> None:
        """Call the handler on every change from now on, and at once for what is there."""
        self._handlers.append(handler)
        for object_ in self.objects():
            handler(None, object_)

    def resync(self) -> None:
        """Show every object to the handlers again as (object, object): a local replay, no request."""
        self._notify([Change(key, self._objects[key], self._objects[key]) for key in sorted(self._objects)])

    # --- applying -----------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> tuple[Change, ...]:
        """Take the delta in, then call the handlers with what it changed.

        Raises:
            ValueError: An object without name or resourceVersion; nothing was changed.
        """
        changes = self._take(delta)
        self._notify(changes)
        return tuple(changes)

    def learn(self, written: Object) -> None:
        """Take in what the server answered to a write of ours, ahead of its delta.

        Until the delta comes, the next reconcile would decide on what we have just changed and write it
        again. This is no delta: nothing unknown enters, for it may be deleted by now, and the store is not
        complete up to here. The delta is ignored as a duplicate when it comes.
        """
        key = key_of(written)
        old = self._objects.get(key)
        if old is None or _uid(old) != _uid(written) or _is_last(written):
            return
        if resource_version_of(written) > resource_version_of(old):
            self._notify(self._put(key, old, written))

    def _take(self, delta: Delta) -> list[Change]:
        if isinstance(delta, Replaced):
            return self._replace(delta)
        if isinstance(delta, Progressed):
            self._advance(parse_resource_version(delta.resource_version))
            return []
        version, key = resource_version_of(delta.object), key_of(delta.object)
        self._advance(version)
        if isinstance(delta, Deleted):
            return self._delete(key, version)
        return self._upsert(key, version, delta.object)

    def _upsert(self, key: Key, version: int, new: Object) -> list[Change]:
        old = self._objects.get(key)
        known = self._floor if old is None else resource_version_of(old)
        if version <= known:
            self.stale += 1
            return []
        return self._put(key, old, new)

    def _delete(self, key: Key, version: int) -> list[Change]:
        self._floor = max(self._floor, version)
        old = self._objects.get(key)
        if old is None or version < resource_version_of(old):
            self.stale += 1
            return []
        self._remove(key, old)
        return [Change(key, old, None)]

    def _replace(self, delta: Replaced) -> list[Change]:
        version = parse_resource_version(delta.resource_version)
        listed = {key_of(item): item for item in delta.items}
        for item in delta.items:
            resource_version_of(item)
        changes: list[Change] = []
        for key in sorted(self._objects.keys() | listed.keys()):
            changes += self._reconcile(key, listed.get(key), rewound=delta.rewound)
        self.synced = True
        self.resource_version, self._floor = delta.resource_version, version
        return changes

    def _reconcile(self, key: Key, new: Object | None, *, rewound: bool) -> list[Change]:
        """One key of a list. After a rewind an equal resourceVersion says nothing about the content."""
        if new is None:
            gone = self._objects[key]
            self._remove(key, gone)
            return [Change(key, gone, None, tombstone=True)]
        old = self._objects.get(key)
        if old is not None and not rewound and resource_version_of(old) == resource_version_of(new):
            return []
        return self._put(key, old, new)

    def _put(self, key: Key, old: Object | None, new: Object) -> list[Change]:
        if old is None or labels_of(old) != labels_of(new):
            if old is not None:
                self._remove(key, old)
            for term in self._indexed_terms(labels_of(new)):
                self._index.setdefault(term, set()).add(key)
        self._objects[key] = new
        if old is not None and _uid(old) != _uid(new):
            return [Change(key, old, None, tombstone=True), Change(key, None, new)]
        return [Change(key, old, new)]

    def _remove(self, key: Key, old: Object) -> None:
        del self._objects[key]
        for term in self._indexed_terms(labels_of(old)):
            bucket = self._index[term]
            bucket.discard(key)
            if not bucket:
                del self._index[term]

    def _advance(self, version: int) -> None:
        if self.resource_version and version > int(self.resource_version):
            self.resource_version = str(version)

    def _indexed_terms(self, labels: Mapping[str, str]) -> list[tuple[str, str]]:
        if self._indexed is None:
            return list(labels.items())
        return [(label, labels[label]) for label in self._indexed if label in labels]

    def _sorted(self, keys: Iterable[Key], namespace: str | None) -> list[Object]:
        wanted = sorted(key for key in keys if namespace is None or key[0] == namespace)
        return [self._objects[key] for key in wanted]

    def _notify(self, changes: list[Change]) -> None:
        for change in changes:
            for handler in self._handlers:
                handler(change.old, change.new)


def _metadata(object_: Object) -> Mapping[str, Any]:
    metadata = object_.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _uid(object_: Object) -> object:
    return _metadata(object_).get("uid")


def _is_last(object_: Object) -> bool:
    """Whether the write took the last finalizer off an object that is to go: it is gone with it."""
    metadata = _metadata(object_)
    return bool(metadata.get("deletionTimestamp")) and not metadata.get("finalizers")
