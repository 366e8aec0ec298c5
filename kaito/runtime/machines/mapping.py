"""Which Machines a change in the cluster concerns: from informer notifications to workqueue keys.

A change that alters nothing the core reads concerns nobody, so heartbeats wake no one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kaito.runtime.cache import ObjectStore, labels_of
from kaito.runtime.machines.keys import NAME_LABEL, POOL_LABEL
from kaito.runtime.machines.observer import is_ours
from kaito.runtime.machines.translation import machine_node, machine_object, node_pod
from kaito.runtime.ports import MACHINES, NODES, PODS, Object, Resource
from kaito.runtime.translation import is_deleting
from statemachine.machine.limits import MachineLimits

_LIMITS = MachineLimits()


def _seen_machine(machine: Object) -> Any:
    return machine_object(machine, _LIMITS)


def _seen_node(node: Object) -> Any:
    owners = node["metadata"].get("ownerReferences")
    return machine_node(node, ""), owners, labels_of(node).get(POOL_LABEL)


_SEEN: dict[Resource, Callable[[Object], Any]] = {
    MACHINES: _seen_machine,
    NODES: _seen_node,
    PODS: node_pod,
}
"""What of each kind the core can see."""


def keys_of(
    resource: Resource, old: Object | None, new: Object | None, caches: Mapping[Resource, ObjectStore]
) -> list[str]:
    """The names of the Machines to reconcile after a change from ``old`` to ``new``, sorted."""
    if old is not None and new is not None and _SEEN[resource](old) == _SEEN[resource](new):
        return []
    objects = [object_ for object_ in (old, new) if object_ is not None]
    return sorted({name for object_ in objects for name in _names(resource, object_, caches)})


def _names(resource: Resource, object_: Object, caches: Mapping[Resource, ObjectStore]) -> list[str]:
    if resource is MACHINES:
        return [object_["metadata"]["name"]] if is_ours(object_) else []
    if resource is NODES:
        pool = labels_of(object_).get(POOL_LABEL)
        # A node with our label may outlive its Machine, whose last steps wait for it to go.
        ours = NAME_LABEL in labels_of(object_) or (pool and caches[MACHINES].get(pool) is not None)
        return [pool] if pool and ours else []
    return _draining(object_, caches)


def _draining(pod: Object, caches: Mapping[Resource, ObjectStore]) -> list[str]:
    """The Machine whose drain waits for this pod; pods of Machines that stay concern nobody."""
    node = caches[NODES].get((pod.get("spec") or {}).get("nodeName") or "")
    pool = labels_of(node).get(POOL_LABEL) if node is not None else None
    machine = caches[MACHINES].get(pool) if pool else None
    return [pool] if pool and machine is not None and is_deleting(machine) else []
