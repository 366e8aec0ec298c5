"""What may be changed: the published rules with their texts, and what they never look at."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.validation import validate_update
from tests.kaito.workspaces import a_manifest, a_template, a_tuning

CATALOGUE = Catalogue.load()


def answer(old: Any, new: Any) -> list[str]:
    return validate_update(old, new, CATALOGUE)


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one field set, or removed for None."""
    copied = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place = copied
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return copied


SERVED = a_manifest(count=2)
TEMPLATED = a_manifest(inference={"template": a_template()})
TUNED = a_manifest(
    inference=None,
    tuning=a_tuning(
        input={"name": "data", "urls": ["b", "a"], "imagePullSecrets": ["s", "t"]},
        output={"hostPath": "/o", "image": "i", "imagePushSecret": "s"},
    ),
)

PUBLISHED: dict[str, tuple[dict[str, Any], str, Any, str]] = {
    "U1 removed": (SERVED, "inference", None, "Inference field cannot be toggled once set: spec.inference"),
    "U1 added": (TUNED, "inference", {}, "Inference field cannot be toggled once set: spec.inference"),
    "U2 removed": (TUNED, "tuning", None, "Tuning field cannot be toggled once set: spec.tuning"),
    "U2 added": (SERVED, "tuning", a_tuning(), "Tuning field cannot be toggled once set: spec.tuning"),
    "U3 count": (SERVED, "resource.count", 3, "field is immutable: resource.count"),
    "U3 count defaulted": (SERVED, "resource.count", None, "field is immutable: resource.count"),
    "U3 type": (SERVED, "resource.instanceType", "x", "field is immutable: resource.instanceType"),
    "U3 labels": (
        SERVED,
        "resource.labelSelector.matchLabels",
        {},
        "field is immutable: resource.labelSelector",
    ),
    "U4": (
        SERVED,
        "resource.labelSelector.matchExpressions",
        [{"key": "a", "operator": "Exists"}],
        "Only allow matchLabels or 'IN' matchExpression: resource.labelSelector",
    ),
    "U5 name": (SERVED, "inference.preset.name", "phi-2", "field is immutable: inference.preset"),
    "U5 access": (SERVED, "inference.preset.accessMode", "private", "field is immutable: inference.preset"),
    "U5 image": (
        SERVED,
        "inference.preset.presetOptions.image",
        "i",
        "field is immutable: inference.preset",
    ),
    "U6": (
        TEMPLATED,
        "inference.template",
        None,
        "field cannot be unset/set if it was set/unset: inference.template",
    ),
    "U7 input": (TUNED, "tuning.input", None, "missing field(s): tuning.Input"),
    "U7 output": (TUNED, "tuning.output", None, "missing field(s): tuning.Output"),
    "U8": (TUNED, "tuning.preset.name", "phi-2", "Preset cannot be changed: tuning.Preset"),
    "U9": (TUNED, "tuning.method", "qlora", "Method cannot be changed: tuning.Method"),
    "U10": (
        TUNED,
        "tuning.input.name",
        "other",
        "invalid value: During tuning Name field cannot be changed once set: tuning.Input.Name",
    ),
    "U11 urls": (
        TUNED,
        "tuning.input.urls",
        ["a"],
        "invalid value: URLs field cannot be changed once set: tuning.Input.URLs",
    ),
    "U11 hostPath": (
        TUNED,
        "tuning.input.hostPath",
        "/x",
        "invalid value: HostPath field cannot be changed once set: tuning.Input.HostPath",
    ),
    "U11 image": (
        TUNED,
        "tuning.input.image",
        "x",
        "invalid value: Image field cannot be changed once set: tuning.Input.Image",
    ),
    "U11 secrets": (
        TUNED,
        "tuning.input.imagePullSecrets",
        ["x"],
        "invalid value: ImagePullSecrets field cannot be changed once set: tuning.Input.ImagePullSecrets",
    ),
    "U12 hostPath": (
        TUNED,
        "tuning.output.hostPath",
        "/x",
        "invalid value: HostPath field cannot be changed once set: tuning.Output.HostPath",
    ),
    "U12 image": (
        TUNED,
        "tuning.output.image",
        "x",
        "invalid value: Image field cannot be changed once set: tuning.Output.Image",
    ),
    "U12 secret": (
        TUNED,
        "tuning.output.imagePushSecret",
        "x",
        "invalid value: ImagePushSecret field cannot be changed once set: tuning.Output.ImagePushSecret",
    ),
}


@pytest.mark.parametrize("rule", PUBLISHED)
def test_update_rule_answers_its_published_text(rule: str) -> None:
    old, path, value, text = PUBLISHED[rule]

    assert answer(old, changed(old, path, value)) == [text]


