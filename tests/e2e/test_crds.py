"""The CRDs on a real API server: accepted, printed, explained, and understood as the virtual server does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kaito.api.loading import load_documents
from kaito.catalogue import load_catalogue
from kaito.crds.definitions import DEFINITIONS, MACHINES, WORKSPACES, Definition
from kaito.runtime import ports
from kaito.runtime.ports import Invalid, Object
from kaito.validation import validate_create
from simulator.cluster import Cluster
from tests.e2e.conftest import ROOT
from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.real_server

WORKSPACES_PATH = "/apis/kaito.sh/v1alpha1/namespaces/default/workspaces"
MACHINES_PATH = "/apis/karpenter.sh/v1alpha5/machines"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVERS_OWN = (
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "managedFields",
    "generation",
    "selfLink",
    "namespace",
)
SERVERS_WORDS = ("apiVersion", "kind", "metadata")
"""Fields at the top that the server explains in words of its own."""
NOW = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
MESSAGE = "waiting for nodes"


def a_workspace(**content: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "falcon"}}},
        "inference": {"preset": {"name": "falcon-7b"}},
        **content,
    }


def a_machine(**spec: Any) -> Object:
    return {"apiVersion": "karpenter.sh/v1alpha5", "kind": "Machine", "metadata": {"name": "m"}, "spec": spec}


def a_condition(type_: str, status: str, reason: str, **other: Any) -> Object:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": MESSAGE,
        "lastTransitionTime": "2024-04-05T18:34:17Z",
        **other,
    }


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.name)
def test_definition_is_accepted_and_established(server: ControlPlane, definition: Definition) -> None:
    stored = server.request("GET", f"{CRDS_PATH}/{definition.name}").body

    conditions = {each["type"]: each["status"] for each in stored["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
    assert stored["status"]["acceptedNames"]["kind"] == definition.kind


def _admitted() -> list[str]:
    catalogue = load_catalogue()
    return [
        path.name
        for path in sorted((ROOT / "examples").glob("*.yaml"))
        if not any(validate_create(document.object, catalogue) for document in load_documents(path))
    ]


def test_admitted_examples_are_applied(server: ControlPlane) -> None:
    admitted = _admitted()

    printed = [server.kubectl("apply", "-f", str(ROOT / "examples" / name)) for name in admitted]

    assert len(admitted) == 13
    assert [text.split()[1] for text in printed] == ["created"] * 13
    stored = server.request("GET", WORKSPACES_PATH).body["items"]
    assert {f"{each['metadata']['name'].removeprefix('workspace-')}.yaml" for each in stored} >= set(admitted)


@pytest.fixture
def half_way(server: ControlPlane) -> Iterator[str]:
    """A Workspace with one of two nodes, stored by way of the status subresource."""
    body = a_workspace(metadata={"name": "half-way"})
    body["resource"]["count"] = 2
    stored = server.request("POST", WORKSPACES_PATH, body).body
    stored["status"] = {
        "workerNodes": ["aks-ws1", "aks-ws2"],
        "conditions": [
            a_condition("MachineReady", "True", "installNodePluginsSuccess"),
            a_condition("ResourceReady", "True", "workspaceResourceStatusSuccess"),
            a_condition("InferenceReady", "Unknown", "WorkspaceInferenceStatusPending"),
            a_condition("WorkspaceReady", "False", "workspacePending"),
        ],
    }
    answer = server.request("PUT", f"{WORKSPACES_PATH}/half-way/status", stored)
    assert answer.code == 200, answer.message
    yield "half-way"
    server.request("DELETE", f"{WORKSPACES_PATH}/half-way")


def _table(text: str) -> tuple[list[str], list[str]]:
    """Headers and cells of kubectl's output with one row; an empty cell is an empty text."""
    header, row = text.splitlines()
    starts = [at for at in range(len(header)) if header[at] != " " and (at == 0 or header[at - 1] == " ")]
    ends = [*starts[1:], None]
    return header.split(), [row[start:end].strip() for start, end in zip(starts, ends, strict=True)]


