"""Which Workspaces a change in the cluster concerns: from informer notifications to workqueue keys.

A change that alters nothing the core reads concerns nobody: heartbeats and bookkeeping on nodes, pods and
Machines would otherwise wake every Workspace every few seconds for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kaito.runtime import translation
from kaito.runtime.cache import ObjectStore, labels_of
from kaito.runtime.keys import NAME_LABEL, WorkspaceKey, key_by_labels, key_by_owner
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    Object,
    Resource,
)

_Seen = Callable[[Object], Any]


def _workload(workload: Object) -> Any:
    return translation.workload_view(workload, "", ""), workload["metadata"].get("ownerReferences")


def _service(service: Object) -> Any:
    return service["metadata"].get("ownerReferences")


def _pod(pod: Object) -> Any:
    return translation.pod_view(pod), translation.is_deleting(pod)


def _node(node: Object) -> Any:
    return translation.node_view(node), labels_of(node)


_SEEN: dict[Resource, _Seen] = {
    MACHINES: translation.machine_view,
    NODES: _node,
    PODS: _pod,
    SERVICES: _service,
    DEPLOYMENTS: _workload,
    STATEFULSETS: _workload,
}
"""What of each kind the core can see; a Workspace itself is always looked at."""


def keys_of(
    resource: Resource, old: Object | None, new: Object | None, caches: Mapping[Resource, ObjectStore]
) -> list[WorkspaceKey]:
    """The Workspaces to reconcile after a change from ``old`` to ``new``, sorted; either may be None."""
    return _keys_of(resource, old, new, lambda node: _selecting(node, caches[WORKSPACES]))


class KeysOf:
    """The same for a driver that shows it every change, Workspaces' own among them.

    It knows Workspaces by their match labels: to look at all of them for every node that joins would take
    as many steps as there are Workspaces times nodes.
    """

    def __init__(self) -> None:
        self._selecting: dict[_Term, dict[WorkspaceKey, Mapping[str, str]]] = {}

    def __call__(
        self,
        resource: Resource,
        old: Object | None,
        new: Object | None,
        caches: Mapping[Resource, ObjectStore],
    ) -> list[WorkspaceKey]:
        """As `keys_of`."""
        if resource is WORKSPACES:
            self._note(old, new)
        return _keys_of(resource, old, new, self._selected_by)

    def _note(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            term = _term(_match_labels(old))
            self._selecting[term].pop(_key(old), None)
            if not self._selecting[term]:
                del self._selecting[term]
        if new is not None:
            wanted = _match_labels(new)
            self._selecting.setdefault(_term(wanted), {})[_key(new)] = wanted

    def _selected_by(self, node: Object) -> Iterable[WorkspaceKey]:
        labels = labels_of(node).items()
        for term in (None, *labels):
            for key, wanted in self._selecting.get(term, {}).items():
                if wanted.items() <= labels:
                    yield key


_Term = tuple[str, str] | None
"""One of the labels that a Workspace wants of its nodes; None where it wants none."""

_Selecting = Callable[[Object], Iterable[WorkspaceKey]]


def _keys_of(
    resource: Resource, old: Object | None, new: Object | None, selecting: _Selecting
) -> list[WorkspaceKey]:
    seen = _SEEN.get(resource)
    if seen is not None and old is not None and new is not None and seen(old) == seen(new):
        return []
    objects = [object_ for object_ in (old, new) if object_ is not None]
    return sorted({key for object_ in objects for key in _keys(resource, object_, selecting)})


def _keys(resource: Resource, object_: Object, selecting: _Selecting) -> Iterable[WorkspaceKey]:
    metadata = object_["metadata"]
    if resource is WORKSPACES:
        return [_key(object_)]
    if resource is PODS:
        name = labels_of(object_).get(NAME_LABEL)
        return [WorkspaceKey(metadata["namespace"], name)] if name else []
    if resource is NODES:
        return selecting(object_)
    key = key_by_labels(object_) if resource is MACHINES else key_by_owner(object_)
    # A foreign Service or workload that stands where ours should carries no owner; its name tells.
    if key is None and resource is not MACHINES:
        key = _key(object_)
    return [key] if key else []


def _selecting(node: Object, workspaces: ObjectStore) -> Iterable[WorkspaceKey]:
    """The Workspaces whose match labels a node carries.

    Single-value expressions are not looked at: to concern too many Workspaces costs a quiet reconcile.
    """
    labels = labels_of(node).items()
    for workspace in workspaces.objects():
        if _match_labels(workspace).items() <= labels:
            yield _key(workspace)


def _match_labels(workspace: Object) -> Mapping[str, str]:
    selector = (workspace.get("resource") or {}).get("labelSelector") or {}
    return selector.get("matchLabels") or {}


def _term(wanted: Mapping[str, str]) -> _Term:
    return min(wanted.items(), default=None)


def _key(object_: Object) -> WorkspaceKey:
    return WorkspaceKey(object_["metadata"]["namespace"], object_["metadata"]["name"])
