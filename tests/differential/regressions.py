"""Programs that are always run: those that found a difference which is fixed, and one for each entry."""

from __future__ import annotations

from tests.differential.bodies import INVALID_STATUS, STATUS, VALID
from tests.differential.calls import Call, Create, Delete, Get, List, Patch, Program, Replace, Watch
from tests.differential.interpreter import NOBODY


def a_create(
    kind: str = "Workspace", content: int = 0, *, dry_run: bool = False, **metadata: object
) -> Create:
    name = "a" if kind not in ("Machine", "Node") else "@name:a"
    body = {**VALID[kind][content], "metadata": {"name": name, **metadata}}
    return Create(kind=kind, body=body, dry_run=dry_run)


def a_change(patch: object, kind: str = "Workspace", form: str = "merge", **options: bool) -> Patch:
    return Patch(kind=kind, name="a", patch=patch, form=form, **options)


def steps(*operations: dict[str, object]) -> Patch:
    return a_change(list(operations), form="json")


LABELLED = {"metadata": {"labels": {"app": "x"}}}
WORKSPACE_STATUS = STATUS["Workspace"][0]

PROGRAMS: dict[str, Program] = {
    "version on create": (a_create(resourceVersion="1"), a_create(resourceVersion="1", dry_run=True)),
    "PUT of what is gone": (
        a_create(),
        Delete(kind="Workspace", name="a"),
        Replace(kind="Workspace", name="a", changes={}),
        Replace(kind="Workspace", name="a", changes={"metadata": {"uid": None}}),
    ),
    "PUT without or with odd versions": (
        a_create(),
        *(
            Replace(kind="Workspace", name="a", changes={"metadata": {"resourceVersion": version}})
            for version in (None, "0", "1", "x")
        ),
        a_create("Service"),
        Replace(kind="Service", name="a", changes={"metadata": {"resourceVersion": None}}),
        a_create("StatefulSet"),
        Replace(
            kind="StatefulSet",
            name="a",
            changes={"metadata": {"resourceVersion": None, "labels": {"a": "b"}}},
        ),
    ),
    "fields to select by": tuple(
        List(kind=kind, fields=fields)
        for kind in ("Machine", "Workspace", "StatefulSet", "Pod")
        for fields in ("metadata.namespace=nowhere", "spec.unknown=b", "=a", "metadata.name")
    ),
    "odd label selectors": tuple(
        List(kind="Workspace", labels=labels)
        for labels in (
            "app in x",
            "=x",
            "a b",
            "app=-x",
            "app>x",
            "app,",
            "!",
            "app in (x",
            "-app",
            "app=x y",
        )
    ),
    "odd versions to read from": (
        List(kind="Workspace", version="x"),
        List(kind="Workspace", version="x", limit=1),
        Watch(kind="Workspace", version="x"),
    ),
    "old and future versions to read from": (
        a_create(),
        Watch(kind="Workspace", version="1"),
        List(kind="Workspace", version="900000000"),
        List(kind="Workspace", version="900000000", limit=1),
    ),
    "bodies of another type": (
        Create(kind="Workspace", body={**VALID["Workspace"][0], "kind": "Secret", "metadata": {"name": "a"}}),
        Create(
            kind="Workspace", body={**VALID["Workspace"][0], "apiVersion": "v2", "metadata": {"name": "a"}}
        ),
        Create(
            kind="Workspace",
            body={**VALID["Workspace"][0], "kind": "Secret", "metadata": {"name": "a", "namespace": "other"}},
        ),
    ),
    "all causes at once": (
        Create(
            kind="Workspace",
            body={
                "resource": [],
                "metadata": {
                    "name": "No_Name",
                    "finalizers": ["a/b/c", ""],
                    "labels": {"/app": "-"},
                    "ownerReferences": [{"kind": "Pod"}],
                },
            },
        ),
        Create(
            kind="Node",
            body={"metadata": {"name": "@name:a", "finalizers": ["one", "orphan", "foregroundDeletion"]}},
        ),
    ),
    "fields of metadata that are the server's": (
        a_create(deletionGracePeriodSeconds=5, deletionTimestamp="2024-04-05T18:29:58Z", generation=7),
        a_change({"metadata": {"deletionTimestamp": "2024-04-05T18:29:58Z"}}),
        a_change({"metadata": {"deletionGracePeriodSeconds": 5}}),
        a_change({"metadata": {"creationTimestamp": "2024-04-05T18:29:58Z", "generation": 9}}),
        a_change({"metadata": {"uid": NOBODY, "resourceVersion": "1"}}),
    ),
    "nulls below lists of a merge patch": (
        a_create(),
        a_change(
            {"inference": {"preset": None, "template": {"spec": {"any": ["thing", None, {"b": None}]}}}}
        ),
        a_change({"inference": {"template": {"spec": {"any": [None, {"b": None, "c": [None]}]}}}}),
        a_change({"inference": {"template": {"spec": [None, {"b": None}]}}}),
    ),
    "odd JSON patches": (
        a_create(labels={"app": "x"}),
        steps({"op": "test", "path": "/metadata/labels/app", "value": "y"}),
        steps({"op": "add", "path": "", "value": {}}),
        steps({"op": "sort", "path": "/metadata"}),
        steps({"op": "add", "path": "/metadata/labels/tier"}),
        steps({"op": "remove", "path": "metadata"}),
        steps({"op": "add", "path": "/metadata/annotations", "value": {"a": None}}),
        a_change({"metadata": {"uid": NOBODY}}),
        Replace(kind="Workspace", name="a", changes={"metadata": {"uid": NOBODY}}),
        a_change(["add"], form="json"),
    ),
    "odd propagation of nothing": (Delete(kind="Machine", name="a", propagation="Never"),),
    "deletion with finalizers": (
        a_create(finalizers=["a.io/one"]),
        Watch(kind="Workspace", version="@version:-1"),
        Delete(kind="Workspace", name="a"),
        Delete(kind="Workspace", name="a", propagation="Foreground"),
        a_create(),
        a_change({"metadata": {"finalizers": ["a.io/one", "foregroundDeletion", "b.io/two"]}}),
        a_change({"metadata": {"finalizers": None}}),
        Get(kind="Workspace", name="a"),
    ),
    "status apart from the rest": (
        a_create(),
        a_change({"status": WORKSPACE_STATUS, "resource": {"count": 5}, **LABELLED}, subresource="status"),
        Replace(
            kind="Workspace", name="a", changes={"resource": {"count": 3}, "status": {"workerNodes": ["n7"]}}
        ),
        Get(kind="Workspace", name="a"),
    ),
    "no-op writes": (
        a_create(labels={"app": "x"}),
        Watch(kind="Workspace", version="@version:-1"),
        a_change({}),
        a_change(LABELLED),
        a_change([], form="json"),
        Replace(kind="Workspace", name="a", changes={}),
        Replace(kind="Workspace", name="a", changes={"unknown": 1}),
    ),
    "pages of one snapshot": (
        *(
            Create(kind="Workspace", body={**VALID["Workspace"][0], "metadata": {"name": name}})
            for name in ("a", "b", "c")
        ),
        List(kind="Workspace", limit=2),
        a_change(LABELLED),
        List(kind="Workspace", limit=2, more=True),
        List(kind="Workspace", limit=2, version="@version:-3"),
        List(kind="Workspace", limit=2, version="@version:-3", more=True),
    ),
    "watch of a selector": (
        a_create(),
        Watch(kind="Workspace", labels="app=x", version="@version:-1"),
        a_change(LABELLED),
        a_change({"metadata": {"labels": {"app": "y"}}}),
        a_change(LABELLED),
        a_change({"metadata": {"labels": None}}),
    ),
}

