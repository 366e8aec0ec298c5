"""DELETE: preconditions, finalizers, and what may still happen to an object on its way out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    WORKSPACES,
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    Object,
    Resource,
)
from simulator.cluster import Cluster
from tests.simulator.virtual import SetClock, a_cluster, a_deployment, a_machine, a_pod

OURS = "karpenter.sh/termination"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cluster(clock: SetClock) -> Cluster:
    return a_cluster(clock)


@pytest.fixture
def deleting(cluster: Cluster, clock: SetClock) -> Object:
    """A Machine in deletion that waits for its finalizer."""
    cluster.create(MACHINES, a_machine(finalizers=[OURS]))
    clock.pass_seconds(10)
    return cluster.delete(MACHINES, "ws1")


def test_object_without_finalizers_goes_at_once(cluster: Cluster) -> None:
    machine = cluster.create(MACHINES, a_machine())

    answer = cluster.delete(MACHINES, "ws1")

    assert answer == machine
    with pytest.raises(NotFound, match=r'^machines.karpenter.sh "ws1" not found'):
        cluster.get(MACHINES, "ws1")
    with pytest.raises(NotFound):
        cluster.delete(MACHINES, "ws1")


def test_pod_is_marked_before_it_goes(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod())
    watch = cluster.watch(PODS, resource_version=cluster.resource_version)

    asked = cluster.delete(PODS, "pod-0", dry_run=True)
    answer = cluster.delete(PODS, "pod-0")

    marked, gone = watch.poll()
    assert (marked.type, gone.type) == ("MODIFIED", "DELETED")
    assert marked.object == answer
    assert answer["metadata"]["deletionTimestamp"] == asked["metadata"]["deletionTimestamp"]
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    assert cluster.list(PODS).items == []


def test_odd_propagation_is_refused_first(cluster: Cluster) -> None:
    with pytest.raises(Invalid, match='supported values: "Foreground", "Background", "Orphan", "nil"'):
        cluster.delete(MACHINES, "nobody", propagation="Never")


def test_deletion_without_finalizers_names_none(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod(node="node-a"))

    assert "finalizers" not in cluster.delete(PODS, "pod-0")["metadata"]


def test_finalizer_holds_the_object(cluster: Cluster, deleting: Object) -> None:
    metadata = deleting["metadata"]

    assert cluster.get(MACHINES, "ws1") == deleting
    assert metadata["deletionTimestamp"] == "2024-04-05T18:30:08Z"
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (0, 2)


def test_kind_without_generation_gets_none(cluster: Cluster) -> None:
    cluster.create(NODES, {"metadata": {"name": "n", "finalizers": ["a/b"]}})

    assert "generation" not in cluster.delete(NODES, "n")["metadata"]


def test_second_delete_changes_nothing(cluster: Cluster, clock: SetClock, deleting: Object) -> None:
    clock.pass_seconds(10)

    again = cluster.delete(MACHINES, "ws1")

    assert again == deleting
    assert cluster.resource_version == deleting["metadata"]["resourceVersion"]


@pytest.mark.parametrize("way", ["merge", "json", "update"])
def test_last_finalizer_removes_the_object(cluster: Cluster, deleting: Object, way: str) -> None:
    watch = cluster.watch(MACHINES, resource_version=cluster.resource_version)

    match way:
        case "merge":
            answer = cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": None}})
        case "json":
            answer = cluster.patch(MACHINES, "ws1", [{"op": "remove", "path": "/metadata/finalizers/0"}])
        case _:
            metadata = {key: value for key, value in deleting["metadata"].items() if key != "finalizers"}
            answer = cluster.update(MACHINES, {**deleting, "metadata": metadata})

    (gone,) = watch.poll()
    assert "finalizers" not in answer["metadata"]
    assert (gone.type, gone.object["metadata"]["resourceVersion"]) == ("DELETED", cluster.resource_version)
    with pytest.raises(NotFound):
        cluster.get(MACHINES, "ws1")


def test_one_of_two_finalizers_is_not_enough(cluster: Cluster) -> None:
    cluster.create(MACHINES, a_machine(finalizers=[OURS, "other/one"]))
    cluster.delete(MACHINES, "ws1")

    cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": ["other/one"]}})

    assert cluster.get(MACHINES, "ws1")["metadata"]["finalizers"] == ["other/one"]


def test_dry_run_removes_no_finalizer(cluster: Cluster, deleting: Object) -> None:
    cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": []}}, dry_run=True)

    assert cluster.get(MACHINES, "ws1") == deleting


def test_finalizer_of_living_object_just_goes(cluster: Cluster) -> None:
    cluster.create(MACHINES, a_machine(finalizers=[OURS]))

    cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": []}})

    assert "finalizers" not in cluster.get(MACHINES, "ws1")["metadata"]


def test_deleting_object_takes_no_new_finalizer(cluster: Cluster, deleting: Object) -> None:
    with pytest.raises(Invalid, match=r'no new finalizers can be added .* \[\]string\{"new/one"\}'):
        cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": [OURS, "new/one"]}})

    assert cluster.get(MACHINES, "ws1") == deleting


@pytest.mark.parametrize("value", [None, "2030-01-01T00:00:00Z"])
def test_deletion_cannot_be_taken_back(cluster: Cluster, deleting: Object, value: str | None) -> None:
    patch = {"deletionTimestamp": value, "deletionGracePeriodSeconds": None}

    patched = cluster.patch(MACHINES, "ws1", {"metadata": patch, "spec": {"more": 1}})

    kept = ("deletionTimestamp", "deletionGracePeriodSeconds")
    assert {key: patched["metadata"][key] for key in kept} == {key: deleting["metadata"][key] for key in kept}
    assert patched["metadata"]["generation"] == 3


def test_grace_of_an_object_is_not_the_clients(cluster: Cluster, deleting: Object) -> None:
    cause = "metadata.deletionGracePeriodSeconds: Invalid value: 30: field is immutable"

    with pytest.raises(Invalid, match=cause):
        cluster.patch(MACHINES, "ws1", {"metadata": {"deletionGracePeriodSeconds": 30}})

    assert cluster.get(MACHINES, "ws1") == deleting


def test_status_of_deleting_object_can_be_written(cluster: Cluster, deleting: Object) -> None:
    patched = cluster.patch(MACHINES, "ws1", {"status": {"a": 1}}, subresource="status")

    assert patched["status"] == {"a": 1}
    assert patched["metadata"]["finalizers"] == [OURS]


def test_name_is_taken_until_it_is_gone(cluster: Cluster, deleting: Object) -> None:
    with pytest.raises(
        AlreadyExists, match=r'^object is being deleted: machines\.karpenter\.sh "ws1" already exists$'
    ):
        cluster.create(MACHINES, a_machine())

    cluster.patch(MACHINES, "ws1", {"metadata": {"finalizers": []}})
    again = cluster.create(MACHINES, a_machine())

    assert again["metadata"]["uid"] != deleting["metadata"]["uid"]
    assert again["metadata"]["generation"] == 1


# Preconditions


def test_delete_of_a_namesake_conflicts(cluster: Cluster) -> None:
    first = cluster.create(MACHINES, a_machine())["metadata"]["uid"]
    cluster.delete(MACHINES, "ws1", uid=first)
    second = cluster.create(MACHINES, a_machine())

    with pytest.raises(Conflict) as refusal:
        cluster.delete(MACHINES, "ws1", uid=first)

    assert refusal.value.message == (
        'Operation cannot be fulfilled on Machine.karpenter.sh "ws1": '
        f"the UID in the precondition ({first}) does not match the UID in record "
        f"({second['metadata']['uid']}). The object might have been deleted and then recreated"
    )
    assert cluster.get(MACHINES, "ws1") == second


def test_delete_of_an_old_version_conflicts(cluster: Cluster) -> None:
    old = cluster.create(MACHINES, a_machine())["metadata"]["resourceVersion"]
    new = cluster.patch(MACHINES, "ws1", {"spec": {"a": 1}})["metadata"]["resourceVersion"]

    with pytest.raises(Conflict, match=f"ResourceVersion in the precondition \\({old}\\)"):
        cluster.delete(MACHINES, "ws1", resource_version=old)
    cluster.delete(MACHINES, "ws1", resource_version=new)

    assert cluster.list(MACHINES).items == []


# Propagation


PROPAGATION_TABLE: list[tuple[Sequence[str], str, Sequence[str]]] = [
    # finalizers before, policy, finalizers after; none left means gone
    ([], "", []),
    ([], "Background", []),
    ([], "Foreground", ["foregroundDeletion"]),
    ([], "Orphan", ["orphan"]),
    (["a/b"], "Foreground", ["a/b", "foregroundDeletion"]),
    (["orphan"], "", ["orphan"]),
    (["orphan"], "Background", []),
    (["orphan"], "Foreground", ["foregroundDeletion"]),
    (["orphan"], "Orphan", ["orphan"]),
    (["foregroundDeletion", "a/b"], "Orphan", ["a/b", "orphan"]),
    (["foregroundDeletion", "a/b"], "Background", ["a/b"]),
]


@pytest.mark.parametrize(("before", "policy", "after"), PROPAGATION_TABLE)
def test_policy_sets_the_collectors_finalizer(
    cluster: Cluster, before: Sequence[str], policy: str, after: Sequence[str]
) -> None:
    cluster.create(DEPLOYMENTS, a_deployment(finalizers=list(before)))

    cluster.delete(DEPLOYMENTS, "web", propagation=policy)

    found = [obj["metadata"]["finalizers"] for obj in cluster.list(DEPLOYMENTS).items]
    assert found == ([list(after)] if after else [])


def test_later_policy_overrides_an_earlier(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, a_deployment())
    first = cluster.delete(DEPLOYMENTS, "web", propagation="Foreground")

    cluster.delete(DEPLOYMENTS, "web", propagation="Orphan")
    second = cluster.get(DEPLOYMENTS, "web")["metadata"]
    cluster.delete(DEPLOYMENTS, "web", propagation="Background")

    assert (second["finalizers"], second["generation"]) == (["orphan"], 2)
    assert second["deletionTimestamp"] == first["metadata"]["deletionTimestamp"]
    assert cluster.list(DEPLOYMENTS).items == []


@pytest.mark.parametrize("resource", [WORKSPACES, PODS])
def test_unknown_policy_is_invalid(cluster: Cluster, resource: Resource) -> None:
    cluster.create(resource, {"metadata": {"name": "x"}})

    with pytest.raises(Invalid, match="propagationPolicy: Unsupported value"):
        cluster.delete(resource, "x", propagation="Sideways")

    assert len(cluster.list(resource).items) == 1
