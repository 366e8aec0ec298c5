"""Garbage collection by owner references: who goes, who stays, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    WORKSPACES,
    Forbidden,
    Object,
    Resource,
)
from simulator.cluster import Cluster
from tests.simulator.virtual import (
    a_cluster,
    a_deployment,
    a_machine,
    a_pod,
    a_workspace,
    names,
    owner_reference,
)


@pytest.fixture
def cluster() -> Cluster:
    return a_cluster()


@pytest.fixture
def workspace(cluster: Cluster) -> Object:
    return cluster.create(WORKSPACES, a_workspace())


@pytest.fixture
def deployment(cluster: Cluster, workspace: Object) -> Object:
    return owned(cluster, DEPLOYMENTS, a_deployment(), workspace)


@pytest.fixture
def pod(cluster: Cluster, deployment: Object) -> Object:
    return owned(cluster, PODS, a_pod(), deployment)


def owned(cluster: Cluster, resource: Resource, body: Object, *owners: Object, blocks: bool = True) -> Object:
    references = [owner_reference(owner, blockOwnerDeletion=blocks) for owner in owners]
    metadata = {**body["metadata"], "ownerReferences": references}
    return cluster.create(resource, {**body, "metadata": metadata})


def sweep(cluster: Cluster) -> int:
    """Sweep until nothing is left to do; returns the number of writes."""
    writes = 0
    while cluster.collector.pending:
        done = cluster.collect()
        writes += done
        if not done:
            break
    return writes


def remaining(cluster: Cluster) -> list[str]:
    return [
        f"{resource.kind}/{name}"
        for resource in (WORKSPACES, DEPLOYMENTS, PODS)
        for name in names(cluster.list(resource).items)
    ]


# Background


def test_nothing_is_collected_inside_a_write(cluster: Cluster, pod: Object) -> None:
    cluster.delete(WORKSPACES, "falcon")

    assert remaining(cluster) == ["Deployment/web", "Pod/pod-0"]


def test_dependents_follow_their_owner(cluster: Cluster, pod: Object) -> None:
    assert not cluster.collector.pending
    cluster.delete(WORKSPACES, "falcon")

    assert sweep(cluster) == 2
    assert remaining(cluster) == []
    assert not cluster.collector.pending


def test_sweep_without_garbage_writes_nothing(cluster: Cluster, pod: Object) -> None:
    before = cluster.resource_version

    assert cluster.collect() == 0
    assert cluster.resource_version == before


def test_one_living_owner_is_enough(cluster: Cluster, workspace: Object) -> None:
    other = cluster.create(WORKSPACES, a_workspace("other"))
    owned(cluster, DEPLOYMENTS, a_deployment(), workspace, other)

    cluster.delete(WORKSPACES, "falcon")
    sweep(cluster)
    kept = cluster.get(DEPLOYMENTS, "web")["metadata"]["ownerReferences"]
    cluster.delete(WORKSPACES, "other")
    sweep(cluster)

    assert [owner["uid"] for owner in kept] == [other["metadata"]["uid"]]
    assert remaining(cluster) == []


def test_owner_waiting_for_a_finalizer_still_counts(cluster: Cluster) -> None:
    workspace = cluster.create(WORKSPACES, a_workspace(finalizers=["a/b"]))
    owned(cluster, DEPLOYMENTS, a_deployment(), workspace)

    cluster.delete(WORKSPACES, "falcon")
    sweep(cluster)
    assert remaining(cluster) == ["Workspace/falcon", "Deployment/web"]
    cluster.patch(WORKSPACES, "falcon", {"metadata": {"finalizers": []}})
    sweep(cluster)

    assert remaining(cluster) == []


def test_namesake_of_the_owner_does_not_count(cluster: Cluster, deployment: Object) -> None:
    cluster.delete(WORKSPACES, "falcon")
    cluster.create(WORKSPACES, a_workspace())

    sweep(cluster)

    assert remaining(cluster) == ["Workspace/falcon"]


def test_latecomer_of_a_gone_owner_goes(cluster: Cluster, workspace: Object) -> None:
    cluster.delete(WORKSPACES, "falcon")
    owned(cluster, DEPLOYMENTS, a_deployment(), workspace)

    sweep(cluster)

    assert remaining(cluster) == []


def test_owner_in_another_namespace_is_absent(cluster: Cluster, workspace: Object) -> None:
    owned(cluster, DEPLOYMENTS, a_deployment(namespace="elsewhere"), workspace)

    sweep(cluster)

    assert remaining(cluster) == ["Workspace/falcon"]


def test_owner_without_namespace_is_found(cluster: Cluster) -> None:
    node = cluster.create(NODES, {"metadata": {"name": "n"}})
    owned(cluster, PODS, a_pod(namespace="blue"), node)
    assert sweep(cluster) == 0

    cluster.delete(NODES, "n")
    sweep(cluster)

    assert remaining(cluster) == []


@pytest.mark.parametrize("kind", ["Workspace", "Thing"])
def test_unresolvable_owner_keeps_its_dependent(cluster: Cluster, workspace: Object, kind: str) -> None:
    reference = {**owner_reference(workspace), "kind": kind, "uid": "gone"}
    cluster.create(MACHINES, a_machine(ownerReferences=[reference]))

    assert sweep(cluster) == 0
    assert names(cluster.list(MACHINES).items) == ["ws1"]


def test_dependent_with_finalizer_is_marked_once(cluster: Cluster, workspace: Object) -> None:
    body = a_deployment(finalizers=["a/b"])
    owned(cluster, DEPLOYMENTS, body, workspace)
    cluster.delete(WORKSPACES, "falcon")

    assert sweep(cluster) == 1
    assert "deletionTimestamp" in cluster.get(DEPLOYMENTS, "web")["metadata"]
    assert sweep(cluster) == 0


def test_collector_deletes_by_uid(
    cluster: Cluster, deployment: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids: list[str] = []
    delete = cluster.delete

    def recorded(resource: Resource, name: str, namespace: str = "", **options: str) -> Object:
        uids.append(options["uid"])
        return delete(resource, name, namespace, **options)  # type: ignore[arg-type]  # all options are texts

    cluster.delete(WORKSPACES, "falcon")
    monkeypatch.setattr(cluster, "delete", recorded)
    sweep(cluster)

    assert uids == [deployment["metadata"]["uid"]]


# Foreground


def test_foreground_owner_goes_last(cluster: Cluster, pod: Object) -> None:
    watches = {resource: cluster.watch(resource) for resource in (WORKSPACES, DEPLOYMENTS, PODS)}
    cluster.delete(WORKSPACES, "falcon", propagation="Foreground")
    assert remaining(cluster) == ["Workspace/falcon", "Deployment/web", "Pod/pod-0"]

    sweep(cluster)

    gone = {
        resource.kind: int(each.object["metadata"]["resourceVersion"])
        for resource, watch in watches.items()
        for each in watch.poll()
        if each.type == "DELETED"
    }
    assert sorted(gone, key=gone.__getitem__) == ["Pod", "Deployment", "Workspace"]


def test_foreground_waits_for_blocking_dependents(cluster: Cluster, workspace: Object) -> None:
    owned(cluster, DEPLOYMENTS, a_deployment(finalizers=["a/b"]), workspace)
    cluster.delete(WORKSPACES, "falcon", propagation="Foreground")

    sweep(cluster)
    assert remaining(cluster) == ["Workspace/falcon", "Deployment/web"]
    cluster.patch(DEPLOYMENTS, "web", {"metadata": {"finalizers": []}})
    sweep(cluster)

    assert remaining(cluster) == []


def test_foreground_passes_by_unblocking_dependents(cluster: Cluster, workspace: Object) -> None:
    owned(cluster, DEPLOYMENTS, a_deployment(finalizers=["a/b"]), workspace, blocks=False)
    cluster.delete(WORKSPACES, "falcon", propagation="Foreground")

    sweep(cluster)

    assert remaining(cluster) == ["Deployment/web"]
    assert "deletionTimestamp" in cluster.get(DEPLOYMENTS, "web")["metadata"]


def test_unblocking_a_dependent_frees_its_owner(cluster: Cluster, workspace: Object) -> None:
    owned(cluster, DEPLOYMENTS, a_deployment(finalizers=["a/b"]), workspace)
    cluster.delete(WORKSPACES, "falcon", propagation="Foreground")
    sweep(cluster)

    cluster.patch(DEPLOYMENTS, "web", {"metadata": {"ownerReferences": []}})
    sweep(cluster)

    assert remaining(cluster) == ["Deployment/web"]


def test_foreground_circle_is_broken(cluster: Cluster) -> None:
    first = cluster.create(DEPLOYMENTS, a_deployment("first"))
    second = owned(cluster, DEPLOYMENTS, a_deployment("second"), first)
    reference = owner_reference(second, blockOwnerDeletion=True)
    cluster.patch(DEPLOYMENTS, "first", {"metadata": {"ownerReferences": [reference]}})

    cluster.delete(DEPLOYMENTS, "first", propagation="Foreground")
    sweep(cluster)

    assert remaining(cluster) == []


# Orphan


def test_orphans_stay_without_their_owner(cluster: Cluster, pod: Object) -> None:
    cluster.delete(WORKSPACES, "falcon", propagation="Orphan")

    sweep(cluster)

    assert remaining(cluster) == ["Deployment/web", "Pod/pod-0"]
    assert "ownerReferences" not in cluster.get(DEPLOYMENTS, "web")["metadata"]


def test_orphaning_keeps_other_owners(cluster: Cluster, workspace: Object) -> None:
    other = cluster.create(WORKSPACES, a_workspace("other"))
    owned(cluster, DEPLOYMENTS, a_deployment(), workspace, other)

    cluster.delete(WORKSPACES, "falcon", propagation="Orphan")
    sweep(cluster)

    owners = cluster.get(DEPLOYMENTS, "web")["metadata"]["ownerReferences"]
    assert [owner["name"] for owner in owners] == ["other"]


def test_policy_of_a_dependents_own_finalizer_holds(cluster: Cluster, workspace: Object) -> None:
    middle = owned(cluster, DEPLOYMENTS, a_deployment(finalizers=["orphan"]), workspace)
    owned(cluster, PODS, a_pod(), middle)
    cluster.delete(WORKSPACES, "falcon")

    sweep(cluster)

    assert remaining(cluster) == ["Pod/pod-0"]


# The bell and refusals


def test_bell_rings_once_until_a_sweep(workspace: Object) -> None:
    rings: list[str] = []
    cluster = a_cluster(on_garbage=lambda: rings.append("ring"))
    owner = cluster.create(WORKSPACES, a_workspace())
    owned(cluster, DEPLOYMENTS, a_deployment(), owner)
    cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}})
    assert rings == []

    cluster.delete(WORKSPACES, "falcon")
    owned(cluster, DEPLOYMENTS, a_deployment("late"), owner)
    assert rings == ["ring"]
    sweep(cluster)
    assert rings == ["ring"]
    owned(cluster, DEPLOYMENTS, a_deployment("later"), owner)

    assert rings == ["ring", "ring"]


def test_refused_deletion_is_tried_again(cluster: Cluster, deployment: Object) -> None:
    def deny(operation: str, resource: Resource, *_: object) -> None:
        if operation == "DELETE" and resource == DEPLOYMENTS:
            raise Forbidden("not now")

    cluster.admit.append(deny)
    cluster.delete(WORKSPACES, "falcon")
    assert cluster.collect() == 0
    assert remaining(cluster) == ["Deployment/web"]
    assert cluster.collector.pending

    cluster.admit.clear()

    assert cluster.collect() == 1
    assert remaining(cluster) == []


@given(
    parents=st.lists(st.integers(0, 6), min_size=1, max_size=7),
    policies=st.lists(st.sampled_from(["", "Background", "Foreground"]), min_size=7, max_size=7),
    victims=st.lists(st.integers(0, 6), max_size=3),
)
def test_what_descends_from_the_deleted_goes(
    parents: list[int], policies: list[str], victims: list[int]
) -> None:
    cluster = a_cluster()
    root = cluster.create(DEPLOYMENTS, a_deployment("d0"))
    objects, parent_of = [root], {0: 0}
    for number, parent in enumerate(parents, start=1):
        parent_of[number] = parent % number
        body = a_deployment(f"d{number}")
        objects.append(owned(cluster, DEPLOYMENTS, body, objects[parent_of[number]]))

    for victim in victims:
        if victim < len(objects) and f"d{victim}" in names(cluster.list(DEPLOYMENTS).items):
            cluster.delete(DEPLOYMENTS, f"d{victim}", propagation=policies[victim])
    sweep(cluster)

    def lives(number: int) -> bool:
        return number not in victims and (number == 0 or lives(parent_of[number]))

    expected = [f"d{number}" for number in range(len(objects)) if lives(number)]
    assert names(cluster.list(DEPLOYMENTS).items) == expected
