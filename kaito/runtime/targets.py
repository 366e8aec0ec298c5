"""The object that a reconcile's commands are about, and the writes that every controller makes to its own."""

from __future__ import annotations

from typing import Any

from kaito.runtime.ports import KubeApi, Object, Resource


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

    def patch(self, api: KubeApi, patch: dict[str, Any], subresource: str = "") -> None:
        """Merge the patch into the object.

        Raises:
            Conflict: It was changed since, or another object has its name.
        """
        metadata = patch.setdefault("metadata", {})
        metadata["uid"] = self.uid
        metadata["resourceVersion"] = self.metadata.get("resourceVersion", "")
        self.object = api.patch(self.resource, self.name, patch, self.namespace, subresource=subresource)

    def hold(self, api: KubeApi, finalizer: str) -> None:
        """Put the finalizer behind those of others, unless it is there."""
        present = self.metadata.get("finalizers") or []
        if finalizer not in present:
            self.patch(api, {"metadata": {"finalizers": [*present, finalizer]}})

    def release(self, api: KubeApi, finalizer: str) -> None:
        """Take the finalizer off and leave those of others."""
        present = self.metadata.get("finalizers") or []
        if finalizer in present:
            kept = [name for name in present if name != finalizer]
            self.patch(api, {"metadata": {"finalizers": kept}})
