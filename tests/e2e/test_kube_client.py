"""The client on a real API server: the contract of the port, and what no virtual server can show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest

from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.kube.watching import HttpWatch
from kaito.runtime.cache import Added, Deleted, Replaced
from kaito.runtime.ports import (
    MACHINES,
    PODDISRUPTIONBUDGETS,
    PODS,
    WORKSPACES,
    ApiError,
    Gone,
    Invalid,
    NotFound,
    Object,
    Resource,
    Unavailable,
    WatchNotification,
)
from kaito.runtime.reflector import List, Reflector, Watch, error_of_status
from tests.contracts.kube_api import FINALIZER, Served, version
from tests.contracts.test_kube_api import ReadsAndWrites
from tests.contracts.test_kube_api_deletion import Deletions
from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.real_server

LONG = 20.0
OLD_BUDGETS = Resource("policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget")


@pytest.fixture(scope="module")
def client(server: ControlPlane) -> Iterator[KubeClient]:
    connected = connect(server.kubeconfig)
    yield connected
    connected.close()


@pytest.fixture
def served(server: ControlPlane, client: KubeClient, request: pytest.FixtureRequest) -> Served:
    """A namespace named after the test; nothing deletes it but the end of the server."""
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")[:50]
    namespace = f"{slug}-x"
    answer = server.request(
        "POST",
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
    )
    assert answer.code == 201, answer
    served_versions = server.request("GET", "/apis/policy").body["versions"]
    newest = any(each["version"] == "v1" for each in served_versions)
    return Served(client, namespace, PODDISRUPTIONBUDGETS if newest else OLD_BUDGETS)


class TestReadsAndWrites(ReadsAndWrites):
    pass


class TestDeletions(Deletions):
    pass


def opened(served: Served, resource_version: str = "", **options: object) -> HttpWatch:
    assert isinstance(served.api, KubeClient)
    return served.api.open_watch(
        WORKSPACES,
        served.namespace,
        resource_version=resource_version,
        **options,  # type: ignore[arg-type]
    )


def read_up_to(watch: HttpWatch, count: int) -> list[WatchNotification]:
    found: list[WatchNotification] = []
    while len(found) < count:
        came = watch.read(LONG)
        assert came, f"only {len(found)} of {count} came"
        found += came
    return found


def told(notifications: list[WatchNotification]) -> list[tuple[str, str]]:
    return [(each.type, each.object["metadata"]["name"]) for each in notifications]


def test_watch_goes_on_from_a_list(served: Served) -> None:
    served.create("before")
    since = served.api.list(WORKSPACES, served.namespace).resource_version
    served.create("between")

    with closing(opened(served, since)) as watch:
        served.create("after", labels={"a": "b"})
        served.api.patch(WORKSPACES, "after", {"metadata": {"labels": None}}, served.namespace)
        served.api.delete(WORKSPACES, "before", served.namespace)
        found = read_up_to(watch, 4)

    assert told(found) == [
        ("ADDED", "between"),
        ("ADDED", "after"),
        ("MODIFIED", "after"),
        ("DELETED", "before"),
    ]
    versions = [int(version(each.object)) for each in found]
    assert versions == sorted(set(versions))
    assert found[0].object == served.get("between")


def test_watch_without_a_version_begins_with_all(served: Served) -> None:
    served.create("a")
    served.create("b")

    with closing(opened(served)) as watch:
        assert sorted(told(read_up_to(watch, 2))) == [("ADDED", "a"), ("ADDED", "b")]


def test_leaving_a_selector_is_a_deletion(served: Served) -> None:
    since = version(served.create("w", labels={"tier": "gpu"}))

    with closing(opened(served, since, label_selector="tier=gpu")) as watch:
        served.patch({"metadata": {"labels": {"tier": "cpu"}}})
        served.patch({"metadata": {"labels": {"tier": "gpu"}}})

        assert told(read_up_to(watch, 2)) == [("DELETED", "w"), ("ADDED", "w")]


def test_server_ends_a_watch_with_a_bookmark(served: Served) -> None:
    since = version(served.create())
    found: list[WatchNotification] = []

    with closing(opened(served, since, timeout_seconds=3)) as watch:
        while (came := watch.read(LONG)) is not None:
            assert came, "the server did not end the watch"
            found += came

    assert {each.type for each in found} <= {"BOOKMARK"}
    assert all(int(version(each.object)) >= int(since) for each in found)


def test_forgotten_version_ends_a_watch(served: Served, server: ControlPlane) -> None:
    """This server says so in the stream, others in the answer."""
    server.compact()

    with closing(opened(served, "1")) as watch:
        (found,) = read_up_to(watch, 1)
        ended = watch.read(LONG)

    assert (found.type, found.object["code"], found.object["reason"]) == ("ERROR", 410, "Expired")
    assert error_of_status(found.object).code == Gone.code
    assert ended is None


def test_forgotten_page_is_gone(served: Served, server: ControlPlane) -> None:
    served.create("a")
    served.create("b")
    token = served.api.list(WORKSPACES, served.namespace, limit=1).continue_
    served.create("c")
    server.compact()

    with pytest.raises(Gone, match="continue parameter is too old"):
        served.api.list(WORKSPACES, served.namespace, limit=1, continue_=token)


def test_reflector_follows_the_server(served: Served, server: ControlPlane) -> None:
    """The driver's part by hand: list, watch, and list again once the version is forgotten."""
    reflector = Reflector(Random("e2e"))
    served.create("a")

    def listed() -> list[str]:
        action = reflector.next_action(0.0)
        assert isinstance(action, List)
        page = served.api.list(
            WORKSPACES, served.namespace, limit=action.limit, resource_version=action.resource_version
        )
        (replaced,) = reflector.on_list_page(page, 0.0)
        assert isinstance(replaced, Replaced)
        return [item["metadata"]["name"] for item in replaced.items]

    assert listed() == ["a"]
    action = reflector.next_action(0.0)
    assert isinstance(action, Watch)
    with closing(opened(served, action.resource_version, timeout_seconds=action.timeout_seconds)) as watch:
        served.create("b")
        served.api.delete(WORKSPACES, "a", served.namespace)
        deltas = reflector.on_notifications(read_up_to(watch, 2), 1.0)
    assert [type(each) for each in deltas] == [Added, Deleted]

    reflector.on_watch_ended(2.0, Gone("too old resource version"))
    reflector.next_action(2.0)
    assert reflector.next_action(1000.0) == List(reflector.resource_version, 0, attempt=3)


