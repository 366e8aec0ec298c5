"""The informer's store: what each delta does to it, and the index against a plain search."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.cache import (
    Added,
    Change,
    Deleted,
    ObjectStore,
    Progressed,
    Replaced,
    Updated,
    key_of,
    parse_resource_version,
    priority_of_change,
)
from kaito.runtime.ports import Object
from kaito.runtime.workqueue import DEFAULT_PRIORITY, LOW_PRIORITY


def an_object(
    name: str = "a",
    version: int = 1,
    *,
    namespace: str = "default",
    uid: str = "",
    labels: dict[str, str] | None = None,
    **metadata: Any,
) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": labels,
            **metadata,
        }
    }


def a_list(*items: Object, version: int, rewound: bool = False) -> Replaced:
    return Replaced(items, str(version), rewound)


@pytest.fixture
def store() -> ObjectStore:
    """Synced at 10 with the object `a` of version 5."""
    store = ObjectStore(indexed_labels=["app"])
    store.apply(a_list(an_object("a", 5), version=10))
    return store


# --- lists ------------------------------------------------------------------------------------------


def test_store_is_synced_by_first_list() -> None:
    store = ObjectStore()
    store.apply(Progressed("3"))
    before = store.synced, store.resource_version

    store.apply(a_list(version=10))

    assert before == (False, "")
    assert (store.synced, store.resource_version) == (True, "10")


def test_list_brings_added_changed_and_tombstone(store: ObjectStore) -> None:
    store.apply(Added(an_object("b", 11)))
    old_a, old_b = store.get("a", "default"), store.get("b", "default")
    new_b, new_c = an_object("b", 15), an_object("c", 14)

    changes = store.apply(a_list(new_c, new_b, version=20))

    assert changes == (
        Change(("default", "a"), old_a, None, tombstone=True),
        Change(("default", "b"), old_b, new_b),
        Change(("default", "c"), None, new_c),
    )
    assert store.objects() == [new_b, new_c]


def test_changes_of_a_list_are_sorted() -> None:
    store, names = ObjectStore(), [f"n{i:02}" for i in range(20)]

    changes = store.apply(a_list(*(an_object(name) for name in reversed(names)), version=10))

    assert [change.key for change in changes] == [("default", name) for name in names]


def test_list_without_news_changes_nothing(store: ObjectStore) -> None:
    assert store.apply(a_list(an_object("a", 5), version=20)) == ()
    assert store.resource_version == "20"


def test_rewound_list_delivers_everything_anew(store: ObjectStore) -> None:
    restored = an_object("a", 5)

    changes = store.apply(a_list(restored, version=7, rewound=True))

    assert [change.new for change in changes] == [restored]
    assert store.resource_version == "7"
    assert len(store.apply(Updated(an_object("a", 8)))) == 1


def test_broken_item_leaves_the_store_alone(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="resourceVersion: expected a decimal"):
        store.apply(Replaced((an_object("b", 11), {"metadata": {"name": "c"}}), "20"))

    assert [key_of(object_) for object_ in store.objects()] == [("default", "a")]
    assert store.resource_version == "10"


# --- notifications ----------------------------------------------------------------------------------


def test_notifications_advance_objects_and_version(store: ObjectStore) -> None:
    old, new = store.get("a", "default"), an_object("a", 12)

    changes = store.apply(Updated(new))

    assert changes == (Change(("default", "a"), old, new),)
    assert store.get("a", "default") is new
    assert store.resource_version == "12"


@pytest.mark.parametrize("version", [4, 5])
def test_older_or_equal_notification_is_ignored(store: ObjectStore, version: int) -> None:
    held = store.get("a", "default")

    changes = store.apply(Updated(an_object("a", version)))

    assert changes == ()
    assert store.get("a", "default") is held
    assert (store.stale, store.resource_version) == (1, "10")


def test_versions_are_compared_as_numbers(store: ObjectStore) -> None:
    store.apply(Updated(an_object("a", 99)))

    assert len(store.apply(Updated(an_object("a", 100)))) == 1
    assert store.resource_version == "100"


def test_bookmark_advances_version_alone(store: ObjectStore) -> None:
    assert store.apply(Progressed("40")) == ()
    assert store.resource_version == "40"
    assert store.apply(Progressed("30")) == ()
    assert store.resource_version == "40"


def test_deletion_removes_and_shows_last_state(store: ObjectStore) -> None:
    held = store.get("a", "default")

    changes = store.apply(Deleted(an_object("a", 12)))

    assert changes == (Change(("default", "a"), held, None, tombstone=False),)
    assert len(store) == 0


def test_modification_after_deletion_is_ignored(store: ObjectStore) -> None:
    store.apply(Updated(an_object("a", 11)))
    store.apply(Deleted(an_object("a", 12)))

    assert store.apply(Updated(an_object("a", 11))) == ()
    assert store.get("a", "default") is None


def test_object_older_than_list_is_no_ghost(store: ObjectStore) -> None:
    assert store.apply(Added(an_object("gone", 9))) == ()
    assert store.get("gone", "default") is None


def test_object_reentering_selector_is_accepted(store: ObjectStore) -> None:
    store.apply(Deleted(an_object("a", 12)))
    back = an_object("a", 13)

    assert store.apply(Added(back)) == (Change(("default", "a"), None, back),)


def test_stale_deletion_spares_recreated_object(store: ObjectStore) -> None:
    store.apply(Deleted(an_object("a", 12)))
    store.apply(Added(an_object("a", 13, uid="second")))

    assert store.apply(Deleted(an_object("a", 12))) == ()
    assert len(store) == 1


def test_deletion_of_unknown_object_changes_nothing(store: ObjectStore) -> None:
    assert store.apply(Deleted(an_object("z", 12))) == ()
    assert store.resource_version == "12"


def test_new_identity_is_removal_and_addition(store: ObjectStore) -> None:
    held, other = store.get("a", "default"), an_object("a", 15, uid="second")

    changes = store.apply(Updated(other))

    assert changes == (
        Change(("default", "a"), held, None, tombstone=True),
        Change(("default", "a"), None, other),
    )


# --- what we wrote ----------------------------------------------------------------------------------


def test_own_write_is_seen_before_its_delta(store: ObjectStore) -> None:
    seen: list[tuple[Object | None, Object | None]] = []
    held, written = store.get("a", "default"), an_object("a", 12, labels={"app": "x"})
    store.add_handler(lambda old, new: seen.append((old, new)))

    store.learn(written)
    late = store.apply(Updated(an_object("a", 11)))
    own = store.apply(Updated(written))

    assert store.get("a", "default") is written
    assert store.select({"app": "x"}) == [written]
    assert seen[1:] == [(held, written)]
    assert (late, own) == ((), ())


def test_own_write_completes_nothing(store: ObjectStore) -> None:
    store.learn(an_object("a", 12))
    another = an_object("b", 11)

    assert store.resource_version == "10"
    assert store.apply(Added(another)) == (Change(("default", "b"), None, another),)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(an_object("a", 5), id="not newer"),
        pytest.param(an_object("a", 4), id="older"),
        pytest.param(an_object("a", 12, uid="another"), id="of another life"),
        pytest.param(an_object("b", 12), id="unknown, so perhaps deleted by now"),
        pytest.param(an_object("a", 12, deletionTimestamp="2024-04-05T18:30:00Z"), id="its end"),
    ],
)
def test_own_write_that_is_no_news_is_left(store: ObjectStore, written: Object) -> None:
    held = store.objects()

    store.learn(written)

    assert store.objects() == held
    assert store.apply(Deleted(an_object("a", 11)))
    assert len(store) == 0


def test_rewound_list_takes_back_what_was_written(store: ObjectStore) -> None:
    store.learn(an_object("a", 12))

    store.apply(a_list(an_object("a", 4), version=6, rewound=True))
    store.apply(Updated(an_object("a", 8)))

    assert store.objects() == [an_object("a", 8)]


# --- handlers ---------------------------------------------------------------------------------------


def test_handlers_see_old_and_new(store: ObjectStore) -> None:
    seen: list[tuple[Object | None, Object | None]] = []
    held, new = store.get("a", "default"), an_object("a", 12)
    store.add_handler(lambda old, new: seen.append((old, new)))

    store.apply(Updated(new))
    store.apply(Deleted(an_object("a", 13)))

    assert seen == [(None, held), (held, new), (new, None)]


def test_handlers_find_store_already_changed(store: ObjectStore) -> None:
    found: list[int] = []
    store.add_handler(lambda old, new: found.append(len(store)))
    found.clear()

    store.apply(a_list(an_object("b", 11), an_object("c", 12), version=20))

    assert found == [2, 2, 2]


def test_resync_shows_every_object_unchanged(store: ObjectStore) -> None:
    store.apply(Added(an_object("b", 11)))
    seen: list[tuple[Object | None, Object | None]] = []
    store.add_handler(lambda old, new: seen.append((old, new)))
    seen.clear()

    store.resync()

    assert [(old, key_of(old)[1]) for old, new in seen if old is new and old is not None] == [
        (store.get("a", "default"), "a"),
        (store.get("b", "default"), "b"),
    ]


NOW = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)
YOUNG, AGED = (
    an_object(creationTimestamp="2024-04-05T18:29:00Z"),
    an_object(creationTimestamp="2024-04-05T18:28:59Z"),
)


@pytest.mark.parametrize(
    ("old", "new", "priority"),
    [
        (None, YOUNG, DEFAULT_PRIORITY),
        (None, AGED, LOW_PRIORITY),
        (None, an_object(), DEFAULT_PRIORITY),
        (AGED, AGED, LOW_PRIORITY),
        (AGED, an_object(version=2), DEFAULT_PRIORITY),
        (AGED, None, DEFAULT_PRIORITY),
    ],
    ids=["young added", "aged added", "no timestamp", "resync", "changed", "removed"],
)
def test_initial_lists_and_resyncs_rank_low(old: Object | None, new: Object | None, priority: int) -> None:
    assert priority_of_change(old, new, NOW) == priority


# --- queries ----------------------------------------------------------------------------------------


def test_objects_are_sorted_and_parted_by_namespace() -> None:
    store = ObjectStore()
    keys = [("b", "x"), ("a", "y"), ("", "node"), ("a", "x")]

    store.apply(a_list(*(an_object(name, 1, namespace=space) for space, name in keys), version=10))

    assert [key_of(object_) for object_ in store.objects()] == sorted(keys)
    assert [key_of(object_) for object_ in store.objects("a")] == [("a", "x"), ("a", "y")]
    assert store.get("node") is not None


def test_index_follows_changed_labels(store: ObjectStore) -> None:
    store.apply(Updated(an_object("a", 11, labels={"app": "one"})))
    store.apply(Updated(an_object("a", 12, labels={"app": "two"})))

    assert store.select({"app": "one"}) == []
    assert store.select({"app": "two"}) == [store.get("a", "default")]


def test_index_forgets_labels_nobody_carries(store: ObjectStore) -> None:
    for version in range(11, 31):
        store.apply(Updated(an_object("a", version, labels={"app": f"revision-{version}"})))

    assert list(store._index) == [("app", "revision-30")]


def test_indexed_query_walks_only_its_bucket() -> None:
    store = ObjectStore(indexed_labels=["app"])
    aim = an_object("aim", 1, labels={"app": "rare", "tier": "gpu"})
    store.apply(
        a_list(aim, *(an_object(f"n{i}", 1, labels={"app": "common"}) for i in range(50)), version=10)
    )

    assert len(store._candidates({"app": "rare", "tier": "gpu"})) == 1
    assert store.select({"app": "rare", "tier": "gpu"}) == [aim]
    assert store.select({"app": "absent"}) == []


LABELS = st.dictionaries(st.sampled_from(["app", "tier", "zone"]), st.sampled_from("xy"), max_size=3)
STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.none() | LABELS), max_size=30)


@pytest.mark.parametrize("indexed", [("app", "tier"), None], ids=["two labels", "all labels"])
@given(steps=STEPS, query=LABELS, namespace=st.sampled_from([None, "default", "other"]))
def test_index_answers_as_plain_search(
    indexed: tuple[str, ...] | None,
    steps: list[tuple[str, dict[str, str] | None]],
    query: dict[str, str],
    namespace: str | None,
) -> None:
    store = ObjectStore(indexed_labels=indexed)
    store.apply(a_list(version=1))

    for version, (name, labels) in enumerate(steps, start=2):
        space = "other" if name == "d" else "default"
        there = an_object(name, version, namespace=space, labels=labels)
        store.apply(Deleted(there) if labels is None else Updated(there))

    assert store.select(query, namespace) == [
        object_
        for object_ in store.objects(namespace)
        if all((object_["metadata"]["labels"] or {}).get(label) == query[label] for label in query)
    ]


# --- resource versions ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "1.0", "abc", "٣", " 1", None, 7])
def test_malformed_resource_version_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="resourceVersion: expected a decimal above 0"):
        parse_resource_version(text)


@given(st.integers(min_value=1))
def test_resource_versions_read_as_numbers(number: int) -> None:
    assert parse_resource_version(str(number)) == number


@pytest.mark.parametrize("object_", [{}, {"metadata": None}, {"metadata": {"name": ""}}])
def test_object_without_name_is_refused(object_: Object) -> None:
    with pytest.raises(ValueError, match=r"metadata\.name: expected a name"):
        key_of(object_)
