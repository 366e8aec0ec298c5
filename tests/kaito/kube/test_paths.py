"""Paths are what the API server documents, and no name leads out of its place."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.kube import paths
from kaito.runtime.ports import MACHINES, NODES, PODS, WORKSPACES, BadRequest, Resource

ITEMS = {
    "core": (PODS, "p", "ns", "", "/api/v1/namespaces/ns/pods/p"),
    "core of the cluster": (NODES, "n", "", "", "/api/v1/nodes/n"),
    "default namespace": (PODS, "p", "", "", "/api/v1/namespaces/default/pods/p"),
    "group": (WORKSPACES, "w", "ns", "", "/apis/kaito.sh/v1alpha1/namespaces/ns/workspaces/w"),
    "group of the cluster": (MACHINES, "m", "", "", "/apis/karpenter.sh/v1alpha5/machines/m"),
    "namespace that means nothing": (MACHINES, "m", "ns", "", "/apis/karpenter.sh/v1alpha5/machines/m"),
    "subresource": (MACHINES, "m", "", "status", "/apis/karpenter.sh/v1alpha5/machines/m/status"),
    "colon": (PODS, "system:a b", "ns", "", "/api/v1/namespaces/ns/pods/system%3Aa%20b"),
}


@pytest.mark.parametrize(("resource", "name", "namespace", "subresource", "path"), ITEMS.values(), ids=ITEMS)
def test_object_has_its_path(
    resource: Resource, name: str, namespace: str, subresource: str, path: str
) -> None:
    assert paths.item(resource, name, namespace, subresource) == path


def test_list_without_namespace_spans_all() -> None:
    assert paths.collection(PODS) == "/api/v1/pods"
    assert paths.collection(PODS, "ns") == "/api/v1/namespaces/ns/pods"
    assert paths.collection(NODES, "ns") == "/api/v1/nodes"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../pods", "a%2fb"])
def test_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        paths.item(PODS, name, "ns")
    if name:
        with pytest.raises(BadRequest):
            paths.item(PODS, "p", name)


@given(st.text(min_size=1, max_size=40))
def test_any_name_is_one_segment(name: str) -> None:
    try:
        path = paths.item(PODS, name, "ns")
    except BadRequest:
        assert "/" in name or "%" in name or name in (".", "..")
        return

    head, _, last = path.rpartition("/")

    assert head == "/api/v1/namespaces/ns/pods"
    assert unquote(last) == name
    assert path.isascii()
    assert not set(path) & set("?#\\ \r\n")


def test_query_carries_only_what_is_given() -> None:
    query = paths.query({"limit": 0, "continue": "", "labelSelector": "a in (b, c),d!=e&f", "watch": "true"})

    assert parse_qsl(query[1:]) == [("labelSelector", "a in (b, c),d!=e&f"), ("watch", "true")]
    assert "+" not in query
    assert paths.query({"limit": 0}) == ""
