"""The kubelet: a bound pod's image is pulled, its container starts, loads its model and passes its probe.

A pod that is deleted is stopped: it is not ready from that moment on, and when its containers have ended, at
the latest when its grace is over, the kubelet removes it from the API.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kaito.runtime.ports import NODES, PODS, Object
from simulator.engine import EventNotice
from simulator.process import Surroundings, condition, deleting, is_true, key, timestamp
from simulator.profile import Image


@dataclass(slots=True)
class Stop:
    """A pod that is ending: since when, in seconds of virtual time, and how many seconds that takes."""

    begun: float
    seconds: float
    end: EventNotice | None = None


class Kubelet:
    """Runs the pods of all nodes. The timers of a pod that is being deleted find that and stop."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        self._running: set[str] = set()
        """UIDs of pods that have been taken up."""
        self._stopping: dict[str, Stop] = {}
        """By UID of the pod."""
        surroundings.follow(PODS, self._on_pod)

    def _on_pod(self, type_: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if type_ == "DELETED":
            self._forget(uid)
        elif not pod["spec"].get("nodeName"):
            return
        elif deleting(pod):
            self._stop(pod)
        elif uid not in self._running:
            self._running.add(uid)
            self._pull(pod)

    def _forget(self, uid: str) -> None:
        self._running.discard(uid)
        stop = self._stopping.pop(uid, None)
        if stop is not None and stop.end is not None:
            self._in.engine.cancel(stop.end)

    def _pull(self, pod: Object) -> None:
        """Images that the node has are not pulled again; the others come one after another."""
        namespace, name = key(pod)
        standing = self._in.get(PODS, name, namespace)
        node = self._in.get(NODES, pod["spec"]["nodeName"])
        if standing is None or node is None:
            return
        missing = [image for image in _images(pod) if image not in _images_on(node)]
        self._write(standing, phase="Pending", state=_waiting, started=False, ready=False)
        sizes = [self._in.profile.image(image).image_bytes for image in missing]
        pulled = sum(self._in.delays.transfer("workload.pull_rate", size) for size in sizes)
        self._then(pulled + self._in.delays.seconds("workload.container_start"), pod, self._start)

    def _start(self, pod: Object) -> None:
        """The containers run. The model loads until the server answers its probe."""
        self._remember_images(pod)
        at = timestamp(self._in.now())
        unprobed = not _probe(pod)
        self._write(pod, phase="Running", state=_running_since(at), started=True, ready=unprobed)
        if not unprobed:
            self._then(self._seconds_to_ready(pod), pod, self._become_ready)

    def _become_ready(self, pod: Object) -> None:
        since = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        self._write(pod, phase="Running", state=_running_since(since), started=True, ready=True)

    def _stop(self, pod: Object) -> None:
        """Tell the containers to end, or that they have less grace left than they were told before."""
        uid, now = pod["metadata"]["uid"], self._in.engine.monotonic()
        stop = self._stopping.get(uid)
        if stop is None:
            stop = self._stopping[uid] = Stop(now, self._seconds_to_stop(pod))
            self._become_unready(pod)
        seconds = min(stop.seconds, pod["metadata"]["deletionGracePeriodSeconds"])
        if stop.end is None or seconds < stop.seconds:
            if stop.end is not None:
                self._in.engine.cancel(stop.end)
            stop.seconds = seconds
            stop.end = self._in.after(max(stop.begun + seconds - now, 0.0), lambda: self._in.finish(pod))

    def _seconds_to_stop(self, pod: Object) -> float:
        """The time its containers take by themselves; what never started has nothing to end."""
        running = (pod.get("status") or {}).get("phase") == "Running"
        return self._in.delays.seconds("deletion.termination_grace") if running else 0.0

    def _become_unready(self, pod: Object) -> None:
        namespace, name = key(pod)
        standing = self._in.get(PODS, name, namespace)
        if standing is None or not is_true(standing, "Ready"):
            return
        at = timestamp(self._in.now())
        conditions = [
            _condition(standing, each["type"], False, at)
            if each["type"] in ("Ready", "ContainersReady")
            else each
            for each in standing["status"]["conditions"]
        ]
        statuses = [{**each, "ready": False} for each in standing["status"].get("containerStatuses") or ()]
        told = {"conditions": conditions, "containerStatuses": statuses}
        self._in.patch(PODS, name, {"status": told}, namespace, subresource="status")

    def _seconds_to_ready(self, pod: Object) -> float:
        """Start to the first probe that succeeds: the server is up and the initial delay is over."""
        serving = max(self._serving(self._in.profile.image(image)) for image in _images(pod))
        probed = max(serving, float(_probe(pod).get("initialDelaySeconds", 0)))
        return probed + self._in.delays.seconds("workload.probe_slack")

    def _serving(self, image: Image) -> float:
        """Container start to a server that answers."""
        delays = self._in.delays
        rate = (
            "workload.weights_disk_rate" if image.weights_from == "disk" else "workload.weights_download_rate"
        )
        seconds = delays.seconds("workload.framework_start") + delays.transfer(rate, image.weights_bytes)
        return seconds + (delays.seconds("workload.engine_init") if image.engine == "vllm" else 0.0)

    def _then(self, seconds: float, pod: Object, step: Callable[[Object], None]) -> None:
        """The next step, for the pod as it is then, if it is still there and bound to a node that is."""
        namespace, name = key(pod)
        uid = pod["metadata"]["uid"]

        def resume() -> None:
            standing = self._in.get(PODS, name, namespace)
            if standing is None or standing["metadata"]["uid"] != uid or deleting(standing):
                return
            if self._in.get(NODES, standing["spec"]["nodeName"]) is not None:
                step(standing)

        self._in.after(seconds, resume)

    def _remember_images(self, pod: Object) -> None:
        name = pod["spec"]["nodeName"]
        node = self._in.get(NODES, name)
        if node is None:
            return
        known = _images_on(node)
        new = [image for image in _images(pod) if image not in known]
        if new:
            images = [{"names": [image]} for image in [*known, *new]]
            self._in.patch(NODES, name, {"status": {"images": images}}, subresource="status")

    def _write(
        self, pod: Object, *, phase: str, state: Callable[[str], Object], started: bool, ready: bool
    ) -> None:
        statuses = [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": container.get("image", "") if started else "",
                "state": state(container.get("image", "")),
                "started": started,
                "ready": ready,
                "restartCount": 0,
            }
            for container in pod["spec"]["containers"]
        ]
        truth = {"Initialized": True, "Ready": ready, "ContainersReady": ready, "PodScheduled": True}
        at = timestamp(self._in.now())
        status = {
            "phase": phase,
            "conditions": [_condition(pod, type_, value, at) for type_, value in truth.items()],
            "containerStatuses": statuses,
        }
        namespace, name = key(pod)
        self._in.patch(PODS, name, {"status": status}, namespace, subresource="status")


