"""Everything off the API server that a test has left, whatever finalizers hold it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kaito.kube.client import KubeClient
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    NotFound,
    Object,
    Resource,
)
from tests.e2e.played_api import PlayersClient
from tests.e2e.waiting import until

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")

KINDS = (
    WORKSPACES,
    MACHINES,
    DEPLOYMENTS,
    STATEFULSETS,
    REVISIONS,
    SERVICES,
    PODS,
    NODES,
    LEASES,
    EVENTS,
)
WORKERS = 8

KEPT = {("Service", "kubernetes")}
"""The API server's own."""


def clear(api: KubeClient, kinds: Sequence[Resource] = KINDS, seconds: float = 60.0) -> None:
    """Delete all objects of these kinds in all namespaces, and wait until they are gone."""
    client = PlayersClient(api._transport)

    every = [client.budgets(), *kinds]

    def nothing_left() -> bool:
        left = [(kind, obj) for kind in every for obj in _objects(client, kind)]
        list(pool.map(lambda each: _remove(client, *each), left))
        return not left

    with ThreadPoolExecutor(WORKERS, "clearing") as pool:
        until(nothing_left, seconds, "an empty cluster")


def _objects(client: KubeClient, kind: Resource) -> list[Object]:
    found = client.list(kind).items
    return [obj for obj in found if (kind.kind, obj["metadata"]["name"]) not in KEPT]


def _remove(client: PlayersClient, kind: Resource, obj: Object) -> None:
    metadata = obj["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    try:
        if metadata.get("finalizers"):
            client.patch(kind, name, {"metadata": {"finalizers": None}}, namespace)
        client.remove(kind, name, namespace, metadata["uid"], "Background", 0)
    except NotFound:
        pass