_OWNER = {"apiVersion": "v1", "kind": "Event", "name": "e", "uid": NOBODY}


def _a_deployment_life(kind: str) -> tuple[Call, ...]:
    return (
        a_create(kind),
        a_change({"metadata": {"annotations": {"a": "b"}}}, kind),
        a_change({"status": STATUS[kind][0]}, kind, subresource="status"),
    )


LEDGER_PROGRAMS: dict[str, Program] = {
    "delete-answers-with-a-status": (a_create(), Delete(kind="Workspace", name="a")),
    "defaults-of-pods": (a_create("Pod"), a_create("Pod", 1, name="b")),
    "defaults-of-workloads": (*_a_deployment_life("Deployment"), *_a_deployment_life("StatefulSet")),
    "defaults-of-services": (a_create("Service"),),
    "defaults-of-nodes": (a_create("Node"),),
    "texts-of-decoders": (
        a_create(finalizers="one"),
        Create(kind="Pod", body={**VALID["Pod"][0], "kind": "Secret", "metadata": {"name": "a"}}),
    ),
    "texts-about-owners": (a_create(ownerReferences=[_OWNER]),),
    "only-two-forms-of-patches": (
        a_create(),
        a_change(
            {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", **LABELLED},
            form="strategic",
            dry_run=True,
        ),
        a_change(
            {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", **LABELLED}, form="apply", dry_run=True
        ),
        a_create("Pod"),
        a_change(LABELLED, "Pod", form="strategic", dry_run=True),
    ),
    "put-makes-a-missing-service": (Replace(kind="Service", name="a", changes={}, subresource="status"),),
    "text-of-415": (a_create("Pod"), a_change(LABELLED, "Pod", form="application/json", dry_run=True)),
    "paths-in-the-storage": (
        a_create("Service"),
        Delete(kind="Service", name="a"),
        Replace(kind="Service", name="a", changes={}, subresource="status"),
    ),
    "finalizers-in-the-answer-of-a-dry-delete": (
        a_create("Machine"),
        Delete(kind="Machine", name="a", propagation="Orphan"),
        Delete(kind="Machine", name="a", propagation="Background", dry_run=True),
    ),
    "namespaces-of-built-in-kinds": (
        a_create("Service"),
        a_change({"metadata": {"namespace": "other"}}, "Service"),
    ),
    "empty-text-is-called-null": (
        a_create(),
        Replace(
            kind="Workspace",
            name="a",
            changes={"status": INVALID_STATUS["Workspace"][1]},
            subresource="status",
        ),
    ),
    "caches-by-kind": (
        a_create(),
        a_create("Deployment"),
        List(kind="Workspace", version="@version:-1"),
    ),
    "ignored-status-makes-a-version": (
        a_create(),
        Replace(kind="Workspace", name="a", changes={"status": {"workerNodes": ["n7"]}}),
    ),
    "specs-that-cannot-change": (
        a_create("Pod"),
        a_change({"spec": {"nodeName": "node-b"}}, "Pod"),
    ),
    "namespaces-are-not-there": (
        Create(
            kind="Workspace", body={**VALID["Workspace"][0], "metadata": {"name": "a"}}, namespace="nowhere"
        ),
    ),
    "metadata-with-a-status": (
        a_create("Node"),
        a_change(
            {"metadata": {"labels": {"app": "x"}}, "status": STATUS["Node"][0]}, "Node", subresource="status"
        ),
    ),
    "generation-of-kinds-without": (a_create("Pod", generation=7),),
    "whole-floats-are-changes": (
        a_create(),
        Replace(kind="Workspace", name="a", changes={"resource": {"count": 2.0}}),
        Replace(kind="Workspace", name="a", changes={"resource": {"count": 2.0}}),
    ),
    "one-name-is-read-anew": (
        a_create(),
        Create(kind="Workspace", body={**VALID["Workspace"][0], "metadata": {"name": "b"}}),
        List(kind="Workspace", fields="metadata.name=b", limit=1, version="@version:-2"),
    ),
}
