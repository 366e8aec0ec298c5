"""Workspace and Machine as models: strict for users, lenient for what clusters store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from kaito.api.errors import InvalidObject
from kaito.api.machine import Machine
from kaito.api.meta import ApiModel, LabelSelector, SelectorNotFlat, Text
from kaito.api.reading import read_lenient
from kaito.api.workspace import ResourceSpec, Workspace
from tests.kaito.workspaces import a_manifest, a_template, a_tuning


def findings(obj: Any) -> list[str]:
    with pytest.raises(InvalidObject) as raised:
        Workspace.from_user(obj)
    return [str(finding) for finding in raised.value.findings]


def test_omitted_fields_get_the_crd_defaults() -> None:
    manifest = a_manifest(resource={"labelSelector": {"matchLabels": {"apps": "falcon"}}})

    workspace = Workspace.from_user(manifest)

    assert (workspace.resource.count, workspace.resource.instance_type) == (1, "Standard_NC12s_v3")
    assert workspace.to_dict()["resource"] == {
        "count": 1,
        "instanceType": "Standard_NC12s_v3",
        "labelSelector": {"matchLabels": {"apps": "falcon"}},
    }
    assert workspace.to_dict()["inference"]["preset"]["accessMode"] == "public"


def test_omitted_resource_gets_no_defaults() -> None:
    workspace = Workspace.from_cluster(a_manifest(resource=None))

    assert workspace.resource.instance_type == ""
    assert "resource" not in workspace.to_dict()


def test_null_counts_as_absent() -> None:
    manifest = a_manifest(tuning=None)
    manifest["resource"]["count"] = None
    manifest["tuning"] = None

    workspace = Workspace.from_user(manifest)

    assert workspace.resource.count == 1
    assert workspace.resource.selector() == {"apps": "falcon"}
    assert workspace.preset_name == "falcon-7b-instruct"
    assert workspace.tuning is None
    assert "tuning" not in workspace.to_dict()


EVERY_FIELD = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {
        "name": "all",
        "namespace": "models",
        "uid": "u",
        "generation": 2,
        "creationTimestamp": "2024-04-05T18:29:58Z",
        "labels": {"a": "b"},
        "annotations": {"kaito.sh/enablelb": "True"},
        "finalizers": ["workspace.finalizer.kaito.sh"],
    },
    "resource": {
        "count": 2,
        "instanceType": "Standard_NC6s_v3",
        "labelSelector": {
            "matchLabels": {"apps": "all"},
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["1"]}],
        },
        "preferredNodes": ["node-1"],
    },
    "inference": {
        "preset": {
            "name": "phi-2",
            "accessMode": "private",
            "presetOptions": {"image": "i", "imagePullSecrets": ["s"]},
        },
        "template": a_template(),
        "adapters": [{"source": {"name": "a", "image": "i", "imagePullSecrets": ["s"]}, "strength": "0.5"}],
    },
    "tuning": a_tuning(
        preset={"name": "phi-2", "accessMode": "public"},
        config="settings",
        input={"name": "i", "urls": ["u"], "hostPath": "/i", "image": "i", "imagePullSecrets": ["s"]},
        output={"hostPath": "/o", "image": "i", "imagePushSecret": "s"},
    ),
    "status": {
        "workerNodes": ["node-1"],
        "conditions": [
            {
                "type": "MachineReady",
                "status": "Unknown",
                "reason": "CreateMachinePending",
                "message": "creating 1 machines",
                "lastTransitionTime": "2024-04-05T18:29:58Z",
                "observedGeneration": 2,
            }
        ],
    },
}


def test_every_published_field_survives_a_round_trip() -> None:
    assert Workspace.from_user(EVERY_FIELD).to_dict() == EVERY_FIELD


def test_times_are_aware_and_utc() -> None:
    workspace = Workspace.from_user(EVERY_FIELD)

    assert workspace.metadata.creation_timestamp == datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)


def test_cluster_objects_keep_unknown_fields() -> None:
    stored = a_manifest(novelty={"a": [1, None]})
    stored["resource"]["novelty"] = 1

    kept = Workspace.from_cluster(stored).to_dict()

    assert kept["novelty"] == {"a": [1, None]}
    assert kept["resource"]["novelty"] == 1


def test_ill_typed_cluster_field_is_left_out() -> None:
    stored = a_manifest(status={"workerNodes": "node"})
    stored["resource"]["count"] = "two"

    workspace = Workspace.from_cluster(stored)

    assert workspace.resource.count == 1
    assert workspace.preset_name == "falcon-7b-instruct"
    assert [str(problem) for problem in workspace.problems] == [
        'resource.count: expected a whole number, found "two"',
        'status.workerNodes: expected a list, found "node"',
    ]


@pytest.mark.parametrize("value", [None, [], "Workspace", 3])
def test_only_a_mapping_is_an_object(value: Any) -> None:
    with pytest.raises(InvalidObject, match="expected a mapping"):
        Workspace.from_cluster(value)
    with pytest.raises(InvalidObject, match="expected a mapping"):
        Workspace.from_user(value)


def test_unknown_field_is_told_with_nearest() -> None:
    manifest = a_manifest()
    manifest["resource"]["instancetype"] = "x"

    assert findings(manifest) == [
        "resource.instancetype: expected a known field, nearest is instanceType, found instancetype"
    ]


def test_unknown_field_far_from_all_lists_them() -> None:
    manifest = a_manifest()
    manifest["inference"]["zzz"] = 1

    assert findings(manifest) == ["inference.zzz: expected one of adapters, preset, template, found zzz"]


def test_fields_under_spec_are_told_their_place() -> None:
    manifest = a_manifest(spec={"tuning": {}})

    assert findings(manifest) == [
        "spec: expected resource, inference and tuning at the top level, found spec"
    ]


def test_all_faults_come_in_one_answer() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "resource": {"count": 1.5, "labelSelector": {"matchExpressions": [{"key": "a", "op": "In"}]}},
        "inference": {"preset": {"accessMode": "secret"}},
        1: 2,
    }

    found = findings(manifest)

    assert "resource.count: expected a whole number, found 1.5" in found
    assert 'inference.preset.accessMode: expected public or private, found "secret"' in found
    assert "inference.preset.name: expected a value, found nothing" in found
    assert "resource.labelSelector.matchExpressions[0].operator: expected a value, found nothing" in found
    assert any(line.startswith("resource.labelSelector.matchExpressions[0].op: ") for line in found)
    assert any(line.startswith("1: expected one of apiVersion") for line in found)
    assert "apiVersion: expected kaito.sh/v1alpha1, found v1" in found
    assert "kind: expected Workspace, found Pod" in found


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", True, "a whole number"),
        ("count", "1", "a whole number"),
        ("count", 2**31, "a number of at most 2147483647"),
        ("count", -(2**31) - 1, "a number of at least -2147483648"),
        ("instanceType", 3, "a string"),
        ("labelSelector", [], "a mapping"),
        ("preferredNodes", "node", "a list"),
    ],
)
def test_nothing_is_coerced_for_users(field: str, value: Any, expected: str) -> None:
    manifest = a_manifest()
    manifest["resource"][field] = value

    assert findings(manifest)[0].startswith(f"resource.{field}: expected {expected}, found ")


def test_timestamps_must_be_times() -> None:
    for value in (5, "yesterday", "2024-04-05T18:29:58"):
        manifest = a_manifest(metadata={"name": "falcon", "creationTimestamp": value})

        assert findings(manifest)[0].startswith("metadata.creationTimestamp: expected a time")


def test_ill_typed_kind_is_left_out() -> None:
    assert Workspace.from_cluster({**a_manifest(), "kind": {"a": 1}}).kind == "Workspace"


def test_lenient_read_ends_where_nothing_can_be_left_out() -> None:
    class Demanding(ApiModel):
        needed: Text

    with pytest.raises(InvalidObject, match="needed: expected a value, found nothing"):
        read_lenient(Demanding, {"other": 1})


def test_models_cannot_be_changed() -> None:
    workspace = Workspace.from_cluster(a_manifest())

    with pytest.raises(ValidationError, match="frozen"):
        workspace.resource.count = 2


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "r",
    "message": "m",
    "lastTransitionTime": "2024-04-05T18:29:58Z",
}


@pytest.mark.parametrize(("field", "longest"), [("type", 316), ("reason", 1024), ("message", 32768)])
def test_conditions_have_the_published_lengths(field: str, longest: int) -> None:
    def with_length(length: int) -> dict[str, Any]:
        return a_manifest(status={"conditions": [{**CONDITION, field: "x" * length}]})

    assert Workspace.from_user(with_length(longest)).status.conditions
    assert findings(with_length(longest + 1)) == [
        f'status.conditions[0].{field}: expected at most {longest} characters, found "{"x" * 50}…{"x" * 20}"'
    ]


@pytest.mark.parametrize(("number", "fine"), [(0, True), (2**63 - 1, True), (-1, False), (2**63, False)])
def test_observed_generation_is_a_count(number: int, fine: bool) -> None:
    stored = a_manifest(status={"conditions": [{**CONDITION, "observedGeneration": number}]})

    assert bool(Workspace.from_cluster(stored).status.conditions) is fine


@pytest.mark.parametrize(("number", "fine"), [(-(2**63), True), (-(2**63) - 1, False)])
def test_whole_numbers_have_sixty_four_bits(number: int, fine: bool) -> None:
    stored = a_manifest(metadata={"name": "falcon", "generation": number})

    assert Workspace.from_cluster(stored).metadata.generation == (number if fine else 0)


def test_snake_case_names_are_unknown_fields() -> None:
    stored = a_manifest()
    stored["resource"]["instance_type"] = 5

    workspace = Workspace.from_cluster(stored)

    assert workspace.resource.instance_type == "Standard_NC12s_v3"
    assert workspace.problems == ()
    assert workspace.to_dict() == {**stored, "inference": workspace.to_dict()["inference"]}
    assert findings(stored)[0].startswith("resource.instance_type: expected a known field")


@pytest.mark.parametrize("key", [1, "\ud800"])
def test_keys_that_are_no_text_are_left_out(key: Any) -> None:
    workspace = Workspace.from_cluster({**a_manifest(), key: 1, "status": {key: 1}})

    assert workspace.to_dict()["metadata"] == {"name": "falcon"}
    assert "resource" in workspace.to_dict()


@pytest.mark.parametrize(
    ("selector", "flat"),
    [
        ({}, {}),
        ({"matchLabels": {"a": "1"}}, {"a": "1"}),
        (
            {
                "matchLabels": {"a": "1"},
                "matchExpressions": [{"key": "b", "operator": "In", "values": ["2"]}],
            },
            {"a": "1", "b": "2"},
        ),
    ],
)
def test_single_value_expressions_are_honoured(selector: dict[str, Any], flat: dict[str, str]) -> None:
    assert LabelSelector.model_validate(selector).flattened() == flat


IMPOSSIBLE = "cannot be converted into the old label selector format"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ({"operator": "In"}, f'operator "In" without a single value {IMPOSSIBLE}'),
        ({"operator": "In", "values": ["1", "2"]}, f'operator "In" without a single value {IMPOSSIBLE}'),
        ({"operator": "NotIn", "values": ["1"]}, f'operator "NotIn" {IMPOSSIBLE}'),
        ({"operator": "Exists"}, f'operator "Exists" {IMPOSSIBLE}'),
        ({"operator": "DoesNotExist"}, f'operator "DoesNotExist" {IMPOSSIBLE}'),
        ({"operator": "Near"}, '"Near" is not a valid selector operator'),
        ({"operator": "In", "values": ["other"]}, 'key "a" is required to have two different values'),
    ],
)
def test_selectors_that_are_no_map_are_refused(expression: dict[str, Any], text: str) -> None:
    selector = LabelSelector.model_validate(
        {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", **expression}]}
    )

    with pytest.raises(SelectorNotFlat) as raised:
        selector.flattened()

    assert str(raised.value) == text
    assert ResourceSpec.model_validate({"labelSelector": selector}).selector() == {}


@pytest.mark.parametrize(
    ("sku", "gpu"), [("Standard_NC6", True), ("my-Standard_N", True), ("Standard_D4s_v3", False), ("", False)]
)
def test_gpu_sizes_are_told_by_name(sku: str, gpu: bool) -> None:
    assert Workspace.from_cluster(a_manifest(sku=sku)).needs_gpu is gpu


A_MACHINE: dict[str, Any] = {
    "apiVersion": "karpenter.sh/v1alpha5",
    "kind": "Machine",
    "metadata": {"name": "wsb42f9cb5f", "labels": {"kaito.sh/workspace": "falcon"}},
    "spec": {
        "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        "startupTaints": [{"key": "s", "effect": "NoExecute", "timeAdded": "2024-04-05T18:29:58Z"}],
        "requirements": [
            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["Standard_NC6"]},
        ],
        "resources": {"requests": {"storage": "50Gi", "cpu": 2}},
        "kubelet": {
            "clusterDNS": ["10.0.0.10"],
            "containerRuntime": "containerd",
            "maxPods": 30,
            "podsPerCore": 0,
            "systemReserved": {"cpu": "1"},
            "kubeReserved": {"cpu": "1"},
            "evictionHard": {"memory.available": "5%"},
            "evictionSoft": {"memory.available": "10%"},
            "evictionSoftGracePeriod": {"memory.available": "1m"},
            "evictionMaxPodGracePeriod": 60,
            "imageGCHighThresholdPercent": 85,
            "imageGCLowThresholdPercent": 80,
            "cpuCFSQuota": True,
        },
        "machineTemplateRef": {"name": "wsb42f9cb5f", "kind": "T", "apiVersion": "v1"},
    },
    "status": {
        "nodeName": "aks-wsb42f9cb5f-1-vmss000000",
        "providerID": "azure:///subscriptions/s",
        "capacity": {"nvidia.com/gpu": "2"},
        "allocatable": {"nvidia.com/gpu": "2"},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "severity": "",
                "lastTransitionTime": "2024-04-05T18:34:17Z",
                "reason": "r",
                "message": "m",
            }
        ],
    },
}


def test_every_machine_field_survives_a_round_trip() -> None:
    machine = Machine.from_user(A_MACHINE)

    assert machine.to_dict() == A_MACHINE
    assert machine.instance_type() == "Standard_NC6"


def test_machine_faults_name_their_fields() -> None:
    broken = {
        **A_MACHINE,
        "apiVersion": "karpenter.sh/v1beta1",
        "spec": {
            "taints": [{"key": "sku"}],
            "requirements": [{"key": "a", "operator": "Like"}],
            "kubelet": {"maxPods": -1, "imageGCHighThresholdPercent": 101},
            "machineTemplateRef": {},
            "requests": {},
        },
    }

    with pytest.raises(InvalidObject) as raised:
        Machine.from_user(broken)

    assert [str(finding) for finding in raised.value.findings] == [
        "spec.kubelet.imageGCHighThresholdPercent: expected a number of at most 100, found 101",
        "spec.kubelet.maxPods: expected a number of at least 0, found -1",
        "spec.machineTemplateRef.name: expected a value, found nothing",
        "spec.requests: expected a known field, nearest is requirements, found requests",
        'spec.requirements[0].operator: expected In, NotIn, Exists, DoesNotExist, Gt or Lt, found "Like"',
        "spec.taints[0].effect: expected a value, found nothing",
        "apiVersion: expected karpenter.sh/v1alpha5, found karpenter.sh/v1beta1",
    ]


def test_one_unknown_machine_field_is_enough() -> None:
    with pytest.raises(InvalidObject, match=r"spec\.zzz: expected one of kubelet"):
        Machine.from_user({**A_MACHINE, "spec": {"zzz": 1}})
    with pytest.raises(InvalidObject, match="kind: expected Machine, found Node"):
        Machine.from_user({**A_MACHINE, "kind": "Node"})


@pytest.mark.parametrize(("quantity", "fine"), [("50Gi", True), (400, True), (True, False), (1.5, False)])
def test_quantities_are_text_or_whole_numbers(quantity: Any, fine: bool) -> None:
    stored = {"spec": {"resources": {"requests": {"storage": quantity}}}}

    assert ("resources" in Machine.from_cluster(stored).to_dict()["spec"]) is fine


@pytest.mark.parametrize(("percent", "fine"), [(0, True), (100, True), (-1, False), (101, False)])
def test_percentages_have_their_bounds(percent: int, fine: bool) -> None:
    stored = {"spec": {"kubelet": {"imageGCLowThresholdPercent": percent}}}

    assert ("kubelet" in Machine.from_cluster(stored).to_dict()["spec"]) is fine


def test_machine_of_a_cluster_keeps_unknown_fields() -> None:
    machine = Machine.from_cluster({"metadata": {"name": "m"}, "spec": {"novelty": 1, "taints": "none"}})

    assert machine.to_dict() == {"metadata": {"name": "m"}, "spec": {"novelty": 1}}
    assert machine.instance_type() == ""
