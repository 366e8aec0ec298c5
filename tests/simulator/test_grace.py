"""DELETE of a pod: who gets a grace, how long it is, and what ends it."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import DEPLOYMENTS, PODS, AlreadyExists, NotFound, Object
from simulator.cluster import Cluster
from tests.simulator.virtual import SetClock, a_cluster, a_deployment, a_pod, owner_reference

BEGUN, END = "2024-04-05T18:29:58Z", "2024-04-05T18:30:28Z"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cluster(clock: SetClock) -> Cluster:
    return a_cluster(clock)


def bound(cluster: Cluster, grace: int | None = None, phase: str = "Running", **metadata: object) -> Object:
    body = a_pod(node="node-a", **metadata)
    if grace is not None:
        body["spec"]["terminationGracePeriodSeconds"] = grace
    cluster.create(PODS, body)
    return cluster.patch(PODS, "pod-0", {"status": {"phase": phase}}, subresource="status")


def standing(cluster: Cluster) -> tuple[str, int]:
    metadata = cluster.get(PODS, "pod-0")["metadata"]
    return metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"]


def is_gone(cluster: Cluster) -> bool:
    return cluster.list(PODS).items == []


def test_bound_pod_stays_for_its_grace(cluster: Cluster) -> None:
    before = bound(cluster)
    watch = cluster.watch(PODS, resource_version=cluster.resource_version)

    answer = cluster.delete(PODS, "pod-0")

    assert answer == cluster.get(PODS, "pod-0")
    assert standing(cluster) == (END, 30)
    assert [each.type for each in watch.poll()] == ["MODIFIED"]
    assert (answer["spec"], answer["status"]) == (before["spec"], before["status"])
    assert "generation" not in answer["metadata"]


GRACE_TABLE = [
    # in the spec, in the request, what is given; None is gone at once
    (None, None, (END, 30)),
    (5, None, ("2024-04-05T18:30:03Z", 5)),
    (0, None, None),
    (None, 7, ("2024-04-05T18:30:05Z", 7)),
    (5, 60, ("2024-04-05T18:30:58Z", 60)),
    (5, 0, None),
    (5, -1, ("2024-04-05T18:29:59Z", 1)),
]


@pytest.mark.parametrize(("own", "asked", "given"), GRACE_TABLE)
def test_grace_is_asked_or_own(
    cluster: Cluster, own: int | None, asked: int | None, given: tuple[str, int] | None
) -> None:
    bound(cluster, own)

    cluster.delete(PODS, "pod-0", grace_period_seconds=asked)

    assert is_gone(cluster) if given is None else standing(cluster) == given


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pod_goes_at_once(cluster: Cluster, phase: str) -> None:
    bound(cluster, phase=phase)

    cluster.delete(PODS, "pod-0", grace_period_seconds=60)

    assert is_gone(cluster)


def test_unbound_pod_goes_at_once(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod())

    cluster.delete(PODS, "pod-0", grace_period_seconds=60)

    assert is_gone(cluster)


def test_other_kinds_have_no_grace(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, a_deployment())

    cluster.delete(DEPLOYMENTS, "web", grace_period_seconds=60)

    assert cluster.list(DEPLOYMENTS).items == []


@pytest.mark.parametrize("asked", [None, 30, 31, 600])
def test_second_delete_never_prolongs(cluster: Cluster, clock: SetClock, asked: int | None) -> None:
    bound(cluster)
    first = cluster.delete(PODS, "pod-0")
    clock.pass_seconds(20)

    second = cluster.delete(PODS, "pod-0", grace_period_seconds=asked, propagation="Foreground")

    assert second == first == cluster.get(PODS, "pod-0")


def test_second_delete_may_shorten(cluster: Cluster, clock: SetClock) -> None:
    bound(cluster)
    cluster.delete(PODS, "pod-0")
    clock.pass_seconds(20)

    cluster.delete(PODS, "pod-0", grace_period_seconds=5)

    assert standing(cluster) == ("2024-04-05T18:30:03Z", 5)


def test_no_grace_ends_a_waiting_pod(cluster: Cluster) -> None:
    bound(cluster)
    cluster.delete(PODS, "pod-0")

    cluster.delete(PODS, "pod-0", grace_period_seconds=0)

    assert is_gone(cluster)


def test_dry_run_begins_no_deletion(cluster: Cluster) -> None:
    before = bound(cluster)

    answer = cluster.delete(PODS, "pod-0", dry_run=True)

    assert answer["metadata"]["deletionTimestamp"] == END
    assert cluster.get(PODS, "pod-0") == before


def test_writes_do_not_end_the_grace(cluster: Cluster) -> None:
    bound(cluster)
    cluster.delete(PODS, "pod-0")

    cluster.patch(PODS, "pod-0", {"status": {"phase": "Failed"}}, subresource="status")
    cluster.patch(PODS, "pod-0", {"metadata": {"labels": {"a": "b"}, "deletionTimestamp": None}})

    assert standing(cluster) == (END, 30)


def test_finalizer_holds_a_pod_that_ended(cluster: Cluster) -> None:
    bound(cluster, finalizers=["a/b"])
    cluster.delete(PODS, "pod-0")

    cluster.delete(PODS, "pod-0", grace_period_seconds=0)
    held = standing(cluster)
    cluster.patch(PODS, "pod-0", {"metadata": {"finalizers": []}})

    assert held == (BEGUN, 0)
    assert is_gone(cluster)


def test_grace_outlasts_the_last_finalizer(cluster: Cluster) -> None:
    bound(cluster, finalizers=["a/b"])
    cluster.delete(PODS, "pod-0")

    cluster.patch(PODS, "pod-0", {"metadata": {"finalizers": []}})
    waiting = standing(cluster)
    cluster.delete(PODS, "pod-0", grace_period_seconds=0)

    assert waiting == (END, 30)
    assert is_gone(cluster)


def test_name_is_taken_during_the_grace(cluster: Cluster) -> None:
    bound(cluster)
    cluster.delete(PODS, "pod-0")

    with pytest.raises(AlreadyExists, match=r'^object is being deleted: pods "pod-0" already exists$'):
        cluster.create(PODS, a_pod())


def test_foreground_owner_waits_for_the_grace(cluster: Cluster) -> None:
    owner = cluster.create(DEPLOYMENTS, a_deployment())
    bound(cluster, ownerReferences=[owner_reference(owner, blockOwnerDeletion=True)])
    cluster.delete(DEPLOYMENTS, "web", propagation="Foreground")

    while cluster.collect():
        pass
    waiting = len(cluster.list(DEPLOYMENTS).items), standing(cluster)
    cluster.delete(PODS, "pod-0", grace_period_seconds=0)
    cluster.collect()

    assert waiting == (1, (END, 30))
    with pytest.raises(NotFound):
        cluster.get(DEPLOYMENTS, "web")
