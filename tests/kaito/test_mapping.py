"""From changes to Workspaces: the index of a driver names the same ones as a look at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.cache import Added, Deleted, ObjectStore, Updated
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.mapping import KeysOf, keys_of
from kaito.runtime.ports import NODES, WORKSPACES, Object

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
NAMES = st.sampled_from(["w1", "w2", "w3"])


def a_workspace(name: str, version: int, labels: dict[str, str] | None) -> Object:
    selector = {} if labels is None else {"labelSelector": {"matchLabels": labels}}
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "resource": selector}


def a_node(labels: dict[str, str]) -> Object:
    return {"metadata": {"name": "n1", "labels": labels, "resourceVersion": "1"}}


@given(st.lists(st.tuples(NAMES, st.none() | LABELS, st.booleans()), max_size=12), LABELS)
def test_index_names_the_same_workspaces(
    changes: list[tuple[str, dict[str, str] | None, bool]], labels: dict[str, str]
) -> None:
    store, indexed = ObjectStore(), KeysOf()
    caches = {WORKSPACES: store}
    store.add_handler(lambda old, new: indexed(WORKSPACES, old, new, caches))
    for version, (name, wanted, gone) in enumerate(changes, start=1):
        body, known = a_workspace(name, version, wanted), store.get(name, "default")
        store.apply(Deleted(body) if gone else Added(body) if known is None else Updated(body))

    found = indexed(NODES, None, a_node(labels), caches)

    assert found == keys_of(NODES, None, a_node(labels), caches)


def test_node_concerns_only_those_who_select_it() -> None:
    indexed = KeysOf()
    for name in ("w1", "w2"):
        indexed(WORKSPACES, None, a_workspace(name, 1, {"apps": name}), {})

    found = indexed(NODES, None, a_node({"apps": "w2", "zone": "1"}), {})

    assert found == [WorkspaceKey("default", "w2")]


def test_workspaces_that_went_leave_nothing_in_the_index() -> None:
    indexed, workspace = KeysOf(), a_workspace("w1", 1, {"apps": "w1"})
    indexed(WORKSPACES, None, workspace, {})

    indexed(WORKSPACES, workspace, None, {})

    assert indexed(NODES, None, a_node({"apps": "w1"}), {}) == []
    assert indexed._selecting == {}
