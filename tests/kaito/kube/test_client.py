"""The client over a socket: what it sends, what it understands, and what it does when all goes wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito.kube import connect
from kaito.kube.access import access_loader
from kaito.kube.client import KubeClient
from kaito.kube.identity import Identities
from kaito.kube.transport import Transport
from kaito.runtime.ports import (
    MACHINES,
    NODES,
    PODS,
    WORKSPACES,
    AlreadyExists,
    ApiError,
    BadRequest,
    Object,
    Throttled,
    Unavailable,
)
from tests.kaito.kube.conftest import TOKEN
from tests.kaito.kube.loopback import RESET, SILENCE, TRUNCATED, Loopback

POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "resourceVersion": "7"}}
MERGE, JSON = "application/merge-patch+json", "application/json"
DEADLINE = {"timeout": "30s"}
DRY = {"dryRun": "All", **DEADLINE}
PODS_PATH = "/api/v1/namespaces/default/pods"
MACHINE_PATH = "/apis/karpenter.sh/v1alpha5/machines/m"

Verb = Callable[[KubeClient], object]

VERBS: dict[str, tuple[Verb, tuple[str, str, dict[str, str], str, Any]]] = {
    "get": (lambda k: k.get(PODS, "p"), ("GET", f"{PODS_PATH}/p", DEADLINE, "", None)),
    "get of the cluster": (lambda k: k.get(NODES, "n"), ("GET", "/api/v1/nodes/n", DEADLINE, "", None)),
    "create": (lambda k: k.create(PODS, POD), ("POST", PODS_PATH, DEADLINE, JSON, POD)),
    "create in the body's namespace": (
        lambda k: k.create(PODS, {"metadata": {"namespace": "a"}}),
        ("POST", "/api/v1/namespaces/a/pods", DEADLINE, JSON,
         {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a"}}),
    ),
    "create in a namespace, dry": (
        lambda k: k.create(PODS, POD, "ns", dry_run=True),
        ("POST", "/api/v1/namespaces/ns/pods", DRY, JSON, POD),
    ),
    "update": (lambda k: k.update(PODS, POD), ("PUT", f"{PODS_PATH}/p", DEADLINE, JSON, POD)),
    "update of the status, dry": (
        lambda k: k.update(PODS, POD, subresource="status", dry_run=True),
        ("PUT", f"{PODS_PATH}/p/status", DRY, JSON, POD),
    ),
    "merge patch": (
        lambda k: k.patch(MACHINES, "m", {"metadata": {"finalizers": None}}),
        ("PATCH", MACHINE_PATH, DEADLINE, MERGE, {"metadata": {"finalizers": None}}),
    ),
    "empty patch": (lambda k: k.patch(MACHINES, "m", {}), ("PATCH", MACHINE_PATH, DEADLINE, MERGE, {})),
    "JSON patch of the status, dry": (
        lambda k: k.patch(
            MACHINES, "m", ({"op": "remove", "path": "/status"},), subresource="status", dry_run=True
        ),
        ("PATCH", f"{MACHINE_PATH}/status", DRY, "application/json-patch+json",
         [{"op": "remove", "path": "/status"}]),
    ),
    "delete": (
        lambda k: k.delete(MACHINES, "m"),
        ("DELETE", MACHINE_PATH, DEADLINE, JSON, {"apiVersion": "v1", "kind": "DeleteOptions"}),
    ),
    "delete with everything": (
        lambda k: k.delete(
            PODS, "p", "ns", uid="u", resource_version="7", propagation="Foreground", dry_run=True
        ),
        ("DELETE", "/api/v1/namespaces/ns/pods/p", DEADLINE, JSON,
         {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"], "propagationPolicy": "Foreground",
          "preconditions": {"uid": "u", "resourceVersion": "7"}}),
    ),
    "list": (lambda k: k.list(PODS), ("GET", "/api/v1/pods", DEADLINE, "", None)),
    "list with everything": (
        lambda k: k.list(
            PODS, "ns", label_selector="a=b,c", field_selector="spec.nodeName=n", limit=2, continue_="t/+=",
            resource_version="5",
        ),
        ("GET", "/api/v1/namespaces/ns/pods",
         {"labelSelector": "a=b,c", "fieldSelector": "spec.nodeName=n", "limit": "2", "continue": "t/+=",
          "resourceVersion": "5", **DEADLINE},
         "", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("verb", "expected"), VERBS.values(), ids=VERBS)
def test_verb_is_one_request(
    server: Loopback, client: KubeClient, verb: Verb, expected: tuple[str, str, dict[str, str], str, Any]
) -> None:
    server.answers(200, {**POD, "metadata": {}, "items": []})

    verb(client)

    (asked,) = server.asked
    content_type = asked.headers.get("content-type", "")
    assert (asked.method, asked.path, asked.query, content_type) == expected[:4]
    assert (asked.json if asked.body else None) == expected[4]


def test_request_says_who_asks(server: Loopback, kubeconfig: Callable[..., Path]) -> None:
    server.answers(200, POD)
    client = connect(kubeconfig(server.url), user_agent="kaito-provisioner")

    client.get(PODS, "p")

    headers = server.asked[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["user-agent"].startswith("kaito-provisioner/")
    assert headers["accept"] == JSON
    client.close()


def test_answer_is_the_plain_object(server: Loopback, client: KubeClient) -> None:
    server.answers(200, POD)

    assert client.get(PODS, "p") == POD


def test_items_of_a_list_are_typed(server: Loopback, client: KubeClient) -> None:
    metadata = {"resourceVersion": "12", "continue": "next"}
    server.answers(200, {"kind": "PodList", "metadata": metadata, "items": [{"metadata": {"name": "p"}}]})
    server.answers(200, {"kind": "WorkspaceList", "metadata": {"resourceVersion": "13"}, "items": None})

    first, second = client.list(PODS, limit=1), client.list(WORKSPACES)

    assert first.items == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}]
    assert (first.resource_version, first.continue_) == ("12", "next")
    assert (second.items, second.resource_version, second.continue_) == ([], "13", "")


def test_name_that_is_missing_sends_nothing(server: Loopback, client: KubeClient) -> None:
    calls: list[Verb] = [
        lambda k: k.delete(PODS, ""),
        lambda k: k.get(PODS, ".."),
        lambda k: k.patch(PODS, "a/b", {}),
        lambda k: k.update(PODS, {"metadata": {}}),
        lambda k: k.create(PODS, {"metadata": None}),
        lambda k: k.evict("", "ns"),
    ]

    for call in calls:
        with pytest.raises(BadRequest):
            call(client)

    assert server.asked == []


def test_refusal_is_the_error_of_the_port(server: Loopback, client: KubeClient) -> None:
    server.answers(409, {"kind": "Status", "reason": "AlreadyExists", "message": 'pods "p" already exists'})

    with pytest.raises(AlreadyExists, match=r'^pods "p" already exists$'):
        client.create(PODS, POD)

    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["get", "create"])
def test_nothing_is_retried_in_place(server: Loopback, client: KubeClient, code: int, method: str) -> None:
    server.answers(code, b"later", {"Retry-After": "1"})

    with pytest.raises(ApiError) as caught:
        client.get(PODS, "p") if method == "get" else client.create(PODS, POD)

    assert caught.value.retry_after_seconds == 1.0
    assert len(server.asked) == 1


def test_plain_throttling_is_understood(server: Loopback, client: KubeClient) -> None:
    server.answers(429, b"Too many requests, please try again later.\n", {"Retry-After": "2"})

    with pytest.raises(Throttled) as caught:
        client.list(PODS)

    assert caught.value.retry_after_seconds == 2.0


def test_redirect_is_not_followed(server: Loopback, client: KubeClient) -> None:
    with Loopback() as elsewhere:
        server.answers(302, b"", {"Location": f"{elsewhere.url}/api/v1/pods"})

        with pytest.raises(ApiError) as caught:
            client.list(PODS)

        assert caught.value.code == 302
        assert elsewhere.asked == []


BROKEN = {
    "page of a portal": b"<html>sign in</html>",
    "array": b"[]",
    "half of an object": b'{"kind": "Pod", ',
    "nothing": b"",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("verb", ["get", "list"])
def test_success_without_an_object_is_unavailable(
    server: Loopback, client: KubeClient, verb: str, body: bytes
) -> None:
    server.answers(200, body)

    with pytest.raises(Unavailable, match="expected a JSON object"):
        client.get(PODS, "p") if verb == "get" else client.list(PODS)


def test_list_of_other_shape_is_unavailable(server: Loopback, client: KubeClient) -> None:
    server.answers(200, {"kind": "PodList", "items": [1]})

    with pytest.raises(Unavailable):
        client.list(PODS)


@pytest.mark.parametrize("manner", [RESET, TRUNCATED])
@pytest.mark.parametrize("verb", ["get", "create"])
def test_broken_connection_is_unavailable(
    server: Loopback, client: KubeClient, verb: str, manner: str
) -> None:
    server.breaks(manner)

    with pytest.raises(Unavailable, match="connection broken"):
        client.get(PODS, "p") if verb == "get" else client.create(PODS, POD)

    assert len(server.asked) == 1


def test_silent_server_is_given_up(server: Loopback, kubeconfig: Callable[..., Path]) -> None:
    server.breaks(SILENCE)
    identities = Identities(access_loader(kubeconfig(server.url), None, 1))
    client = KubeClient(Transport(identities, "kaito", read_seconds=0.2))

    with pytest.raises(Unavailable, match="no answer in time"):
        client.get(PODS, "p")
    with pytest.raises(Unavailable, match="no answer in time"):
        client.open_watch(PODS)


def test_refused_connection_is_unavailable(kubeconfig: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    client = connect(kubeconfig(f"http://127.0.0.1:{port}"))

    with pytest.raises(Unavailable, match="Connection refused"):
        client.get(PODS, "p")


def test_client_recovers_with_its_server(server: Loopback, client: KubeClient) -> None:
    server.breaks(RESET)
    server.answers(200, POD)

    with pytest.raises(Unavailable):
        client.get(PODS, "p")

    assert client.get(PODS, "p") == POD


def test_connections_are_kept_for_the_workers(server: Loopback, client: KubeClient) -> None:
    server.answers(200, POD)
    client.get(PODS, "p")
    threads_before = threading.active_count()

    for _ in range(5):
        client.get(PODS, "p")

    assert threading.active_count() == threads_before  # the server has one for each connection


def test_many_threads_share_a_client(server: Loopback, client: KubeClient) -> None:
    server.answers(200, POD)
    found: list[Object] = []

    def work() -> None:
        for _ in range(10):
            found.append(client.get(PODS, "p"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [POD] * 40


def test_path_of_the_server_is_kept(server: Loopback, kubeconfig: Callable[..., Path]) -> None:
    server.answers(200, POD)
    client = connect(kubeconfig(f"{server.url}/k8s/clusters/c-1/"))

    client.get(PODS, "p")

    assert server.asked[0].path == f"/k8s/clusters/c-1{PODS_PATH}/p"
    client.close()