PUBLISHED = ["NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE"]


def test_workspaces_print_the_published_columns(server: ControlPlane, half_way: str) -> None:
    headers, cells = _table(server.kubectl("get", "wk", half_way))

    assert headers == PUBLISHED
    assert cells[:-1] == ["half-way", "Standard_NC12s_v3", "True", "Unknown", "False"]


def test_wide_output_tells_phase_nodes_and_reason(server: ControlPlane, half_way: str) -> None:
    headers, cells = _table(server.kubectl("get", "wks", half_way, "-o", "wide"))

    assert headers == [*PUBLISHED, "MACHINEREADY", "PHASE", "WANTED", "NODES", "REASON"]
    assert cells[6:9] == ["True", "workspacePending", "2"]
    assert json.loads(cells[9]) == ["aks-ws1", "aks-ws2"]
    assert cells[10] == "WorkspaceInferenceStatusPending"


def test_machines_print_the_published_columns(server: ControlPlane) -> None:
    machine = a_machine(machineTemplateRef={"name": "m"})
    machine["metadata"]["labels"] = {
        "karpenter.sh/provisioner-name": "default",
        "node.kubernetes.io/instance-type": "Standard_NC12s_v3",
    }
    stored = server.request("POST", MACHINES_PATH, machine).body
    stored["status"] = {"nodeName": "aks-m", "conditions": [{"type": "Ready", "status": "True"}]}
    server.request("PUT", f"{MACHINES_PATH}/m/status", stored)

    narrow, wide = server.kubectl("get", "machines"), server.kubectl("get", "machines", "-o", "wide")

    server.request("DELETE", f"{MACHINES_PATH}/m")
    assert _table(narrow)[0] == ["NAME", "TYPE", "ZONE", "NODE", "READY", "AGE"]
    assert _table(narrow)[1][:-1] == ["m", "Standard_NC12s_v3", "", "aks-m", "True"]
    assert _table(wide)[0][6:] == ["CAPACITY", "PROVISIONER", "TEMPLATE"]
    assert _table(wide)[1][6:] == ["", "default", "m"]


def test_categories_find_their_objects(server: ControlPlane, half_way: str) -> None:
    assert f"workspace.kaito.sh/{half_way}" in server.kubectl("get", "workspace", "-o", "name").split()
    resources = server.kubectl("api-resources", "--api-group=kaito.sh", "-o", "wide")
    assert "wk,wks" in resources


def _levels(schema: Object, path: str) -> Iterator[tuple[str, Object]]:
    """Every object below a schema that has named fields, with its dotted path."""
    while "items" in schema:
        schema = schema["items"]
    if "properties" not in schema:
        return
    yield path, schema["properties"]
    for name, child in schema["properties"].items():
        if name not in SERVERS_WORDS:
            yield from _levels(child, f"{path}.{name}")


def _explained(text: str) -> dict[str, str]:
    """The fields that kubectl explains, each with what it says."""
    found: dict[str, str] = {}
    name = ""
    for line in text.partition("FIELDS:")[2].splitlines():
        if "<" in line and line.startswith("  ") and not line.startswith("     "):
            name = line.split()[0]
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


@pytest.mark.parametrize("definition", [WORKSPACES, MACHINES], ids=lambda each: each.kind)
def test_every_field_is_explained(server: ControlPlane, definition: Definition) -> None:
    schema = definition.to_dict()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    api_version = f"--api-version={definition.group}/{definition.version}"

    for path, fields in _levels(schema, definition.kind.lower()):
        explained = _explained(server.kubectl("explain", path, api_version))
        assert set(explained) == set(fields), path
        for name, said in explained.items():
            assert said, f"{path}.{name}"
            if name not in SERVERS_WORDS:
                assert fields[name]["description"][:40] in said, f"{path}.{name}"


