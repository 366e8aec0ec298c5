"""One controller process in virtual time: informers, a workqueue, and one worker that takes no time.

The reconcilers it runs are those that ship; a live driver wraps the same ones in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from kaito.runtime.cache import ObjectStore, priority_of_change
from kaito.runtime.ports import Object, Resource
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import WorkQueue
from simulator.cluster import Cluster
from simulator.engine import Engine, EventNotice
from simulator.informers import Informer
from simulator.randomness import Generators

K = TypeVar("K")

Caches = Mapping[Resource, ObjectStore]
KeysOf = Callable[[Resource, Object | None, Object | None, Caches], Sequence[K]]


class Controller(Generic[K]):
    """One process.

    Args:
        name: Of the process; its generators bear it.
        resources: The kinds it keeps caches of.
        keys_of: From a change to the keys it concerns.
        reconcile: Called with one key at a time, never before every cache has synced.

    Attributes:
        reconciles: How many reconciles ran.
        errors: The texts of those that did not succeed, in order.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        engine: Engine,
        generators: Generators,
        resources: Sequence[Resource],
        keys_of: KeysOf[K],
    ) -> None:
        self.reconciles = 0
        self.errors: list[str] = []
        self.reconcile: Callable[[K], Reconciled]
        self._engine = engine
        self._keys_of = keys_of
        self._queue: WorkQueue[K] = WorkQueue()
        self._wake: EventNotice | None = None
        self._informers = {
            resource: Informer(
                cluster,
                engine,
                resource,
                generators.generator(f"{name}/{resource.plural}"),
                self._on_change,
                self._arm,
            )
            for resource in resources
        }
        self.caches: Caches = {resource: informer.store for resource, informer in self._informers.items()}

    def start(self) -> None:
        for informer in self._informers.values():
            informer.start()

    def add(self, key: K) -> None:
        """Ask for a reconcile of this key."""
        self._queue.add(key, self._engine.monotonic())
        self._arm()

    def _on_change(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        priority = priority_of_change(old, new, self._engine.now())
        for key in self._keys_of(resource, old, new, self.caches):
            self._queue.add(key, self._engine.monotonic(), priority=priority)

    def _arm(self) -> None:
        """See to it that the worker runs when the next key is due, and not before every cache has synced."""
        if not all(store.synced for store in self.caches.values()):
            return
        now = self._engine.monotonic()
        due = now if self._queue.depth else self._queue.next_wake(now)
        if self._wake is not None:
            self._engine.cancel(self._wake)
            self._wake = None
        if due is not None:
            self._wake = self._engine.schedule(max(due - now, 0.0), self._work)

    def _work(self) -> None:
        key = self._queue.get(self._engine.monotonic())
        if key is not None:
            self._finish(key, self.reconcile(key))
        self._arm()

    def _finish(self, key: K, done: Reconciled) -> None:
        self.reconciles += 1
        if done.error:
            self.errors.append(f"{key}: {done.error}")
        now = self._engine.monotonic()
        self._queue.finish(key, now, done.outcome, after_seconds=done.after_seconds)
