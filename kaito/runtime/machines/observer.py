"""One frozen picture of a Machine per reconcile, from the informer caches.

What the caches lack is read live by the reconciler before it counts as gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from kaito.runtime.cache import ObjectStore
from kaito.runtime.machines.keys import NAME_LABEL, POOL_LABEL
from kaito.runtime.machines.translation import machine_node, machine_object, node_pod
from kaito.runtime.ports import MACHINES, NODES, PODS, Object, Resource
from kaito.runtime.targets import Target
from statemachine.machine.limits import MachineLimits
from statemachine.machine.observations import MachineNode, MachinePicture, NodePod

CACHED = (MACHINES, NODES, PODS)
"""The kinds a driver must keep a cache of."""

UNWATCHED_AFTER = timedelta(minutes=12)
"""A pause this long between two looks at an unsettled Machine, which has a look every five minutes, means
that this process, or the whole cluster, stood still meanwhile."""


class MachineObserver:
    """Pictures of Machines; remembers when it looked, which is all a restart loses."""

    def __init__(self, caches: Mapping[Resource, ObjectStore], limits: MachineLimits) -> None:
        self._caches = caches
        self._limits = limits
        self._polled: dict[str, datetime] = {}
        self._nodes_of: dict[str, frozenset[tuple[str, bool]]] = {}
        self._changed: dict[str, datetime] = {}
        self._watched: dict[str, tuple[datetime, datetime]] = {}

    def current(self, name: str) -> Object | None:
        """The Machine as cached, if it is one of ours."""
        found = self._caches[MACHINES].get(name)
        return found if found is not None and is_ours(found) else None

    def learn(self, target: Target) -> None:
        """Let the next picture hold what was written to the Machine of a reconcile."""
        if target.object is not None:
            self._caches[MACHINES].learn(target.object)

    def observe(self, name: str, machine: Object | None, now: datetime) -> MachinePicture:
        """The picture around this Machine object, cached or read live; None for one that is not there."""
        uid = machine["metadata"].get("uid", "") if machine else ""
        nodes = self._nodes(name, uid)
        self._note_nodes(name, frozenset((node.name, node.deleting) for node in nodes), now)
        return MachinePicture(
            machine=machine_object(machine, self._limits) if machine else None,
            nodes=nodes,
            pods=self._pods({node.name for node in nodes}) if machine and _is_going(machine) else (),
            polled_at=self._polled.get(name),
            nodes_changed_at=self._changed.get(name),
            watched_since=self._look(name, now),
        )

    def polled(self, name: str, now: datetime) -> None:
        """Note that the Machine's pool or operation was read."""
        self._polled[name] = now

    def _note_nodes(self, name: str, nodes: frozenset[tuple[str, bool]], now: datetime) -> None:
        if self._nodes_of.get(name, frozenset()) != nodes:
            self._nodes_of[name] = nodes
            self._changed[name] = now

    def forget(self, name: str) -> None:
        self._polled.pop(name, None)
        self._nodes_of.pop(name, None)
        self._changed.pop(name, None)
        self._watched.pop(name, None)

    def _look(self, name: str, now: datetime) -> datetime:
        since, last = self._watched.get(name, (now, now))
        if now - last > UNWATCHED_AFTER:
            since = now
        self._watched[name] = (since, now)
        return since

    def _nodes(self, name: str, uid: str) -> tuple[MachineNode, ...]:
        return tuple(machine_node(node, uid) for node in self._caches[NODES].select({POOL_LABEL: name}))

    def _pods(self, nodes: set[str]) -> tuple[NodePod, ...]:
        found = (node_pod(pod) for pod in self._caches[PODS].objects())
        return tuple(pod for pod in found if pod is not None and pod.node in nodes)


def is_ours(machine: Object) -> bool:
    """The published gate: the label of a Workspace, whatever its value."""
    return NAME_LABEL in (machine["metadata"].get("labels") or {})


def _is_going(machine: Object) -> bool:
    return bool(machine["metadata"].get("deletionTimestamp"))