CONTENTS: dict[str, Object] = {
    "defaults": a_workspace(),
    "no resource": a_workspace(resource=None),
    "null defaults": a_workspace(resource={"labelSelector": {}, "count": None, "instanceType": None}),
    "null lists": a_workspace(resource={"labelSelector": {"matchLabels": None}, "preferredNodes": None}),
    "null preset": a_workspace(inference={"preset": None}),
    "null template": a_workspace(inference={"template": None, "preset": {"name": "x", "accessMode": None}}),
    "empty options": a_workspace(inference={"preset": {"name": "x", "presetOptions": {}}}, status={}),
    "whole float": a_workspace(resource={"labelSelector": {}, "count": 2.0}),
    "unknown fields": a_workspace(spec={"a": 1}, resource={"labelSelector": {"x": 1}, "volume": []}),
    "template": a_workspace(
        inference={
            "template": {
                "metadata": {"creationTimestamp": None},
                "spec": {"containers": [{"name": "c", "resources": {}, "odd": None}]},
            }
        }
    ),
    "template of another type": a_workspace(inference={"template": "x"}),
    "status on create": a_workspace(status={"conditions": "x"}),
    "tuning": a_workspace(tuning={"preset": {"name": "x"}, "input": {}, "output": {"volume": 1}}),
    "no selector": a_workspace(resource={}),
    "null selector": a_workspace(resource={"labelSelector": None}),
    "count as text": a_workspace(resource={"labelSelector": {}, "count": "two"}),
    "count with a fraction": a_workspace(resource={"labelSelector": {}, "count": 1.5}),
    "count as boolean": a_workspace(resource={"labelSelector": {}, "count": True}),
    "count beyond 64 bits": a_workspace(resource={"labelSelector": {}, "count": 2**63}),
    "resource as list": a_workspace(resource=[]),
    "resource as text": a_workspace(resource="x"),
    "list as object": a_workspace(resource={"labelSelector": {}, "preferredNodes": {"a": 1}}),
    "odd items": a_workspace(resource={"labelSelector": {}, "preferredNodes": [1, "a", None]}),
    "odd labels": a_workspace(resource={"labelSelector": {"matchLabels": {"a": 1, "b": None}}}),
    "half an expression": a_workspace(
        resource={"labelSelector": {"matchExpressions": [{"operator": "In"}, {"key": "k", "operator": "In"}]}}
    ),
    "null expression": a_workspace(resource={"labelSelector": {"matchExpressions": [None]}}),
    "access mode": a_workspace(inference={"preset": {"accessMode": "secret"}}),
    "access mode as number": a_workspace(inference={"preset": {"name": "x", "accessMode": 3}}),
    "no preset name": a_workspace(inference={"preset": {"name": None}}),
    "strength as number": a_workspace(inference={"adapters": [{"strength": 0.5}]}),
    "half a tuning": a_workspace(tuning={"output": None}),
    "odd input": a_workspace(tuning={"input": {"urls": "x", "name": 7}, "output": {}}),
    "machine": a_machine(resources={"requests": {"storage": "50Gi", "pods": 5}}, taints=[], unknown=1),
    "machine without spec": {**a_machine(), "spec": None},
    "quantities": a_machine(resources={"requests": {"storage": "fifty", "a": 1.5, "b": True}}),
    "taint": a_machine(taints=[{"key": "a"}, {"key": "b", "effect": "c", "timeAdded": "x"}]),
    "operator": a_machine(requirements=[{"key": "a", "operator": "in"}]),
    "template reference": a_machine(machineTemplateRef={}),
    "kubelet": a_machine(
        kubelet={"maxPods": -1, "imageGCHighThresholdPercent": 101, "cpuCFSQuota": "yes", "podsPerCore": 1.5}
    ),
}  # fmt: skip


