"""Informers as threads: each follows what its reflector says, with a socket for the watch and a clock.

A thread does one call at a time and feeds back what came of it. It ends only when it is told to: an error of
the server is the reflector's to judge, and a defect of our own is logged and treated like one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from threading import Event, Lock, RLock, Thread
from types import MappingProxyType
from typing import Protocol

from kaito.manager.caches import SharedStore
from kaito.manager.logs import fields
from kaito.runtime.cache import Delta, ObjectStore, Replaced
from kaito.runtime.ports import ApiError, Clock, KubeApi, Object, Resource, WatchApi, WatchStream
from kaito.runtime.reflector import List, Reflector, Wait, Watch

_LOGGER = logging.getLogger(__name__)

DEFECT_PAUSE_SECONDS = 1.0
"""After an exception that is a defect, so that one which repeats does not take a processor."""

ChangeHandler = Callable[[Resource, Object | None, Object | None], None]


class LiveApi(KubeApi, WatchApi, Protocol):
    """The whole Kubernetes API as the live driver needs it."""


class Informer:
    """Keeps one store up to date.

    Args:
        synced: Called once, when the store is complete for the first time.
        label_selector: Which objects to keep; all, where it is empty.
    """

    def __init__(
        self,
        api: LiveApi,
        resource: Resource,
        store: ObjectStore,
        reflector: Reflector,
        clock: Clock,
        synced: Callable[[], None],
        label_selector: str = "",
    ) -> None:
        self.resource = resource
        self.store = store
        self.reflector = reflector
        self._api = api
        self._clock = clock
        self._synced = synced
        self._label_selector = label_selector
        self._stopping = Event()
        self._guard = Lock()
        self._stream: WatchStream | None = None
        self._told = ""
        self._thread = Thread(target=self._run, name=f"informer-{resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what it waits for ends at once, except a list that is under way."""
        with self._guard:
            self._stopping.set()
            stream = self._stream
        if stream is not None:
            stream.close()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """Whether the thread has ended though nobody asked it to."""
        ended = self._thread.ident is not None and not self._thread.is_alive()
        return ended and not self._stopping.is_set()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._advance()
            except Exception as error:
                _LOGGER.exception("informer failed", extra=fields(resource=self.resource.plural))
                self._feed_error(error)
                self._stopping.wait(DEFECT_PAUSE_SECONDS)
            self._tell_trouble()

    def _advance(self) -> None:
        now = self._clock.monotonic()
        match self.reflector.next_action(now):
            case List() as request:
                self._list(request)
            case Watch() as request:
                self._watch(request)
            case Wait(until=until):
                self._stopping.wait(max(until - now, 0.0))

    def _list(self, request: List) -> None:
        try:
            page = self._api.list(
                self.resource,
                label_selector=self._label_selector,
                limit=request.limit,
                continue_=request.continue_,
                resource_version=request.resource_version,
            )
        except (ApiError, OSError) as error:
            self.reflector.on_list_error(error, self._clock.monotonic())
        else:
            self._apply(self.reflector.on_list_page(page, self._clock.monotonic()))

    def _watch(self, request: Watch) -> None:
        """Read the stream for as long as the reflector wants this very watch."""
        stream = self._open(request)
        if stream is None:
            return
        try:
            while not self._stopping.is_set() and self._is_wanted(request):
                self._read(stream)
        finally:
            with self._guard:
                self._stream = None
            stream.close()

    def _is_wanted(self, request: Watch) -> bool:
        return self.reflector.next_action(self._clock.monotonic()) == request

    def _open(self, request: Watch) -> WatchStream | None:
        try:
            stream = self._api.open_watch(
                self.resource,
                label_selector=self._label_selector,
                resource_version=request.resource_version,
                timeout_seconds=request.timeout_seconds,
                bookmarks=request.bookmarks,
            )
        except (ApiError, OSError) as error:
            self.reflector.on_watch_ended(self._clock.monotonic(), error)
            return None
        with self._guard:
            self._stream = stream
        return stream

    def _read(self, stream: WatchStream) -> None:
        """Wait for what the stream brings, at most until the reflector's read deadline."""
        now = self._clock.monotonic()
        deadline = self.reflector.next_wake()
        try:
            notifications = stream.read(max((deadline or now) - now, 0.0))
        except (ApiError, OSError) as error:
            self.reflector.on_watch_ended(self._clock.monotonic(), error)
            return
        now = self._clock.monotonic()
        if notifications is None:
            self.reflector.on_watch_ended(now)
            return
        self._apply(self.reflector.on_notifications(notifications, now))
        self.reflector.on_tick(now)

    def _apply(self, deltas: Iterable[Delta]) -> None:
        before = self.store.synced
        for delta in deltas:
            if isinstance(delta, Replaced) and delta.rewound:
                self._tell_rewind(delta)
            self.store.apply(delta)
        if self.store.synced and not before:
            self._synced()

    def _feed_error(self, error: Exception) -> None:
        """Whichever of the two is under way takes it, and the other one ignores it."""
        now = self._clock.monotonic()
        self.reflector.on_list_error(error, now)
        self.reflector.on_watch_ended(now, error)

    def _tell_rewind(self, delta: Replaced) -> None:
        """Whoever set the cluster back will want to know that it was noticed."""
        extra = fields(
            resource=self.resource.plural, known=self.store.resource_version, found=delta.resource_version
        )
        _LOGGER.warning("resourceVersions went backwards: the cluster was set back to a backup", extra=extra)

    def _tell_trouble(self) -> None:
        """One line for each new trouble, none for its repeats."""
        trouble = self.reflector.last_error
        if trouble and trouble != self._told and not self._stopping.is_set():
            until = self.reflector.next_wake()
            wait = round(until - self._clock.monotonic(), 3) if until is not None else None
            extra = fields(resource=self.resource.plural, error=trouble, retry_seconds=wait)
            _LOGGER.warning("list or watch interrupted", extra=extra)
        self._told = trouble


