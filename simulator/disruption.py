"""The disruption controller: keeps the status of every PodDisruptionBudget true to the pods it covers.

It is level-based: whatever changes in a namespace, all its budgets are computed anew from what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kaito.runtime.ports import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS, STATEFULSETS, Object
from simulator import budgets
from simulator.process import Surroundings, key
from simulator.workloads import replicas

SCALED = {resource.kind: resource for resource in (DEPLOYMENTS, STATEFULSETS)}
"""The controllers of pods that say how many they want."""


class UnknownScale(Exception):
    """A pod's controller is gone, or of a kind that has no replicas."""


class DisruptionController:
    """Computes the budgets of a namespace once all changes of an instant are told."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        self._stale: set[str] = set()
        """Namespaces whose budgets are to be computed anew."""
        self._rechecks: dict[str, datetime] = {}
        """By UID of a budget: when an evicted pod that is still there counts again."""
        for resource in (PODDISRUPTIONBUDGETS, PODS, DEPLOYMENTS, STATEFULSETS):
            surroundings.follow(resource, lambda type_, changed: self._sync_soon(key(changed)[0]))

    def _sync_soon(self, namespace: str) -> None:
        if namespace not in self._stale and self._budgets(namespace):
            if not self._stale:
                self._in.after(0, self._sync_stale)
            self._stale.add(namespace)

    def _sync_stale(self) -> None:
        stale, self._stale = sorted(self._stale), set()
        for namespace in stale:
            for budget in self._budgets(namespace):
                self._sync(budget)

    def _budgets(self, namespace: str) -> list[Object]:
        return self._in.api.list(PODDISRUPTIONBUDGETS, namespace).items

    def _sync(self, budget: Object) -> None:
        now = self._in.now()
        pods = [pod for pod in self._in.api.list(PODS, key(budget)[0]).items if budgets.covers(budget, pod)]
        try:
            scale = self._scale(pods) if budgets.uses_scale(budget) else 0
        except UnknownScale as unknown:
            status = budgets.failed(budget, str(unknown), now)
        else:
            status = budgets.computed(budget, pods, scale, now)
        self._in.api.update(PODDISRUPTIONBUDGETS, {**budget, "status": status}, subresource="status")
        self._recheck(budget, status, now)

    def _scale(self, pods: Sequence[Object]) -> int:
        """The replicas that the pods' controllers want; pods without a controller are not expected.

        Raises:
            UnknownScale: A pod has a controller that does not say.
        """
        wanted: dict[str, int] = {}
        for pod in pods:
            owners = pod["metadata"].get("ownerReferences") or ()
            for owner in (each for each in owners if each.get("controller")):
                wanted[owner["uid"]] = self._replicas(pod, owner)
        return sum(wanted.values())

    def _replicas(self, pod: Object, owner: Object) -> int:
        namespace, name = key(pod)
        resource = SCALED.get(owner["kind"])
        workload = self._in.get(resource, owner["name"], namespace) if resource else None
        if workload is None or workload["metadata"]["uid"] != owner["uid"]:
            raise UnknownScale(f'found no controllers for pod "{name}"')
        return replicas(workload)

    def _recheck(self, budget: Object, status: Object, now: datetime) -> None:
        """Compute the budget again when an evicted pod that is not going would count again."""
        uid, when = budget["metadata"]["uid"], budgets.recheck_at(status)
        if when is None:
            self._rechecks.pop(uid, None)
        elif self._rechecks.get(uid) != when:
            self._rechecks[uid] = when
            namespace, _ = key(budget)
            self._in.after((when - now).total_seconds(), lambda: self._sync_soon(namespace))
