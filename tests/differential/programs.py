"""Programs at random: few names, labels and finalizers, so that the calls of one program meet each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.differential import bodies
from tests.differential.calls import (
    CUSTOM,
    RESOURCES,
    Call,
    Create,
    Delete,
    Get,
    List,
    Patch,
    Program,
    Replace,
    Watch,
)
from tests.differential.interpreter import NOBODY, WATCHED_LABELS

SHORTEST, LONGEST = 3, 14

NAMES = ("a", "b", "c")
KINDS = (
    "Workspace",
    "Workspace",
    "Workspace",
    "Machine",
    "Machine",
    *(kind for kind in RESOURCES if kind not in CUSTOM),
)
GENERATIONS = (*CUSTOM, "Deployment", "StatefulSet")
"""The kinds whose generation the server counts; of others it keeps what a client says."""

LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y", "gpu", ""]), max_size=2)
ODD_LABELS = st.sampled_from([{"app": "-x"}, {"a b": "x"}, {"/app": "x"}, {"app": "x" * 64}, {"app": 1}])
ANNOTATIONS = st.dictionaries(
    st.sampled_from(["note", "kaito.sh/Note"]), st.sampled_from(["1", ""]), max_size=1
)
FINALIZERS = st.lists(st.sampled_from(["a.io/one", "b.io/two"]), unique=True, max_size=2)
ODD_FINALIZERS = st.sampled_from(
    [["orphan", "foregroundDeletion"], ["no/slashes/here"], [""], ["orphan"], ["foregroundDeletion"], "one"]
)
DRY = st.sampled_from([False, False, False, True])
LABEL_SELECTORS = (
    *WATCHED_LABELS,
    "app=x,tier!=gpu",
    "tier in (gpu,x)",
    "tier notin (gpu)",
    "app==y",
    "app=",
)
ODD_LABEL_SELECTORS = (
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
FIELD_SELECTORS = (
    "",
    "",
    "metadata.name=a",
    "metadata.name!=a",
    "metadata.name==b",
    "metadata.namespace=nowhere",
)
ODD_FIELD_SELECTORS = ("spec.unknown=b", "metadata.name", "metadata.labels=x", "=a", "metadata.name=a,,")


def seldom(
    odd: st.SearchStrategy[Any], usual: st.SearchStrategy[Any], one_in: int = 6
) -> st.SearchStrategy[Any]:
    return st.integers(1, one_in).flatmap(lambda n: odd if n == one_in else usual)


def rare(values: tuple[Any, ...], usual: Any) -> st.SearchStrategy[Any]:
    return seldom(st.sampled_from(values), st.just(usual))


def names() -> st.SearchStrategy[str]:
    return st.sampled_from(NAMES)


def owners(kind: str) -> st.SearchStrategy[list[Any]]:
    """References to an object of the program, and the faults of one."""
    good = {
        "apiVersion": RESOURCES[kind].api_version,
        "kind": kind,
        "name": "a",
        "uid": f"@uid:{kind}/a",
        "controller": True,
    }
    other = {**good, "name": "b", "uid": NOBODY, "blockOwnerDeletion": True}
    return st.sampled_from(
        [
            [good],
            [{**other, "controller": False}],
            [good, other],
            [{**good, "uid": ""}],
            [{**good, "apiVersion": "v1", "kind": "Event"}],
            [{"kind": kind, "name": "a"}],
        ]
    )


@st.composite
def metadata_changes(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """What a client may write into metadata, seldom nonsense."""
    generation = [{"generation": 7}] if kind in GENERATIONS else []
    fields = draw(
        st.lists(
            st.sampled_from(["labels", "annotations", "finalizers", "owners", "odd"]), max_size=2, unique=True
        )
    )
    metadata: dict[str, Any] = {}
    if "labels" in fields:
        metadata["labels"] = draw(seldom(ODD_LABELS, LABELS))
    if "annotations" in fields:
        metadata["annotations"] = draw(ANNOTATIONS)
    if "finalizers" in fields:
        metadata["finalizers"] = draw(seldom(ODD_FINALIZERS, FINALIZERS))
    if "owners" in fields:
        metadata["ownerReferences"] = draw(owners(kind))
    if "odd" in fields:
        metadata |= draw(
            st.sampled_from(
                [
                    *generation,
                    {"deletionTimestamp": "2024-04-05T18:29:58Z"},
                    {"creationTimestamp": "2024-04-05T18:29:58Z"},
                    {"deletionGracePeriodSeconds": 5},
                    {"unknown": 1},
                    {"uid": NOBODY},
                    {"namespace": "other"},
                    {"name": "other"},
                    {"resourceVersion": "1"},
                    {"resourceVersion": f"@version:{kind}/a:-1"},
                    {"resourceVersion": f"@version:{kind}/a:-2"},
                ]
            )
        )
    return metadata


def contents(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    valid = st.sampled_from(bodies.VALID[kind])
    return seldom(st.sampled_from(bodies.INVALID[kind]), valid) if kind in bodies.INVALID else valid


def statuses(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    valid = st.sampled_from(bodies.STATUS[kind])
    odd = bodies.INVALID_STATUS.get(kind)
    return seldom(st.sampled_from(odd), valid, 4) if odd else valid


def addressed(kind: str, name: str) -> str:
    return name if RESOURCES[kind].namespaced else f"@name:{name}"


@st.composite
def creates(draw: st.DrawFn, kind: str) -> Create:
    metadata: dict[str, Any] = {"name": addressed(kind, draw(names()))}
    metadata |= draw(metadata_changes(kind))
    if draw(rare((True,), False)):
        del metadata["name"]
        metadata |= draw(st.sampled_from([{}, {"generateName": addressed(kind, "g-")}, {"name": "No_Name"}]))
    body = {**draw(contents(kind)), "metadata": metadata}
    if draw(rare((True,), False)):
        body["status"] = draw(statuses(kind))
    body |= draw(rare(({"kind": "Secret"}, {"apiVersion": "v2"}), {}))
    return Create(kind=kind, body=body, dry_run=draw(DRY))


def changed_content(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """What of an object may be changed at all: the spec of a pod may not."""
    return st.just({}) if kind == "Pod" else contents(kind)


@st.composite
def changes(draw: st.DrawFn, kind: str, subresource: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found |= draw(changed_content(kind))
    if subresource or draw(rare((True,), False)):
        found["status"] = draw(statuses(kind))
    # Each built-in kind has a rule of its own for metadata that comes with a status.
    if (kind in CUSTOM or not subresource) and draw(st.booleans()):
        found["metadata"] = draw(metadata_changes(kind))
    return found


@st.composite
def replacements(draw: st.DrawFn, kind: str) -> Replace:
    subresource = draw(st.sampled_from(["", "", "status"]))
    found = draw(changes(kind, subresource))
    odd = draw(
        rare(
            ({"resourceVersion": None}, {"resourceVersion": "0"}, {"resourceVersion": "x"}, {"uid": None}), {}
        )
    )
    if odd:
        found["metadata"] = {**found.get("metadata", {}), **odd}
    return Replace(
        kind=kind,
        name=draw(names()),
        changes=found,
        base=-1 if subresource and kind not in CUSTOM else draw(st.sampled_from([-1, -1, -1, -2, -3])),
        subresource=subresource,
        dry_run=draw(DRY) or _is_partly_ignored(found, subresource),
    )


def _is_partly_ignored(content: dict[str, Any], subresource: str) -> bool:
    """Such a write is done dry: server 1.20 remembers in managedFields who owns the status that it ignores on
    the main way, or the metadata that it ignores on the status's, which makes a new version of an object in
    which nothing else has changed.
    """
    if subresource:
        return "metadata" in content
    return "status" in content


@st.composite
def merge_patches(draw: st.DrawFn, kind: str) -> Patch:
    subresource = draw(st.sampled_from(["", "", "status"]))
    patch = draw(changes(kind, subresource))
    nulls = st.sampled_from(
        [
            {"metadata": {"finalizers": None}},
            {"metadata": {"labels": None}},
            {"metadata": {"labels": {"app": None, "tier": "x"}}},
            {"status": None},
            {"metadata": {"annotations": {"note": None}}},
        ]
    )
    if (kind in CUSTOM or not subresource) and draw(st.booleans()):
        patch |= draw(nulls)
    dry = draw(DRY) or _is_partly_ignored(patch, subresource)
    return Patch(kind=kind, name=draw(names()), patch=patch, subresource=subresource, dry_run=dry)


def operations(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"op": "test", "path": "/metadata/name", "value": addressed(kind, "a")},
            {"op": "test", "path": "/metadata/labels", "value": None},
            {"op": "test", "path": "/metadata/labels/app", "value": "x"},
            {"op": "add", "path": "/metadata/labels", "value": {"app": "y"}},
            {"op": "add", "path": "/metadata/labels/tier", "value": "gpu"},
            {"op": "add", "path": "/metadata/annotations", "value": {"a~/b": "1"}},
            {"op": "replace", "path": "/metadata/labels/app", "value": "x"},
            {"op": "replace", "path": "/metadata/annotations/a~0~1b", "value": "2"},
            {"op": "remove", "path": "/metadata/labels/app"},
            {"op": "remove", "path": "/metadata/finalizers/0"},
            {"op": "add", "path": "/metadata/finalizers/-", "value": "c.io/three"},
            {"op": "add", "path": "/metadata/finalizers/7", "value": "c.io/three"},
            {"op": "add", "path": "/metadata/finalizers", "value": ["c.io/three"]},
            {"op": "remove", "path": "/metadata/finalizers"},
            {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"},
            {"op": "move", "from": "/metadata/labels/app", "path": "/metadata/labels/tier"},
            {"op": "remove", "path": "/nowhere/at/all"},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": f"@version:{kind}/a:-2"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": f"@version:{kind}/a:-1"},
            {"op": "add", "path": "", "value": {}},
            {"op": "test", "path": "", "value": {}},
            {"op": "sort", "path": "/metadata"},
            {"op": "add", "path": "metadata", "value": {}},
            {"op": "add", "path": "/metadata/labels/app"},
        ]
    )


@st.composite
def json_patches(draw: st.DrawFn, kind: str) -> Patch:
    found = draw(st.lists(operations(kind), min_size=1, max_size=3))
    subresource = draw(st.sampled_from(["", "", "", "status"])) if kind in CUSTOM else ""
    if subresource:
        found.append({"op": "add", "path": "/status", "value": draw(statuses(kind))})
    ignored = bool(subresource) and any(str(each["path"]).startswith("/metadata") for each in found)
    dry = draw(DRY) or ignored
    return Patch(
        kind=kind, name=draw(names()), patch=found, form="json", subresource=subresource, dry_run=dry
    )


def odd_patches(kind: str) -> st.SearchStrategy[Patch]:
    """Of types the virtual server does not take: dry, so that both go on from the same objects."""
    labelled = {
        "apiVersion": RESOURCES[kind].api_version,
        "kind": kind,
        "metadata": {"name": addressed(kind, "a"), "labels": {"app": "x"}},
    }
    forms = st.sampled_from(["strategic", "apply", "application/json"])
    return st.builds(
        Patch,
        kind=st.just(kind),
        name=st.just("a"),
        patch=st.just(labelled),
        form=forms,
        dry_run=st.just(True),
    )


def deletes(kind: str) -> st.SearchStrategy[Delete]:
    return st.builds(
        Delete,
        kind=st.just(kind),
        name=names(),
        uid=rare((NOBODY, f"@uid:{kind}/a", f"@uid:{kind}/b"), ""),
        version=rare((f"@version:{kind}/a:-1", f"@version:{kind}/a:-2", "1"), ""),
        propagation=st.sampled_from(["", "", "", "Background", "Foreground", "Orphan", "Never"]),
        dry_run=DRY,
    )


def lists(kind: str) -> st.SearchStrategy[List]:
    return st.builds(
        List,
        kind=st.just(kind),
        labels=seldom(st.sampled_from(ODD_LABEL_SELECTORS), st.sampled_from(LABEL_SELECTORS)),
        fields=seldom(st.sampled_from(ODD_FIELD_SELECTORS), st.sampled_from(FIELD_SELECTORS)),
        limit=st.sampled_from([0, 0, 1, 2]),
        more=st.booleans(),
        version=rare(("0", "@version:-1", "@version:-2", "x"), ""),
    ).filter(lambda call: not (call.limit and call.version and "metadata.name=" in call.fields))


def watches(kind: str) -> st.SearchStrategy[Watch]:
    versions = st.sampled_from(["", "0", "@version:-1", "@version:-2", "@version:-4", "1", "x"])
    if kind not in CUSTOM:
        # What the real server still remembers of built-in kinds depends on its age.
        versions = versions.filter(lambda version: version != "1")
    labels = st.sampled_from(tuple(WATCHED_LABELS))
    return st.builds(Watch, kind=st.just(kind), labels=labels, version=versions)


def calls(kind: str) -> st.SearchStrategy[Call]:
    gets = st.builds(Get, kind=st.just(kind), name=names())
    return st.one_of(
        creates(kind),
        creates(kind),
        replacements(kind),
        replacements(kind),
        merge_patches(kind),
        json_patches(kind),
        odd_patches(kind),
        deletes(kind),
        deletes(kind),
        gets,
        lists(kind),
        watches(kind),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Begins with something to work on; one kind, or two."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2))
    first = [draw(creates(kinds[0])), draw(watches(kinds[0]))]
    rest = draw(st.lists(st.sampled_from(kinds).flatmap(calls), min_size=SHORTEST, max_size=LONGEST))
    return _settled((*first, *rest))


def _settled(program: Program) -> Program:
    """With one generated name of a kind: where two would sort is drawn by each server for itself."""
    generated: set[str] = set()
    kept: list[Call] = []
    for call in program:
        if isinstance(call, Create) and "generateName" in call.body["metadata"]:
            if call.kind in generated:
                continue
            generated.add(call.kind)
        kept.append(call)
    return tuple(kept)