class Informers:
    """The informers of one process.

    Args:
        identity: Of the process; the jitter of its retries is drawn from generators that bear it.
        indexed_labels: Labels by which reconciles select; of a kind in ``selected_by_any``, all.
        selectors: Of the kinds of which not all objects are kept.
    """

    def __init__(
        self,
        api: LiveApi,
        resources: Sequence[Resource],
        clock: Clock,
        identity: str,
        indexed_labels: Iterable[str] = (),
        selectors: Mapping[Resource, str] = MappingProxyType({}),
        selected_by_any: Collection[Resource] = (),
    ) -> None:
        lock, labels = RLock(), tuple(indexed_labels)
        self._progressed: Callable[[], None] = lambda: None
        self._informers = [
            Informer(
                api,
                resource,
                SharedStore(lock, None if resource in selected_by_any else labels),
                Reflector(Random(f"{identity}/{resource.plural}")),
                clock,
                self._on_synced,
                selectors.get(resource, ""),
            )
            for resource in resources
        ]
        self.caches: Mapping[Resource, ObjectStore] = {
            informer.resource: informer.store for informer in self._informers
        }

    def add_handler(self, handler: ChangeHandler) -> None:
        """Call the handler with every change, in the informer's thread; it must not wait.

        What it raises is a defect: it is logged, and the next object is shown to it.
        """
        for resource, store in self.caches.items():
            store.add_handler(_guarded(resource, handler))

    def start(self, progressed: Callable[[], None]) -> None:
        """Start every thread; ``progressed`` is called whenever one more store has synced."""
        self._progressed = progressed
        for informer in self._informers:
            informer.start()

    @property
    def synced(self) -> bool:
        return all(store.synced for store in self.caches.values())

    def unsynced(self) -> list[str]:
        """The kinds that are not complete yet, each with why."""
        late = [informer for informer in self._informers if not informer.store.synced]
        return [f"{each.resource.plural}: {each.reflector.last_error or 'no answer'}" for each in late]

    def dead(self) -> list[str]:
        """The kinds whose thread has ended though nobody asked it to."""
        return [informer.resource.plural for informer in self._informers if informer.dead]

    def stop(self) -> None:
        for informer in self._informers:
            informer.stop()

    def join(self, timeout_seconds: float, clock: Clock) -> bool:
        """Wait for all threads together; whether all have ended."""
        deadline = clock.monotonic() + timeout_seconds
        ended = [each.join(max(deadline - clock.monotonic(), 0.0)) for each in self._informers]
        return all(ended)

    def _on_synced(self) -> None:
        self._progressed()


def _guarded(resource: Resource, handler: ChangeHandler) -> Callable[[Object | None, Object | None], None]:
    def guarded(old: Object | None, new: Object | None) -> None:
        try:
            handler(resource, old, new)
        except Exception:
            name = ((new or old or {}).get("metadata") or {}).get("name")
            _LOGGER.exception("change could not be mapped", extra=fields(resource=resource.plural, name=name))

    return guarded
