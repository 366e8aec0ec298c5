"""Builders for tests of disruption: budgets, pods that serve, and readings of a budget's status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from kaito.runtime.ports import PODDISRUPTIONBUDGETS, PODS, Object
from simulator import profile
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.process import Surroundings
from simulator.randomness import Generators
from tests.simulator.virtual import START, a_cluster, a_pod, owner_reference

WEB = {"app": "web"}


def a_budget(name: str = "web", *, selector: Object | None = None, **spec: Any) -> Object:
    chosen = {"matchLabels": WEB} if selector is None else selector
    return {"metadata": {"name": name}, "spec": {"selector": chosen, **spec}}


def a_serving_pod(
    cluster: Cluster, name: str, *, owner: Object | None = None, ready: bool = True, **metadata: Any
) -> Object:
    """A pod that runs on a node and is ready, labelled as those of ``web``."""
    owners = [] if owner is None else [owner_reference(owner, controller=True)]
    cluster.create(PODS, a_pod(name, "node-a", **{"labels": WEB, "ownerReferences": owners, **metadata}))
    return set_ready(cluster, name, ready)


def set_ready(cluster: Cluster, name: str, ready: bool) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "conditions": conditions}
    return cluster.patch(PODS, name, {"status": status}, subresource="status")


def grant(cluster: Cluster, name: str = "web", **status: Any) -> Object:
    """Write a budget's status as the controller would: it has seen the budget, and allows what is said."""
    computed = {"observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}
    patch = {"status": {**computed, "disruptionsAllowed": 1, **status}}
    return cluster.patch(PODDISRUPTIONBUDGETS, name, patch, subresource="status")


def status_of(cluster: Cluster, name: str = "web") -> Object:
    status: Object = cluster.get(PODDISRUPTIONBUDGETS, name).get("status", {})
    return status


class Bench:
    """A cluster with the processes under test and nothing else alive.

    Args:
        processes: Each is started with the surroundings.
        values: Parameters of the reference run's profile to set.
    """

    def __init__(self, *processes: Callable[[Surroundings], object], **values: float) -> None:
        self.engine = Engine(START)
        self.cluster = a_cluster(self.engine.now)
        settings = {name.replace("__", "."): value for name, value in values.items()}
        chosen = profile.load("reference-run").with_values(settings)
        surroundings = Surroundings(self.cluster, self.engine, chosen, Generators(1))
        for process in processes:
            process(surroundings)

    def settle(self) -> None:
        """Let everything happen that is due in this instant."""
        self.engine.run(until=self.engine.now())

    def pass_seconds(self, seconds: float) -> None:
        self.engine.run(until=self.engine.now() + timedelta(seconds=seconds))
