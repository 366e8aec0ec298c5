"""The operator's informers in virtual time: the shipped reflector over watches of the virtual API server.

What a live driver does with a thread and a socket is a notice in the engine here; the reflector, its
backoff and the object store are the code that ships.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from kaito.runtime.cache import Delta, ObjectStore
from kaito.runtime.ports import ApiError, Object, Resource
from kaito.runtime.reflector import List, Reflector, Wait
from kaito.runtime.reflector import Watch as WatchRequest
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.watching import Watch

Changed = Callable[[Resource, Object | None, Object | None], None]


class Informer:
    """Keeps one kind's `ObjectStore` up to date and tells of every change, and of every answer taken in."""

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        resource: Resource,
        random: Random,
        changed: Changed,
        applied: Callable[[], None],
    ) -> None:
        self.store = ObjectStore(indexed_labels=("kaito.sh/workspace",))
        self._cluster = cluster
        self._engine = engine
        self._resource = resource
        self._reflector = Reflector(random)
        self._applied = applied
        self._watch: Watch | None = None
        self._request: WatchRequest | None = None
        self.store.add_handler(lambda old, new: changed(resource, old, new))

    def start(self) -> None:
        self._engine.schedule(0, self._advance)

    def _advance(self) -> None:
        """Do what the reflector wants next, until it waits for the watch or for a time."""
        while True:
            now = self._engine.monotonic()
            match self._reflector.next_action(now):
                case List() as request:
                    self._list(request, now)
                case WatchRequest() as request:
                    if request != self._request:
                        self._open(request)
                    return
                case Wait(until=until):
                    self._engine.schedule(max(until - now, 0.0), self._advance)
                    return

    def _list(self, request: List, now: float) -> None:
        try:
            page = self._cluster.list(
                self._resource,
                limit=request.limit,
                continue_=request.continue_,
                resource_version=request.resource_version,
            )
        except ApiError as error:
            self._reflector.on_list_error(error, now)
        else:
            self._apply(self._reflector.on_list_page(page, now))

    def _open(self, request: WatchRequest) -> None:
        if self._watch is not None:
            self._watch.close()
        self._request = request
        self._watch = self._cluster.watch(
            self._resource,
            resource_version=request.resource_version,
            bookmarks=request.bookmarks,
            on_ready=self._ring,
        )

    def _ring(self) -> None:
        self._engine.schedule(0, self._deliver)

    def _deliver(self) -> None:
        watch, now = self._watch, self._engine.monotonic()
        if watch is None:
            return
        self._apply(self._reflector.on_notifications(watch.poll(), now))
        if watch.ended and self._watch is watch:
            self._watch = None
            self._reflector.on_watch_ended(now)
        self._advance()

    def _apply(self, deltas: tuple[Delta, ...]) -> None:
        for delta in deltas:
            self.store.apply(delta)
        self._applied()  # an empty list changes nothing, and yet the store is complete now