FREE = {
    "preferred nodes": (SERVED, "resource.preferredNodes", ["node-1"]),
    "annotations": (SERVED, "metadata.annotations", {"kaito.sh/enablelb": "True"}),
    "adapters": (SERVED, "inference.adapters", [{"strength": "2"}]),
    "template": (TEMPLATED, "inference.template", a_template(hostNetwork=True)),
    "tuning config": (TUNED, "tuning.config", "other"),
    "method's letter case": (TUNED, "tuning.method", "LoRA"),
    "order of urls": (TUNED, "tuning.input.urls", ["a", "b"]),
    "order of secrets": (TUNED, "tuning.input.imagePullSecrets", ["t", "s"]),
    "empty options": (SERVED, "inference.preset.presetOptions", {}),
    "default written out": (SERVED, "inference.preset.accessMode", "public"),
    "status": (SERVED, "status.workerNodes", ["node-1"]),
    "finalizer": (SERVED, "metadata.finalizers", ["workspace.finalizer.kaito.sh"]),
}


@pytest.mark.parametrize("what", FREE)
def test_the_rest_may_change(what: str) -> None:
    old, path, value = FREE[what]

    assert answer(old, changed(old, path, value)) == []


@pytest.mark.parametrize("manifest", [SERVED, TEMPLATED, TUNED], ids=["preset", "template", "tuning"])
def test_no_change_is_always_allowed(manifest: dict[str, Any]) -> None:
    assert answer(manifest, copy.deepcopy(manifest)) == []


def test_models_and_mappings_are_compared_alike() -> None:
    new = changed(SERVED, "resource.count", 3)

    for old in (SERVED, Workspace.from_cluster(SERVED)):
        assert answer(old, Workspace.from_cluster(new)) == ["field is immutable: resource.count"]


def test_labels_are_compared_as_a_flat_map() -> None:
    expression = {"key": "apps", "operator": "In", "values": ["falcon"]}
    rewritten = changed(SERVED, "resource.labelSelector", {"matchExpressions": [expression]})

    assert answer(SERVED, rewritten) == []


def test_equal_messages_merge_their_paths() -> None:
    new = changed(changed(SERVED, "resource.count", 1), "resource.instanceType", "Standard_NC6")
    new = changed(new, "inference.preset.name", "phi-2")

    assert answer(SERVED, new) == [
        "field is immutable: inference.preset, resource.count, resource.instanceType"
    ]


def test_input_and_output_merge_their_paths() -> None:
    new = changed(changed(TUNED, "tuning.input.image", "x"), "tuning.output.image", "x")

    assert answer(TUNED, new) == [
        "invalid value: Image field cannot be changed once set: tuning.Input.Image, tuning.Output.Image"
    ]


def test_preset_cannot_become_a_template() -> None:
    assert answer(SERVED, {**SERVED, "inference": {"template": a_template()}}) == [
        "field cannot be unset/set if it was set/unset: inference.template",
        "field is immutable: inference.preset",
    ]


def test_sizing_and_names_are_not_judged_again() -> None:
    """The catalogue or the rules may have changed since; status and finalizers must still be written."""
    old = a_manifest("gone", sku="Standard_Bad", labels={"kaito.sh/workspace": "x"}, name="Bad.Name")

    assert answer(old, changed(old, "status.workerNodes", ["node-1"])) == []


def test_tuning_may_be_added_to_nothing_without_a_crash() -> None:
    bare = a_manifest(inference=None)

    assert answer(bare, {**bare, "inference": {}, "tuning": {"input": {}, "output": {}}}) == [
        "Inference field cannot be toggled once set: spec.inference",
        "Tuning field cannot be toggled once set: spec.tuning",
    ]


def test_changed_template_must_be_one_to_build_on() -> None:
    assert answer(TEMPLATED, changed(TEMPLATED, "inference.template.spec.containers", [])) == [
        "expected at least one container, found none: inference.template.spec.containers"
    ]


def test_only_a_new_machine_timeout_is_judged() -> None:
    def timed(text: str) -> dict[str, Any]:
        return changed(SERVED, "metadata.annotations", {"kaito.sh/machine-timeout": text})

    assert answer(timed("soon"), timed("soon")) == []
    assert answer(SERVED, timed("7m")) == []
    assert [line.split(",")[0] for line in answer(SERVED, timed("soon"))] == ["invalid value: soon"]


def test_unknown_and_ill_typed_fields_are_refused() -> None:
    assert answer(SERVED, changed(SERVED, "resource.size", 1)) == [
        "expected one of count, instanceType, labelSelector, preferredNodes, found size: resource.size"
    ]
    assert answer(SERVED, changed(SERVED, "resource.count", "2")) == [
        'expected a whole number, found "2": resource.count'
    ]


def test_odd_stored_object_does_not_hinder() -> None:
    old = changed(SERVED, "status.workerNodes", "node-1")

    assert answer(changed(old, "novelty", 1), SERVED) == []


def test_deleting_object_may_lose_its_finalizer() -> None:
    """Even one that today's rules would not take: otherwise it could never go."""
    old = a_manifest(metadata={"name": "x", "deletionTimestamp": "2024-04-05T19:16:08Z", "finalizers": ["f"]})
    old["resource"]["labelSelector"] = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}

    assert answer(old, changed(old, "metadata.finalizers", None)) == []


def test_something_else_than_an_object_is_told() -> None:
    assert answer([], SERVED) == ["expected the stored Workspace, found no mapping: old object"]
    assert answer(SERVED, "x") == ['expected a mapping, found "x": object']
