"""Pruning, defaulting and validation from our CRDs; ``tests/e2e`` compares the words with a real server's."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.ports import MACHINES, WORKSPACES, Invalid, Object
from simulator.cluster import Cluster
from simulator.kinds import KINDS, Schema
from simulator.schemas import StructuralSchema
from tests.simulator.virtual import a_cluster as an_open_cluster
from tests.simulator.virtual import a_workspace

SCHEMAS: dict[str, Schema] = {kind.resource.kind: kind.schema for kind in KINDS}
WORKSPACE = SCHEMAS["Workspace"]
SELECTOR = {"matchLabels": {"apps": "falcon"}}
CONDITION = {
    "type": "MachineReady",
    "status": "True",
    "reason": "installNodePluginsSuccess",
    "message": "ready",
    "lastTransitionTime": "2024-04-05T18:34:17Z",
}


def a_cluster() -> Cluster:
    return an_open_cluster(kinds=KINDS)


def a_schema(**root: Any) -> StructuralSchema:
    return StructuralSchema(lambda: {"type": "object", **root})


def created(**content: Any) -> Object:
    """What the API server makes of a Workspace with this content, without its identity."""
    made = a_cluster().create(WORKSPACES, {"metadata": {"name": "w"}, **content})
    return {key: value for key, value in made.items() if key not in ("apiVersion", "kind", "metadata")}


DEFAULTS = {
    "fills the resource": (
        {"resource": {"labelSelector": {}}},
        {"resource": {"labelSelector": {}, "count": 1, "instanceType": "Standard_NC12s_v3"}},
    ),
    "takes a null for absent": (
        {"resource": {"labelSelector": {}, "count": None, "instanceType": "x"}},
        {"resource": {"labelSelector": {}, "count": 1, "instanceType": "x"}},
    ),
    "keeps what is written": (
        {"resource": {"labelSelector": {}, "count": 3, "instanceType": "x"}},
        {"resource": {"labelSelector": {}, "count": 3, "instanceType": "x"}},
    ),
    "fills both presets": (
        {
            "inference": {"preset": {"name": "a"}},
            "tuning": {"preset": {"name": "b"}, "input": {}, "output": {}},
        },
        {
            "inference": {"preset": {"name": "a", "accessMode": "public"}},
            "tuning": {"preset": {"name": "b", "accessMode": "public"}, "input": {}, "output": {}},
        },
    ),
    "needs the parent": ({"inference": {}}, {"inference": {}}),
    "drops a parent that is null": ({"resource": None, "inference": {"preset": None}}, {"inference": {}}),
    "makes a whole float an integer": (
        {"resource": {"labelSelector": {}, "count": 2.0, "instanceType": "x"}},
        {"resource": {"labelSelector": {}, "count": 2, "instanceType": "x"}},
    ),
    "drops unknown fields at each level": (
        {"spec": {"a": 1}, "tuning": {"input": {"volume": "x", "urls": []}, "output": {}}},
        {"tuning": {"input": {"urls": []}, "output": {}}},
    ),
    "keeps a template as it is": (
        {"inference": {"template": {"metadata": {"creationTimestamp": None}, "odd": [None, {"x": None}]}}},
        {"inference": {"template": {"metadata": {"creationTimestamp": None}, "odd": [None, {"x": None}]}}},
    ),
    "drops null labels": (
        {
            "inference": {},
            "resource": {"labelSelector": {"matchLabels": {"a": None}}, "count": 1, "instanceType": ""},
        },
        {"inference": {}, "resource": {"labelSelector": {"matchLabels": {}}, "count": 1, "instanceType": ""}},
    ),
}


@pytest.mark.parametrize(("content", "expected"), DEFAULTS.values(), ids=DEFAULTS.keys())
def test_stored_workspace_is_pruned_and_completed(content: Object, expected: Object) -> None:
    assert created(**content) == expected


def of_type(path: str, wanted: str, found: str) -> str:
    return f'{path}: Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'


REFUSALS: dict[str, tuple[Object, set[str]]] = {
    "required": (
        {"resource": {"labelSelector": None}, "tuning": {}},
        {
            "resource.labelSelector: Required value",
            "tuning.input: Required value",
            "tuning.output: Required value",
        },
    ),
    "string for an integer": (
        {"resource": {"labelSelector": {}, "count": "two"}},
        {of_type("resource.count", "integer", "string")},
    ),
    "fraction for an integer": (
        {"resource": {"labelSelector": {}, "count": 1.5}},
        {of_type("resource.count", "integer", "number")},
    ),
    "integer of more than 64 bits": (
        {"resource": {"labelSelector": {}, "count": 2**63}},
        {of_type("resource.count", "integer", "number")},
    ),
    "boolean for an integer": (
        {"resource": {"labelSelector": {}, "count": True}},
        {of_type("resource.count", "integer", "boolean")},
    ),
    "list for an object": ({"resource": []}, {of_type("resource", "object", "array")}),
    "object for a list": (
        {"resource": {"labelSelector": {}, "preferredNodes": {"a": 1}}},
        {of_type("resource.preferredNodes", "array", "object")},
    ),
    "items of a list": (
        {"resource": {"labelSelector": {}, "preferredNodes": [1, "a", None, 2]}},
        {
            of_type("resource.preferredNodes", "string", "integer"),
            of_type("resource.preferredNodes", "string", "null"),
        },
    ),
    "value of a map": (
        {"resource": {"labelSelector": {"matchLabels": {"a": 1}}}},
        {of_type("resource.labelSelector.matchLabels.a", "string", "integer")},
    ),
    "item without its key": (
        {"resource": {"labelSelector": {"matchExpressions": [{"operator": "In"}]}}},
        {"resource.labelSelector.matchExpressions.key: Required value"},
    ),
    "enum": (
        {"inference": {"preset": {"accessMode": "secret"}}},
        {
            'inference.preset.accessMode: Unsupported value: "secret": supported values: "public", "private"',
            "inference.preset.name: Required value",
        },
    ),
    "enum of another type": (
        {"inference": {"preset": {"name": "x", "accessMode": 3}}},
        {
            of_type("inference.preset.accessMode", "string", "integer"),
            'inference.preset.accessMode: Unsupported value: 3: supported values: "public", "private"',
        },
    ),
}


@pytest.mark.parametrize(("content", "causes"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_names_every_cause(content: Object, causes: set[str]) -> None:
    body = {"metadata": {"name": "w"}, **content}

    found = WORKSPACE.validate(WORKSPACE.default(WORKSPACE.prune(body)), None)

    assert sorted(found) == sorted(causes)
    with pytest.raises(Invalid, match=r'^Workspace\.kaito\.sh "w" is invalid: '):
        a_cluster().create(WORKSPACES, body)


def in_body(field: str, value: str, why: str) -> list[str]:
    path = f"status.conditions.{field}"
    return [f"{path}: Invalid value: {value}: {path} in body {why}"]


NO_TIME = ["yesterday", "2024-04-05", "2024-04-05 18:29:58", "2024-04-05T18:29:58", "2024-02-30T18:29:58Z"]
CONDITIONS: list[tuple[Object, list[str]]] = [
    ({}, []),
    ({"message": "é" * 32768}, []),
    ({"lastTransitionTime": "2024-04-05t18:29:58.123456+02:00"}, []),
    ({"observedGeneration": None}, []),
    ({"reason": ""}, in_body("reason", '""', "should be at least 1 chars long")),
    (
        {"reason": "a b"},
        in_body("reason", '"a b"', "should match '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$'"),
    ),
    ({"reason": "a" * 1025}, in_body("reason", f'"{"a" * 1025}"', "should be at most 1024 chars long")),
    ({"type": "x" * 317}, in_body("type", f'"{"x" * 317}"', "should be at most 316 chars long")),
    ({"message": "m" * 32769}, in_body("message", f'"{"m" * 32769}"', "should be at most 32768 chars long")),
    ({"observedGeneration": -1}, in_body("observedGeneration", "-1", "should be greater than or equal to 0")),
    (
        {"status": "true"},
        ['status.conditions.status: Unsupported value: "true": supported values: "True", "False", "Unknown"'],
    ),
    *(
        (
            {"lastTransitionTime": text},
            in_body("lastTransitionTime", f'"{text}"', f'must be of type date-time: "{text}"'),
        )
        for text in NO_TIME
    ),
]


@pytest.mark.parametrize(("change", "causes"), CONDITIONS)
def test_conditions_keep_their_limits(change: Object, causes: list[str]) -> None:
    cluster = a_cluster()
    cluster.create(WORKSPACES, a_workspace())
    patch = {"status": {"conditions": [CONDITION | change]}}

    if not causes:
        stored = cluster.patch(WORKSPACES, "falcon", patch, subresource="status")["status"]["conditions"][0]
        assert stored == {key: value for key, value in (CONDITION | change).items() if value is not None}
    else:
        with pytest.raises(Invalid, match=re.escape(causes[0])):
            cluster.patch(WORKSPACES, "falcon", patch, subresource="status")


def test_reason_may_not_end_in_a_line_break() -> None:
    body = {"status": {"conditions": [{**CONDITION, "reason": "Ready\n"}]}}

    assert len(WORKSPACE.validate(body, None)) == 1


@pytest.mark.parametrize("quantity", ["50Gi", "0", ".5", "1e3", "100m", 5, -1])
def test_quantities_are_texts_or_integers(quantity: str | int) -> None:
    body = {"metadata": {"name": "m"}, "spec": {"resources": {"requests": {"storage": quantity}}}}

    stored = a_cluster().create(MACHINES, body)

    assert stored["spec"] == body["spec"]


@pytest.mark.parametrize("quantity", ["50 Gi", "x", "", 1.5, True])
def test_other_quantities_are_refused(quantity: Any) -> None:
    body = {"metadata": {"name": "m"}, "spec": {"resources": {"requests": {"storage": quantity}}}}

    with pytest.raises(Invalid, match=r"spec\.resources\.requests\.storage"):
        a_cluster().create(MACHINES, body)


def test_cleared_count_gets_its_default_again() -> None:
    cluster = a_cluster()
    cluster.create(WORKSPACES, a_workspace())

    patched = cluster.patch(WORKSPACES, "falcon", {"resource": {"count": None}})

    assert patched["resource"]["count"] == 1
    assert patched["metadata"]["generation"] == 1


def test_refused_update_changes_nothing() -> None:
    cluster = a_cluster()
    before = cluster.create(WORKSPACES, a_workspace())

    with pytest.raises(Invalid, match=r"resource\.labelSelector: Required value"):
        cluster.patch(WORKSPACES, "falcon", {"resource": {"labelSelector": None}})

    assert cluster.get(WORKSPACES, "falcon") is before


def test_unchanged_objects_are_not_copied() -> None:
    stored = a_cluster().create(WORKSPACES, a_workspace())

    assert WORKSPACE.prune(stored) is stored
    assert WORKSPACE.default(stored) is stored


def test_nullable_fields_keep_a_null() -> None:
    schema = a_schema(properties={"a": {"type": "string", "nullable": True}, "b": {"type": "string"}})

    assert schema.prune({"a": None, "b": None}) == {"a": None}
    assert schema.validate({"a": None}, None) == []


def test_defaults_reach_into_lists() -> None:
    item = {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}}
    schema = a_schema(properties={"ports": {"type": "array", "items": item}})

    assert schema.default({"ports": [{}, {"port": 1}]}) == {"ports": [{"port": 80}, {"port": 1}]}


def test_numbers_keep_their_upper_limit() -> None:
    schema = a_schema(properties={"percent": {"type": "integer", "maximum": 100}})

    assert schema.validate({"percent": 100}, None) == []
    assert schema.validate({"percent": 101}, None) == [
        "percent: Invalid value: 101: percent in body should be less than or equal to 100"
    ]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
names = [
    "resource",
    "inference",
    "tuning",
    "status",
    "preset",
    "template",
    "conditions",
    "labelSelector",
    "matchLabels",
    "count",
    "adapters",
    "input",
    "type",
    "spec",
    "taints",
    "requirements",
    "unknown",
]
fields = st.sampled_from(names)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=20,
)
objects = st.dictionaries(fields, documents, max_size=6)


@given(kind=st.sampled_from(["Workspace", "Machine"]), obj=objects)
def test_any_json_is_pruned_once_and_never_changed(kind: str, obj: Object) -> None:
    schema, before = SCHEMAS[kind], copy.deepcopy(obj)

    stored = schema.default(schema.prune(obj))

    assert schema.default(schema.prune(stored)) == stored
    assert all(": " in cause for cause in schema.validate(stored, None))
    assert obj == before
