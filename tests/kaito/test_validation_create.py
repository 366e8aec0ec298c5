"""What may be created: the published rules with their texts, and the corrections."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.validation import validate_create
from tests.kaito.workspaces import a_manifest, a_template, a_tuning

CATALOGUE = Catalogue.load()
TUNING_TEXT = "tuning is not supported yet: tuning"


def answer(manifest: Any) -> list[str]:
    return validate_create(manifest, CATALOGUE)


def a_template_manifest(template: Any = None, **changes: Any) -> dict[str, Any]:
    return a_manifest(inference={"template": a_template() if template is None else template}, **changes)


def test_models_and_mappings_get_one_answer() -> None:
    manifest = a_manifest("none", count=0)

    assert answer(Workspace.from_cluster(manifest)) == answer(manifest) != []


# --- the published rules ------------------------------------------------------------------------------

SUPPORTED = ", ".join(CATALOGUE.instance_types)

PUBLISHED = {
    "C1": (a_manifest(inference=None), "Either Inference or Tuning must be specified, not neither: spec"),
    "C2": (a_manifest(tuning=a_tuning()), "Either Inference or Tuning must be specified, but not both: spec"),
    "C3": (
        a_manifest("llama-2-13b", sku="Standard_NC24ads_A100_v4", private=True),
        "invalid value: Insufficient number of GPUs: Instance type Standard_NC24ads_A100_v4 provides 1, "
        "but preset llama-2-13b requires at least 2: resource.instanceType",
    ),
    "C4": (
        a_manifest("llama-2-7b", sku="Standard_NC12", private=True),
        "invalid value: Insufficient per GPU memory: Instance type Standard_NC12 provides 12 per GPU, "
        "but preset llama-2-7b requires at least 14 per GPU: resource.instanceType",
    ),
    "C5": (
        a_manifest("falcon-7b", sku="Standard_NV6"),
        "invalid value: Insufficient total GPU memory: Instance type Standard_NV6 has a total of 8, "
        "but preset falcon-7b requires at least 14: resource.instanceType",
    ),
    "C6": (
        a_manifest(sku="Standard_Bad"),
        f"invalid value: Unsupported instance type Standard_Bad. Supported SKUs: {SUPPORTED}: "
        "resource.instanceType",
    ),
    "C8": (a_manifest(inference={}), "missing field(s): inference.Preset or Template must be specified"),
    "C9": (
        a_manifest(inference={"preset": {"name": "phi-2"}, "template": a_template()}),
        "Preset and Template cannot be set at the same time: ",
    ),
    "C10": (
        a_manifest("no-such-model"),
        "invalid value: Unsupported inference preset name no-such-model: inference.presetName",
    ),
    "C11": (
        a_manifest("llama-2-7b"),
        "This preset only supports private AccessMode, AccessMode must be private to continue: ",
    ),
    "C12": (
        a_manifest(inference={"preset": {"name": "phi-2", "accessMode": "private"}}),
        "When AccessMode is private, an image must be provided in PresetOptions: ",
    ),
}


@pytest.mark.parametrize("rule", PUBLISHED)
def test_create_rule_answers_its_published_text(rule: str) -> None:
    manifest, text = PUBLISHED[rule]

    assert text in answer(manifest)


@pytest.mark.parametrize("rule", sorted(set(PUBLISHED) - {"C2"}))
def test_create_rule_answers_nothing_else(rule: str) -> None:
    manifest, text = PUBLISHED[rule]

    assert answer(manifest) == [text]


FLATTENING = "cannot be converted into the old label selector format"

C7 = [
    ({"operator": "In", "values": ["1", "2"]}, f'operator "In" without a single value {FLATTENING}'),
    ({"operator": "In"}, f'operator "In" without a single value {FLATTENING}'),
    ({"operator": "NotIn", "values": ["1"]}, f'operator "NotIn" {FLATTENING}'),
    ({"operator": "Exists"}, f'operator "Exists" {FLATTENING}'),
    ({"operator": "DoesNotExist"}, f'operator "DoesNotExist" {FLATTENING}'),
    ({"operator": "Like"}, '"Like" is not a valid selector operator'),
]


@pytest.mark.parametrize(("expression", "text"), C7)
def test_selector_that_is_no_map_is_refused(expression: dict[str, Any], text: str) -> None:
    manifest = a_manifest()
    manifest["resource"]["labelSelector"]["matchExpressions"] = [{"key": "zone", **expression}]

    assert answer(manifest) == [f"invalid value: {text}: resource.labelSelector"]


TUNINGS = {
    "C13 all": ({}, ["missing field(s): tuning.Input, tuning.Output, tuning.Preset"]),
    "C13 input": (a_tuning(input=None), ["missing field(s): tuning.Input"]),
    "C13 output": (a_tuning(output=None), ["missing field(s): tuning.Output"]),
    "C13 preset": (a_tuning(preset=None), ["missing field(s): tuning.Preset"]),
    "C14 none": (
        a_tuning(input={"name": "data"}),
        [
            "Exactly one of URLs, HostPath, or Image must be specified: "
            "tuning.Input.HostPath, tuning.Input.Image, tuning.Input.URLs"
        ],
    ),
    "C14 two": (
        a_tuning(input={"urls": ["u"], "image": "i"}),
        [
            "Exactly one of URLs, HostPath, or Image must be specified: "
            "tuning.Input.HostPath, tuning.Input.Image, tuning.Input.URLs"
        ],
    ),
    "C14 one": (a_tuning(input={"urls": ["u"]}), []),
    "C15": (
        a_tuning(output={}),
        ["missing field(s): tuning.Output.At least one of HostPath or Image must be specified"],
    ),
    "C15 both": (a_tuning(output={"hostPath": "/o", "image": "i"}), []),
    "C16": (
        a_tuning(preset={"name": "no-such-model"}),
        ["invalid value: Unsupported tuning preset name no-such-model: tuning.presetName"],
    ),
    "C17": (a_tuning(method="full"), ["invalid value: full: tuning.Method"]),
    "C17 empty": (a_tuning(method=None), ["invalid value: : tuning.Method"]),
    "C17 letter case": (a_tuning(method="QLoRA"), []),
}


@pytest.mark.parametrize("rule", TUNINGS)
def test_tuning_rule_answers_its_published_text(rule: str) -> None:
    tuning, texts = TUNINGS[rule]

    found = answer(a_manifest(inference=None, tuning=tuning))

    assert set(texts) | {TUNING_TEXT} <= set(found)
    assert rule == "C13 all" or found == sorted([*texts, TUNING_TEXT])


# --- what crashed the published webhook ---------------------------------------------------------------

CRASHES = {
    "X1 tuning": (a_manifest(inference=None, tuning=a_tuning()), TUNING_TEXT),
    "X1 nothing": (a_manifest(inference=None), PUBLISHED["C1"][1]),
    "X2": (a_manifest("gone", sku="Standard_NC6"), "Unsupported inference preset name gone"),
    "X3": (a_manifest("gone", sku="Standard_NX1"), "Unsupported inference preset name gone"),
    "X5": (a_manifest("Falcon-7B"), "Unsupported inference preset name Falcon-7B"),
}


@pytest.mark.parametrize("path", CRASHES)
def test_crash_path_gets_the_intended_text(path: str) -> None:
    manifest, text = CRASHES[path]

    assert any(text in line for line in answer(manifest))


def test_empty_object_gets_an_answer() -> None:
    assert answer({}) == [
        "Either Inference or Tuning must be specified, not neither: spec",
        f"invalid value: Unsupported instance type . Supported SKUs: {SUPPORTED}: resource.instanceType",
        "invalid value: an empty selector would take every node, at least one label is needed: "
        "resource.labelSelector",
        "missing field(s): metadata.name",
    ]


def test_fields_nested_under_spec_are_judged_too() -> None:
    nested = a_manifest(inference=None, resource=None)
    nested["spec"] = {"resource": a_manifest()["resource"], "tuning": a_tuning(output=None)}

    assert answer(nested) == [
        "expected resource, inference and tuning at the top level, found spec: spec",
        "missing field(s): tuning.Output",
        TUNING_TEXT,
    ]


# --- composition --------------------------------------------------------------------------------------


def test_all_messages_come_sorted_in_one_answer() -> None:
    manifest = a_manifest(
        "falcon-40b", sku="Standard_NV6", labels={"kaito.sh/workspace": "x"}, name="Bad.Name"
    )
    manifest["inference"]["preset"]["accessMode"] = "private"
    manifest["surplus"] = 1

    found = answer(manifest)

    assert found == sorted(found)
    assert [line.split(":")[0] for line in found] == [
        "When AccessMode is private, an image must be provided in PresetOptions",
        "expected one of apiVersion, inference, kind, metadata, resource, status, tuning, found surplus",
        *["invalid value"] * 4,
    ]


def test_wrong_types_are_told_with_unknown_fields() -> None:
    manifest = a_manifest()
    manifest["resource"]["count"] = "one"
    manifest["resource"]["size"] = 1

    assert answer(manifest) == [
        'expected a whole number, found "one": resource.count',
        "expected one of count, instanceType, labelSelector, preferredNodes, found size: resource.size",
    ]


def test_texts_stay_on_one_line() -> None:
    for line in answer(a_manifest("a\nb", sku="c\x1b[31m", labels={"d\n": "e\n"}, name="f\ng")):
        assert line.isprintable()


# --- sizing -------------------------------------------------------------------------------------------

SIZES = [
    ("falcon-7b", "Standard_NC6s_v3", 1, ""),
    ("falcon-40b", "Standard_NC24", 1, "total GPU memory"),
    ("falcon-40b", "Standard_NC24", 2, ""),
    ("falcon-40b", "Standard_NC48ads_A100_v4", 1, ""),
    ("falcon-40b", "Standard_NC24s_v3", 1, "total GPU memory"),
    ("falcon-40b", "Standard_NC96ads_A100_v4", 1, ""),
    ("mistral-7b-instruct", "Standard_NC6s_v3", 1, ""),
    ("mistral-7b", "Standard_NV18ads_A10_v5", 1, "total GPU memory"),
    ("phi-2", "Standard_NC6", 1, ""),
    ("phi-2", "Standard_NV12ads_A10_v5", 1, "total GPU memory"),
    ("llama-2-7b", "Standard_NC6s_v3", 1, ""),
    ("llama-2-13b", "Standard_NC12s_v3", 1, ""),
    ("llama-2-13b", "Standard_NC6s_v3", 2, ""),
    ("llama-2-13b", "Standard_NC6s_v3", 1, "number of GPUs, total GPU memory"),
    ("llama-2-70b", "Standard_NC96ads_A100_v4", 2, ""),
    ("llama-2-70b", "Standard_NC96ads_A100_v4", 1, "number of GPUs"),
    ("llama-2-70b", "Standard_NC24s_v3", 2, "per GPU memory, total GPU memory"),
    ("llama-2-70b", "Standard_ND40rs_v2", 1, ""),
    ("llama-2-70b-chat", "Standard_ND40rs_v2", 1, ""),
    ("llama-2-70b-chat", "Standard_NV36ads_A10_v5", 8, ""),
    ("falcon-7b", "Standard_NX1_future", 1, ""),
    ("falcon-7b", "Standard_D4s_v3", 1, "number of GPUs"),
]


@pytest.mark.parametrize(("preset", "sku", "count", "lack"), SIZES)
def test_sizes_are_compared_in_gib(preset: str, sku: str, count: int, lack: str) -> None:
    found = answer(a_manifest(preset, sku=sku, count=count, private=preset.startswith("llama")))

    assert [line.split(": ")[1] for line in found] == [
        f"Insufficient {part}" for part in lack.split(", ") if part
    ]


def test_exactly_enough_is_enough() -> None:
    phi = CATALOGUE.presets["phi-2"]

    def judged(memory: int) -> list[str]:
        wanted = msgspec.structs.replace(phi, total_memory_gib=memory, per_gpu_memory_gib=memory)
        return validate_create(
            a_manifest("phi-2", sku="Standard_NC6s_v3"),
            Catalogue(presets={"phi-2": wanted}, instance_types=CATALOGUE.instance_types),
        )

    assert judged(16) == []
    assert [line.split(": ")[1] for line in judged(17)] == [
        "Insufficient per GPU memory",
        "Insufficient total GPU memory",
    ]


@pytest.mark.parametrize("count", [0, -1, -(2**31)])
@pytest.mark.parametrize("sku", ["Standard_NC12s_v3", "Standard_NX1_future"])
def test_at_least_one_node_is_needed(count: int, sku: str) -> None:
    text = f"invalid value: {count}, at least 1 node is needed: resource.count"

    assert answer(a_manifest(count=count, sku=sku)) == [text]
    assert answer(a_template_manifest(count=count, sku=sku)) == [text]


@pytest.mark.parametrize(
    ("preset", "count", "even"),
    [
        ("llama-2-13b", 1, True),
        ("llama-2-13b", 2, True),
        ("llama-2-13b", 3, False),
        ("llama-2-70b", 4, True),
        ("llama-2-70b", 3, False),
        ("llama-2-70b", 16, False),
    ],
)
def test_nodes_share_the_processes_evenly(preset: str, count: int, even: bool) -> None:
    manifest = a_manifest(preset, sku="Standard_ND96amsr_A100_v4", count=count, private=True)
    size = CATALOGUE.presets[preset].world_size
    text = f"{count}, the {size} processes of preset {preset} must be shared evenly among the nodes"

    assert answer(manifest) == ([] if even else [f"invalid value: {text}: resource.count"])


def test_templates_run_on_any_known_family() -> None:
    for sku in ("Standard_D4s_v3", "Standard_NV6", "Standard_Nsku"):
        assert answer(a_template_manifest(sku=sku)) == []


# --- names and labels ---------------------------------------------------------------------------------

NAMES = [
    ("a", "phi-2", True),
    ("a" * 63, "phi-2", True),
    ("a" * 64, "phi-2", False),
    ("a" * 52, "llama-2-13b", True),
    ("a" * 53, "llama-2-13b", False),
    ("a.b", "phi-2", False),
    ("7b", "phi-2", False),
    ("a-", "phi-2", False),
    ("A", "phi-2", False),
    ("a\n", "phi-2", False),
    ("ä", "phi-2", False),
]


@pytest.mark.parametrize(("name", "preset", "fits"), NAMES)
def test_name_must_fit_every_object(name: str, preset: str, fits: bool) -> None:
    found = answer(a_manifest(preset, name=name, private=preset.startswith("llama")))

    assert [line.endswith(": metadata.name") for line in found] == [True] * (not fits)


def test_generated_names_are_judged_by_prefix() -> None:
    def of(prefix: str) -> list[str]:
        return answer(a_manifest(metadata={"generateName": prefix}))

    assert of("falcon-") == of("a" * 58) == []
    assert [line.rpartition(": ")[2] for line in of("a" * 59) + of("Falcon-")] == [
        "metadata.generateName"
    ] * 2


def test_length_is_told_with_its_reason() -> None:
    plain, spread = (
        answer(a_manifest(preset, name="a" * 64, private=private))[0]
        for preset, private in (("phi-2", False), ("llama-2-13b", True))
    )

    assert "the name may have at most 63 characters, not 64" in plain
    assert "of a Workspace with the distributed preset llama-2-13b may have at most 52" in spread


def test_unknown_size_is_told_once() -> None:
    manifest = a_manifest(sku="", labels={"node.kubernetes.io/instance-type": "Standard_NC6"})

    assert [line.rpartition(": ")[2] for line in answer(manifest)] == ["resource.instanceType"]


def test_nameless_workspace_is_refused() -> None:
    assert answer(a_manifest(metadata={})) == ["missing field(s): metadata.name"]


@pytest.mark.parametrize(
    ("text", "fine"), [("7m", True), ("1h30m", True), ("0s", False), ("soon", False), ("", False)]
)
def test_machine_timeout_must_be_a_duration(text: str, fine: bool) -> None:
    found = answer(a_manifest(metadata={"name": "falcon", "annotations": {"kaito.sh/machine-timeout": text}}))

    refusal = (
        f"invalid value: {text}, expected a duration such as 4m, 240s, 1h30m or 500ms, above 0s: "
        "metadata.annotations.kaito.sh/machine-timeout"
    )
    assert found == ([] if fine else [refusal])


def test_metadata_of_newer_servers_is_let_pass() -> None:
    assert answer(a_manifest(metadata={"name": "falcon", "novelty": 1})) == []


def test_empty_selector_is_refused() -> None:
    (line,) = answer(a_manifest(labels={}))

    assert line.startswith("invalid value: an empty selector would take every node")


def test_missing_selector_is_refused_once() -> None:
    manifest = a_manifest()
    del manifest["resource"]["labelSelector"]

    assert answer(manifest) == ["expected a value, found nothing: resource.labelSelector"]


LABELS = [
    ({"apps": "falcon"}, True),
    ({"apps": ""}, True),
    ({"example.com/pool": "a"}, True),
    ({"agentpool": "gpu"}, True),
    ({"node.kubernetes.io/instance-type": "Standard_NC12s_v3"}, True),
    ({"node.kubernetes.io/instance-type": "Standard_NC6"}, False),
    ({"beta.kubernetes.io/instance-type": "Standard_NC6"}, False),
    ({"accelerator": "nvidia"}, True),
    ({"accelerator": "amd"}, False),
    ({"kubernetes.io/os": "linux"}, True),
    ({"kubernetes.io/os": "windows"}, False),
    ({"kubernetes.io/arch": "arm64"}, False),
    ({"kaito.sh/workspace": "other"}, False),
    ({"kaito.sh/workspacenamespace": "other"}, False),
    ({"kaito.sh/machine-type": "gpu"}, False),
    ({"deep.kaito.sh/x": "y"}, False),
    ({"notkaito.sh/x": "y"}, True),
    ({"karpenter.sh/provisioner-name": "default"}, False),
    ({"": "x"}, False),
    ({"a b": "x"}, False),
    ({"/a": "x"}, False),
    ({"a/b/c": "x"}, False),
    ({"a": "x y"}, False),
    ({"a": "x" * 63}, True),
    ({"a": "x" * 64}, False),
    ({"a" * 63: "x"}, True),
    ({f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/x": "y"}, True),
    ({f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}/x": "y"}, False),
    ({"a" * 64: "x"}, False),
    ({"a": "x\n"}, False),
]


@pytest.mark.parametrize(("labels", "fine"), LABELS)
def test_labels_must_be_free_to_choose(labels: dict[str, str], fine: bool) -> None:
    found = answer(a_manifest(labels=labels))

    assert [line.endswith(": resource.labelSelector") for line in found] == [True] * (not fine)


def test_single_value_expressions_are_judged_as_labels() -> None:
    manifest = a_manifest(labels={})
    expression = {"key": "kaito.sh/workspace", "operator": "In", "values": ["other"]}
    manifest["resource"]["labelSelector"] = {"matchExpressions": [expression]}

    assert answer(manifest) == [
        "invalid value: label kaito.sh/workspace belongs to the operator and cannot be chosen: "
        "resource.labelSelector"
    ]


# --- templates ----------------------------------------------------------------------------------------

_AFFINITY = "inference.template.spec.affinity"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

TEMPLATES: list[tuple[dict[str, Any], str]] = [
    ({}, "expected at least one container, found none: inference.template.spec.containers"),
    ({"spec": []}, "expected a mapping, found a list: inference.template.spec"),
    ({"kind": "Pod"}, "expected metadata or spec, found kind: inference.template.kind"),
    (
        {"metadata": {"labels": {"a": 1}}},
        "expected a string, found 1: inference.template.metadata.labels.a",
    ),
    (
        {"spec": {"containers": [1]}},
        "expected a mapping, found 1: inference.template.spec.containers[0]",
    ),
    (
        {"spec": {"containers": [{"name": "a"}]}},
        "expected a value, found nothing: inference.template.spec.containers[0].image",
    ),
    (
        {"spec": {"containers": [{"name": 1, "image": "i"}]}},
        "expected a string, found 1: inference.template.spec.containers[0].name",
    ),
    (
        a_template(tolerations=["all"]),
        'expected a mapping, found "all": inference.template.spec.tolerations[0]',
    ),
    (a_template(affinity=[]), f"expected a mapping, found a list: {_AFFINITY}"),
    (
        a_template(affinity={"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchFields": 1}]}}}),
        f"expected a list, found 1: {_AFFINITY}.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchFields",
    ),
]


@pytest.mark.parametrize(("template", "text"), TEMPLATES)
def test_template_must_be_one_to_build_on(template: dict[str, Any], text: str) -> None:
    assert text in answer(a_template_manifest(template))


def test_ill_typed_part_is_told_once() -> None:
    template = {"spec": {"containers": [{"name": 1, "image": "i"}]}}

    assert answer(a_template_manifest(template)) == [
        "expected a string, found 1: inference.template.spec.containers[0].name"
    ]


def test_good_templates_are_accepted() -> None:
    affinity = {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": []}]}}}
    template = a_template(affinity=affinity, tolerations=[{"operator": "Exists"}], novelty=1)
    template["metadata"] = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "creationTimestamp": None}

    assert answer(a_template_manifest(template)) == []
