"""Writes to an object that others write to as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kaito.runtime.ports import MACHINES, Conflict, Object, Resource
from kaito.runtime.targets import Target
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


def test_write_survives_whoever_is_always_faster() -> None:
    busy = Busy(lambda count: {"metadata": {"labels": {"count": str(count)}}})
    target = target_of(busy.cluster)

    target.hold(busy, OURS)  # type: ignore[arg-type]
    target.patch(busy, lambda found: {"status": {"nodeName": "n", "providerID": None}}, "status")  # type: ignore[arg-type]
    target.release(busy, OURS)  # type: ignore[arg-type]

    found = busy.cluster.get(MACHINES, NAME)
    assert found["status"] == {"nodeName": "n"}
    assert not found["metadata"].get("finalizers")
    assert found["metadata"]["labels"] == {"count": str(busy.patches)}
    assert busy.patches >= 4


def test_write_that_stands_already_is_not_made_again() -> None:
    busy = Busy(lambda count: {"metadata": {"finalizers": [OURS], "labels": {"count": str(count)}}})
    target = target_of(busy.cluster)

    target.hold(busy, OURS)  # type: ignore[arg-type]

    assert busy.patches == 1
    assert target.object == busy.cluster.get(MACHINES, NAME)


def test_same_field_of_others_is_not_overwritten() -> None:
    busy = Busy(lambda count: {"metadata": {"finalizers": [f"{THEIRS}-{count}"]}})
    target = target_of(busy.cluster)

    with pytest.raises(Conflict, match="rejected our request"):
        target.hold(busy, OURS)  # type: ignore[arg-type]

    assert busy.cluster.get(MACHINES, NAME)["metadata"]["finalizers"] == [f"{THEIRS}-2"]


class Busy:
    """Somebody writes just before each of our patches."""

    def __init__(self, write: Callable[[int], Object]) -> None:
        self.cluster = a_cluster()
        self.patches = 0
        self._write = write

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self.cluster.get(resource, name, namespace)

    def patch(self, *arguments: Any, **options: Any) -> Object:
        self.patches += 1
        self.cluster.patch(MACHINES, NAME, self._write(self.patches))
        return self.cluster.patch(*arguments, **options)
