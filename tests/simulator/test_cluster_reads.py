"""Get and list: order, selectors, pages of one snapshot."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import (
    NODES,
    PODS,
    WORKSPACES,
    ApiError,
    BadRequest,
    Gone,
    Page,
)
from simulator.cluster import Cluster
from simulator.refusals import ResourceVersionTooLarge
from tests.simulator.virtual import SetClock, a_cluster, a_pod, names


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cluster(clock: SetClock) -> Cluster:
    return a_cluster(clock)


def with_pods(cluster: Cluster, *pod_names: str, namespace: str = "") -> None:
    for name in pod_names:
        cluster.create(PODS, a_pod(name), namespace)


def all_pages(cluster: Cluster, first: Page, limit: int) -> list[list[str]]:
    pages, page = [names(first.items)], first
    while page.continue_:
        page = cluster.list(PODS, limit=limit, continue_=page.continue_)
        pages.append(names(page.items))
    return pages


def test_list_goes_by_namespace_and_name(cluster: Cluster) -> None:
    for namespace, name in (("b", "x"), ("a-b", "z"), ("a", "y"), ("a", "b"), ("b", "a")):
        cluster.create(PODS, a_pod(name), namespace)

    listed = cluster.list(PODS)

    keys = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listed.items]
    assert keys == [("a-b", "z"), ("a", "b"), ("a", "y"), ("b", "a"), ("b", "x")]
    assert listed.resource_version == cluster.resource_version
    assert names(cluster.list(PODS, "a").items) == ["b", "y"]
    assert names(cluster.list(PODS, "nowhere").items) == []


def test_empty_list_has_a_usable_version(cluster: Cluster) -> None:
    listed = cluster.list(WORKSPACES)

    assert listed.items == []
    assert int(listed.resource_version) > 0


def test_list_selects_by_labels_and_fields(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod("a", node="gpu-0", labels={"app": "falcon"}))
    cluster.create(PODS, a_pod("b", node="gpu-1", labels={"app": "falcon"}))
    cluster.create(PODS, a_pod("c", node="gpu-0"))

    assert names(cluster.list(PODS, label_selector="app=falcon").items) == ["a", "b"]
    assert names(cluster.list(PODS, label_selector="!app").items) == ["c"]
    assert names(cluster.list(PODS, field_selector="spec.nodeName=gpu-0").items) == ["a", "c"]
    assert names(cluster.list(PODS, "default", field_selector="metadata.name=b").items) == ["b"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_partition_the_list(cluster: Cluster, limit: int) -> None:
    with_pods(cluster, "a", "b", "c", "d")

    pages = all_pages(cluster, cluster.list(PODS, limit=limit), limit)

    assert [name for page in pages for name in page] == ["a", "b", "c", "d"]
    assert all(len(page) == limit for page in pages[:-1])
    assert 0 < len(pages[-1]) <= limit


def test_pages_count_only_what_matches(cluster: Cluster) -> None:
    for number in range(6):
        cluster.create(PODS, a_pod(f"p{number}", labels={"odd": str(number % 2)}))

    first = cluster.list(PODS, label_selector="odd=1", limit=2)
    second = cluster.list(PODS, label_selector="odd=1", limit=2, continue_=first.continue_)

    assert (names(first.items), names(second.items)) == (["p1", "p3"], ["p5"])
    assert second.continue_ == ""


def test_pages_are_of_one_snapshot(cluster: Cluster) -> None:
    with_pods(cluster, "a", "b", "c", "d")
    first = cluster.list(PODS, limit=1)
    cluster.delete(PODS, "b")
    cluster.patch(PODS, "c", {"spec": {"changed": True}})
    with_pods(cluster, "bb")
    cluster.delete(PODS, "d")
    with_pods(cluster, "d")

    rest = cluster.list(PODS, continue_=first.continue_)

    assert names(rest.items) == ["b", "c", "d"]
    assert "changed" not in rest.items[1]["spec"]
    assert rest.resource_version == first.resource_version
    assert names(cluster.list(PODS).items) == ["a", "bb", "c", "d"]


def test_expired_page_is_gone(cluster: Cluster) -> None:
    with_pods(cluster, "a", "b")
    first = cluster.list(PODS, limit=1)
    with_pods(cluster, "c")
    cluster.compact()

    with pytest.raises(Gone, match="continue parameter is too old"):
        cluster.list(PODS, limit=1, continue_=first.continue_)


def test_history_is_kept_for_its_time(cluster: Cluster, clock: SetClock) -> None:
    with_pods(cluster, "a", "b")
    first = cluster.list(PODS, limit=1)
    with_pods(cluster, "c")
    clock.pass_seconds(299)
    with_pods(cluster, "d")

    assert names(cluster.list(PODS, continue_=first.continue_).items) == ["b"]
    clock.pass_seconds(601)
    with_pods(cluster, "e")
    with pytest.raises(Gone):
        cluster.list(PODS, continue_=first.continue_)


def test_limited_list_can_ask_for_a_version(cluster: Cluster) -> None:
    with_pods(cluster, "a")
    then = cluster.resource_version
    with_pods(cluster, "b")

    assert names(cluster.list(PODS, limit=5, resource_version=then).items) == ["a"]
    assert names(cluster.list(PODS, resource_version=then).items) == ["a", "b"]
    assert names(cluster.list(PODS, limit=5, resource_version="0").items) == ["a", "b"]
    cluster.compact()
    with pytest.raises(Gone, match="too old resource version"):
        cluster.list(PODS, limit=5, resource_version=then)


def test_version_from_the_future_is_too_large(cluster: Cluster) -> None:
    with pytest.raises(
        ResourceVersionTooLarge, match="Too large resource version: 99, current: 1"
    ) as refusal:
        cluster.list(NODES, resource_version="99")

    assert (refusal.value.code, refusal.value.retry_after_seconds) == (504, 1.0)


def test_nonsense_parameters_are_refused(cluster: Cluster) -> None:
    with_pods(cluster, "a", "b")
    token = cluster.list(PODS, limit=1).continue_

    with pytest.raises(BadRequest, match="continue key is not valid"):
        cluster.list(PODS, continue_="nonsense")
    with pytest.raises(BadRequest, match="not allowed when using continue"):
        cluster.list(PODS, continue_=token, resource_version="2")
    with pytest.raises(ApiError, match=r'^resourceVersion: Invalid value: "abc"') as caught:
        cluster.list(PODS, resource_version="abc")
    with pytest.raises(BadRequest, match=r'^invalid resource version: resourceVersion: Invalid value: "abc"'):
        cluster.list(PODS, resource_version="abc", limit=1)
    assert caught.value.code == 500
