"""The Eviction subresource: when a budget forbids it, in which words, and what it takes of the budget."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.runtime.ports import (
    PODDISRUPTIONBUDGETS,
    PODS,
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    Object,
    Resource,
    Throttled,
)
from simulator.cluster import Cluster
from simulator.refusals import status_of as told
from tests.simulator.budgets import a_budget, a_serving_pod, grant, set_ready, status_of
from tests.simulator.virtual import SetClock, a_cluster, a_pod

VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."


@pytest.fixture
def cluster() -> Cluster:
    return a_cluster(SetClock())


@pytest.fixture
def guarded(cluster: Cluster) -> Cluster:
    """Two pods that serve, under a budget that lets one of them go."""
    cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=2))
    grant(cluster)
    a_serving_pod(cluster, "pod-0")
    a_serving_pod(cluster, "pod-1")
    return cluster


def is_going(cluster: Cluster, name: str = "pod-0") -> bool:
    return "deletionTimestamp" in cluster.get(PODS, name)["metadata"]


def refusal(cluster: Cluster, name: str = "pod-0") -> ApiError:
    """The answer to an eviction that is refused, which must change nothing."""
    before = cluster.resource_version
    with pytest.raises(ApiError) as refused:
        cluster.evict(name, "default")
    assert cluster.resource_version == before
    return refused.value


# --- without a budget


def test_eviction_is_a_graceful_delete(cluster: Cluster) -> None:
    a_serving_pod(cluster, "pod-0")

    cluster.evict("pod-0", "default")

    assert cluster.get(PODS, "pod-0")["metadata"]["deletionGracePeriodSeconds"] == 30


def test_unbound_pod_is_evicted_at_once(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod())

    cluster.evict("pod-0", "")

    assert cluster.list(PODS).items == []


def test_eviction_of_a_missing_pod(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match='pods "pod-0" not found'):
        cluster.evict("pod-0", "default")


def test_eviction_is_for_one_uid(guarded: Cluster) -> None:
    uid = guarded.get(PODS, "pod-0")["metadata"]["uid"]
    before = guarded.resource_version

    with pytest.raises(Conflict, match=r"the UID in the precondition \(other\) does not match"):
        guarded.evict("pod-0", "default", uid="other")
    assert guarded.resource_version == before
    guarded.evict("pod-0", "default", uid=uid)

    assert is_going(guarded)


# --- with one


def test_allowed_eviction_spends_the_budget(guarded: Cluster) -> None:
    guarded.evict("pod-0", "default")

    status = status_of(guarded)
    assert is_going(guarded)
    assert status["disruptionsAllowed"] == 0
    assert status["disruptedPods"] == {"pod-0": "2024-04-05T18:29:58Z"}
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "False",
        "InsufficientPods",
    )


def test_second_eviction_of_an_instant_is_refused(guarded: Cluster) -> None:
    guarded.evict("pod-0", "default")

    refused = refusal(guarded, "pod-1")

    assert isinstance(refused, Throttled)
    assert not is_going(guarded, "pod-1")


def test_refusal_says_who_blocks(guarded: Cluster) -> None:
    grant(guarded, disruptionsAllowed=0, currentHealthy=2)

    refused = refusal(guarded)

    assert (refused.code, refused.message, refused.retry_after_seconds) == (429, VIOLATED, None)
    why = "The disruption budget web needs 2 healthy pods and has 2 currently"
    assert refused.causes == (why,)
    assert told(refused)["details"] == {"causes": [{"message": why}]}


def test_budget_must_be_computed_first(cluster: Cluster) -> None:
    cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=0))
    a_serving_pod(cluster, "pod-0")

    refused = refusal(cluster)

    assert (refused.code, refused.message, refused.retry_after_seconds) == (429, VIOLATED, 10.0)
    assert refused.causes == ("The disruption budget web is still being processed by the server.",)
    assert told(refused)["details"]["retryAfterSeconds"] == 10


def test_changed_budget_must_be_computed_again(guarded: Cluster) -> None:
    guarded.patch(PODDISRUPTIONBUDGETS, "web", {"spec": {"minAvailable": 3}})

    assert "still being processed" in refusal(guarded).causes[0]


def test_failed_computation_is_told(guarded: Cluster) -> None:
    failure = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}
    grant(guarded, disruptionsAllowed=0, conditions=[failure])

    (why,) = refusal(guarded).causes

    assert why == (
        "The disruption budget web does not allow evicting pods currently because it failed sync: no scale"
    )


def test_two_budgets_for_one_pod_are_refused(guarded: Cluster) -> None:
    guarded.create(PODDISRUPTIONBUDGETS, a_budget("other", maxUnavailable=1))

    refused = refusal(guarded)

    assert (refused.code, refused.message) == (
        500,
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    )


def test_too_many_unconfirmed_evictions_are_forbidden(guarded: Cluster) -> None:
    disrupted = {f"gone-{number}": "2024-04-05T18:29:58Z" for number in range(2001)}
    grant(guarded, disruptedPods=disrupted)

    refused = refusal(guarded)

    assert isinstance(refused, Forbidden)
    assert refused.message.startswith(
        'poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big'
    )


def test_budget_of_another_namespace_is_ignored(cluster: Cluster) -> None:
    cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=1), "elsewhere")
    a_serving_pod(cluster, "pod-0")

    cluster.evict("pod-0", "default")

    assert is_going(cluster)


def test_refused_delete_leaves_the_budget_spent(guarded: Cluster) -> None:
    """The controller gives the disruption back when the pod is still there after two minutes."""

    def deny(operation: str, resource: Resource, *_: object) -> None:
        if operation == "DELETE":
            raise Forbidden("not now")

    guarded.admit.append(deny)
    with pytest.raises(Forbidden, match="not now"):
        guarded.evict("pod-0", "default")

    assert not is_going(guarded)
    assert list(status_of(guarded)["disruptedPods"]) == ["pod-0"]


# --- pods that no budget holds


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_pod_that_does_not_serve_is_exempt(guarded: Cluster, phase: str) -> None:
    grant(guarded, disruptionsAllowed=0)
    guarded.patch(PODS, "pod-0", {"status": {"phase": phase}}, subresource="status")
    before = status_of(guarded)

    guarded.evict("pod-0", "default")

    assert phase != "Pending" or is_going(guarded)
    assert status_of(guarded) == before


def test_pod_on_its_way_out_is_exempt(guarded: Cluster) -> None:
    guarded.delete(PODS, "pod-0")
    grant(guarded, disruptionsAllowed=0)
    before = guarded.resource_version

    guarded.evict("pod-0", "default")

    assert guarded.resource_version == before


UNREADY_TABLE: list[tuple[int, int, dict[str, Any], bool]] = [
    # healthy, desired, spec, whether a pod that is not ready may go though nothing is allowed
    (2, 2, {}, True),
    (1, 2, {}, False),
    (0, 0, {}, False),
    (2, 2, {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, True),
    (1, 2, {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, False),
    (1, 2, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, True),
]


@pytest.mark.parametrize(("healthy", "desired", "spec", "goes"), UNREADY_TABLE)
def test_unready_pod_goes_while_others_suffice(
    cluster: Cluster, healthy: int, desired: int, spec: dict[str, Any], goes: bool
) -> None:
    cluster.create(PODDISRUPTIONBUDGETS, a_budget(minAvailable=desired, **spec))
    before = grant(cluster, disruptionsAllowed=0, currentHealthy=healthy, desiredHealthy=desired)["status"]
    a_serving_pod(cluster, "pod-0", ready=False)

    if goes:
        cluster.evict("pod-0", "default")
    else:
        refusal(cluster)

    assert is_going(cluster) is goes
    assert status_of(cluster) == before


def test_unready_pod_may_spend_what_is_allowed(guarded: Cluster) -> None:
    set_ready(guarded, "pod-0", False)
    grant(guarded, currentHealthy=1, desiredHealthy=2)

    guarded.evict("pod-0", "default")

    assert status_of(guarded)["disruptionsAllowed"] == 0


# --- selectors

IN = {"key": "app", "operator": "In", "values": ["web", "api"]}
SELECTORS: list[tuple[Object | None, dict[str, str], bool]] = [
    ({"matchLabels": {"app": "web"}}, {"app": "web", "more": "x"}, True),
    ({"matchLabels": {"app": "web"}}, {"app": "api"}, False),
    ({"matchLabels": {"app": "web", "tier": "a"}}, {"app": "web"}, False),
    ({"matchExpressions": [IN]}, {"app": "api"}, True),
    ({"matchExpressions": [IN]}, {}, False),
    ({"matchExpressions": [{**IN, "operator": "NotIn"}]}, {"app": "web"}, False),
    ({"matchExpressions": [{**IN, "operator": "NotIn"}]}, {}, True),
    ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {"app": ""}, True),
    ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {}, False),
    ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"app": "x"}, False),
    ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {}, True),
    (
        {"matchLabels": {"app": "web"}, "matchExpressions": [{**IN, "operator": "NotIn"}]},
        {"app": "web"},
        False,
    ),
    ({}, {}, True),
    (None, {"app": "web"}, False),
]


@pytest.mark.parametrize(("selector", "labels", "covered"), SELECTORS)
def test_budget_covers_what_it_selects(
    cluster: Cluster, selector: Object | None, labels: dict[str, str], covered: bool
) -> None:
    body = a_budget(minAvailable=1)
    body["spec"]["selector"] = selector
    cluster.create(PODDISRUPTIONBUDGETS, body)
    a_serving_pod(cluster, "pod-0", labels=labels)

    if covered:
        refusal(cluster)
    else:
        cluster.evict("pod-0", "default")

    assert is_going(cluster) is not covered
