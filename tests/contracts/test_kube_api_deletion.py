"""What every implementation of the port to the Kubernetes API promises of deletions and evictions."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import (
    NODES,
    PODS,
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Object,
    Throttled,
)
from tests.contracts.kube_api import FINALIZER, OTHER_UID, Served, version, virtual


class Deletions:
    """Subclasses bring the fixture ``served``."""

    # Deletion

    def test_deleted_object_is_gone(self, served: Served) -> None:
        served.create()

        served.delete()

        with pytest.raises(NotFound):
            served.get()

    def test_delete_means_one_object(self, served: Served) -> None:
        created = served.create()

        with pytest.raises(Conflict, match="UID in the precondition"):
            served.delete(uid=OTHER_UID)
        with pytest.raises(Conflict, match="ResourceVersion in the precondition"):
            served.delete(resource_version="1")
        assert served.get() == created

        served.delete(uid=created["metadata"]["uid"], resource_version=version(created))
        assert served.names() == []

    def test_finalizer_holds_the_object(self, served: Served) -> None:
        created = served.create(finalizers=[FINALIZER])

        told = served.delete()
        again = served.delete()

        held = served.get()
        assert held["metadata"]["deletionTimestamp"]
        assert held["metadata"]["generation"] == created["metadata"]["generation"] + 1
        assert told == again == held

    def test_name_of_a_deleted_object_is_taken(self, served: Served) -> None:
        served.create(finalizers=[FINALIZER])
        served.delete()

        with pytest.raises(AlreadyExists, match=r"^object is being deleted"):
            served.create()

    def test_last_finalizer_lets_go(self, served: Served) -> None:
        served.create(finalizers=[FINALIZER, "kaito.sh/other"])
        served.delete()

        served.patch({"metadata": {"finalizers": ["kaito.sh/other"]}})
        assert served.names() == ["w"]
        served.patch({"metadata": {"finalizers": None}})

        assert served.names() == []

    def test_deleted_object_takes_no_finalizer(self, served: Served) -> None:
        served.create(finalizers=[FINALIZER])
        served.delete()

        with pytest.raises((Invalid, Forbidden)):
            served.patch({"metadata": {"finalizers": [FINALIZER, "kaito.sh/late"]}})

    # Objects of the cluster

    def test_object_of_the_cluster_has_no_namespace(self, served: Served) -> None:
        name = f"node-{served.namespace}"
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}

        created = served.api.create(NODES, body)

        assert "namespace" not in created["metadata"]
        assert served.api.get(NODES, name)["metadata"]["uid"] == created["metadata"]["uid"]
        served.api.delete(NODES, name, uid=created["metadata"]["uid"])
        with pytest.raises(NotFound, match=f'^nodes "{name}" not found$'):
            served.api.get(NODES, name)

    # Evictions

    def _running_pod(self, served: Served) -> Object:
        spec = {"containers": [{"name": "main", "image": "falcon"}]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "falcon"}},
            "spec": spec,
        }
        served.api.create(PODS, body, served.namespace)
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        return served.api.patch(PODS, "p", {"status": status}, served.namespace, subresource="status")

    def _budget(self, served: Served, allowed: int) -> None:
        body = {
            "metadata": {"name": "budget"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "falcon"}}},
        }
        created = served.api.create(
            served.budgets,
            {"apiVersion": served.budgets.api_version, "kind": "PodDisruptionBudget", **body},
            served.namespace,
        )
        status = {
            "observedGeneration": created["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
        served.api.update(served.budgets, {**created, "status": status}, subresource="status")

    def test_evicted_pod_is_deleted(self, served: Served) -> None:
        pod = self._running_pod(served)

        served.api.evict("p", served.namespace, uid=pod["metadata"]["uid"])

        with pytest.raises(NotFound):
            served.api.get(PODS, "p", served.namespace)

    def test_eviction_means_one_pod(self, served: Served) -> None:
        self._running_pod(served)

        with pytest.raises(Conflict):
            served.api.evict("p", served.namespace, uid=OTHER_UID)
        with pytest.raises(NotFound, match=r'^pods "other" not found$'):
            served.api.evict("other", served.namespace)

        assert served.api.get(PODS, "p", served.namespace)

    def test_spent_budget_holds_the_pod(self, served: Served) -> None:
        self._running_pod(served)
        self._budget(served, allowed=0)

        with pytest.raises(Throttled, match="would violate the pod's disruption budget") as caught:
            served.api.evict("p", served.namespace)

        assert caught.value.causes == (
            "The disruption budget budget needs 1 healthy pods and has 1 currently",
        )
        assert served.api.get(PODS, "p", served.namespace)

    def test_budget_is_spent_by_an_eviction(self, served: Served) -> None:
        self._running_pod(served)
        self._budget(served, allowed=1)

        served.api.evict("p", served.namespace)

        status = served.api.get(served.budgets, "budget", served.namespace)["status"]
        assert status["disruptionsAllowed"] == 0
        assert list(status["disruptedPods"]) == ["p"]

    def test_two_budgets_are_a_fault(self, served: Served) -> None:
        self._running_pod(served)
        self._budget(served, allowed=1)
        first = served.api.get(served.budgets, "budget", served.namespace)
        served.api.create(
            served.budgets,
            {key: first[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "second"}},
            served.namespace,
        )

        with pytest.raises(ApiError) as caught:
            served.api.evict("p", served.namespace)

        assert caught.value.code == 500


class TestVirtualServer(Deletions):
    @pytest.fixture
    def served(self) -> Served:
        return virtual()
