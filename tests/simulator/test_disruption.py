"""The disruption controller: what a budget's status says of the pods, and that evictions keep to it."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kaito.runtime.ports import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    STATEFULSETS,
    AlreadyExists,
    ApiError,
    Forbidden,
    NotFound,
    Object,
    Resource,
    Throttled,
)
from simulator.disruption import DisruptionController
from tests.simulator.budgets import WEB, Bench, a_budget, a_serving_pod, set_ready, status_of
from tests.simulator.virtual import a_deployment, a_pod


@pytest.fixture
def bench() -> Bench:
    return Bench(DisruptionController)


def a_web(bench: Bench, pods: int = 3, *, replicas: int = 3, resource: Resource = DEPLOYMENTS) -> Object:
    """A workload that wants so many replicas, and so many pods of it that serve."""
    workload = bench.cluster.create(resource, {**a_deployment(), "spec": {"replicas": replicas}})
    for number in range(pods):
        a_serving_pod(bench.cluster, f"pod-{number}", owner=workload)
    return workload


def counts(bench: Bench) -> tuple[int, int, int, int]:
    """Expected, healthy, desired, allowed."""
    status = status_of(bench.cluster)
    fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    expected, healthy, desired, allowed = (status[field] for field in fields)
    return expected, healthy, desired, allowed


BOUNDS: list[tuple[dict[str, int | str], int, int, tuple[int, int, int, int]]] = [
    # bound, pods, replicas, (expected, healthy, desired, allowed)
    ({"minAvailable": 2}, 3, 3, (3, 3, 2, 1)),
    ({"minAvailable": 3}, 3, 3, (3, 3, 3, 0)),
    ({"minAvailable": 5}, 3, 3, (3, 3, 5, 0)),
    ({"minAvailable": 0}, 3, 3, (3, 3, 0, 3)),
    # An absolute minimum counts the pods that are there, everything else what their controllers want.
    ({"minAvailable": 1}, 2, 4, (2, 2, 1, 1)),
    ({"minAvailable": "50%"}, 3, 4, (4, 3, 2, 1)),
    ({"minAvailable": "50%"}, 3, 3, (3, 3, 2, 1)),
    ({"minAvailable": "100%"}, 3, 3, (3, 3, 3, 0)),
    ({"minAvailable": "0%"}, 2, 3, (3, 2, 0, 2)),
    ({"maxUnavailable": 1}, 3, 3, (3, 3, 2, 1)),
    ({"maxUnavailable": 1}, 2, 3, (3, 2, 2, 0)),
    ({"maxUnavailable": 9}, 3, 3, (3, 3, 0, 3)),
    ({"maxUnavailable": 0}, 3, 3, (3, 3, 3, 0)),
    # Rounded up: a third of four is two.
    ({"maxUnavailable": "34%"}, 4, 4, (4, 4, 2, 2)),
    ({"maxUnavailable": "1%"}, 4, 4, (4, 4, 3, 1)),
    ({}, 3, 3, (0, 3, 0, 0)),
    ({"minAvailable": 0}, 0, 3, (0, 0, 0, 0)),
    ({"maxUnavailable": 1}, 0, 3, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("bound", "pods", "replicas", "computed"), BOUNDS)
def test_status_follows_the_bound(
    bench: Bench, bound: dict[str, int | str], pods: int, replicas: int, computed: tuple[int, int, int, int]
) -> None:
    a_web(bench, pods, replicas=replicas)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(**bound))

    bench.settle()

    assert counts(bench) == computed


def test_status_tells_its_generation_and_verdict(bench: Bench) -> None:
    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    bench.settle()
    before = status_of(bench.cluster)

    bench.pass_seconds(60)
    bench.cluster.patch(PODDISRUPTIONBUDGETS, "web", {"spec": {"minAvailable": 3}})
    bench.settle()

    condition = {"type": "DisruptionAllowed", "message": ""}
    assert before["observedGeneration"] == 1
    assert before["conditions"] == [
        condition
        | {
            "status": "True",
            "reason": "SufficientPods",
            "observedGeneration": 1,
            "lastTransitionTime": "2024-04-05T18:29:58Z",
        }
    ]
    after = status_of(bench.cluster)
    assert after["observedGeneration"] == 2
    assert after["conditions"] == [
        condition
        | {
            "status": "False",
            "reason": "InsufficientPods",
            "observedGeneration": 2,
            "lastTransitionTime": "2024-04-05T18:30:58Z",
        }
    ]


def test_verdict_keeps_its_time_while_it_holds(bench: Bench) -> None:
    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=1))
    bench.settle()
    before = status_of(bench.cluster)

    bench.pass_seconds(60)
    set_ready(bench.cluster, "pod-0", False)
    bench.settle()

    after = status_of(bench.cluster)
    assert (before["disruptionsAllowed"], after["disruptionsAllowed"]) == (2, 1)
    assert after["conditions"] == before["conditions"]


def test_only_ready_pods_that_stay_are_healthy(bench: Bench) -> None:
    a_web(bench, 3)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=1))

    set_ready(bench.cluster, "pod-0", False)
    bench.settle()
    unready = counts(bench)
    bench.cluster.delete(PODS, "pod-1")
    bench.settle()
    deleting = counts(bench)
    bench.cluster.delete(PODS, "pod-1", grace_period_seconds=0)
    bench.settle()

    assert (unready, deleting, counts(bench)) == ((3, 2, 1, 1), (3, 1, 1, 0), (2, 1, 1, 0))


def test_budget_follows_the_scale_of_its_workload(bench: Bench) -> None:
    a_web(bench, 3)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable=1))
    bench.settle()

    bench.cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}})
    bench.settle()

    assert counts(bench) == (2, 3, 1, 2)


@pytest.mark.parametrize("resource", [DEPLOYMENTS, STATEFULSETS], ids=lambda kind: kind.kind)
def test_scales_of_both_workloads_count(bench: Bench, resource: Resource) -> None:
    a_web(bench, 2, replicas=5, resource=resource)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable=4))

    bench.settle()

    assert counts(bench) == (5, 2, 1, 1)


def test_pods_without_controller_are_not_expected(bench: Bench) -> None:
    a_web(bench, 1, replicas=2)
    a_serving_pod(bench.cluster, "alone")
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable=1))

    bench.settle()

    assert counts(bench) == (2, 2, 1, 1)


def test_unknown_scale_allows_nothing(bench: Bench) -> None:
    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable=1))
    bench.settle()

    bench.cluster.delete(DEPLOYMENTS, "web", propagation="Orphan")
    bench.cluster.collect()
    a_serving_pod(bench.cluster, "lost", owner=a_namesake(bench))
    bench.settle()

    status = status_of(bench.cluster)
    (condition,) = status["conditions"]
    assert status["disruptionsAllowed"] == 0
    assert (condition["reason"], condition["message"]) == (
        "SyncFailed",
        'found no controllers for pod "lost"',
    )


def a_namesake(bench: Bench) -> Object:
    """An owner that is no longer what stands under its name."""
    gone = bench.cluster.create(DEPLOYMENTS, a_deployment("short"))
    bench.cluster.delete(DEPLOYMENTS, "short")
    bench.cluster.create(DEPLOYMENTS, a_deployment("short"))
    return gone


def test_quiet_cluster_writes_nothing(bench: Bench) -> None:
    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    bench.settle()
    before = status_of(bench.cluster), bench.cluster.list(PODDISRUPTIONBUDGETS).items

    bench.cluster.patch(PODS, "pod-0", {"metadata": {"annotations": {"a": "b"}}})
    bench.settle()

    assert (status_of(bench.cluster), bench.cluster.list(PODDISRUPTIONBUDGETS).items) == before
    assert bench.engine.peek() is None


def test_budgets_of_other_pods_stay_apart(bench: Bench) -> None:
    a_web(bench)
    a_serving_pod(bench.cluster, "api", labels={"app": "api"})
    other = {"matchLabels": {"app": "api"}}
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget("api", selector=other, minAvailable=0))
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget("api", minAvailable=0), "elsewhere")

    bench.settle()

    elsewhere = bench.cluster.get(PODDISRUPTIONBUDGETS, "api", "elsewhere")["status"]
    assert counts(bench) == (3, 3, 2, 1)
    assert status_of(bench.cluster, "api")["expectedPods"] == 1
    assert elsewhere["expectedPods"] == 0


def test_evicted_pod_leaves_the_map_when_it_goes(bench: Bench) -> None:
    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    bench.settle()

    bench.cluster.evict("pod-0", "default")
    noted = status_of(bench.cluster)["disruptedPods"]
    bench.settle()

    assert list(noted) == ["pod-0"]
    assert "disruptedPods" not in status_of(bench.cluster)
    assert counts(bench) == (3, 2, 2, 0)


def test_eviction_that_did_nothing_is_given_back(bench: Bench) -> None:
    """The pod counts as disrupted for two minutes, whatever is computed in between, and then again."""

    def deny(operation: str, resource: Resource, *_: object) -> None:
        if operation == "DELETE":
            raise Forbidden("not now")

    a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    bench.settle()
    bench.cluster.admit.append(deny)

    with pytest.raises(Forbidden):
        bench.cluster.evict("pod-0", "default")
    bench.pass_seconds(119)
    waiting = counts(bench)
    bench.pass_seconds(1)

    assert waiting == (3, 2, 2, 0)
    assert counts(bench) == (3, 3, 2, 1)
    assert bench.engine.peek() is None


def test_replacement_frees_the_next_eviction(bench: Bench) -> None:
    workload = a_web(bench)
    bench.cluster.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable=1))
    bench.settle()

    bench.cluster.evict("pod-0", "default")
    bench.settle()
    with pytest.raises(Throttled):
        bench.cluster.evict("pod-1", "default")
    a_serving_pod(bench.cluster, "pod-3", owner=workload)
    bench.settle()
    bench.cluster.evict("pod-1", "default")

    assert "deletionTimestamp" in bench.cluster.get(PODS, "pod-1")["metadata"]


# --- any interleaving

NAMES = st.sampled_from([f"pod-{number}" for number in range(5)])
REPLICAS = 4
SHARES = st.integers(0, REPLICAS) | st.integers(0, 100).map("{}%".format)


class Disruptions(RuleBasedStateMachine):
    """Evictions from all sides while pods come, go and recover, and the controller looks now and then.

    What is no eviction may cost health at any time; the controller is given time to see it, as no budget can
    hold against what it was not told.
    """

    @initialize(bound=st.sampled_from(["minAvailable", "maxUnavailable"]), share=SHARES)
    def start(self, bound: str, share: int | str) -> None:
        self.bench = Bench(DisruptionController)
        self.cluster = self.bench.cluster
        self.bound, self.share = bound, share
        self.denying = False
        self.cluster.admit.append(self.deny)
        self.workload = a_web(self.bench, REPLICAS, replicas=REPLICAS)
        self.cluster.create(PODDISRUPTIONBUDGETS, a_budget(**{bound: share}))
        self.bench.settle()

    def deny(self, operation: str, *_: object) -> None:
        if self.denying and operation == "DELETE":
            raise Forbidden("not now")

    @rule(names=st.lists(NAMES, min_size=1, max_size=5), denied=st.sampled_from([False, False, True]))
    def evict(self, names: list[str], denied: bool) -> None:
        """Several in one instant; the deletion that follows may fail."""
        for name in names:
            self.evict_one(name, denied)

    def evict_one(self, name: str, denied: bool) -> None:
        before = self.healthy()
        self.denying = denied
        try:
            self.cluster.evict(name, "default")
        except ApiError:
            assert self.healthy() == before
        finally:
            self.denying = False
        lost = before - self.healthy()
        assert len(lost) <= 1
        assert not lost or len(self.healthy()) >= self.desired()

    @rule(name=NAMES)
    def serve(self, name: str) -> None:
        try:
            a_serving_pod(self.cluster, name, owner=self.workload)
        except AlreadyExists:
            set_ready(self.cluster, name, True)

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        """A pod that waits for its node."""
        try:
            self.cluster.create(PODS, a_pod(name, labels=WEB))
        except AlreadyExists:
            return

    @rule(name=NAMES)
    def end(self, name: str) -> None:
        """The kubelet is done with a pod that was told to end."""
        if name in self.pods() and "deletionTimestamp" in self.pods()[name]["metadata"]:
            self.cluster.delete(PODS, name, grace_period_seconds=0)

    @rule(name=NAMES, way=st.sampled_from(["fail", "delete"]))
    def lose(self, name: str, way: str) -> None:
        """A pod is lost without anybody asking the budget."""
        try:
            if way == "fail":
                set_ready(self.cluster, name, False)
            else:
                self.cluster.delete(PODS, name)
        except NotFound:
            return
        self.bench.settle()

    @rule()
    def settle(self) -> None:
        self.bench.settle()

    @rule(seconds=st.sampled_from([1, 60, 120, 121]))
    def pass_time(self, seconds: int) -> None:
        self.bench.pass_seconds(seconds)

    @invariant()
    def status_is_sane(self) -> None:
        status = status_of(self.cluster)
        assert status.get("disruptionsAllowed", 0) >= 0
        assert status.get("desiredHealthy", 0) == (self.desired() if status.get("expectedPods") else 0)

    def pods(self) -> dict[str, Object]:
        return {pod["metadata"]["name"]: pod for pod in self.cluster.list(PODS).items}

    def healthy(self) -> set[str]:
        return {
            name
            for name, pod in self.pods().items()
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in pod["status"].get("conditions", ())
            )
        }

    def desired(self) -> int:
        """What the budget demands, from its words alone."""
        if isinstance(self.share, int):
            pods = self.share
        else:
            pods = math.ceil(Fraction(int(self.share[:-1]), 100) * REPLICAS)
        return pods if self.bound == "minAvailable" else max(REPLICAS - pods, 0)


TestDisruptions = Disruptions.TestCase
TestDisruptions.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=40)
