"""The real API server as the players use it: reads from their mirror, writes that outlast its absence.

Their code was written for a server that always answers. So a write that was not answered is repeated until
it is; meanwhile the players stand still, as a cluster without an API server does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, TypeVar

from kaito.kube import paths
from kaito.kube.client import KubeClient
from kaito.runtime.ports import (
    PODDISRUPTIONBUDGETS,
    PODS,
    ApiError,
    NotFound,
    Object,
    Page,
    Resource,
    Throttled,
)
from simulator.storage import key_of
from tests.e2e.mirror import Mirror

OLD_BUDGETS = Resource("policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget")

PAUSE_SECONDS = 0.1

_T = TypeVar("_T")
_ON_NODE = "spec.nodeName="


class Stopped(Exception):
    """The players were told to stop while a write was waiting for the server."""


class PlayersClient(KubeClient):
    """With the verbs that only kubelets and schedulers need."""

    def budgets(self) -> Resource:
        """Disruption budgets as this server knows them: before 1.21 in a version of their own."""
        served = self._send("GET", "/apis/policy")["versions"]
        newest = any(each["version"] == "v1" for each in served)
        return PODDISRUPTIONBUDGETS if newest else OLD_BUDGETS

    def bind(self, pod: str, namespace: str, node: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self._send("POST", paths.item(PODS, pod, namespace, "binding"), {}, body)

    def remove(
        self, resource: Resource, name: str, namespace: str, uid: str, propagation: str, grace: int | None
    ) -> Object:
        """Delete, with a grace period."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **({"preconditions": {"uid": uid}} if uid else {}),
            **({"propagationPolicy": propagation} if propagation else {}),
            **({} if grace is None else {"gracePeriodSeconds": grace}),
        }
        return self._send("DELETE", paths.item(resource, name, namespace), {}, options)


class PlayedApi:
    """What `Surroundings` and the garbage collector call.

    Args:
        addresses: Under which group and version a kind is served, where it is not its own.
    """

    def __init__(
        self,
        client: PlayersClient,
        mirror: Mirror,
        stopping: Event,
        addresses: Mapping[Resource, Resource],
    ) -> None:
        self.mirror = mirror
        self.writes = 0
        self._client = client
        self._stopping = stopping
        self._addresses = addresses

    # Reads

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        found = self.mirror.get(resource, key_of(namespace, name))
        if found is None:
            raise NotFound(f'{resource.plural} "{name}" not found')
        return found

    def list(self, resource: Resource, namespace: str = "", *, field_selector: str = "") -> Page:
        if field_selector.startswith(_ON_NODE):
            return Page(self.mirror.pods_on(field_selector.removeprefix(_ON_NODE)), "")
        assert not field_selector, f"no player selects by {field_selector}"
        return Page(self.mirror.objects(resource, namespace), "")

    def exists(self, resource: Resource, name: str, namespace: str, uid: str) -> bool:
        """Whether the server itself has it, now."""
        try:
            found = self._patient(lambda: self._client.get(self._at(resource), name, namespace))
        except NotFound:
            return False
        return bool(found["metadata"]["uid"] == uid)

    # Writes

    def create(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        return self._put(resource, lambda: self._client.create(self._at(resource), body, namespace))

    def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        at = self._at(resource)
        return self._put(resource, lambda: self._client.update(at, body, subresource=subresource))

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str = "",
        *,
        subresource: str = "",
    ) -> Object:
        at = self._at(resource)
        return self._put(
            resource, lambda: self._client.patch(at, name, patch, namespace, subresource=subresource)
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        propagation: str = "",
        grace_period_seconds: int | None = None,
    ) -> Object:
        """The answer may be the last state of what is gone already, so the mirror waits for the watch."""
        at, grace = self._at(resource), grace_period_seconds
        return self._patient(lambda: self._client.remove(at, name, namespace, uid, propagation, grace))

    def bind(self, pod: str, namespace: str, node: str) -> None:
        self._patient(lambda: self._client.bind(pod, namespace, node))

    def _at(self, resource: Resource) -> Resource:
        return self._addresses.get(resource, resource)

    def _put(self, resource: Resource, write: Callable[[], Object]) -> Object:
        written = self._patient(write)
        self.mirror.put(resource, written)
        return written

    def _patient(self, call: Callable[[], _T]) -> _T:
        while not self._stopping.is_set():
            try:
                self.writes += 1
                return call()
            except ApiError as error:
                # An etcd that is killed shows as an internal error of the server in front of it.
                if error.code < ApiError.code and not isinstance(error, Throttled):
                    raise
                self._stopping.wait(PAUSE_SECONDS)
        raise Stopped
