"""The object that a reconcile's commands are about, and the writes that every controller makes to its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kaito.runtime.ports import Conflict, KubeApi, Object, Resource
from kaito.runtime.translation import is_deleting

TRIES = 5
"""How often a write is made before its reconcile is repeated; client-go's RetryOnConflict has as many."""

Change: TypeAlias = Callable[[Object], dict[str, Any]]
"""From an object as it stands to the patch of it."""


class Target:
    """One object of one life.

    ``object`` is as cached, and follows our own writes, so that the second write of a reconcile does not
    conflict with the first; None when there is none. Every write carries UID and resourceVersion.
    """

    def __init__(
        self, resource: Resource, name: str, uid: str, object_: Object | None, namespace: str = ""
    ) -> None:
        self.resource = resource
        self.name = name
        self.namespace = namespace
        self.uid = uid
        self.object = object_

    @property
    def metadata(self) -> dict[str, Any]:
        """That of the object, empty without one."""
        found: dict[str, Any] = (self.object or {}).get("metadata") or {}
        return found

    def patch(self, api: KubeApi, change: Change, subresource: str = "") -> None:
        """Merge into the object what ``change`` makes of it.

        Others may write to other parts of it without a pause, and no cache keeps up with them. So a write
        that met a newer object is made anew from that one, as long as what we decide by still stands there:
        the same life with the same spec, and its deletion asked for or not, as before.

        Raises:
            Conflict: It has changed in what we decide by, or another object has its name.
        """
        for _ in range(TRIES - 1):
            try:
                self._merge(api, change, subresource)
            except Conflict:
                if not self._catch_up(api):
                    raise
            else:
                return
        self._merge(api, change, subresource)

    def _merge(self, api: KubeApi, change: Change, subresource: str) -> None:
        patch = change(self.object or {})
        metadata = patch.setdefault("metadata", {})
        metadata["uid"] = self.uid
        metadata["resourceVersion"] = self.metadata.get("resourceVersion", "")
        self.object = api.patch(self.resource, self.name, patch, self.namespace, subresource=subresource)

    def _catch_up(self, api: KubeApi) -> bool:
        """Read it live; whether it still is what was decided on."""
        found = api.get(self.resource, self.name, self.namespace)
        if self.object is None or _decided_by(found) != _decided_by(self.object):
            return False
        self.object = found
        return True

    def hold(self, api: KubeApi, finalizer: str) -> None:
        """Put the finalizer behind those of others, unless it is there."""
        if finalizer not in _finalizers(self.object or {}):
            self.patch(api, lambda found: _with_finalizers([*_others(found, finalizer), finalizer]))

    def release(self, api: KubeApi, finalizer: str) -> None:
        """Take the finalizer off and leave those of others."""
        if finalizer in _finalizers(self.object or {}):
            self.patch(api, lambda found: _with_finalizers(_others(found, finalizer)))


def _decided_by(found: Object) -> tuple[object, ...]:
    metadata = found["metadata"]
    return metadata.get("uid"), metadata.get("generation"), is_deleting(found)


def _finalizers(found: Object) -> list[str]:
    return (found.get("metadata") or {}).get("finalizers") or []


def _others(found: Object, finalizer: str) -> list[str]:
    return [name for name in _finalizers(found) if name != finalizer]


def _with_finalizers(names: list[str]) -> dict[str, Any]:
    return {"metadata": {"finalizers": names}}
