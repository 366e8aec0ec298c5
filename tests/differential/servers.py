"""The two servers behind one face: what a program may ask for, beyond the port of the operator too."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kaito.kube import paths
from kaito.kube.client import KubeClient
from kaito.kube.transport import Request, Transport
from kaito.runtime.ports import NODES, KubeApi, Object, Resource, WatchNotification
from simulator import watching
from simulator.cluster import Cluster
from tests.simulator.virtual import SetClock

CONTENT_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
WAIT_SECONDS = 20.0
"""For a notification that must come; it does so within milliseconds."""


class Stream(Protocol):
    """An open watch of either server."""

    def take(self) -> list[WatchNotification] | None:
        """What came since; None at the end of the stream. It may wait until something comes."""
        ...

    def close(self) -> None: ...


class Server(Protocol):
    api: KubeApi

    def patch_as(
        self, content_type: str, resource: Resource, name: str, patch: Any, namespace: str, **options: Any
    ) -> Object:
        """A patch of any content type."""
        ...

    def watch(self, resource: Resource, namespace: str, labels: str, version: str) -> Stream: ...

    def settle(self, resource: Resource, namespace: str) -> None:
        """Wait until reads that may be stale are not."""
        ...


class VirtualServer(Server):
    """A cluster of its own for each program; its history begins with it."""

    def __init__(self) -> None:
        self.api: Cluster = Cluster(SetClock(), 7)
        # The real server has lived before each program and has forgotten its first versions.
        self.api.create(NODES, {"metadata": {"name": "older"}})
        self.api.delete(NODES, "older")
        self.api.compact()

    def patch_as(
        self, content_type: str, resource: Resource, name: str, patch: Any, namespace: str, **options: Any
    ) -> Object:
        return self.api.patch(resource, name, patch, namespace, content_type=content_type, **options)

    def watch(self, resource: Resource, namespace: str, labels: str, version: str) -> Stream:
        watch = self.api.watch(
            resource, namespace, label_selector=labels, resource_version=version, bookmarks=False
        )
        return _VirtualStream(watch)

    def settle(self, resource: Resource, namespace: str) -> None:
        """It reads what it has written."""


class _VirtualStream(Stream):
    def __init__(self, watch: watching.Watch) -> None:
        self._watch = watch

    def take(self) -> list[WatchNotification] | None:
        return self._watch.poll() or None

    def close(self) -> None:
        self._watch.close()


class RealServer(Server):
    """The shipped client; what its port cannot say goes over the same connections."""

    def __init__(self, transport: Transport) -> None:
        self.api: KubeClient = KubeClient(transport)
        self._transport = transport

    def patch_as(
        self, content_type: str, resource: Resource, name: str, patch: Any, namespace: str, **options: Any
    ) -> Object:
        path = paths.item(resource, name, namespace, options.get("subresource", ""))
        query = paths.query({"dryRun": "All" if options.get("dry_run") else "", "fieldManager": "test"})
        request = Request("PATCH", path, query, msgspec.json.encode(patch), content_type)
        answer: Object = msgspec.json.decode(self._transport.call(request))
        return answer

    def watch(self, resource: Resource, namespace: str, labels: str, version: str) -> Stream:
        return _RealStream(self.api, resource, namespace, labels, version)

    def settle(self, resource: Resource, namespace: str) -> None:
        """Ask the watch cache until it shows what etcd holds; it is a few milliseconds behind at most."""
        stored = self.api.list(resource, namespace).items
        for _ in range(1000):
            cached = self.api.list(resource, namespace, resource_version="0").items
            # The cache keeps no order.
            if sorted(cached, key=_name) == stored:
                return
        raise AssertionError(f"the watch cache of {resource.plural} does not catch up")

    def add_namespace(self, name: str) -> None:
        namespaces = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.api.create(namespaces, body)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


class _RealStream(Stream):
    def __init__(
        self, api: KubeClient, resource: Resource, namespace: str, labels: str, version: str
    ) -> None:
        self._watch = api.open_watch(
            resource, namespace, label_selector=labels, resource_version=version, bookmarks=False
        )

    def take(self) -> list[WatchNotification] | None:
        found = self._watch.read(WAIT_SECONDS)
        assert found != [], "a notification that must come did not"
        return found

    def close(self) -> None:
        self._watch.close()
