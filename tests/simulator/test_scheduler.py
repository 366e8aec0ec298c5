"""The scheduler: which node a pod gets, and what it is told when none fits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kaito.runtime.ports import DEPLOYMENTS, NODES, PODS, Object
from simulator.scheduler import matches_affinity, requested_gpus, verdict, why_not
from tests.simulator.worlds import GPU, TestBed, a_gpu_node, a_template, a_workload

UNSCHEDULABLE = "node(s) were unschedulable"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
FULL = "Insufficient nvidia.com/gpu"


def a_pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": a_template(**spec)["spec"]}


def with_affinity(*expressions: Object) -> Object:
    pod = a_pod()
    required = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return pod


# --- one pod, one node


@pytest.mark.parametrize(
    ("node", "used", "reason"),
    [
        (a_gpu_node("n"), 0, ""),
        (a_gpu_node("n"), 1, ""),
        (a_gpu_node("n"), 2, FULL),
        (a_gpu_node("n", gpus=0), 0, FULL),
        (a_gpu_node("n", unschedulable=True), 0, UNSCHEDULABLE),
        (
            a_gpu_node("n", taints=[{"key": "other", "value": "x", "effect": "NoExecute"}]),
            0,
            "node(s) had untolerated taint {other: x}",
        ),
        (
            a_gpu_node("n", taints=[{"key": "other", "effect": "NoSchedule"}]),
            0,
            "node(s) had untolerated taint {other: }",
        ),
        (a_gpu_node("n", taints=[{"key": "other", "effect": "PreferNoSchedule"}]), 0, ""),
    ],
)
def test_reason_why_a_node_does_not_fit(node: Object, used: int, reason: str) -> None:
    assert why_not(a_pod(), node, Counter({"n": used})) == reason


def test_pod_without_gpus_fits_a_full_node() -> None:
    assert why_not(a_pod(gpus=0), a_gpu_node("n"), Counter({"n": 3})) == ""


def test_unmatched_labels_are_told_before_gpus() -> None:
    node = a_gpu_node("n", gpus=0)
    node["metadata"]["labels"] = {}

    assert why_not(a_pod(), node, Counter()) == AFFINITY


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "sku", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "sku", "operator": "Equal", "value": "gpu"}, True),
        ({"key": "sku", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "sku", "value": "cpu", "effect": "NoSchedule"}, False),
        ({"key": "gpu", "value": "", "effect": "NoSchedule"}, False),
        ({"key": "sku", "value": "gpu", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_toleration_opens_a_tainted_node(toleration: Object, fits: bool) -> None:
    pod = a_pod(tolerations=[toleration])

    assert (why_not(pod, a_gpu_node("n"), Counter()) == "") is fits


@pytest.mark.parametrize(
    ("expressions", "matches"),
    [
        ([{"key": "apps", "operator": "In", "values": ["falcon-7b", "x"]}], True),
        ([{"key": "apps", "operator": "In", "values": ["x"]}], False),
        ([{"key": "apps", "operator": "NotIn", "values": ["x"]}], True),
        ([{"key": "none", "operator": "NotIn", "values": ["x"]}], True),
        ([{"key": "apps", "operator": "Exists"}], True),
        ([{"key": "none", "operator": "Exists"}], False),
        ([{"key": "none", "operator": "DoesNotExist"}], True),
        ([{"key": "gpus", "operator": "Gt", "values": ["1"]}], True),
        ([{"key": "gpus", "operator": "Lt", "values": ["1"]}], False),
        ([{"key": "apps", "operator": "Exists"}, {"key": "none", "operator": "Exists"}], False),
        ([], False),
    ],
)
def test_affinity_operators(expressions: list[Object], matches: bool) -> None:
    found = matches_affinity(with_affinity(*expressions), {"apps": "falcon-7b", "gpus": "2"})

    assert found is matches


def test_one_matching_term_is_enough() -> None:
    pod = with_affinity({"key": "none", "operator": "Exists"})
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms.append({"matchExpressions": [{"key": "apps", "operator": "Exists"}]})

    assert matches_affinity(pod, {"apps": "x"})


@pytest.mark.parametrize(
    ("labels", "matches"), [({"disk": "ssd"}, True), ({"disk": "hdd"}, False), ({}, False)]
)
def test_node_selector_is_honoured(labels: dict[str, str], matches: bool) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {"disk": "ssd"}}}

    assert matches_affinity(pod, labels) is matches


@pytest.mark.parametrize(
    ("containers", "gpus"),
    [
        ([], 0),
        ([{"name": "a"}], 0),
        ([{"name": "a", "resources": {"limits": {GPU: "2"}}}], 2),
        (
            [
                {"name": "a", "resources": {"requests": {GPU: 1}}},
                {"name": "b", "resources": {"limits": {GPU: 2}}},
            ],
            3,
        ),
    ],
)
def test_gpus_of_all_containers_count(containers: list[Object], gpus: int) -> None:
    assert requested_gpus({"spec": {"containers": containers}}) == gpus


@pytest.mark.parametrize(
    ("refusals", "message"),
    [
        ([], "no nodes available to schedule pods"),
        (
            [FULL],
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. "
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            [AFFINITY, FULL, AFFINITY],
            "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, "
            "2 node(s) didn't match Pod's node affinity/selector. "
            "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, "
            "2 Preemption is not helpful for scheduling.",
        ),
    ],
)
def test_verdict_is_worded_as_upstream(refusals: list[str], message: str) -> None:
    assert verdict(refusals) == message


# --- on virtual time


def test_pod_without_nodes_is_told_so() -> None:
    bed = TestBed()
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.engine.run()

    told = bed.condition(bed.pod(), "PodScheduled")
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert told["message"] == "no nodes available to schedule pods"
    assert told["lastTransitionTime"] == "2024-04-05T18:29:59Z"


def test_verdict_follows_the_cluster() -> None:
    bed = TestBed()
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.until(60)
    bed.with_nodes("node-a", gpus=0)

    bed.engine.run()

    told = bed.condition(bed.pod(), "PodScheduled")
    assert told["message"].startswith("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    assert told["lastTransitionTime"] == "2024-04-05T18:29:59Z"


def test_waiting_pod_takes_a_new_node_at_once() -> None:
    bed = TestBed()
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.until(60)

    bed.with_nodes("node-a")
    bed.until(60)

    assert bed.pod()["spec"]["nodeName"] == "node-a"
    assert bed.condition(bed.pod(), "PodScheduled")["status"] == "True"


def test_freed_gpu_goes_to_the_waiting_pod() -> None:
    bed = TestBed()
    bed.with_nodes("node-a", gpus=1)
    bed.cluster.create(DEPLOYMENTS, a_workload("first"))
    bed.until(10)
    bed.cluster.create(DEPLOYMENTS, a_workload("second"))
    bed.until(20)

    bed.cluster.delete(DEPLOYMENTS, "first")
    bed.until(20)

    (pod,) = bed.all(PODS)
    assert pod["metadata"]["name"].startswith("second-")
    assert pod["spec"]["nodeName"] == "node-a"


def test_pods_never_share_a_gpu() -> None:
    bed = TestBed()
    bed.with_nodes("node-a", "node-b", gpus=2)
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=5))

    bed.engine.run()

    used = Counter(pod["spec"].get("nodeName") for pod in bed.all(PODS))
    assert used == {"node-a": 2, "node-b": 2, None: 1}


def test_emptiest_node_is_taken_first() -> None:
    bed = TestBed()
    bed.with_nodes("node-a", gpus=1)
    bed.with_nodes("node-b", gpus=4)
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.until(1)

    assert bed.pod()["spec"]["nodeName"] == "node-b"


def test_node_that_is_not_ready_takes_no_pod() -> None:
    bed = TestBed()
    node = a_gpu_node("node-a")
    node["spec"]["taints"].append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
    bed.cluster.create(NODES, node)
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.until(0.5)
    bed.engine.run(stop=lambda: bool(bed.pod()["spec"].get("nodeName")))

    assert bed.seconds() == pytest.approx(1)
    assert bed.node()["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
