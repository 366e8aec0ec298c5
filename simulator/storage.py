"""The state of the virtual API server: objects, one counter of revisions, and the changes still remembered.

Every stored object is frozen by agreement and shared between the shelf, the history and the readers; a write
puts a new object in its place. Keys are ``namespace/name`` or ``name``, and lists go in their order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from kaito.runtime.ports import Object, Resource
from simulator import refusals
from simulator.metadata import stamped


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One write: ``old`` is None on create, ``new`` on removal."""

    revision: int
    at: datetime
    resource: Resource
    key: str
    old: Object | None
    new: Object | None

    def last(self) -> Object:
        """What was there before, with the revision of its removal (or of its leaving a selector)."""
        assert self.old is not None, "only an object that existed can go"
        return stamped(self.old, self.revision)


def key_of(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


class Shelf:
    """The objects of one kind and their remembered changes.

    ``floor`` is the lowest revision whose successors are all remembered.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.keys: list[str] = []
        self.changes: list[Change] = []
        self.floor = 0

    def put(self, change: Change) -> None:
        key, new = change.key, change.new
        if change.old is None:
            insort(self.keys, key)
        if new is None:
            del self.objects[key]
            del self.keys[bisect_left(self.keys, key)]
        else:
            self.objects[key] = new
        self.changes.append(change)

    def since(self, revision: int) -> list[Change]:
        """The changes after a revision, in order; complete only from ``floor`` on."""
        return self.changes[bisect_right(self.changes, revision, key=_revision) :]

    def forget(self, revision: int) -> None:
        del self.changes[: bisect_right(self.changes, revision, key=_revision)]
        self.floor = max(self.floor, revision)

    def at(self, revision: int) -> dict[str, Object]:
        """The objects as they stood at a revision not below ``floor``."""
        objects = self.objects
        undone = self.since(revision)
        if undone:
            objects = dict(objects)
        for change in reversed(undone):
            if change.old is None:
                del objects[change.key]
            else:
                objects[change.key] = change.old
        return objects


class Storage:
    """All shelves under one counter.

    Args:
        retention: How long a change is remembered at least; twice as long at most.
    """

    def __init__(self, resources: Iterable[Resource], retention: timedelta) -> None:
        self._resources = tuple(resources)
        self._shelves = {resource: Shelf() for resource in self._resources}
        self._numbers = {resource: number for number, resource in enumerate(self._resources)}
        self._retention = retention
        self._dependents: dict[str, set[tuple[int, str]]] = {}
        # Revision 0 would read as "any" in a request, so an empty cluster stands at 1.
        self.revision = 1

    def shelf(self, resource: Resource) -> Shelf:
        return self._shelves[resource]

    @property
    def resources(self) -> tuple[Resource, ...]:
        return self._resources

    def get(self, resource: Resource, key: str) -> Object | None:
        return self._shelves[resource].objects.get(key)

    def dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        """The objects that name this UID as an owner, by kind and key."""
        return [
            (self._resources[number], self._shelves[self._resources[number]].objects[key])
            for number, key in sorted(self._dependents.get(uid, ()))
        ]

    def write(self, resource: Resource, key: str, new: Object | None, at: datetime) -> Change:
        """Store, replace or (None) remove one object; ``new`` belongs to the storage from here on."""
        shelf = self._shelves[resource]
        self.revision += 1
        if new is not None:
            new["metadata"]["resourceVersion"] = str(self.revision)
        old = shelf.objects.get(key)
        change = Change(revision=self.revision, at=at, resource=resource, key=key, old=old, new=new)
        shelf.put(change)
        self._index_owners(change)
        self._expire(shelf, at)
        return change

    def snapshot(self, resource: Resource, revision: int) -> dict[str, Object]:
        """The objects of a kind as they stood at a revision.

        Raises:
            Gone: The changes since then are no longer all remembered.
        """
        shelf = self._shelves[resource]
        if revision < shelf.floor:
            raise refusals.too_old(revision, shelf.floor)
        return shelf.at(revision)

    def compact(self, up_to: int) -> None:
        """Forget the changes up to a revision, in all kinds."""
        for shelf in self._shelves.values():
            shelf.forget(min(up_to, self.revision))

    def _expire(self, shelf: Shelf, now: datetime) -> None:
        # Waiting for twice the retention keeps trimming rare, as the periodic compaction of etcd does.
        if shelf.changes[0].at < now - 2 * self._retention:
            expired = bisect_left(shelf.changes, now - self._retention, key=_at)
            shelf.forget(shelf.changes[max(expired, 1) - 1].revision)

    def _index_owners(self, change: Change) -> None:
        before, after = owner_uids(change.old), owner_uids(change.new)
        if before == after:
            return
        dependent = (self._numbers[change.resource], change.key)
        for uid in before:
            if uid not in after:
                self._dependents[uid].discard(dependent)
                if not self._dependents[uid]:
                    del self._dependents[uid]
        for uid in after:
            self._dependents.setdefault(uid, set()).add(dependent)


def owner_uids(obj: Object | None) -> tuple[str, ...]:
    """The UIDs of the owners, each once."""
    owners = () if obj is None else obj["metadata"].get("ownerReferences", ())
    return tuple(dict.fromkeys(owner["uid"] for owner in owners))


def _revision(change: Change) -> int:
    return change.revision


def _at(change: Change) -> datetime:
    return change.at