def _condition(pod: Object, type_: str, value: bool, at: str) -> Object:
    """The pod's condition with this value; its time moves with the status only."""
    status = "True" if value else "False"
    before = condition(pod, type_)
    unchanged = before is not None and before["status"] == status
    told = {"type": type_, "status": status}
    if not value:
        told |= {"reason": "ContainersNotReady", "message": "containers with unready status"}
    return {**told, "lastTransitionTime": before["lastTransitionTime"] if before and unchanged else at}


def _waiting(image: str) -> Object:
    return {"waiting": {"reason": "ContainerCreating", "message": f'Pulling image "{image}"'}}


def _running_since(at: str) -> Callable[[str], Object]:
    return lambda image: {"running": {"startedAt": at}}


def _images(pod: Object) -> list[str]:
    """The images of the containers, each once, in their order."""
    return list(dict.fromkeys(container.get("image", "") for container in pod["spec"]["containers"]))


def _images_on(node: Object) -> list[str]:
    return [name for image in (node.get("status") or {}).get("images") or () for name in image["names"]]


def _probe(pod: Object) -> dict[str, Any]:
    """The first readiness probe, empty when there is none and a running container counts as ready."""
    for container in pod["spec"]["containers"]:
        if container.get("readinessProbe"):
            probe: dict[str, Any] = container["readinessProbe"]
            return probe
    return {}
