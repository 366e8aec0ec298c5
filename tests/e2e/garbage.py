"""The simulator's garbage collector on a real API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from kaito.runtime.ports import KubeApi, Object, Resource
from simulator.collector import Collector
from simulator.storage import Storage
from tests.e2e.mirror import Mirror
from tests.e2e.played_api import PlayedApi


class LiveCollector(Collector):
    """Asks the server itself before it takes an owner for absent: its watches may be late, one by one."""

    def __init__(self, api: PlayedApi, mirror: Mirror, on_garbage: Callable[[], None] | None) -> None:
        super().__init__(cast(KubeApi, api), cast(Storage, mirror), on_garbage)
        self._server = api
        self._sweeping = False

    def collect(self) -> int:
        self._sweeping = True
        try:
            return super().collect()
        finally:
            self._sweeping = False

    def _find(
        self, resource: Resource, dependent: Object, reference: Object
    ) -> tuple[Resource | None, Object | None]:
        kind, found = super()._find(resource, dependent, reference)
        absent = kind is not None and found is None and self._sweeping
        if kind is not None and absent and self._is_there(kind, dependent, reference):
            # As if it could not be resolved, which counts as present.
            return None, None
        return kind, found

    def _is_there(self, kind: Resource, dependent: Object, reference: Object) -> bool:
        namespace = dependent["metadata"].get("namespace", "") if kind.namespaced else ""
        return self._server.exists(kind, reference["name"], namespace, reference["uid"])
