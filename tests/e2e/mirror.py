"""The players' picture of the cluster: what the watches told, and what their own writes were answered with.

It is read instead of the server, which hundreds of controllers' lists would keep busy. It goes forward only:
what is older than what it holds is ignored, and so nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from kaito.runtime.ports import PODS, Object, Resource
from simulator.storage import Change, key_of, owner_uids


class Mirror:
    """The objects of some kinds.

    Args:
        on_change: Called with every change, after the mirror holds it.
    """

    def __init__(
        self,
        resources: Sequence[Resource],
        now: Callable[[], datetime],
        on_change: Callable[[Change], None],
    ) -> None:
        self.resources = tuple(resources)
        self._now = now
        self._on_change = on_change
        self._objects: dict[Resource, dict[str, Object]] = {resource: {} for resource in resources}
        self._dependents: dict[str, dict[tuple[int, str], None]] = {}
        self._pods_on: dict[str, dict[str, None]] = {}

    def get(self, resource: Resource, key: str) -> Object | None:
        return self._objects[resource].get(key)

    def objects(self, resource: Resource, namespace: str = "") -> list[Object]:
        """In the order of their keys."""
        found = sorted(self._objects[resource].items())
        return [obj for _, obj in found if namespace in ("", obj["metadata"].get("namespace"))]

    def pods_on(self, node: str) -> list[Object]:
        return [self._objects[PODS][key] for key in sorted(self._pods_on.get(node, ()))]

    def dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        """The objects that name this UID as an owner, by kind and key."""
        found = sorted(self._dependents.get(uid, ()))
        return [(self.resources[number], self._objects[self.resources[number]][key]) for number, key in found]

    def put(self, resource: Resource, obj: Object) -> None:
        """Take what the server says that there is."""
        key = _key(obj)
        held = self._objects[resource].get(key)
        if held is not None and _version(held) >= _version(obj):
            return
        if held is not None and _uid(held) != _uid(obj):
            self._change(resource, key, None)
        self._change(resource, key, obj)

    def remove(self, resource: Resource, obj: Object) -> None:
        """Take it away, unless a namesake has its place by now."""
        held = self._objects[resource].get(_key(obj))
        if held is not None and _uid(held) == _uid(obj):
            self._change(resource, _key(obj), None)

    def _change(self, resource: Resource, key: str, new: Object | None) -> None:
        objects = self._objects[resource]
        old = objects.get(key)
        if new is None:
            del objects[key]
        else:
            objects[key] = new
        self._index(resource, key, old, new)
        latest = new or old
        assert latest is not None, "a change changes something"
        self._on_change(
            Change(revision=_version(latest), at=self._now(), resource=resource, key=key, old=old, new=new)
        )

    def _index(self, resource: Resource, key: str, old: Object | None, new: Object | None) -> None:
        dependent = (self.resources.index(resource), key)
        for uid in owner_uids(old):
            self._dependents[uid].pop(dependent, None)
        for uid in owner_uids(new):
            self._dependents.setdefault(uid, {})[dependent] = None
        if resource is PODS:
            self._pods_on.get(_node(old), {}).pop(key, None)
            if new is not None and _node(new):
                self._pods_on.setdefault(_node(new), {})[key] = None


def _key(obj: Object) -> str:
    return key_of(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _node(pod: Object | None) -> str:
    return "" if pod is None else str(pod["spec"].get("nodeName") or "")
