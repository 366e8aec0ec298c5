"""The operator in virtual time: the reconciler that ships, with one worker that takes no time.

The other driver of the same code is the live one; neither knows the other.
"""

from __future__ import annotations

from kaito.catalogue import Catalogue
from kaito.runtime.cache import priority_of_change
from kaito.runtime.executor import Executor
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.mapping import keys_of
from kaito.runtime.observer import CACHED, Observer
from kaito.runtime.ports import Object, Resource
from kaito.runtime.reconciler import Reconciled, Reconciler
from kaito.runtime.repository import Repository
from kaito.runtime.settings import Settings
from kaito.runtime.workqueue import WorkQueue
from simulator.cluster import Cluster
from simulator.engine import Engine, EventNotice
from simulator.informers import Informer
from simulator.randomness import Generators
from store.records import EventLog


class Operator:
    """One operator process.

    Attributes:
        reconciles: How many reconciles ran.
        errors: The texts of those that did not succeed, in order.
    """

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        log: EventLog,
        catalogue: Catalogue,
        settings: Settings,
        generators: Generators,
    ) -> None:
        self.reconciles = 0
        self.errors: list[str] = []
        self._engine = engine
        self._queue: WorkQueue[WorkspaceKey] = WorkQueue()
        self._wake: EventNotice | None = None
        self._informers = {
            resource: Informer(
                cluster,
                engine,
                resource,
                generators.generator(f"informer/{resource.plural}"),
                self._on_change,
            )
            for resource in CACHED
        }
        self._caches = {resource: informer.store for resource, informer in self._informers.items()}
        self._reconciler = Reconciler(
            Observer(self._caches, catalogue, settings),
            Repository(log),
            Executor(cluster, catalogue, settings, engine),
            engine,
        )

    def start(self) -> None:
        for informer in self._informers.values():
            informer.start()

    def _on_change(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        priority = priority_of_change(old, new, self._engine.now())
        for key in keys_of(resource, old, new, self._caches):
            self._queue.add(key, self._engine.monotonic(), priority=priority)
        self._arm()

    def _arm(self) -> None:
        """See to it that the worker runs when the next key is due, and not before every cache has synced."""
        if not all(store.synced for store in self._caches.values()):
            return
        now = self._engine.monotonic()
        due = self._queue.next_wake(now)
        if self._queue.depth:
            due = now
        if self._wake is not None:
            self._engine.cancel(self._wake)
            self._wake = None
        if due is not None:
            self._wake = self._engine.schedule(max(due - now, 0.0), self._work)

    def _work(self) -> None:
        key = self._queue.get(self._engine.monotonic())
        if key is not None:
            self._finish(key, self._reconciler.reconcile(key))
        self._arm()

    def _finish(self, key: WorkspaceKey, done: Reconciled) -> None:
        self.reconciles += 1
        if done.error:
            self.errors.append(f"{key}: {done.error}")
        now = self._engine.monotonic()
        self._queue.finish(key, now, done.outcome, after_seconds=done.after_seconds)