def test_closing_wakes_a_watch_over_tls(served: Served) -> None:
    since = version(served.create())
    watch = opened(served, since)
    assert watch.read(0.05) == []

    watch.close()

    assert watch.read(LONG) is None
    assert not watch._reader.is_alive()


def test_machine_has_its_status_apart(served: Served, client: KubeClient) -> None:
    name = "ws0123456789"
    body: Object = {"metadata": {"name": name, "finalizers": [FINALIZER]}, "spec": {"resources": {}}}
    created = client.create(MACHINES, body)

    patched = client.patch(MACHINES, name, {"status": {"providerID": "azure:///x"}}, subresource="status")
    client.delete(MACHINES, name, uid=created["metadata"]["uid"], propagation="Background")
    held = client.get(MACHINES, name)
    client.patch(MACHINES, name, [{"op": "remove", "path": "/metadata/finalizers"}])

    assert patched["status"] == {"providerID": "azure:///x"}
    assert patched["metadata"]["generation"] == created["metadata"]["generation"]
    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(NotFound):
        client.get(MACHINES, name)


def test_orphans_are_asked_for(served: Served) -> None:
    served.create()

    told = served.delete(propagation="Orphan")

    # No collector runs beside a bare API server, so that the finalizer it is given stays.
    assert told["metadata"]["finalizers"] == ["orphan"]
    served.patch({"metadata": {"finalizers": None}})


def test_field_of_a_wrong_kind_is_invalid(served: Served) -> None:
    served.create()

    with pytest.raises(Invalid) as caught:
        served.patch({"inference": {"preset": {"name": 7}}})

    assert caught.value.code == 422
    assert caught.value.causes


def test_list_of_many_pages_is_complete(served: Served, client: KubeClient) -> None:
    for number in range(25):
        served.create(f"w{number:02}")
    found: list[str] = []
    token = ""

    while True:
        page = client.list(WORKSPACES, served.namespace, limit=4, continue_=token)
        found += [item["metadata"]["name"] for item in page.items]
        assert all(item["kind"] == "Workspace" for item in page.items)
        if not (token := page.continue_):
            break

    assert found == [f"w{number:02}" for number in range(25)]


def test_items_of_core_kinds_are_typed(served: Served, client: KubeClient) -> None:
    spec = {"containers": [{"name": "main", "image": "falcon"}]}
    client.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, served.namespace)

    (item,) = client.list(PODS, served.namespace).items

    assert item == client.get(PODS, "p", served.namespace)


def test_group_that_is_not_served_proves_nothing(client: KubeClient) -> None:
    unknown = Resource("nobody.example", "v1", "things", "Thing")

    with pytest.raises(Unavailable) as caught:
        client.get(unknown, "w")

    assert caught.value.code == 404


def test_wrong_token_is_told_without_it(server: ControlPlane, client: KubeClient) -> None:
    config = server.kubeconfig.read_text()
    other = server.kubeconfig.with_name("kubeconfig-of-nobody")
    other.write_text(re.sub(r'"token": "[^"]*"', '"token": "a-wrong-canary"', config))
    stranger = connect(other)

    with pytest.raises(ApiError) as caught:
        stranger.list(WORKSPACES)

    assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")
    assert "canary" not in repr(caught.value)
    stranger.close()
