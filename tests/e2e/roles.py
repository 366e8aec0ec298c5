"""The simulator's processes where they need to know that the server is a real one."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

from kaito.clock import WallClock
from kaito.runtime.ports import PODS, Conflict, NotFound, Object, Resource
from simulator.azure.pacing import Pacer
from simulator.cluster import Cluster
from simulator.engine import Callback, Engine, EventNotice
from simulator.kubelet import Kubelet
from simulator.process import Handler, Surroundings, is_true
from simulator.profile import Profile
from simulator.randomness import Generators
from simulator.storage import Change
from simulator.workloads import DeploymentController, StatefulSetController, WorkloadController
from tests.e2e.played_api import PlayedApi, Stopped

RETRY_SECONDS = 0.2

_LOGGER = logging.getLogger(__name__)


class LiveSurroundings(Surroundings):
    """What the simulator's processes stand on, with the real server behind it.

    What they write carries the time of the wall; how long things take is counted in virtual time.
    """

    def __init__(
        self, api: PlayedApi, engine: Engine, profile: Profile, generators: Generators, pacer: Pacer
    ) -> None:
        super().__init__(cast(Cluster, api), engine, profile, generators)
        self.troubles: list[str] = []
        """Errors that no process expected."""
        self._played = api
        self._pacer = pacer

    def now(self) -> datetime:
        return WallClock().now()

    def after(self, seconds: float, callback: Callback) -> EventNotice:
        return self.engine.schedule(seconds, lambda: self._guarded(callback))

    def after_real(self, seconds: float, callback: Callback) -> EventNotice:
        """After so many seconds on the wall."""
        return self.after(seconds * self._pacer.speed, callback)

    def follow(self, resource: Resource, handler: Handler) -> None:
        self._handlers.setdefault(resource, []).append(handler)

    def bind(self, pod: str, namespace: str, node: str) -> None:
        with suppress(NotFound, Conflict):
            self._played.bind(pod, namespace, node)

    def tell(self, change: Change) -> None:
        """Let the handlers hear of a change, each as a notice of its own."""
        type_ = "DELETED" if change.new is None else "ADDED" if change.old is None else "MODIFIED"
        obj = change.new or change.old
        for handler in self._handlers.get(change.resource, ()):
            self.after(0, _delivery(handler, type_, obj))

    def _guarded(self, callback: Callback) -> None:
        try:
            callback()
        except Stopped:
            pass
        except Conflict:
            self.after_real(RETRY_SECONDS, callback)
        except Exception as error:
            self.troubles.append(f"{type(error).__name__}: {error}")
            _LOGGER.exception("a player failed")


def _delivery(handler: Handler, type_: str, obj: Any) -> Callback:
    return lambda: handler(type_, obj)


class _ByOwner(WorkloadController):
    """Finds its pods by their owner in the mirror, where hundreds of workloads share a namespace."""

    def _pods(self, workload: Object) -> list[Object]:
        mirror = cast(PlayedApi, self._in.api).mirror
        owned = mirror.dependents(workload["metadata"]["uid"])
        ended = ("Succeeded", "Failed")
        return [
            pod for kind, pod in owned if kind is PODS and (pod.get("status") or {}).get("phase") not in ended
        ]


class Deployments(_ByOwner, DeploymentController):
    pass


class StatefulSets(_ByOwner, StatefulSetController):
    pass


class SteadyKubelet(Kubelet):
    """Does not start again what it finds running: players may come later than their pods."""

    def _on_pod(self, type_: str, pod: Object) -> None:
        if type_ == "ADDED" and is_true(pod, "Ready"):
            self._running.add(pod["metadata"]["uid"])
        super()._on_pod(type_, pod)
