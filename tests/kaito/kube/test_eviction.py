"""Evictions in the version that the server knows, whichever that is."""

from __future__ import annotations

import pytest

from kaito.kube.client import KubeClient
from kaito.runtime.ports import BadRequest, Conflict, NotFound, Object, Throttled
from tests.kaito.kube.loopback import Loopback

DONE: Object = {"kind": "Status", "status": "Success", "code": 201}
UNKNOWN_VERSION: Object = {
    "kind": "Status",
    "reason": "BadRequest",
    "message": 'Eviction in version "v1" cannot be handled as a Eviction: no kind "Eviction" is registered '
    'for version "policy/v1" in scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"',
}
NOT_FOUND: Object = {"kind": "Status", "reason": "NotFound", "message": 'pods "p" not found'}


def versions(server: Loopback) -> list[str]:
    return [asked.json["apiVersion"] for asked in server.asked]


def test_eviction_is_posted_to_its_pod(server: Loopback, client: KubeClient) -> None:
    server.answers(201, DONE)

    client.evict("p", "ns", uid="u")

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/namespaces/ns/pods/p/eviction")
    assert asked.json == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "ns"},
        "deleteOptions": {"preconditions": {"uid": "u"}},
    }


def test_eviction_without_uid_has_no_options(server: Loopback, client: KubeClient) -> None:
    server.answers(201, DONE)

    client.evict("p", "ns")

    assert "deleteOptions" not in server.asked[0].json


def test_old_server_gets_the_old_version(server: Loopback, client: KubeClient) -> None:
    server.answers(400, UNKNOWN_VERSION)
    server.answers(201, DONE)

    client.evict("p", "ns")
    client.evict("q", "ns")

    assert versions(server) == ["policy/v1", "policy/v1beta1", "policy/v1beta1"]


def test_upgraded_server_gets_the_new_one(server: Loopback, client: KubeClient) -> None:
    server.answers(400, UNKNOWN_VERSION)
    server.answers(201, DONE)
    server.answers(400, UNKNOWN_VERSION)
    server.answers(201, DONE)

    for _ in range(3):
        client.evict("p", "ns")

    assert versions(server) == ["policy/v1", "policy/v1beta1", "policy/v1beta1", "policy/v1", "policy/v1"]


def test_server_that_knows_neither_is_told(server: Loopback, client: KubeClient) -> None:
    server.answers(400, UNKNOWN_VERSION)

    with pytest.raises(BadRequest, match="no kind"):
        client.evict("p", "ns")

    assert len(server.asked) == 2


def test_old_server_refuses_like_any(server: Loopback, client: KubeClient) -> None:
    server.answers(400, UNKNOWN_VERSION)
    server.answers(404, NOT_FOUND)

    with pytest.raises(NotFound):
        client.evict("p", "ns")


def test_other_bad_request_is_not_repeated(server: Loopback, client: KubeClient) -> None:
    server.answers(400, {"kind": "Status", "reason": "BadRequest", "message": "name in URL does not match"})

    with pytest.raises(BadRequest):
        client.evict("p", "ns")

    assert len(server.asked) == 1


def test_budget_is_named_in_the_causes(server: Loopback, client: KubeClient) -> None:
    cause = "The disruption budget falcon needs 1 healthy pods and has 1 currently"
    server.answers(
        429,
        {
            "kind": "Status",
            "reason": "TooManyRequests",
            "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "details": {
                "causes": [{"reason": "DisruptionBudget", "message": cause}],
                "retryAfterSeconds": 10,
            },
        },
    )

    with pytest.raises(Throttled) as caught:
        client.evict("p", "ns")

    assert caught.value.causes == (cause,)
    assert caught.value.retry_after_seconds == 10.0


def test_pod_of_other_uid_is_a_conflict(server: Loopback, client: KubeClient) -> None:
    server.answers(409, {"kind": "Status", "reason": "Conflict", "message": "the UID does not match"})

    with pytest.raises(Conflict):
        client.evict("p", "ns", uid="other")
