"""Writes to an object that others write to as well."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.runtime.ports import MACHINES, Conflict, Object, Resource
from kaito.runtime.targets import TRIES, Target
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.replication import START

NAME, OURS, THEIRS = "ws000000001", "example.com/ours", "example.com/theirs"


def a_cluster() -> Cluster:
    cluster = Cluster(Engine(START).now)
    body = {"apiVersion": "karpenter.sh/v1alpha5", "kind": "Machine", "metadata": {"name": NAME}}
    cluster.create(MACHINES, body | {"spec": {"machineTemplateRef": {"name": NAME}, "requirements": []}})
    return cluster


def target_of(cluster: Cluster) -> Target:
    found = cluster.get(MACHINES, NAME)
    return Target(MACHINES, NAME, found["metadata"]["uid"], found)


def test_write_goes_on_from_what_others_wrote() -> None:
    cluster = a_cluster()
    target = target_of(cluster)
    cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": [THEIRS], "labels": {"a": "b"}}})

    target.hold(cluster, OURS)

    metadata = cluster.get(MACHINES, NAME)["metadata"]
    assert metadata["finalizers"] == [THEIRS, OURS]
    assert metadata["labels"] == {"a": "b"}
    assert target.object == cluster.get(MACHINES, NAME)


def test_write_decided_on_another_spec_conflicts() -> None:
    cluster = a_cluster()
    target = target_of(cluster)
    cluster.patch(MACHINES, NAME, {"spec": {"machineTemplateRef": {"name": "another"}}})

    with pytest.raises(Conflict):
        target.hold(cluster, OURS)

    assert "finalizers" not in cluster.get(MACHINES, NAME)["metadata"]


def test_write_decided_before_deletion_conflicts() -> None:
    cluster = a_cluster()
    cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": [THEIRS]}})
    target = target_of(cluster)
    cluster.delete(MACHINES, NAME)

    with pytest.raises(Conflict):
        target.patch(cluster, lambda found: {"status": {"nodeName": "n"}}, "status")

    assert not cluster.get(MACHINES, NAME).get("status")


def test_write_to_another_life_conflicts() -> None:
    cluster = a_cluster()
    target = target_of(cluster)
    cluster.delete(MACHINES, NAME)
    body = {key: value for key, value in (target.object or {}).items() if key != "metadata"}
    cluster.create(MACHINES, body | {"metadata": {"name": NAME}})

    with pytest.raises(Conflict):
        target.hold(cluster, OURS)

    assert "finalizers" not in cluster.get(MACHINES, NAME)["metadata"]


def test_endless_conflicts_are_given_up() -> None:
    cluster = Refusing()
    target = target_of(cluster.cluster)

    with pytest.raises(Conflict):
        target.hold(cluster, OURS)  # type: ignore[arg-type]

    assert cluster.patches == TRIES


class Refusing:
    """Somebody was always faster."""

    def __init__(self) -> None:
        self.cluster = a_cluster()
        self.patches = 0

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self.cluster.get(resource, name, namespace)

    def patch(self, *arguments: Any, **options: Any) -> Object:
        self.patches += 1
        raise Conflict("somebody was faster")
