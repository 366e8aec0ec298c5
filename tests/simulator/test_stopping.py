"""How a kubelet ends a pod that is deleted, and who ends it when there is no kubelet."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kaito.runtime.ports import (
    DEPLOYMENTS,
    NODES,
    PODDISRUPTIONBUDGETS,
    PODS,
    STATEFULSETS,
    Object,
    Throttled,
)
from simulator.disruption import DisruptionController
from simulator.kubelet import Kubelet
from simulator.nodes import PodGarbageCollector
from simulator.scheduler import Scheduler
from simulator.workloads import DeploymentController, StatefulSetController
from tests.simulator.budgets import Bench, a_budget
from tests.simulator.virtual import a_pod
from tests.simulator.worlds import a_gpu_node, a_template, a_workload

STARTED_AT = 200
"""Seconds by which a pod without a known image has been pulled and runs."""


@pytest.fixture
def bench() -> Bench:
    return a_bench()


def a_bench(**values: float) -> Bench:
    bench = Bench(Kubelet, PodGarbageCollector, **values)
    bench.cluster.create(NODES, {"metadata": {"name": "node-a"}, "spec": {}})
    return bench


def running(bench: Bench, grace: int | None = None, **metadata: object) -> Object:
    """A pod that has become ready."""
    body = a_pod(node="node-a", **metadata)
    body["spec"]["terminationGracePeriodSeconds"] = grace
    bench.cluster.create(PODS, body)
    bench.pass_seconds(STARTED_AT)
    return the_pod(bench)


def the_pod(bench: Bench) -> Object:
    return bench.cluster.get(PODS, "pod-0")


def condition(pod: Object, type_: str) -> tuple[str, str]:
    (found,) = [each for each in pod["status"]["conditions"] if each["type"] == type_]
    return found["status"], found["lastTransitionTime"]


def seconds_to_the_end(bench: Bench) -> float:
    begun = bench.engine.monotonic()
    bench.engine.run(stop=lambda: bench.cluster.list(PODS).items == [])
    assert bench.cluster.list(PODS).items == []
    bench.settle()
    return bench.engine.monotonic() - begun


def test_running_pod_takes_its_time(bench: Bench) -> None:
    running(bench)

    bench.cluster.delete(PODS, "pod-0")

    assert seconds_to_the_end(bench) == pytest.approx(30)
    assert bench.engine.peek() is None


def test_evicted_pod_ends_alike(bench: Bench) -> None:
    running(bench)

    bench.cluster.evict("pod-0", "default")

    assert seconds_to_the_end(bench) == pytest.approx(30)


@pytest.mark.parametrize(
    ("profile_seconds", "grace", "seconds"),
    [(12.5, None, 12.5), (12.5, 60, 12.5), (12.5, 5, 5), (45, None, 30), (45, 40, 40), (0, None, 0)],
)
def test_end_comes_by_itself_or_by_force(profile_seconds: float, grace: int | None, seconds: float) -> None:
    bench = a_bench(deletion__termination_grace=profile_seconds)
    running(bench, grace)

    bench.cluster.delete(PODS, "pod-0")

    assert seconds_to_the_end(bench) == pytest.approx(seconds)


def test_stopping_pod_is_not_ready(bench: Bench) -> None:
    before = running(bench)
    bench.cluster.delete(PODS, "pod-0")

    bench.settle()

    after = the_pod(bench)
    (container,) = after["status"]["containerStatuses"]
    assert condition(before, "Ready")[0] == condition(before, "ContainersReady")[0] == "True"
    assert (
        condition(after, "Ready") == condition(after, "ContainersReady") == ("False", "2024-04-05T18:33:18Z")
    )
    assert condition(after, "Initialized") == condition(before, "Initialized")
    assert (after["status"]["phase"], container["ready"]) == ("Running", False)
    assert container["state"] == before["status"]["containerStatuses"][0]["state"]


def test_pod_that_never_started_ends_at_once(bench: Bench) -> None:
    bench.cluster.create(PODS, a_pod(node="node-a"))
    bench.pass_seconds(10)
    bench.cluster.delete(PODS, "pod-0")

    assert seconds_to_the_end(bench) == 0


def test_stopping_pod_does_not_become_ready(bench: Bench) -> None:
    """The model would have been loaded during the grace."""
    body = a_pod(node="node-a")
    body["spec"]["containers"][0]["readinessProbe"] = {"initialDelaySeconds": STARTED_AT}
    bench.cluster.create(PODS, body)
    bench.pass_seconds(STARTED_AT + 150)
    assert condition(the_pod(bench), "Ready")[0] == "False"

    bench.cluster.delete(PODS, "pod-0")
    bench.pass_seconds(29.9)

    assert condition(the_pod(bench), "Ready")[0] == "False"


@pytest.mark.parametrize(("after", "grace", "left"), [(10, 15, 5), (10, 5, 0), (10, 25, 15), (10, 1, 0)])
def test_shorter_grace_hurries_the_end(bench: Bench, after: float, grace: int, left: float) -> None:
    running(bench)
    bench.cluster.delete(PODS, "pod-0")
    bench.pass_seconds(after)

    bench.cluster.delete(PODS, "pod-0", grace_period_seconds=grace)

    assert seconds_to_the_end(bench) == pytest.approx(left)
    assert bench.engine.peek() is None


def test_second_delete_does_not_prolong_the_end(bench: Bench) -> None:
    running(bench)
    bench.cluster.delete(PODS, "pod-0")
    bench.pass_seconds(10)

    bench.cluster.delete(PODS, "pod-0", grace_period_seconds=60)

    assert seconds_to_the_end(bench) == pytest.approx(20)


def test_finalizer_outlasts_the_containers(bench: Bench) -> None:
    running(bench, finalizers=["a/b"])
    bench.cluster.delete(PODS, "pod-0")

    bench.engine.run()
    held = the_pod(bench)["metadata"]
    bench.cluster.patch(PODS, "pod-0", {"metadata": {"finalizers": []}})

    assert held["deletionGracePeriodSeconds"] == 0
    assert bench.cluster.list(PODS).items == []


def test_forced_pod_leaves_nothing_behind(bench: Bench) -> None:
    running(bench)
    bench.cluster.delete(PODS, "pod-0")
    bench.pass_seconds(10)
    bench.cluster.delete(PODS, "pod-0", grace_period_seconds=0)
    bench.cluster.create(PODS, a_pod())

    bench.pass_seconds(60)

    assert "deletionTimestamp" not in the_pod(bench)["metadata"]
    assert bench.engine.peek() is None


# --- without a kubelet


def test_lost_node_ends_stopping_pods(bench: Bench) -> None:
    running(bench)
    bench.cluster.delete(PODS, "pod-0")
    bench.pass_seconds(10)

    bench.cluster.delete(NODES, "node-a")

    assert seconds_to_the_end(bench) == 0
    assert bench.engine.peek() is None


def test_lost_node_ends_running_pods(bench: Bench) -> None:
    running(bench)

    bench.cluster.delete(NODES, "node-a")

    assert seconds_to_the_end(bench) == 0


def test_pod_on_no_node_ends_when_deleted(bench: Bench) -> None:
    bench.cluster.create(PODS, a_pod(node="node-never"))
    bench.settle()

    bench.cluster.delete(PODS, "pod-0")

    assert seconds_to_the_end(bench) == 0


# --- with the controllers of the pods


def a_full_bench(**values: float) -> Bench:
    bench = Bench(
        PodGarbageCollector,
        DeploymentController,
        StatefulSetController,
        DisruptionController,
        Scheduler,
        Kubelet,
        **values,
    )
    for name in ("node-a", "node-b"):
        bench.cluster.create(NODES, a_gpu_node(name))
    return bench


def the_names(bench: Bench) -> list[str]:
    return [pod["metadata"]["name"] for pod in bench.cluster.list(PODS).items]


def test_deployment_replaces_before_the_end() -> None:
    bench = a_full_bench()
    bench.cluster.create(DEPLOYMENTS, a_workload())
    bench.pass_seconds(1000)
    (leaving,) = the_names(bench)

    bench.cluster.evict(leaving, "default")
    bench.settle()
    both = the_names(bench)
    bench.pass_seconds(30)

    assert leaving in both
    assert len(both) == 2
    assert set(the_names(bench)) == set(both) - {leaving}


def test_ordinal_waits_for_the_end_of_its_namesake() -> None:
    bench = a_full_bench()
    bench.cluster.create(STATEFULSETS, a_workload())
    bench.pass_seconds(1000)
    before = bench.cluster.get(PODS, "w-0")["metadata"]["uid"]

    bench.cluster.evict("w-0", "default")
    bench.pass_seconds(29.9)
    waiting = bench.cluster.get(PODS, "w-0")["metadata"]["uid"]
    bench.pass_seconds(0.1)

    assert waiting == before
    assert bench.cluster.get(PODS, "w-0")["metadata"]["uid"] != before


def test_stopping_pod_holds_its_gpus() -> None:
    bench = a_full_bench()
    bench.cluster.delete(NODES, "node-b")
    bench.cluster.create(DEPLOYMENTS, a_workload(template=a_template(gpus=2)))
    bench.pass_seconds(1000)
    (leaving,) = the_names(bench)

    bench.cluster.evict(leaving, "default")
    bench.pass_seconds(29.9)
    early = [pod["spec"].get("nodeName") for pod in bench.cluster.list(PODS).items]
    bench.pass_seconds(0.2)

    assert sorted(early, key=str) == [None, "node-a"]
    assert [pod["spec"].get("nodeName") for pod in bench.cluster.list(PODS).items] == ["node-a"]


@hypothesis_settings(max_examples=20)
@given(
    attempts=st.lists(
        st.tuples(st.sampled_from([0, 1, 30, 31, 700, 1500]), st.integers(0, 3)), min_size=1, max_size=30
    ),
    most=st.integers(0, 2),
)
def test_drain_in_a_living_cluster_keeps_the_budget(attempts: list[tuple[int, int]], most: int) -> None:
    """Whoever evicts whichever pod at whatever time, no more pods than allowed are missing."""
    bench = a_full_bench()
    bench.cluster.create(DEPLOYMENTS, a_workload(replicas=3))
    selector = {"matchLabels": {"kaito.sh/workspace": "w"}}
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(selector=selector, maxUnavailable=most))
    bench.pass_seconds(1000)
    missing: list[int] = []

    def evict(which: int) -> None:
        pods = the_names(bench)
        try:
            bench.cluster.evict(pods[which % len(pods)], "default")
        except Throttled:
            return

    for seconds, which in attempts:
        bench.engine.schedule(seconds, partial(evict, which))
    bench.engine.run(
        until=bench.engine.now() + timedelta(seconds=4000),
        stop=lambda: bool(missing.append(3 - healthy(bench))),
    )

    assert max(missing, default=0) <= most
    assert healthy(bench) == 3


def healthy(bench: Bench) -> int:
    return sum(
        "deletionTimestamp" not in pod["metadata"]
        and (
            "True"
            in [each["status"] for each in pod["status"].get("conditions", ()) if each["type"] == "Ready"]
        )
        for pod in bench.cluster.list(PODS).items
    )
