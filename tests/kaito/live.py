"""A cluster and a cloud for tests of the live driver: the virtual API server behind a lock, in real time.

Nothing here sleeps: a read of a watch waits on a condition, and a test waits with `until`, whose deadline is
generous because only a failing test reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Condition, Event, Lock, RLock, Thread
from typing import Any

from kaito.clock import WallClock
from kaito.manager.manager import Manager
from kaito.runtime.machines.keys import POOL_LABEL
from kaito.runtime.pools import Operation, OperationState, Pool, PoolNotFound, PoolSpec, PoolState
from kaito.runtime.ports import MACHINES, NODES, NotFound, Object, Resource, WatchNotification
from simulator.cluster import Cluster

DEADLINE_SECONDS = 30.0
STEP_SECONDS = 0.005
WRITES = ("create", "update", "patch", "delete", "evict")


def until(reached: Callable[[], Any], what: str = "") -> None:
    """Wait until the predicate holds."""
    tick, clock = Event(), WallClock()
    deadline = clock.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert clock.monotonic() < deadline, f"never came about: {what or reached}"
        tick.wait(STEP_SECONDS)


class LiveCluster:
    """The virtual API server for threads: every verb of `Cluster`, and `open_watch`.

    Attributes:
        writes: Verb and name of every write that was asked for.
        failing: What the next calls of a verb raise, in order; a watch counts as ``open_watch``.
        watched: The resourceVersion of every watch opened, by kind.
    """

    server = "https://live.example"

    def __init__(self) -> None:
        self.changed = Condition(RLock())
        self.cluster = Cluster(WallClock().now, "live")
        self.writes: list[tuple[str, str]] = []
        self.failing: dict[str, list[Exception]] = {}
        self.watched: dict[Resource, list[str]] = {}
        self.closed = False

    def __getattr__(self, verb: str) -> Any:
        return partial(self._call, verb)

    def close(self) -> None:
        """As a client of a real cluster is closed."""
        self.closed = True

    def _call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        with self.changed:
            if self.failing.get(verb):
                raise self.failing[verb].pop(0)
            if verb in WRITES:
                named = arguments[0] if verb == "evict" else arguments[1]
                self.writes.append((verb, named if isinstance(named, str) else named["metadata"]["name"]))
            return getattr(self.cluster, verb)(*arguments, **options)

    def open_watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 300,
        bookmarks: bool = True,
    ) -> LiveStream:
        with self.changed:
            if self.failing.get("open_watch"):
                raise self.failing["open_watch"].pop(0)
            self.watched.setdefault(resource, []).append(resource_version)
            return LiveStream(self, resource, resource_version, label_selector)

    def cut(self, resource: Resource, **error: Any) -> None:
        """End the open watches of a kind."""
        with self.changed:
            for watch in self.cluster.watches(resource):
                watch.cut(**error)
            self.changed.notify_all()

    def stall(self, resource: Resource) -> None:
        with self.changed:
            for watch in self.cluster.watches(resource):
                watch.stall()

    def open_watches(self, resource: Resource | None = None) -> int:
        with self.changed:
            return len(self.cluster.watches(resource))

    def find(self, resource: Resource, name: str) -> Object | None:
        with self.changed:
            try:
                return self.cluster.get(resource, name)
            except NotFound:
                return None

    def condition(self, name: str, kind: str = "Ready") -> str:
        """The status of a Machine's condition; empty without one."""
        status = (self.find(MACHINES, name) or {}).get("status") or {}
        return next((each["status"] for each in status.get("conditions", ()) if each["type"] == kind), "")


class LiveStream:
    """A watch of the virtual API server, read by a thread."""

    def __init__(
        self, live: LiveCluster, resource: Resource, resource_version: str, label_selector: str = ""
    ) -> None:
        self._changed = live.changed
        self._watch = live.cluster.watch(
            resource,
            label_selector=label_selector,
            resource_version=resource_version,
            on_ready=self._ring,
        )

    def read(self, timeout_seconds: float) -> list[WatchNotification] | None:
        with self._changed:
            self._changed.wait_for(self._has_something, timeout_seconds)
            taken = self._watch.poll()
            return None if not taken and self._watch.ended else taken

    def close(self) -> None:
        with self._changed:
            self._watch.close()
            self._changed.notify_all()

    def _has_something(self) -> bool:
        return self._watch.ended or (self._watch.pending > 0 and not self._watch.stalled)

    def _ring(self) -> None:
        with self._changed:
            self._changed.notify_all()


class ScriptedPools:
    """A cloud in which everything happens at once: pools are ready when asked for, and their nodes too.

    Attributes:
        calls: Verb and name of every call that changes something.
        gate: Cleared, a `begin_create` waits for it.
        waiting: Set as soon as one waits.
    """

    def __init__(self, cluster: LiveCluster) -> None:
        self._cluster = cluster
        self._lock = Lock()
        self._pools: dict[str, Pool] = {}
        self.calls: list[tuple[str, str]] = []
        self.closed = False
        self.gate, self.waiting = Event(), Event()
        self.gate.set()

    def begin_create(self, spec: PoolSpec) -> Operation:
        self.waiting.set()
        assert self.gate.wait(DEADLINE_SECONDS)
        with self._lock:
            self.calls.append(("create", spec.name))
            self.add(spec.name, spec.tags, spec.labels)
        self._cluster.create(NODES, a_node(spec.name, spec.labels))
        return Operation(url=f"/operations/{spec.name}")

    def close(self) -> None:
        self.closed = True

    def add(self, name: str, tags: Any = (), labels: Any = ()) -> None:
        """A pool that is there."""
        self._pools[name] = Pool(
            name=name, state=PoolState.SUCCEEDED, tags=dict(tags), labels=dict(labels), vm_size="size"
        )

    def get(self, name: str) -> Pool:
        if name not in self._pools:
            raise PoolNotFound(name)
        return self._pools[name]

    def list(self) -> list[Pool]:
        return [self._pools[name] for name in sorted(self._pools)]

    def begin_delete(self, name: str) -> Operation:
        with self._lock:
            self.calls.append(("delete", name))
            if self._pools.pop(name, None) is None:
                raise PoolNotFound(name)
        self._cluster.delete(NODES, node_of(name))
        return Operation(url=f"/operations/{name}")

    def operation(self, url: str) -> Operation:
        return Operation(url=url, state=OperationState.SUCCEEDED)


class Running:
    """A manager that runs in a thread of its own.

    Attributes:
        code: What `Manager.run` returned; None while it runs.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.code: int | None = None
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.manager.run()

    def stop(self) -> int | None:
        self.manager.stop()
        return self.ended()

    def ended(self) -> int | None:
        """Wait for the end; the exit code."""
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()
        return self.code


def node_of(pool: str) -> str:
    return f"aks-{pool}-vmss000000"


def a_node(pool: str, labels: Any) -> Object:
    offered = {"cpu": "12", "nvidia.com/gpu": "2"}
    return {
        "metadata": {"name": node_of(pool), "labels": {**labels, POOL_LABEL: pool}},
        "spec": {"providerID": f"azure:///{pool}/0"},
        "status": {
            "capacity": offered,
            "allocatable": offered,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def a_machine(name: str = "ws000000001") -> Object:
    size = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["Standard_NC12s_v3"]}
    labels = {
        "kaito.sh/workspace": "w",
        "kaito.sh/workspacenamespace": "default",
        "karpenter.sh/provisioner-name": "default",
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": {"requirements": [size]}}
