"""The object that a reconcile's commands are about, and the writes that every controller makes to its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kaito.runtime.ports import Conflict, Invalid, KubeApi, Object, Resource

_DECIDED_BY = ("uid", "generation", "deletionTimestamp")
"""The life, the spec, and whether its end is asked for."""

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

        Others may write to other parts of it without a pause, and neither a cache nor a read keeps up with
        twenty of them. So a write that met a newer object is made once more, of that one and bound to the
        fields that it changes and is decided by, instead of to the resourceVersion of the whole.

        Raises:
            Conflict: It has changed in what we decide by or write, or another object has its name.
        """
        patch = change(self.object or {})
        metadata = patch.setdefault("metadata", {})
        metadata["uid"] = self.uid
        metadata["resourceVersion"] = self.metadata.get("resourceVersion", "")
        try:
            self.object = self._send(api, patch, subresource)
        except Conflict:
            found = api.get(self.resource, self.name, self.namespace)
            if self.object is None or _decided_by(found) != _decided_by(self.object):
                raise
            self.object = self._send_bound(api, found, change(found), subresource)

    def _send_bound(self, api: KubeApi, found: Object, patch: Object, subresource: str) -> Object:
        if _stands(found, patch):
            return found
        try:
            return self._send(api, bound(found, patch), subresource)
        except Invalid as refusal:
            # So the server calls a test that failed.
            raise Conflict(refusal.message) from refusal

    def _send(self, api: KubeApi, patch: Object | list[Object], subresource: str) -> Object:
        return api.patch(self.resource, self.name, patch, self.namespace, subresource=subresource)

    def hold(self, api: KubeApi, finalizer: str) -> None:
        """Put the finalizer behind those of others, unless it is there."""
        if finalizer not in _finalizers(self.object or {}):
            self.patch(api, lambda found: _with_finalizers([*_others(found, finalizer), finalizer]))

    def release(self, api: KubeApi, finalizer: str) -> None:
        """Take the finalizer off and leave those of others."""
        if finalizer in _finalizers(self.object or {}):
            self.patch(api, lambda found: _with_finalizers(_others(found, finalizer)))


def bound(found: Object, patch: Object) -> list[Object]:
    """A merge patch as a JSON patch that holds only where the same stands as was found.

    Args:
        patch: Fields of ``metadata`` or ``status``.
    """
    metadata = found["metadata"]
    operations = [_test(f"/metadata/{field}", metadata.get(field)) for field in _DECIDED_BY]
    for section, fields in patch.items():
        present = found.get(section)
        if present is None:
            kept = {field: value for field, value in fields.items() if value is not None}
            operations += [_test(f"/{section}", None), _put(f"/{section}", kept)]
            continue
        for field, value in fields.items():
            path = f"/{section}/{field}"
            operations.append(_test(path, present.get(field)))
            if value is not None:
                operations.append(_put(path, value))
            elif field in present:
                operations.append({"op": "remove", "path": path})
    return operations


def _stands(found: Object, patch: Object) -> bool:
    """Whether the fields of a merge patch are so already, as after a write of ours whose answer was lost."""
    return all(
        (found.get(section) or {}).get(field) == value
        for section, fields in patch.items()
        for field, value in fields.items()
    )


def _test(path: str, value: Any) -> Object:
    """A field that is absent is as good as null."""
    return {"op": "test", "path": path, "value": value}


def _put(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


def _decided_by(found: Object) -> list[object]:
    return [found["metadata"].get(field) for field in _DECIDED_BY]


def _finalizers(found: Object) -> list[str]:
    return (found.get("metadata") or {}).get("finalizers") or []


def _others(found: Object, finalizer: str) -> list[str]:
    return [name for name in _finalizers(found) if name != finalizer]


def _with_finalizers(names: list[str]) -> dict[str, Any]:
    return {"metadata": {"finalizers": names}}
