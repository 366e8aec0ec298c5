"""Kubelets that do nothing but live: every node renews its Lease and says again that it is as it was."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from kaito.clock import WallClock
from kaito.kube import connect, paths
from kaito.runtime.ports import NODES, ApiError, NotFound, Resource
from tests.e2e.played_api import PlayersClient
from tests.e2e.routines import Routine

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
LEASE_NAMESPACE = "kube-node-lease"
MERGE_BY_KEY = "application/strategic-merge-patch+json"


class Heartbeats(Routine):
    """Enter it to let the nodes' hearts beat.

    Args:
        nodes: Names the nodes, at every beat anew.
        every_seconds: Between two beats of a node.
        workers: Threads, each with a connection.
    """

    def __init__(
        self,
        kubeconfig: Path,
        nodes: Callable[[], list[str]],
        *,
        every_seconds: float = 10.0,
        workers: int = 4,
    ) -> None:
        super().__init__("heartbeats", self._round, every_seconds)
        client = connect(kubeconfig, user_agent="kubelets", workers=workers)
        self._client = PlayersClient(client._transport)
        self._nodes = nodes
        self._last = WallClock().now()
        self._pool = ThreadPoolExecutor(workers, "kubelet")
        self.beats = 0
        """Rounds through all nodes so far."""

    def stopped(self) -> None:
        self._pool.shutdown()
        self._client.close()

    def _round(self) -> None:
        at = self._next()
        # A list, so that one round has ended before the next begins.
        list(self._pool.map(partial(self._beat, at), self._nodes()))
        self.beats += 1

    def _next(self) -> datetime:
        """Never the same second twice, which would change nothing and be told to nobody."""
        self._last = max(WallClock().now(), self._last + timedelta(seconds=1))
        return self._last

    def _beat(self, at: datetime, name: str) -> None:
        # A server that is away misses a beat.
        with suppress(ApiError):
            condition = {"type": "Ready", "lastHeartbeatTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
            patch = {"status": {"conditions": [condition]}}
            self._client._send("PATCH", paths.item(NODES, name, "", "status"), {}, patch, MERGE_BY_KEY)
            self._renew(name, at)

    def _renew(self, name: str, at: datetime) -> None:
        spec = {"holderIdentity": name, "renewTime": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"}
        try:
            self._client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
        except NotFound:
            self._client.create(LEASES, {"metadata": {"name": name}, "spec": spec}, LEASE_NAMESPACE)
