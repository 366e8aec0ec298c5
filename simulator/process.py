"""What every process of the simulated world stands on: the API, the clock, the delays and the watches.

A process reacts to notifications. It re-reads the object, decides from what it finds, acts, and lets the
engine call it again when something takes time. What it keeps between two calls is only what is physically
under way, such as a pull that has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from random import Random
from typing import Any

from kaito.runtime.ports import PODS, Conflict, NotFound, Object, Resource
from simulator.cluster import Cluster
from simulator.engine import Callback, Engine, EventNotice
from simulator.profile import Parameter, Profile, Rate
from simulator.randomness import Generators
from simulator.watching import Watch

Handler = Callable[[str, Object], None]
"""Takes the type of a notification (ADDED, MODIFIED or DELETED) and the object."""

_CHANGES = frozenset(("ADDED", "MODIFIED", "DELETED"))


class Delays:
    """How long things take: the profile's parameters, each drawn from the generator of its own path.

    So fixing one parameter, or a process that draws it more often, shifts no other parameter's draws.
    """

    def __init__(self, profile: Profile, generators: Generators) -> None:
        self.profile = profile
        self._generators = generators
        self._parameters = dict(profile.parameters())

    def seconds(self, path: str) -> float:
        parameter, random = self._draw_from(path)
        return parameter.sample(random)

    def transfer(self, path: str, size_bytes: float) -> float:
        """The seconds for so many bytes at a drawn rate."""
        rate, random = self._draw_from(path)
        assert isinstance(rate, Rate), f"{path} is a duration, not a rate"
        return rate.sample_transfer(size_bytes, random)

    def _draw_from(self, path: str) -> tuple[Parameter, Random]:
        return self._parameters[path], self._generators.generator(path)


class Surroundings:
    """Shared by the processes of one world."""

    def __init__(self, api: Cluster, engine: Engine, profile: Profile, generators: Generators) -> None:
        self.api = api
        self.engine = engine
        self.profile = profile
        self.generators = generators
        self.delays = Delays(profile, generators)
        self._handlers: dict[Resource, list[Handler]] = {}
        self._watches: dict[Resource, Watch] = {}

    def now(self) -> datetime:
        return self.engine.now()

    def after(self, seconds: float, callback: Callback) -> EventNotice:
        return self.engine.schedule(seconds, callback)

    def follow(self, resource: Resource, handler: Handler) -> None:
        """Call the handler for every change of this kind, beginning with what is there.

        Handlers run as a notice of their own, never inside the write that they hear of, in the order in which
        they began to follow. Follow before the engine runs: later handlers miss what was delivered before.
        """
        handlers = self._handlers.setdefault(resource, [])
        handlers.append(handler)
        if len(handlers) == 1:
            self._open(resource)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        try:
            return self.api.get(resource, name, namespace)
        except NotFound:
            return None

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str = "",
        *,
        subresource: str = "",
    ) -> Object | None:
        """Merge the patch into the object; None when it is gone, which is an answer like any other."""
        try:
            return self.api.patch(resource, name, patch, namespace, subresource=subresource)
        except NotFound:
            return None

    def bind(self, pod: str, namespace: str, node: str) -> None:
        """Give the pod to a node."""
        self.patch(PODS, pod, {"spec": {"nodeName": node}}, namespace)

    def delete(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Delete the object, which may be gone already."""
        try:
            self.api.delete(resource, name, namespace)
        except NotFound:
            return

    def finish(self, pod: Object) -> None:
        """Remove a pod that has ended, or of which nothing can end any more; a namesake is not touched."""
        namespace, name = key(pod)
        uid = pod["metadata"]["uid"]
        # A finalizer may still hold the pod, but nothing of it runs any longer.
        with suppress(NotFound, Conflict):
            self.api.delete(PODS, name, namespace, uid=uid, grace_period_seconds=0)

    def _open(self, resource: Resource) -> None:
        # Without a resource version the watch begins with an ADDED for everything that is there.
        watch = self.api.watch(resource, bookmarks=False, on_ready=lambda: self._ring(resource))
        self._watches[resource] = watch

    def _ring(self, resource: Resource) -> None:
        self.engine.schedule(0, lambda: self._deliver(resource))

    def _deliver(self, resource: Resource) -> None:
        watch = self._watches[resource]
        for notification in watch.poll():
            if notification.type in _CHANGES:
                for handler in self._handlers[resource]:
                    handler(notification.type, notification.object)
        if watch.ended:
            self._open(resource)


def timestamp(at: datetime) -> str:
    """As the API spells a time: whole seconds, UTC."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def labels(obj: Object) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def deleting(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, type_: str) -> Object | None:
    """The condition of this type, None while there is none."""
    for each in (obj.get("status") or {}).get("conditions") or ():
        if each["type"] == type_:
            found: Object = each
            return found
    return None


def is_true(obj: Object, type_: str) -> bool:
    found = condition(obj, type_)
    return found is not None and found["status"] == "True"


def key(obj: Object) -> tuple[str, str]:
    """Namespace and name, to re-read the object by."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
