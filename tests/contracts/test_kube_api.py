"""What every implementation of the port to the Kubernetes API promises of reads and writes.

A test gets a namespace of its own, and names what belongs to the cluster after it. The real server has these
classes run in e2e.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kaito.runtime.ports import (
    WORKSPACES,
    AlreadyExists,
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    Unavailable,
)
from tests.contracts.kube_api import (
    OTHER_INFERENCE,
    OTHER_UID,
    Served,
    a_condition,
    a_workspace,
    changed,
    version,
    virtual,
)


class ReadsAndWrites:
    """Subclasses bring the fixture ``served``."""

    # Creating and reading

    def test_created_object_is_stored(self, served: Served) -> None:
        created = served.create(labels={"a": "b"})

        assert served.get() == created
        assert created["metadata"]["labels"] == {"a": "b"}
        assert created["metadata"]["namespace"] == served.namespace
        assert created["metadata"]["generation"] == 1
        assert created["metadata"]["uid"]
        assert (created["apiVersion"], created["kind"]) == ("kaito.sh/v1alpha1", "Workspace")

    def test_create_drops_the_status(self, served: Served) -> None:
        body = {**a_workspace(), "status": {"workerNodes": ["n"]}}

        assert "status" not in served.api.create(WORKSPACES, body, served.namespace)

    def test_second_create_is_refused(self, served: Served) -> None:
        first = served.create()

        with pytest.raises(AlreadyExists, match=r'^workspaces.kaito.sh "w" already exists$'):
            served.create()

        assert served.get() == first

    def test_create_in_other_namespace_is_refused(self, served: Served) -> None:
        with pytest.raises(BadRequest):
            served.api.create(WORKSPACES, a_workspace(namespace="other"), served.namespace)

    def test_body_of_other_kind_is_refused(self, served: Served) -> None:
        # The handlers of built-in and of custom kinds differ in this.
        with pytest.raises((BadRequest, Invalid)):
            served.api.create(WORKSPACES, {**a_workspace(), "kind": "Machine"}, served.namespace)

    def test_body_against_the_schema_is_refused(self, served: Served) -> None:
        body = a_workspace() | {"resource": {"count": "two", "labelSelector": {}}}

        with pytest.raises(Invalid, match=r"resource.count"):
            served.api.create(WORKSPACES, body, served.namespace)

    MISSING: dict[str, Callable[[Served], object]] = {  # noqa: RUF012 (a table)
        "get": lambda served: served.get(),
        "patch": lambda served: served.patch({}),
        "delete": lambda served: served.delete(),
        "status": lambda served: served.patch({}, subresource="status"),
    }

    @pytest.mark.parametrize("verb", MISSING.values(), ids=MISSING)
    def test_missing_object_is_not_found(self, served: Served, verb: Callable[[Served], object]) -> None:
        with pytest.raises(NotFound, match=r'^workspaces.kaito.sh "w" not found$'):
            verb(served)

    # Lists

    def test_list_is_of_one_namespace(self, served: Served) -> None:
        served.create("b")
        served.create("a")
        everywhere = served.api.list(WORKSPACES).items

        assert served.names() == ["a", "b"]
        assert served.get("a") in everywhere
        assert served.api.list(WORKSPACES, f"{served.namespace}-other").items == []

    SELECTORS: dict[str, tuple[str, list[str]]] = {  # noqa: RUF012 (a table)
        "equal": ("tier=gpu", ["a", "b"]),
        "not equal": ("tier!=gpu", ["c", "d"]),
        "in": ("tier in (gpu,cpu)", ["a", "b", "c"]),
        "not in": ("tier notin (gpu)", ["c", "d"]),
        "there": ("tier", ["a", "b", "c"]),
        "not there": ("!tier", ["d"]),
        "both": ("tier=gpu,zone=2", ["b"]),
    }

    @pytest.mark.parametrize(("selector", "names"), SELECTORS.values(), ids=SELECTORS)
    def test_labels_select(self, served: Served, selector: str, names: list[str]) -> None:
        served.create("a", labels={"tier": "gpu", "zone": "1"})
        served.create("b", labels={"tier": "gpu", "zone": "2"})
        served.create("c", labels={"tier": "cpu"})
        served.create("d")

        assert served.names(label_selector=selector) == names

    def test_fields_select(self, served: Served) -> None:
        served.create("a")
        served.create("b")

        assert served.names(field_selector="metadata.name=b") == ["b"]
        with pytest.raises(BadRequest):
            served.names(field_selector="spec.unknown=b")

    def test_odd_selector_is_refused(self, served: Served) -> None:
        with pytest.raises(BadRequest):
            served.names(label_selector="a in b")

    def test_pages_are_of_one_snapshot(self, served: Served) -> None:
        for name in "abcde":
            served.create(name)
        first = served.api.list(WORKSPACES, served.namespace, limit=2)
        served.create("f")
        served.api.delete(WORKSPACES, "e", served.namespace)

        second = served.api.list(WORKSPACES, served.namespace, limit=2, continue_=first.continue_)
        third = served.api.list(WORKSPACES, served.namespace, limit=2, continue_=second.continue_)

        pages = (first, second, third)
        assert [[item["metadata"]["name"] for item in page.items] for page in pages] == [
            ["a", "b"],
            ["c", "d"],
            ["e"],
        ]
        assert {page.resource_version for page in pages} == {first.resource_version}
        assert third.continue_ == ""
        assert served.names() == ["a", "b", "c", "d", "f"]

    def test_odd_continue_token_is_refused(self, served: Served) -> None:
        with pytest.raises(BadRequest):
            served.api.list(WORKSPACES, served.namespace, limit=2, continue_="nonsense")

    def test_version_to_come_is_asked_for_later(self, served: Served) -> None:
        now = int(served.api.list(WORKSPACES, served.namespace).resource_version)

        with pytest.raises(Unavailable, match="Too large resource version") as caught:
            served.api.list(WORKSPACES, served.namespace, resource_version=str(now + 1_000_000))

        assert (caught.value.code, caught.value.retry_after_seconds) == (504, 1.0)

    # Updates

    def test_update_replaces_the_content(self, served: Served) -> None:
        created = served.create(labels={"a": "b"})
        body = changed(created, labels={}) | {"inference": OTHER_INFERENCE}

        updated = served.api.update(WORKSPACES, body)

        assert updated["inference"] == OTHER_INFERENCE
        assert "labels" not in updated["metadata"]
        assert updated["metadata"]["generation"] == 2
        assert int(version(updated)) > int(version(created))
        assert served.get() == updated

    def test_stale_update_changes_nothing(self, served: Served) -> None:
        stale = served.create()
        current = served.patch({"metadata": {"labels": {"a": "b"}}})

        with pytest.raises(Conflict, match="the object has been modified"):
            served.api.update(WORKSPACES, changed(stale, labels={"a": "c"}))

        assert served.get() == current

    def test_update_of_another_uid_conflicts(self, served: Served) -> None:
        created = served.create()

        with pytest.raises(Conflict):
            served.api.update(WORKSPACES, changed(created, uid=OTHER_UID))

    def test_custom_object_needs_its_version(self, served: Served) -> None:
        created = served.create()
        body = changed(created)
        del body["metadata"]["resourceVersion"]

        with pytest.raises(Invalid, match="must be specified for an update"):
            served.api.update(WORKSPACES, body)

    def test_update_of_the_same_is_no_write(self, served: Served) -> None:
        created = served.create()

        assert version(served.api.update(WORKSPACES, created)) == version(created)
        assert version(served.patch({})) == version(created)
        assert version(served.patch([])) == version(created)

    def test_status_and_content_stay_apart(self, served: Served) -> None:
        created = served.create()
        status = {"conditions": [a_condition("True")]}
        other = {"inference": OTHER_INFERENCE, "status": {"workerNodes": ["n"]}}

        with_status = served.api.update(
            WORKSPACES, {**created, **other, "status": status}, subresource="status"
        )
        with_content = served.patch(other)

        assert with_status["inference"] == created["inference"]
        assert with_status["status"] == status
        assert with_status["metadata"]["generation"] == 1
        assert with_content["status"] == status
        assert with_content["inference"] == other["inference"]
        assert with_content["metadata"]["generation"] == 2

    # Patches

    def test_merge_patch_merges_and_deletes(self, served: Served) -> None:
        served.create(labels={"a": "1", "b": "2"}, annotations={"note": "x"})

        patched = served.patch({"metadata": {"labels": {"a": None, "c": "3"}, "annotations": None}})

        assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
        assert "annotations" not in patched["metadata"]

    def test_sequence_is_a_json_patch(self, served: Served) -> None:
        served.create(labels={"a": "1"})

        patched = served.patch(
            [
                {"op": "test", "path": "/metadata/labels/a", "value": "1"},
                {"op": "add", "path": "/metadata/labels/b~1c", "value": "2"},
                {"op": "remove", "path": "/metadata/labels/a"},
            ]
        )

        assert patched["metadata"]["labels"] == {"b/c": "2"}

    def test_failed_test_of_a_patch_changes_nothing(self, served: Served) -> None:
        created = served.create(labels={"a": "1"})

        with pytest.raises(Invalid):
            served.patch(
                [
                    {"op": "remove", "path": "/metadata/labels/a"},
                    {"op": "test", "path": "/metadata/name", "value": "other"},
                ]
            )

        assert served.get() == created

    def test_patch_can_name_its_version(self, served: Served) -> None:
        created = served.create()
        label = {"labels": {"a": "b"}}

        with pytest.raises(Conflict, match="the object has been modified"):
            served.patch({"metadata": {"resourceVersion": "1", **label}})
        patched = served.patch({"metadata": {"resourceVersion": version(created), **label}})

        assert patched["metadata"]["labels"] == {"a": "b"}

    def test_patch_can_name_its_uid(self, served: Served) -> None:
        created = served.create()
        label = {"labels": {"a": "b"}}

        # With a version, as our own patches are, it is a conflict everywhere; without one the real server
        # takes it for an attempt to change the UID.
        with pytest.raises(Conflict):
            served.patch({"metadata": {"uid": OTHER_UID, "resourceVersion": "1", **label}})
        with pytest.raises((Conflict, Invalid)):
            served.patch({"metadata": {"uid": OTHER_UID, **label}})
        patched = served.patch({"metadata": {"uid": created["metadata"]["uid"], **label}})

        assert patched["metadata"]["labels"] == {"a": "b"}

    # Dry runs

    def test_dry_run_leaves_no_trace(self, served: Served) -> None:
        created = served.create()
        other = a_workspace("other")

        made = served.api.create(WORKSPACES, other, served.namespace, dry_run=True)
        patched = served.patch({"metadata": {"labels": {"a": "b"}}}, dry_run=True)
        updated = served.api.update(WORKSPACES, changed(created, labels={"c": "d"}), dry_run=True)
        served.delete(dry_run=True)

        assert made["metadata"]["name"] == "other"
        assert patched["metadata"]["labels"] == {"a": "b"}
        assert updated["metadata"]["labels"] == {"c": "d"}
        assert served.names() == ["w"]
        assert served.get() == created

    def test_dry_run_is_refused_like_any(self, served: Served) -> None:
        served.create()

        with pytest.raises(AlreadyExists):
            served.api.create(WORKSPACES, a_workspace(), served.namespace, dry_run=True)
        with pytest.raises(Conflict):
            served.delete(uid=OTHER_UID, dry_run=True)


class TestVirtualServer(ReadsAndWrites):
    @pytest.fixture
    def served(self) -> Served:
        return virtual()
