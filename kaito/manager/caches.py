"""An object store that informers fill and workers read at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import RLock

from kaito.runtime.cache import Change, Delta, Handler, ObjectStore
from kaito.runtime.ports import Object


class SharedStore(ObjectStore):
    """An `ObjectStore` behind a lock.

    All stores of a process share one lock, and one that may be entered again: a handler of one store reads
    the others, and with a lock for each two informers could wait for each other.
    """

    def __init__(self, lock: RLock, indexed_labels: Iterable[str] | None = ()) -> None:
        super().__init__(indexed_labels)
        self._lock = lock

    def __len__(self) -> int:
        with self._lock:
            return super().__len__()

    def get(self, name: str, namespace: str = "") -> Object | None:
        with self._lock:
            return super().get(name, namespace)

    def objects(self, namespace: str | None = None) -> list[Object]:
        with self._lock:
            return super().objects(namespace)

    def select(self, labels: Mapping[str, str], namespace: str | None = None) -> list[Object]:
        with self._lock:
            return super().select(labels, namespace)

    def add_handler(self, handler: Handler) -> None:
        with self._lock:
            super().add_handler(handler)

    def resync(self) -> None:
        with self._lock:
            super().resync()

    def apply(self, delta: Delta) -> tuple[Change, ...]:
        with self._lock:
            return super().apply(delta)

    def learn(self, written: Object) -> None:
        with self._lock:
            super().learn(written)
