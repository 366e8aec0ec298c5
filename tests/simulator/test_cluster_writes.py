"""Create, update and patch: identity, optimistic concurrency, generation, status, admission."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Object,
    Resource,
)
from simulator.cluster import Cluster
from simulator.kinds import KINDS, Kind, OpenSchema
from tests.simulator.virtual import (
    SetClock,
    a_cluster,
    a_deployment,
    a_machine,
    a_pod,
    a_workspace,
    owner_reference,
)

ALL_KINDS = (WORKSPACES, MACHINES, NODES, PODS, SERVICES, DEPLOYMENTS, STATEFULSETS)
CUSTOM = (WORKSPACES, MACHINES)
COUNTS_GENERATION = (WORKSPACES, MACHINES, DEPLOYMENTS, STATEFULSETS)

every_kind = pytest.mark.parametrize("resource", ALL_KINDS, ids=lambda resource: resource.kind)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cluster(clock: SetClock) -> Cluster:
    return a_cluster(clock)


def plain(name: str = "one", **content: Any) -> Object:
    return {"metadata": {"name": name}, **content}


# Identity


@every_kind
def test_create_fills_in_identity(cluster: Cluster, resource: Resource) -> None:
    created = cluster.create(resource, plain(spec={"a": 1}))

    metadata = created["metadata"]
    assert (created["apiVersion"], created["kind"]) == (resource.api_version, resource.kind)
    assert metadata.get("namespace", "") == ("default" if resource.namespaced else "")
    assert metadata["creationTimestamp"] == "2024-04-05T18:29:58Z"
    assert metadata["resourceVersion"] == cluster.resource_version
    assert len(metadata["uid"]) == 36
    assert metadata.get("generation") == (1 if resource in COUNTS_GENERATION else None)


@every_kind
def test_second_create_already_exists(cluster: Cluster, resource: Resource) -> None:
    first = cluster.create(resource, plain())

    with pytest.raises(AlreadyExists, match=f'^{resource.plural}.* "one" already exists$'):
        cluster.create(resource, plain(spec={"other": True}))

    assert cluster.get(resource, "one") == first


def test_uids_follow_from_the_seed() -> None:
    def uids(seed: int) -> list[str]:
        cluster = a_cluster(seed=seed)
        return [cluster.create(PODS, a_pod(f"p{i}"))["metadata"]["uid"] for i in range(3)]

    assert uids(1) == uids(1)
    assert len({*uids(1), *uids(2)}) == 6


def test_refused_create_uses_no_uid() -> None:
    calm, troubled = a_cluster(), a_cluster()
    troubled.create(PODS, a_pod(), dry_run=True)
    with pytest.raises(Invalid):
        troubled.create(PODS, a_pod("NOT A NAME"))

    created = [cluster.create(PODS, a_pod()) for cluster in (calm, troubled)]

    assert created[0] == created[1]


def test_server_owned_fields_are_not_taken(cluster: Cluster) -> None:
    claimed = {
        "uid": "mine",
        "generation": 9,
        "creationTimestamp": "1999-01-01T00:00:00Z",
        "deletionTimestamp": "1999-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 5,
        "selfLink": "/x",
        "managedFields": [{}],
    }

    metadata = cluster.create(WORKSPACES, a_workspace(**claimed))["metadata"]

    assert metadata["uid"] != "mine"
    assert (metadata["generation"], metadata["creationTimestamp"]) == (1, "2024-04-05T18:29:58Z")
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"} & set(
        metadata
    )


def test_generated_name_extends_its_base(cluster: Cluster) -> None:
    body = {"metadata": {"generateName": "b" * 70 + "-"}}

    created = [cluster.create(PODS, body)["metadata"]["name"] for _ in range(3)]

    assert len(set(created)) == 3
    assert all(len(name) == 63 and name.startswith("b" * 58) for name in created)


def test_exhausted_generated_names_already_exist(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["taken"] * 2 + ["free0"] + ["taken"] * 8)
    monkeypatch.setattr("simulator.identifiers.Identifiers._suffix", lambda _: next(suffixes))
    cluster.create(PODS, a_pod("x-taken"))

    third = cluster.create(PODS, {"metadata": {"generateName": "x-"}})
    with pytest.raises(AlreadyExists, match="x-taken"):
        cluster.create(PODS, {"metadata": {"generateName": "x-"}})

    assert third["metadata"]["name"] == "x-free0"
    assert list(suffixes) == []


def test_namespace_comes_from_request_or_body(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod("a"), "blue")
    cluster.create(PODS, a_pod("b", namespace="green"))
    cluster.create(NODES, plain("n"), "blue")

    assert cluster.get(PODS, "a", "blue")["metadata"]["namespace"] == "blue"
    assert cluster.get(PODS, "b", "green")["metadata"]["namespace"] == "green"
    assert "namespace" not in cluster.get(NODES, "n")["metadata"]
    with pytest.raises(BadRequest, match="namespace of the provided object does not match"):
        cluster.create(PODS, a_pod("c", namespace="green"), "blue")


# What is refused


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "Falcon"}, 'metadata.name: Invalid value: "Falcon": a lowercase RFC 1123 subdomain'),
        ({"name": "-falcon"}, "metadata.name: Invalid value"),
        ({"name": "a..b"}, "metadata.name: Invalid value"),
        ({"name": "a" * 254}, "must be no more than 253 characters"),
        ({"generateName": "Up-"}, "metadata.name: Invalid value"),
        ({"namespace": "a.b"}, 'metadata.namespace: Invalid value: "a.b": a lowercase RFC 1123 label'),
        ({"namespace": "a" * 64}, "must be no more than 63 characters"),
        ({"labels": {"a b": "x"}}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
        ({"labels": {"/a": "x"}}, "prefix part must be non-empty"),
        ({"labels": {"Ex/a": "x"}}, "prefix part a lowercase RFC 1123 subdomain"),
        ({"labels": {"x/": "x"}}, "name part must be non-empty"),
        ({"labels": {"k" * 64: "x"}}, "name part must be no more than 63 characters"),
        (
            {"labels": {"a": "-"}},
            'metadata.labels: Invalid value: "-": a valid label must be an empty string',
        ),
        ({"labels": {"a": "v" * 64}}, "must be no more than 63 characters"),
        ({"annotations": {"a b": "x"}}, "metadata.annotations: Invalid value"),
        ({"annotations": {"a": "x" * 262_144}}, "metadata.annotations: Too long: must have at most 262144"),
        ({"finalizers": ["a b"]}, "metadata.finalizers: Invalid value"),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "cannot be both set"),
        ({"ownerReferences": [{"kind": "Pod"}]}, "metadata.ownerReferences.apiVersion: Invalid value"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]},
            "is disallowed from being an owner",
        ),
        (
            {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True}
                    for n in ("p", "q")
                ]
            },
            "Only one reference can have Controller set to true",
        ),
    ],
)
def test_malformed_metadata_is_invalid(cluster: Cluster, metadata: dict[str, object], complaint: str) -> None:
    name = "" if "generateName" in metadata else "falcon"

    with pytest.raises(Invalid) as refusal:
        cluster.create(WORKSPACES, {"metadata": {"name": name, **metadata}})

    assert complaint in refusal.value.message
    assert refusal.value.message.startswith('Workspace.kaito.sh "')
    assert cluster.list(WORKSPACES).items == []


@pytest.mark.parametrize("name", ["falcon", "falcon.7b", "7b", "a" * 253, "x-1"])
def test_subdomain_names_are_taken(cluster: Cluster, name: str) -> None:
    assert cluster.create(WORKSPACES, a_workspace(name))["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["1st", "a.b", "a" * 64])
def test_service_names_are_dns_labels(cluster: Cluster, name: str) -> None:
    with pytest.raises(Invalid, match=r"DNS-1035 label|no more than 63"):
        cluster.create(SERVICES, plain(name))


def test_several_causes_are_one_answer(cluster: Cluster) -> None:
    with pytest.raises(Invalid, match=r"is invalid: \[metadata.name: .*, metadata.labels: .*\]$"):
        cluster.create(PODS, a_pod("B A D", labels={"a": "-"}))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"metadata": {"labels": {"a": 1}}}, r"metadata\.labels"),
        ({"metadata": {"finalizers": "x"}}, r"metadata\.finalizers"),
        ({"metadata": "x"}, "metadata"),
        ([], "expected an object"),
        ({"metadata": {"name": "x"}, "apiVersion": "v1"}, r"version in the data \(v1\) does not match"),
        ({"metadata": {"name": "x"}, "a": object()}, "not JSON"),
    ],
)
def test_unreadable_body_is_bad_request(cluster: Cluster, body: Any, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        cluster.create(WORKSPACES, body)


def test_unknown_addresses_are_not_found(cluster: Cluster) -> None:
    pod = cluster.create(PODS, a_pod())

    with pytest.raises(NotFound, match=r'^workspaces\.kaito\.sh "x" not found$'):
        cluster.get(WORKSPACES, "x")
    with pytest.raises(NotFound, match=r'^pods "pod-0" not found$'):
        cluster.get(PODS, "pod-0", "elsewhere")
    with pytest.raises(NotFound, match="could not find the requested resource"):
        cluster.list(Resource("x.y", "v1", "things", "Thing"))
    with pytest.raises(NotFound, match="could not find the requested resource"):
        cluster.update(PODS, pod, subresource="scale")
    with pytest.raises(NotFound):
        cluster.update(MACHINES, a_machine(resourceVersion="1"))
    with pytest.raises(NotFound):
        cluster.patch(MACHINES, "ws1", {})


# Optimistic concurrency


@every_kind
def test_stale_update_conflicts(cluster: Cluster, resource: Resource) -> None:
    old = cluster.create(resource, plain(spec={"a": 1}))
    current = cluster.update(resource, {**old, "spec": {"a": 2}})

    with pytest.raises(Conflict, match="the object has been modified; please apply your changes"):
        cluster.update(resource, {**old, "spec": {"a": 3}})

    assert cluster.get(resource, "one") == current


@every_kind
def test_update_without_version_depends_on_kind(cluster: Cluster, resource: Resource) -> None:
    cluster.create(resource, plain(spec={"a": 1}))

    if resource in CUSTOM:
        with pytest.raises(
            Invalid, match="resourceVersion: Invalid value: 0x0: must be specified for an update"
        ):
            cluster.update(resource, plain(spec={"a": 2}))
    elif resource == SERVICES:
        with pytest.raises(Invalid, match='resourceVersion: Invalid value: "": must be specified'):
            cluster.update(resource, plain(spec={"a": 2}))
    else:
        assert cluster.update(resource, plain(spec={"a": 2}))["spec"] == {"a": 2}


def test_update_of_a_missing_uid_conflicts(cluster: Cluster) -> None:
    gone = cluster.create(MACHINES, plain())
    cluster.delete(MACHINES, "one")

    with pytest.raises(
        Conflict, match=f"UID in precondition: {gone['metadata']['uid']}, UID in object meta: "
    ):
        cluster.update(MACHINES, gone)
    with pytest.raises(NotFound):
        cluster.update(MACHINES, plain(spec={}))


def test_new_object_has_no_version_yet(cluster: Cluster) -> None:
    body = {"metadata": {"name": "one", "resourceVersion": "3"}}

    with pytest.raises(ApiError, match="resourceVersion should not be set") as caught:
        cluster.create(MACHINES, body)

    assert caught.value.code == 500
    assert cluster.create(MACHINES, body, dry_run=True)["metadata"]["name"] == "one"
    assert cluster.list(MACHINES).items == []


def test_body_of_another_built_in_kind_is_unreadable(cluster: Cluster) -> None:
    body = {"apiVersion": "apps/v1", "kind": "Secret", "metadata": {"name": "one"}}

    with pytest.raises(
        BadRequest, match=r'^Secret in version "v1" cannot be handled as a Deployment: no kind'
    ):
        cluster.create(DEPLOYMENTS, body)


def test_all_causes_are_told_at_once() -> None:
    cluster = a_cluster(kinds=KINDS)
    body = {"metadata": {"name": "No", "finalizers": ["a/b/c"]}, "resource": {}}

    with pytest.raises(Invalid) as caught:
        cluster.create(WORKSPACES, body)

    for path in ("metadata.name", "metadata.finalizers", "resource.labelSelector"):
        assert f"{path}: " in caught.value.message


def test_built_in_kinds_know_their_finalizers(cluster: Cluster) -> None:
    body = plain() | {"metadata": {"name": "one", "finalizers": ["orphan", "mine"]}}

    with pytest.raises(Invalid, match=r'metadata.finalizers\[1\]: Invalid value: "mine": name is neither'):
        cluster.create(NODES, body)

    assert cluster.create(MACHINES, body)["metadata"]["finalizers"] == ["orphan", "mine"]


def test_annotation_counts_for_a_deployment(cluster: Cluster) -> None:
    patch = {"metadata": {"annotations": {"a": "b"}}}
    for resource in (DEPLOYMENTS, STATEFULSETS):
        cluster.create(resource, plain())

    assert cluster.patch(DEPLOYMENTS, "one", patch)["metadata"]["generation"] == 2
    assert cluster.patch(STATEFULSETS, "one", patch)["metadata"]["generation"] == 1


def test_patch_of_other_type_is_refused(cluster: Cluster) -> None:
    strategic = "application/strategic-merge-patch+json"

    with pytest.raises(BadRequest, match="accepted media types include: ") as caught:
        cluster.patch(WORKSPACES, "one", {}, content_type=strategic)

    assert (caught.value.code, caught.value.reason) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("resource", CUSTOM, ids=lambda resource: resource.kind)
def test_status_update_needs_version_too(cluster: Cluster, resource: Resource) -> None:
    cluster.create(resource, plain())

    with pytest.raises(Invalid, match="must be specified for an update"):
        cluster.update(resource, plain(status={"a": 1}), subresource="status")


def test_conflict_text_is_the_servers(cluster: Cluster) -> None:
    created = cluster.create(WORKSPACES, a_workspace("x"))
    cluster.patch(WORKSPACES, "x", {"metadata": {"labels": {"a": "b"}}})

    with pytest.raises(Conflict) as refusal:
        cluster.update(WORKSPACES, created)

    assert refusal.value.message == (
        'Operation cannot be fulfilled on workspaces.kaito.sh "x": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_namesake_with_other_uid_conflicts(cluster: Cluster) -> None:
    first = cluster.create(PODS, a_pod())
    cluster.delete(PODS, "pod-0")
    second = cluster.create(PODS, a_pod())

    with pytest.raises(Conflict, match=f"UID in precondition: {first['metadata']['uid']}"):
        cluster.update(PODS, {**first, "spec": {}})
    # In a patch it is a change of the UID.
    with pytest.raises(Invalid, match="field is immutable"):
        cluster.patch(PODS, "pod-0", {"metadata": {"uid": first["metadata"]["uid"]}, "spec": {"a": 1}})

    assert cluster.get(PODS, "pod-0") == second


@pytest.mark.parametrize("subresource", ["", "status"])
def test_patch_version_is_a_precondition(cluster: Cluster, subresource: str) -> None:
    old = cluster.create(WORKSPACES, a_workspace())["metadata"]["resourceVersion"]
    new = cluster.patch(WORKSPACES, "falcon", {"resource": {"count": 2}})["metadata"]["resourceVersion"]

    def patch(version: str) -> Object:
        body = {
            "metadata": {"resourceVersion": version},
            "status": {"v": version},
            "resource": {"count": 3},
        }
        return cluster.patch(WORKSPACES, "falcon", body, subresource=subresource)

    with pytest.raises(Conflict):
        patch(old)
    assert int(patch(new)["metadata"]["resourceVersion"]) > int(new)


def test_versions_count_over_all_kinds(cluster: Cluster) -> None:
    created = [
        cluster.create(resource, plain(str(number)))
        for number, resource in enumerate((PODS, NODES, WORKSPACES, PODS))
    ]

    versions = [int(obj["metadata"]["resourceVersion"]) for obj in created]
    assert versions == list(range(versions[0], versions[0] + 4))
    assert cluster.resource_version == str(versions[-1])


# Generation and status


GENERATION_TABLE = [
    # patch, subresource, by how much the generation grows
    ({"resource": {"count": 2}}, "", 1),
    ({"inference": None}, "", 1),
    ({"added": {}}, "", 1),
    ({"metadata": {"labels": {"a": "b"}}}, "", 0),
    ({"metadata": {"annotations": {"a": "b"}}}, "", 0),
    ({"metadata": {"finalizers": ["a/b"]}}, "", 0),
    ({"status": {"a": 1}}, "", 0),
    ({"status": {"a": 1}}, "status", 0),
    ({"resource": {"count": 2}}, "status", 0),
    ({"metadata": {"generation": 12}}, "", 0),
    ({"resource": {"count": True}}, "", 1),  # not the 1 that it equals in Python
    ({}, "", 0),
]


@pytest.mark.parametrize(("patch", "subresource", "grows"), GENERATION_TABLE)
def test_generation_counts_content_changes(
    cluster: Cluster, patch: Object, subresource: str, grows: int
) -> None:
    cluster.create(WORKSPACES, a_workspace())

    patched = cluster.patch(WORKSPACES, "falcon", patch, subresource=subresource)

    assert patched["metadata"]["generation"] == 1 + grows


@every_kind
def test_created_status_depends_on_kind(cluster: Cluster, resource: Resource) -> None:
    expected = {NODES: {"mine": 1}, PODS: {"phase": "Pending"}}

    created = cluster.create(resource, plain(status={"mine": 1}))

    assert created.get("status") == expected.get(resource)


@every_kind
def test_main_update_leaves_the_status(cluster: Cluster, resource: Resource) -> None:
    cluster.create(resource, plain())
    stored = cluster.patch(resource, "one", {"status": {"a": 1}}, subresource="status")

    updated = cluster.update(resource, {**stored, "status": {"a": 2}, "spec": {"b": 1}})

    assert (updated["status"], updated["spec"]) == (stored["status"], {"b": 1})


@every_kind
def test_status_update_keeps_the_status_alone(cluster: Cluster, resource: Resource) -> None:
    created = cluster.create(resource, plain(spec={"a": 1}))
    body = {
        "metadata": {**created["metadata"], "labels": {"a": "b"}, "finalizers": ["a/b"]},
        "spec": {"a": 2},
        "more": 3,
        "status": {"ok": True},
    }

    updated = cluster.update(resource, body, subresource="status")

    version = {"resourceVersion": updated["metadata"]["resourceVersion"]}
    assert updated == {
        **created,
        "metadata": {**created["metadata"], **version},
        "status": {"ok": True},
    }
    assert int(version["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


def test_status_can_be_taken_away(cluster: Cluster) -> None:
    cluster.create(WORKSPACES, a_workspace())
    cluster.patch(WORKSPACES, "falcon", {"status": {"a": 1}}, subresource="status")

    cluster.patch(WORKSPACES, "falcon", {"status": None}, subresource="status")

    assert "status" not in cluster.get(WORKSPACES, "falcon")


def test_null_status_is_no_status(cluster: Cluster) -> None:
    created = cluster.create(DEPLOYMENTS, a_deployment())

    assert cluster.update(DEPLOYMENTS, {**created, "status": None}, subresource="status") is created


@pytest.mark.parametrize("verb", ["update", "merge", "json", "status"])
def test_write_of_the_same_changes_nothing(cluster: Cluster, verb: str) -> None:
    cluster.create(WORKSPACES, a_workspace(labels={"a": "b"}))
    stored = cluster.patch(WORKSPACES, "falcon", {"status": {"a": 1}}, subresource="status")
    watch = cluster.watch(WORKSPACES, resource_version=cluster.resource_version)

    again = {
        "update": lambda: cluster.update(WORKSPACES, copy.deepcopy(stored)),
        "merge": lambda: cluster.patch(
            WORKSPACES,
            "falcon",
            {"inference": copy.deepcopy(stored["inference"]), "metadata": {"finalizers": []}},
        ),
        "json": lambda: cluster.patch(
            WORKSPACES, "falcon", [{"op": "replace", "path": "/metadata/labels/a", "value": "b"}]
        ),
        "status": lambda: cluster.patch(WORKSPACES, "falcon", {"status": {"a": 1}}, subresource="status"),
    }[verb]()

    assert again == stored
    assert cluster.resource_version == stored["metadata"]["resourceVersion"]
    assert watch.poll() == []


# Immutable fields


def test_server_fields_survive_an_update(cluster: Cluster, clock: SetClock) -> None:
    created = cluster.create(DEPLOYMENTS, a_deployment())
    clock.pass_seconds(60)

    updated = cluster.update(
        DEPLOYMENTS,
        {
            "metadata": {"name": "web", "creationTimestamp": "1999-01-01T00:00:00Z", "generation": 99},
            "spec": {"replicas": 2},
        },
    )

    kept = ("uid", "creationTimestamp", "namespace")
    assert {k: updated["metadata"][k] for k in kept} == {k: created["metadata"][k] for k in kept}
    assert updated["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("patch", "error", "complaint"),
    [
        ({"metadata": {"name": "y"}}, BadRequest, "does not match the name on the URL"),
        ({"metadata": {"name": None}}, BadRequest, "does not match the name on the URL"),
        ({"metadata": {"namespace": "y"}}, BadRequest, "does not match the namespace on the URL"),
        ({"metadata": {"uid": "y"}}, Invalid, 'metadata.uid: Invalid value: "y": field is immutable'),
        ({"metadata": {"deletionTimestamp": "2024-04-05T18:29:58Z"}}, Invalid, "field is immutable"),
        ({"metadata": {"labels": {"a": "-"}}}, Invalid, "a valid label"),
        ({"metadata": {"labels": {"a": 1}}}, BadRequest, "metadata.labels"),
        ({"kind": "Pod"}, Invalid, '^Pod.kaito.sh "falcon" is invalid: kind: .* must be Workspace$'),
        ({"apiVersion": "kaito.sh/v1"}, BadRequest, "expected API version"),
        ([{"op": "test", "path": "/resource/count", "value": 2}], Invalid, "error in our request$"),
        ({"metadata": {"resourceVersion": "x"}}, ApiError, 'parsing "x": invalid syntax'),
    ],
)
def test_refused_patch_changes_nothing(
    cluster: Cluster, patch: Any, error: type[ApiError], complaint: str
) -> None:
    created = cluster.create(WORKSPACES, a_workspace())

    with pytest.raises(error, match=complaint):
        cluster.patch(WORKSPACES, "falcon", patch)

    assert cluster.get(WORKSPACES, "falcon") is created


# Schema and admission


class Strict(OpenSchema):
    def prune(self, obj: Object) -> Object:
        return {key: value for key, value in obj.items() if key != "unknown"}

    def validate(self, new: Object, old: Object | None) -> list[str]:
        if old is not None and new["spec"] != old["spec"]:
            return ["spec: Invalid value: may not change"]
        return [] if "spec" in new else ["spec: Required value"]


def test_schema_prunes_and_refuses() -> None:
    things = Resource("x.y", "v1", "things", "Thing")
    cluster = a_cluster(kinds=[Kind(resource=things, custom=True, schema=Strict())])

    created = cluster.create(things, plain(spec=1, unknown=2))

    assert "unknown" not in created
    with pytest.raises(Invalid, match=r'^Thing\.x\.y "two" is invalid: spec: Required value$'):
        cluster.create(things, plain("two"))
    with pytest.raises(Invalid, match="may not change"):
        cluster.patch(things, "one", {"spec": 2})


def test_admission_sees_every_write() -> None:
    seen: list[tuple[str, str, bool, bool]] = []
    cluster = a_cluster(
        admit=[lambda op, resource, new, old: seen.append((op, resource.kind, new is None, old is None))]
    )

    cluster.create(WORKSPACES, a_workspace(), dry_run=True)
    cluster.create(WORKSPACES, a_workspace())
    cluster.patch(WORKSPACES, "falcon", {"resource": {"count": 2}})
    cluster.patch(WORKSPACES, "falcon", {"status": {"a": 1}}, subresource="status")
    cluster.delete(WORKSPACES, "falcon")

    assert seen == [
        ("CREATE", "Workspace", False, True),
        ("CREATE", "Workspace", False, True),
        ("UPDATE", "Workspace", False, False),
        ("UPDATE", "Workspace", False, False),
        ("DELETE", "Workspace", True, False),
    ]


def test_admission_refusal_changes_nothing() -> None:
    cluster = a_cluster()
    pod = cluster.create(PODS, a_pod())

    def deny(operation: str, *_: object) -> None:
        raise Forbidden(f"no {operation}")

    cluster.admit.append(deny)

    for call in (
        lambda: cluster.create(PODS, a_pod("other")),
        lambda: cluster.patch(PODS, "pod-0", {"spec": {"a": 1}}),
        lambda: cluster.delete(PODS, "pod-0"),
    ):
        with pytest.raises(Forbidden):
            call()
    assert cluster.list(PODS).items == [pod]


@every_kind
def test_dry_run_answers_and_changes_nothing(cluster: Cluster, resource: Resource) -> None:
    stored = cluster.create(resource, plain(spec={"a": 1}))
    watch = cluster.watch(resource, resource_version=cluster.resource_version)

    created = cluster.create(resource, plain("two"), dry_run=True)
    updated = cluster.update(resource, {**stored, "spec": {"a": 2}}, dry_run=True)
    patched = cluster.patch(resource, "one", {"spec": {"a": 3}}, dry_run=True)
    cluster.delete(resource, "one", dry_run=True)

    assert created["metadata"]["name"] == "two"
    assert (updated["spec"], patched["spec"]) == ({"a": 2}, {"a": 3})
    assert cluster.list(resource).items == [stored]
    assert watch.poll() == []


def test_dry_run_is_refused_like_a_real_one(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod())

    with pytest.raises(AlreadyExists):
        cluster.create(PODS, a_pod(), dry_run=True)
    with pytest.raises(Conflict):
        cluster.delete(PODS, "pod-0", uid="another", dry_run=True)


# Sharing


def test_caller_keeps_no_hold_on_the_store(cluster: Cluster) -> None:
    body = a_pod(labels={"a": "b"})
    cluster.create(PODS, body)
    patch: Object = {"spec": {"list": [1]}}
    cluster.patch(PODS, "pod-0", patch)
    operations = [{"op": "add", "path": "/spec/more", "value": [1]}]
    cluster.patch(PODS, "pod-0", operations)
    owner = cluster.create(DEPLOYMENTS, a_deployment())
    cluster.create(PODS, a_pod("other", ownerReferences=[owner_reference(owner)]))
    before = copy.deepcopy(cluster.list(PODS))

    body["metadata"]["labels"]["a"] = "changed"
    body["spec"]["containers"].append("changed")
    patch["spec"]["list"].append("changed")
    operations[0]["value"].append("changed")  # type: ignore[attr-defined]  # a list, typed as object

    assert cluster.list(PODS) == before


def test_earlier_readings_stay_as_they_were(cluster: Cluster) -> None:
    first = cluster.create(WORKSPACES, a_workspace(labels={"a": "b"}))
    kept = copy.deepcopy(first)

    cluster.patch(WORKSPACES, "falcon", {"metadata": {"labels": {"a": "c"}}, "resource": {"count": 2}})
    cluster.patch(WORKSPACES, "falcon", {"status": {"a": 1}}, subresource="status")
    cluster.patch(WORKSPACES, "falcon", [{"op": "remove", "path": "/inference/preset/name"}])
    cluster.delete(WORKSPACES, "falcon")

    assert first == kept
