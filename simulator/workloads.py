"""The controllers of Deployments and StatefulSets: pods as the spec wants them, and the status of both.

A pod belongs to its workload by a controller owner reference, without a ReplicaSet in between; when the
workload is gone, the garbage collector of the API server takes its pods.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from kaito.runtime.ports import DEPLOYMENTS, PODS, STATEFULSETS, Object, Resource
from simulator.process import Surroundings, deleting, is_true, key, labels

TEMPLATE_HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"

_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names are made of upstream: no vowels, no digits that look like letters."""
_SURGE = 0.25
"""Default share of replicas that a rolling update adds, rounded up, and takes away, rounded down."""


class WorkloadController(ABC):
    """What both controllers share: hear of workloads and their pods, and bring one into step at a time."""

    resource: Resource

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        surroundings.follow(self.resource, lambda type_, workload: self._sync(*key(workload)))
        surroundings.follow(PODS, self._on_pod)

    def _on_pod(self, type_: str, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and owner["kind"] == self.resource.kind:
                self._sync(key(pod)[0], owner["name"])

    def _sync(self, namespace: str, name: str) -> None:
        workload = self._in.get(self.resource, name, namespace)
        if workload is None:
            return
        if not deleting(workload):
            self._replace_pods(workload, self._active_pods(workload))
        self._count(workload, self._active_pods(workload))

    @abstractmethod
    def _replace_pods(self, workload: Object, pods: list[Object]) -> None:
        """Create and delete pods until they are what the spec wants, as far as that is possible now."""

    def _active_pods(self, workload: Object) -> list[Object]:
        """The pods that count, by name: not on their way out and not ended."""
        return [pod for pod in self._pods(workload) if not deleting(pod)]

    def _pods(self, workload: Object) -> list[Object]:
        """The pods that have not ended, by name; those on their way out among them."""
        namespace, _ = key(workload)
        uid = workload["metadata"]["uid"]
        return [
            pod
            for pod in self._in.api.list(PODS, namespace).items
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]

    def _count(self, workload: Object, pods: list[Object]) -> None:
        ready = sum(is_true(pod, "Ready") for pod in pods)
        current = template_hash(workload)
        status: dict[str, Any] = {
            "observedGeneration": workload["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": sum(_hash_of(pod) == current for pod in pods),
        }
        if self.resource is DEPLOYMENTS:
            status["unavailableReplicas"] = max(replicas(workload) - ready, 0)
        before = workload.get("status") or {}
        # A real server leaves out what is 0.
        if any(before.get(name, 0) != value for name, value in status.items()):
            namespace, name = key(workload)
            self._in.patch(self.resource, name, {"status": status}, namespace, subresource="status")

    def _create(self, workload: Object, metadata: Object, extra_labels: dict[str, str]) -> None:
        template = workload["spec"]["template"]
        namespace, name = key(workload)
        owner = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "name": name,
            "uid": workload["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        template_metadata = template.get("metadata") or {}
        pod_labels = {**(template_metadata.get("labels") or {}), **extra_labels}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "annotations": template_metadata.get("annotations") or {},
                **metadata,
                "labels": pod_labels,
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        self._in.api.create(PODS, body, namespace)

    def _delete(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            namespace, name = key(pod)
            self._in.delete(PODS, name, namespace)


class DeploymentController(WorkloadController):
    """Keeps the number of pods; a changed template is rolled out as the strategy says."""

    resource = DEPLOYMENTS

    def _replace_pods(self, workload: Object, pods: list[Object]) -> None:
        wanted, current = replicas(workload), template_hash(workload)
        new = [pod for pod in pods if _hash_of(pod) == current]
        old = [pod for pod in pods if _hash_of(pod) != current]
        room, spare = self._rolling(workload, new, old)
        self._delete(sorted(old, key=_least_missed)[:spare])
        self._delete(sorted(new, key=_least_missed)[: max(len(new) - wanted, 0)])
        _, name = key(workload)
        for _ in range(min(wanted - len(new), room)):
            self._create(workload, {"generateName": f"{name}-{current}-"}, {TEMPLATE_HASH: current})

    def _rolling(self, workload: Object, new: list[Object], old: list[Object]) -> tuple[int, int]:
        """How many new pods may be made now, and how many old ones may go.

        A rolling update adds at most maxSurge and keeps all but maxUnavailable ready; old pods that are not
        ready may always go, and pods on their way out count for nothing. Recreate waits until no old pod is
        left.
        """
        wanted = replicas(workload)
        strategy = workload["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            current = template_hash(workload)
            there = any(_hash_of(pod) != current for pod in self._pods(workload))
            return (0 if there else wanted), len(old)
        bounds = strategy.get("rollingUpdate") or {}
        surge = _share(bounds.get("maxSurge"), wanted, math.ceil)
        unavailable = _share(bounds.get("maxUnavailable"), wanted, math.floor)
        if surge == unavailable == 0:
            unavailable = 1
        ready = sum(is_true(pod, "Ready") for pod in [*new, *old])
        unready_old = sum(not is_true(pod, "Ready") for pod in old)
        spare = unready_old + max(ready - (wanted - unavailable), 0)
        return wanted + surge - len(new) - len(old), min(spare, len(old))


class StatefulSetController(WorkloadController):
    """Keeps one pod for each ordinal, under a name of its own."""

    resource = STATEFULSETS

    def _replace_pods(self, workload: Object, pods: list[Object]) -> None:
        _, name = key(workload)
        wanted = {f"{name}-{ordinal}": ordinal for ordinal in range(replicas(workload))}
        self._delete(pod for pod in pods if key(pod)[1] not in wanted)
        standing = {key(pod)[1]: pod for pod in pods if key(pod)[1] in wanted}
        self._create_missing(workload, wanted, standing)
        if len(standing) == len(wanted):
            self._roll_out(workload, standing, list(wanted))

    def _create_missing(self, workload: Object, wanted: dict[str, int], standing: dict[str, Object]) -> None:
        """All at once under Parallel; otherwise each waits for those before it to be ready."""
        ordered = workload["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        namespace, _ = key(workload)
        for name, ordinal in wanted.items():
            pod = standing.get(name)
            # A pod of this name on its way out holds the name until it is gone.
            if pod is None and self._in.get(PODS, name, namespace) is None:
                marks = {REVISION_HASH: template_hash(workload), POD_NAME: name, POD_INDEX: str(ordinal)}
                self._create(workload, {"name": name}, marks)
            if ordered and (pod is None or not is_true(pod, "Ready")):
                return

    def _roll_out(self, workload: Object, standing: dict[str, Object], names: list[str]) -> None:
        """Replace pods of an old template from the last on, one at a time, the others being ready."""
        if (workload["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            return
        current = template_hash(workload)
        for name in reversed(names):
            if _hash_of(standing[name]) != current:
                self._delete([standing[name]])
                return
            if not is_true(standing[name], "Ready"):
                return


def replicas(workload: Object) -> int:
    wanted = workload["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def template_hash(workload: Object) -> str:
    """Ten letters that stand for the pod template, equal for equal templates."""
    canonical = json.dumps(workload["spec"]["template"], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).digest()
    return "".join(_HASH_LETTERS[byte % len(_HASH_LETTERS)] for byte in digest[:10])


def _hash_of(pod: Object) -> str:
    marks = labels(pod)
    return marks.get(TEMPLATE_HASH) or marks.get(REVISION_HASH, "")


def _least_missed(pod: Object) -> tuple[bool, bool, str, str]:
    """Which pod to take first: one without a node, then one that is not ready, then the oldest name."""
    metadata = pod["metadata"]
    return (
        bool(pod["spec"].get("nodeName")),
        is_true(pod, "Ready"),
        metadata["creationTimestamp"],
        metadata["name"],
    )


def _share(bound: Any, wanted: int, rounded: Any) -> int:
    """A bound as a number of pods: absolute, a percentage, or the default share."""
    if bound is None:
        return int(rounded(wanted * _SURGE))
    if isinstance(bound, str) and bound.endswith("%"):
        return int(rounded(wanted * int(bound[:-1]) / 100))
    return int(bound)