def _real(server: ControlPlane, body: Object) -> tuple[Object | None, set[str]]:
    """What is stored, or the causes of the refusal."""
    path = WORKSPACES_PATH if body["kind"] == "Workspace" else MACHINES_PATH
    answer = server.request("POST", path, body, dryRun="All")
    if answer.code == 201:
        return answer.body, set()
    assert answer.code == 422, answer
    return None, _causes(answer.message)


def _virtual(body: Object) -> tuple[Object | None, set[str]]:
    resource = ports.WORKSPACES if body["kind"] == "Workspace" else ports.MACHINES
    try:
        return Cluster(lambda: NOW).create(resource, copy.deepcopy(body)), set()
    except Invalid as refusal:
        return None, _causes(refusal.message)


def _causes(message: str) -> set[str]:
    """The single causes of a 422; the real server lists several in no order."""
    listed = message.partition(" is invalid: ")[2]
    if listed.startswith("["):
        listed = listed[1:-1]
    parts = listed.replace(', "', '\0"').split(", ")
    return {part.replace('\0"', ', "') for part in parts}


def _content(obj: Object | None) -> str:
    """As text, since Python holds 2 and 2.0 for equal."""
    if obj is None:
        return ""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in SERVERS_OWN}
    return json.dumps({**obj, "metadata": metadata}, sort_keys=True)


@pytest.mark.parametrize("body", CONTENTS.values(), ids=CONTENTS.keys())
def test_virtual_server_answers_as_the_real_one(server: ControlPlane, body: Object) -> None:
    real, real_causes = _real(server, body)
    virtual, virtual_causes = _virtual(body)

    assert virtual_causes == real_causes
    assert _content(virtual) == _content(real)


CONDITIONS: dict[str, Object] = {
    "good": {},
    "fractions of a second": {"lastTransitionTime": "2024-04-05t18:29:58.5+02:00"},
    "null generation": {"observedGeneration": None},
    "unknown field": {"severity": "Info"},
    "longest message": {"message": "é" * 32768},
    "too long message": {"message": "é" * 32769},
    "too long type": {"type": "x" * 317},
    "odd type": {"type": "a b"},
    "too long reason": {"reason": "a" * 1025},
    "odd reason": {"reason": "a b"},
    "reason of two lines": {"reason": "a\n"},
    "odd status": {"status": "true"},
    "no time": {"lastTransitionTime": None},
    "text for a time": {"lastTransitionTime": "yesterday"},
    "day for a time": {"lastTransitionTime": "2024-04-05"},
    "time without a zone": {"lastTransitionTime": "2024-04-05T18:29:58"},
    "day that is not": {"lastTransitionTime": "2024-02-30T18:29:58Z"},
    "generation below zero": {"observedGeneration": -1},
}


@pytest.mark.parametrize("change", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_virtual_server_judges_conditions_alike(server: ControlPlane, half_way: str, change: Object) -> None:
    status = {"conditions": [a_condition("A", "True", "R") | change]}
    stored = server.request("GET", f"{WORKSPACES_PATH}/{half_way}").body

    answer = server.request(
        "PUT", f"{WORKSPACES_PATH}/{half_way}/status", {**stored, "status": status}, dryRun="All"
    )
    virtual, virtual_causes = _virtual_status(half_way, status)

    assert answer.code == (422 if virtual_causes else 200), answer.message
    assert virtual_causes == (_causes(answer.message) if answer.code == 422 else set())
    assert virtual is None or virtual["status"] == answer.body["status"]


def _virtual_status(name: str, status: Object) -> tuple[Object | None, set[str]]:
    cluster = Cluster(lambda: NOW)
    cluster.create(ports.WORKSPACES, a_workspace(metadata={"name": name}))
    try:
        return cluster.patch(ports.WORKSPACES, name, {"status": status}, subresource="status"), set()
    except Invalid as refusal:
        return None, _causes(refusal.message)
