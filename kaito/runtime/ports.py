"""The ports of the runtime: the clock and the Kubernetes API.

An object is a plain JSON dict, as the API server sends it. Whoever gets one from a port must not change it;
whoever passes one to a port hands it over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import msgspec

Object: TypeAlias = dict[str, Any]


class Resource(msgspec.Struct, frozen=True):
    """A kind of object as a client addresses it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


WORKSPACES = Resource("kaito.sh", "v1alpha1", "workspaces", "Workspace")
MACHINES = Resource("karpenter.sh", "v1alpha5", "machines", "Machine", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
PODDISRUPTIONBUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")


class Clock(Protocol):
    def now(self) -> datetime:
        """The time of day, aware and UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never backwards."""
        ...


class Page(msgspec.Struct, frozen=True):
    """One page of a list: ``continue_`` is empty on the last one."""

    items: list[Object]
    resource_version: str
    continue_: str = ""


class WatchNotification(msgspec.Struct, frozen=True):
    """``type`` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; for ERROR, ``object`` is a Status."""

    type: str
    object: Object


class KubeApi(Protocol):
    """The verbs of the Kubernetes API that the runtime uses. Every verb may raise `ApiError`."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object: ...

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
    ) -> Page: ...

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object: ...

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """PUT; the body's resourceVersion, where present, is a precondition."""
        ...

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
        """A mapping is a merge patch (RFC 7386), a sequence a JSON patch (RFC 6902)."""
        ...

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
    ) -> Object: ...

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        """Delete a pod gracefully, unless a disruption budget forbids it.

        Success means that the deletion has begun, or had begun before; the pod goes when its kubelet is done.

        Raises:
            Throttled: A budget allows no disruption now, or is still being computed; ``causes`` name it.
            NotFound: There is no such pod.
            Conflict: The pod has another UID.
            ApiError: More than one budget covers the pod (500); a repeat is answered in the same way.
        """
        ...


class WatchStream(Protocol):
    """One open watch of a live driver."""

    def read(self, timeout_seconds: float) -> list[WatchNotification] | None:
        """What came, waiting at most so long for it; None once the server has ended the stream.

        Raises:
            ApiError: The connection is broken; the stream is over.
        """
        ...

    def close(self) -> None:
        """Give the connection up, from any thread; a read under way ends."""
        ...


class WatchApi(Protocol):
    """The watch of the Kubernetes API, for drivers that wait for it in a thread."""

    def open_watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 300,
        bookmarks: bool = True,
    ) -> WatchStream: ...


class ApiError(Exception):
    """An answer of the API server that is not success.

    ApiError
    ├── NotFound, AlreadyExists     answers, not failures
    ├── Conflict                    read again, decide again
    ├── Gone                        list again (410, also as a watch notification)
    ├── Invalid, Forbidden, BadRequest   a repeat is answered in the same way
    └── Throttled, Unavailable      repeat later; the effect of Unavailable is unknown

    ``causes`` are the messages of the Status's ``details.causes``: what the message itself does not say.
    """

    code = 500
    reason = "InternalError"

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, causes: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.causes = tuple(causes)


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Gone(ApiError):
    code, reason = 410, "Expired"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Throttled(ApiError):
    code, reason = 429, "TooManyRequests"


class Unavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"
