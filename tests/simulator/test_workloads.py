"""Workload controllers and kubelet: pods come, pull, load, become ready, are replaced and go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kaito.runtime.ports import DEPLOYMENTS, NODES, PODS, STATEFULSETS, Object, Resource
from simulator.workloads import template_hash
from tests.simulator.worlds import FALCON_IMAGE, TestBed, a_gpu_node, a_template, a_workload

both_kinds = pytest.mark.parametrize("resource", [DEPLOYMENTS, STATEFULSETS], ids=lambda kind: kind.kind)

PULLED_AT = 1 + 500
RUNNING_AT = PULLED_AT + 3
READY_AT = 720


@pytest.fixture
def bed() -> TestBed:
    bed = TestBed()
    bed.with_nodes("node-a")
    return bed


def status(bed: TestBed, resource: Resource = DEPLOYMENTS) -> dict[str, Any]:
    return bed.cluster.get(resource, "w").get("status", {})


def container(pod: Object) -> Object:
    (found,) = pod["status"]["containerStatuses"]
    return found


def names(bed: TestBed) -> list[str]:
    return [pod["metadata"]["name"] for pod in bed.all(PODS)]


# --- one pod's life


@both_kinds
def test_workload_is_ready_after_its_phases(bed: TestBed, resource: Resource) -> None:
    bed.cluster.create(resource, a_workload())

    when = bed.run_until(lambda: bed.ready_replicas(resource) == 1)

    assert when == pytest.approx(READY_AT)


def test_pod_goes_through_its_phases(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())

    bed.until(0.999)
    unbound = bed.pod()
    bed.until(1)
    pulling = bed.pod()
    bed.until(RUNNING_AT - 0.001)
    still_pulling = bed.pod()
    bed.until(RUNNING_AT)
    loading = bed.pod()
    bed.until(READY_AT - 0.001)
    still_loading = bed.pod()
    bed.until(READY_AT)
    ready = bed.pod()

    assert unbound["status"] == {"phase": "Pending"}
    assert pulling["spec"]["nodeName"] == "node-a"
    assert container(pulling)["state"]["waiting"] == {
        "reason": "ContainerCreating",
        "message": f'Pulling image "{FALCON_IMAGE}"',
    }
    assert still_pulling == pulling
    assert loading["status"]["phase"] == "Running"
    assert container(loading)["state"] == {"running": {"startedAt": "2024-04-05T18:38:22Z"}}
    assert (container(loading)["started"], container(loading)["ready"]) == (True, False)
    assert still_loading == loading
    assert container(ready)["ready"] is True
    assert bed.is_ready(PODS, ready["metadata"]["name"])


def test_pod_conditions_move_with_their_status(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.engine.run()

    times = {each["type"]: each["lastTransitionTime"] for each in bed.pod()["status"]["conditions"]}

    assert times["PodScheduled"] == "2024-04-05T18:29:59Z"
    assert times["Ready"] == times["ContainersReady"] == "2024-04-05T18:41:58Z"


def test_pod_without_probe_is_ready_when_it_runs(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(template=a_template(probe=False)))

    when = bed.run_until(lambda: bed.ready_replicas() == 1)

    assert when == pytest.approx(RUNNING_AT)


def test_initial_delay_holds_readiness_back(bed: TestBed) -> None:
    template = a_template()
    template["spec"]["containers"][0]["readinessProbe"]["initialDelaySeconds"] = 600
    bed.cluster.create(DEPLOYMENTS, a_workload(template=template))

    when = bed.run_until(lambda: bed.ready_replicas() == 1)

    assert when == pytest.approx(RUNNING_AT + 600 + 5)


def test_node_remembers_the_image(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.engine.run()
    bed.cluster.delete(PODS, names(bed)[0])
    begun = bed.seconds()

    when = bed.run_until(lambda: bed.ready_replicas() == 1)

    assert when - begun == pytest.approx(READY_AT - 500)


@pytest.mark.parametrize(
    ("image", "pull", "load"),
    [
        ("kaito-phi-2:0.0.3", 12.6e9 / 44e6, 5.6e9 / 125e6),
        ("nginx", 7e9 / 44e6, 0),
    ],
)
def test_sizes_are_those_of_the_image(bed: TestBed, image: str, pull: float, load: float) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(template=a_template(image=image)))

    when = bed.run_until(lambda: bed.ready_replicas() == 1)

    assert when == pytest.approx(1 + pull + 3 + 91 + load + 5)


def test_pods_die_with_their_node(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.run_until(lambda: bed.ready_replicas() == 1)
    lost = names(bed)
    bed.cluster.delete(NODES, "node-a")

    bed.run_until(lambda: bed.ready_replicas() == 0)
    bed.engine.run()

    (replacement,) = bed.all(PODS)
    assert replacement["metadata"]["name"] not in lost
    assert bed.condition(replacement, "PodScheduled")["reason"] == "Unschedulable"


def test_node_lost_while_pulling_stops_the_pod(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.until(100)
    (pulling,) = names(bed)
    bed.cluster.delete(NODES, "node-a")
    bed.with_nodes("node-b")

    when = bed.run_until(lambda: bed.ready_replicas() == 1)

    assert pulling not in names(bed)
    assert bed.pod()["spec"]["nodeName"] == "node-b"
    assert when == pytest.approx(100 + READY_AT)


# --- Deployments


def test_deployment_pods_bear_its_name(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.until(2)

    pod, deployment = bed.pod(), bed.cluster.get(DEPLOYMENTS, "w")
    hash_ = template_hash(deployment)
    assert re.fullmatch(rf"w-{hash_}-[a-z0-9]{{5}}", pod["metadata"]["name"])
    assert pod["metadata"]["labels"] == {"kaito.sh/workspace": "w", "pod-template-hash": hash_}
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == (
        "Deployment",
        deployment["metadata"]["uid"],
        True,
    )


def test_status_counts_what_there_is(bed: TestBed) -> None:
    bed.with_nodes("node-b", gpus=0)
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=3))

    bed.until(2)
    early = status(bed)
    bed.engine.run()
    late = status(bed)

    assert early == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 0,
        "availableReplicas": 0,
        "updatedReplicas": 3,
        "unavailableReplicas": 3,
    }
    assert late == early | {"readyReplicas": 2, "availableReplicas": 2, "unavailableReplicas": 1}


def test_status_follows_the_generation(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.engine.run()

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"paused": True}})
    bed.engine.run()

    assert status(bed)["observedGeneration"] == 2


def test_scaling_down_spares_the_ready(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=3))
    bed.engine.run()
    ready = [name for name in names(bed) if bed.is_ready(PODS, name)]

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"replicas": 2}})
    bed.engine.run()

    assert names(bed) == ready
    assert len(ready) == 2


def test_pod_on_its_way_out_is_replaced(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.engine.run()
    (leaving,) = names(bed)
    bed.cluster.patch(PODS, leaving, {"metadata": {"finalizers": ["example.com/mine"]}})

    bed.cluster.delete(PODS, leaving)
    bed.engine.run()

    assert leaving in names(bed)
    assert len(names(bed)) == 2
    assert status(bed)["replicas"] == 1


def test_scaling_to_none_deletes_all(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=2))
    bed.engine.run()

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"replicas": 0}})
    bed.engine.run()

    assert names(bed) == []
    assert (status(bed)["replicas"], status(bed)["readyReplicas"]) == (0, 0)


def test_changed_template_rolls_without_a_gap(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.engine.run()
    (old,) = names(bed)

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"template": a_template(image="kaito-phi-2:0.0.3")}})
    bed.until(bed.seconds() + 10)
    both = names(bed)
    least_ready = []
    bed.engine.run(stop=lambda: bool(least_ready.append(bed.ready_replicas())))

    assert old in both
    assert len(both) == 2
    assert min(least_ready) == 1
    (new,) = names(bed)
    assert new != old
    assert status(bed)["updatedReplicas"] == 1


def test_rolling_out_waits_for_a_free_gpu(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(template=a_template(gpus=2)))
    bed.engine.run()
    (old,) = names(bed)

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"template": a_template(gpus=2, image="nginx")}})
    bed.engine.run()

    assert old in names(bed)
    assert status(bed)["updatedReplicas"] == 1
    assert status(bed)["readyReplicas"] == 1


def test_pod_that_never_fitted_is_replaced_at_once(bed: TestBed) -> None:
    bed.cluster.create(DEPLOYMENTS, a_workload(template=a_template(gpus=9)))
    bed.engine.run()

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"template": a_template(gpus=1)}})
    bed.engine.run()

    assert status(bed)["readyReplicas"] == status(bed)["replicas"] == 1


def test_recreate_takes_the_old_first(bed: TestBed) -> None:
    gone = a_template(gpus=2)
    bed.cluster.create(DEPLOYMENTS, a_workload(template=gone, strategy={"type": "Recreate"}))
    bed.engine.run()
    (old,) = names(bed)
    together: list[int] = []

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"template": a_template(gpus=2, image="nginx")}})
    bed.engine.run(stop=lambda: bool(together.append(len(names(bed)))))

    assert old not in names(bed)
    assert max(together) == 1
    assert status(bed)["readyReplicas"] == 1


@pytest.mark.parametrize(
    ("bounds", "most", "least"),
    [
        # A quarter of four: by default one pod more and one missing.
        ({}, 5, 3),
        ({"maxSurge": 0, "maxUnavailable": 1}, 4, 3),
        ({"maxSurge": "50%", "maxUnavailable": "0%"}, 6, 4),
        ({"maxSurge": 0, "maxUnavailable": 0}, 4, 3),
    ],
)
def test_rolling_update_keeps_its_bounds(bounds: Object, most: int, least: int) -> None:
    bed = TestBed()
    bed.with_nodes("node-a", gpus=8)
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=4, strategy={"rollingUpdate": bounds}))
    bed.engine.run()
    ready_after_start = bed.ready_replicas()
    counts: list[tuple[int, int]] = []

    bed.cluster.patch(DEPLOYMENTS, "w", {"spec": {"template": a_template(image="nginx")}})
    bed.engine.run(stop=lambda: bool(counts.append((status(bed)["replicas"], bed.ready_replicas()))))

    assert ready_after_start == 4
    assert max(pods for pods, _ in counts) == most
    assert min(ready for _, ready in counts) == least
    assert status(bed)["updatedReplicas"] == status(bed)["readyReplicas"] == 4


@both_kinds
def test_deleted_workload_takes_its_pods(bed: TestBed, resource: Resource) -> None:
    bed.cluster.create(resource, a_workload())
    bed.until(2)
    assert len(bed.all(PODS)) == 1

    bed.cluster.delete(resource, "w")
    bed.engine.run()

    assert bed.all(PODS) == []


def test_pods_of_others_are_left_alone(bed: TestBed) -> None:
    stranger = {
        "metadata": {"name": "mine", "labels": {"kaito.sh/workspace": "w"}},
        "spec": {"containers": []},
    }
    bed.cluster.create(PODS, stranger)
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=0))

    bed.until(5)

    assert names(bed) == ["mine"]
    assert status(bed)["replicas"] == 0


# --- StatefulSets


def test_parallel_pods_start_together(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2, podManagementPolicy="Parallel"))

    when = bed.run_until(lambda: bed.ready_replicas(STATEFULSETS) == 2)

    assert names(bed) == ["w-0", "w-1"]
    assert when == pytest.approx(READY_AT)


def test_ordered_pods_wait_for_each_other(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2))

    bed.until(READY_AT - 1)
    before = names(bed)
    when = bed.run_until(lambda: bed.ready_replicas(STATEFULSETS) == 2)

    assert before == ["w-0"]
    assert when == pytest.approx(READY_AT + READY_AT - 500)


def test_ordinal_is_on_the_pod(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2, podManagementPolicy="Parallel"))
    bed.until(1)

    marks = [pod["metadata"]["labels"] for pod in bed.all(PODS)]

    assert [each["apps.kubernetes.io/pod-index"] for each in marks] == ["0", "1"]
    assert [each["statefulset.kubernetes.io/pod-name"] for each in marks] == ["w-0", "w-1"]


def test_lost_ordinal_comes_back(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2, podManagementPolicy="Parallel"))
    bed.engine.run()
    before = bed.cluster.get(PODS, "w-0", "default")["metadata"]["uid"]

    bed.cluster.delete(PODS, "w-0")
    bed.engine.run()

    assert names(bed) == ["w-0", "w-1"]
    assert bed.cluster.get(PODS, "w-0", "default")["metadata"]["uid"] != before


def test_namesake_starts_its_pull_anew(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload())
    bed.until(100)
    bed.cluster.delete(PODS, "w-0")

    when = bed.run_until(lambda: bed.ready_replicas(STATEFULSETS) == 1)

    assert when == pytest.approx(100 + READY_AT)


def test_scaling_down_takes_the_last(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2, podManagementPolicy="Parallel"))
    bed.engine.run()

    bed.cluster.patch(STATEFULSETS, "w", {"spec": {"replicas": 1}})
    bed.engine.run()

    assert names(bed) == ["w-0"]


def test_stateful_rollout_is_one_at_a_time(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(replicas=2, podManagementPolicy="Parallel"))
    bed.engine.run()
    ready: list[int] = []

    bed.cluster.patch(STATEFULSETS, "w", {"spec": {"template": a_template(image="nginx")}})
    bed.engine.run(stop=lambda: bool(ready.append(bed.ready_replicas(STATEFULSETS))))

    assert min(ready) == 1
    assert status(bed, STATEFULSETS)["updatedReplicas"] == status(bed, STATEFULSETS)["readyReplicas"] == 2


def test_on_delete_leaves_pods_until_deleted(bed: TestBed) -> None:
    bed.cluster.create(STATEFULSETS, a_workload(updateStrategy={"type": "OnDelete"}))
    bed.engine.run()
    before = bed.pod()["metadata"]["uid"]

    bed.cluster.patch(STATEFULSETS, "w", {"spec": {"template": a_template(image="nginx")}})
    bed.engine.run()
    kept = bed.pod()["metadata"]["uid"]
    bed.cluster.delete(PODS, "w-0")
    bed.engine.run()

    assert kept == before
    assert status(bed, STATEFULSETS)["updatedReplicas"] == 1


def test_equal_templates_have_one_hash() -> None:
    one, other = a_workload(), a_workload()
    other["spec"]["template"] = dict(reversed(list(other["spec"]["template"].items())))

    assert template_hash(one) == template_hash(other)
    assert template_hash(one) != template_hash(a_workload(template=a_template(gpus=2)))
    assert len(template_hash(one)) == 10


def test_nodes_of_users_serve_too(bed: TestBed) -> None:
    bed.cluster.create(NODES, a_gpu_node("node-c", gpus=4))
    bed.cluster.create(DEPLOYMENTS, a_workload(replicas=6))

    bed.engine.run()

    assert bed.ready_replicas() == 6
