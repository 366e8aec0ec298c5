"""The verbs of the Kubernetes API, each one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaito.kube import paths
from kaito.kube.answers import decoded
from kaito.kube.eviction import Evictions
from kaito.kube.transport import JSON, SERVER_SECONDS, Request, Transport
from kaito.kube.watching import HttpWatch
from kaito.runtime.ports import BadRequest, KubeApi, Object, Page, Resource, WatchApi

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
DRY_RUN = "All"


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[Object] | None = None


_OBJECT = msgspec.json.Decoder(Object)
_LIST = msgspec.json.Decoder(_List)


class KubeClient(KubeApi, WatchApi):
    """A real API server; safe to use from many threads. Made by `kaito.kube.connect`.

    A single object without a namespace is looked for in ``default``. A call ends after 5 seconds without a
    connection or 35 without a word from the server, and nothing is repeated.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._evictions = Evictions(lambda path, body: self._send("POST", path, None, body))

    def __repr__(self) -> str:
        return f"KubeClient({self.server!r})"

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._transport.server

    def close(self) -> None:
        """Give the idle connections up; watches are closed by whoever opened them."""
        self._transport.close()

    # Reads

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._send("GET", paths.item(resource, name, namespace))

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> Page:
        """A page; without a namespace of all of them."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": limit,
            "continue": continue_,
            "resourceVersion": resource_version,
        }
        request = _request("GET", paths.collection(resource, namespace), query)
        found = decoded(self._transport.call(request), str(request), _LIST)
        items = [_typed(resource, item) for item in found.items or ()]
        return Page(items, found.metadata.resource_version, found.metadata.continue_)

    def open_watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 300,
        bookmarks: bool = True,
    ) -> HttpWatch:
        """Changes after a resourceVersion, told as they come.

        Raises:
            Gone: The server does not remember that version any more; it may also say so in the stream.
            ApiError: The watch was refused, or the server cannot be reached.
        """
        query = paths.query(
            {
                "watch": "true",
                "labelSelector": label_selector,
                "resourceVersion": resource_version,
                "timeoutSeconds": timeout_seconds,
                "allowWatchBookmarks": "true" if bookmarks else "",
            }
        )
        request = Request("GET", paths.collection(resource, namespace), query)
        return HttpWatch(request, self._transport.open(request), timeout_seconds)

    # Writes

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        """The namespace is the one given, else the body's, else ``default``."""
        home = paths.home(resource, namespace or _metadata(body).get("namespace") or "")
        return self._send("POST", home, {"dryRun": _dry(dry_run)}, _typed(resource, body))

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        metadata = _metadata(body)
        path = paths.item(resource, metadata.get("name") or "", metadata.get("namespace") or "", subresource)
        return self._send("PUT", path, {"dryRun": _dry(dry_run)}, _typed(resource, body))

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        merge = isinstance(patch, Mapping)
        path = paths.item(resource, name, namespace, subresource)
        content_type = MERGE_PATCH if merge else JSON_PATCH
        body = dict(patch) if isinstance(patch, Mapping) else list(patch)
        return self._send("PATCH", path, {"dryRun": _dry(dry_run)}, body, content_type)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        dry_run: bool = False,
    ) -> Object:
        """The object as it stands in deletion; one that went at once is told by its last state or a Status.

        Args:
            propagation: Background, Foreground or Orphan; empty for the default of the kind.

        Raises:
            Conflict: The object has another UID or resourceVersion.
        """
        options = _delete_options(uid, resource_version, propagation, dry_run)
        return self._send("DELETE", paths.item(resource, name, namespace), {}, options)

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        self._evictions.evict(name, namespace, uid)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> Object:
        request = _request(method, path, query or {}, body, content_type)
        return decoded(self._transport.call(request), str(request), _OBJECT)


def _request(
    method: str, path: str, query: Mapping[str, object], body: object = None, content_type: str = JSON
) -> Request:
    deadline = {"timeout": f"{SERVER_SECONDS}s"}
    encoded = b"" if body is None else msgspec.json.encode(body)
    return Request(method, path, paths.query({**query, **deadline}), encoded, content_type)


def _typed(resource: Resource, obj: Object) -> Object:
    """With apiVersion and kind, which the server leaves out of the items of a list."""
    if "kind" in obj and "apiVersion" in obj:
        return obj
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _metadata(body: Object) -> Mapping[str, Any]:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        raise BadRequest("metadata: expected an object")
    return metadata


def _dry(run: bool) -> str:
    return DRY_RUN if run else ""


def _delete_options(uid: str, resource_version: str, propagation: str, dry_run: bool) -> Object:
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    given = {
        "preconditions": {key: value for key, value in preconditions.items() if value},
        "propagationPolicy": propagation,
        # In the query it would be ignored beside these options.
        "dryRun": [DRY_RUN] if dry_run else [],
    }
    return {"apiVersion": "v1", "kind": "DeleteOptions"} | {
        key: value for key, value in given.items() if value
    }
