"""Whatever JSON they are given, the validators answer with messages and never raise."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaito import manifests
from kaito.api.errors import InvalidObject
from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.validation import reconcile_refusal, validate_create, validate_update
from tests.kaito.workspaces import UID, a_manifest, a_template, a_tuning

CATALOGUE = Catalogue.load()

more_examples = settings(max_examples=4 * settings.default.max_examples)
"""Four times what the profile says: most mutants are refused at the first field."""

WORDS = [
    *("apiVersion", "kind", "metadata", "name", "namespace", "labels", "deletionTimestamp", "spec", "status"),
    *("resource", "count", "instanceType", "labelSelector", "matchLabels", "matchExpressions", "key"),
    *("operator", "values", "In", "NotIn", "preferredNodes", "inference", "preset", "accessMode", "public"),
    *("private", "presetOptions", "image", "imagePullSecrets", "template", "containers", "affinity"),
    *("nodeAffinity", "tolerations", "adapters", "tuning", "method", "lora", "input", "output", "urls"),
    *("falcon-7b", "llama-2-70b", "Standard_NC6", "Standard_D4", "kaito.sh/workspace"),
]


def texts() -> st.SearchStrategy[str]:
    anything = st.text(st.characters(exclude_categories=()), max_size=8)
    return st.sampled_from(WORDS) | anything


def scalars() -> st.SearchStrategy[Any]:
    numbers = st.integers() | st.integers(-2, 4) | st.floats()
    return st.none() | st.booleans() | numbers | texts()


def json_values() -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars(),
        lambda children: st.lists(children, max_size=3) | st.dictionaries(texts(), children, max_size=4),
        max_leaves=12,
    )


EXAMPLES = [
    a_manifest(),
    a_manifest("llama-2-70b", sku="Standard_NC96ads_A100_v4", count=2, private=True),
    a_manifest(
        inference={"template": {**a_template(affinity={}, tolerations=[]), "metadata": {"labels": {}}}}
    ),
    a_manifest(inference=None, tuning=a_tuning()),
    a_manifest(inference={"preset": {"name": "phi-2"}, "adapters": [{"source": {"name": "a"}}]}),
]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """A good manifest with a few places replaced, removed or added."""
    mutant = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = mutant
        while children := _containers(place):
            if not draw(st.integers(0, 3)):
                break
            place = place[draw(st.sampled_from(children))]
        _mutate(draw, place)
    return mutant


def _containers(place: Any) -> list[Any]:
    keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
    return [key for key in keys if isinstance(place[key], dict | list)]


def _mutate(draw: st.DrawFn, place: Any) -> None:
    if isinstance(place, list):
        place.append(draw(json_values()))
    elif place and draw(st.booleans()):
        place[draw(st.sampled_from(list(place)))] = draw(json_values())
    elif place and draw(st.booleans()):
        del place[draw(st.sampled_from(list(place)))]
    else:
        place[draw(texts())] = draw(json_values())


def objects() -> st.SearchStrategy[Any]:
    return mutants() | json_values()


def assert_messages(found: Any) -> None:
    assert isinstance(found, list)
    assert all(isinstance(line, str) and line.isprintable() for line in found)
    assert found == sorted(found)


@given(objects())
@more_examples
def test_create_always_answers_with_messages(obj: Any) -> None:
    before = copy.deepcopy(obj)

    found = validate_create(obj, CATALOGUE)

    assert_messages(found)
    assert found == validate_create(before, CATALOGUE)
    assert repr(obj) == repr(before)


@given(objects(), objects())
@more_examples
def test_update_always_answers_with_messages(old: Any, new: Any) -> None:
    assert_messages(validate_update(old, new, CATALOGUE))


@given(mutants())
@more_examples
def test_stored_objects_are_read_refused_or_rendered(obj: dict[str, Any]) -> None:
    """What is not refused can be rendered, however it got into the cluster."""
    workspace = Workspace.from_cluster(obj)

    refusal = reconcile_refusal(workspace, CATALOGUE)

    assert "\n" not in refusal
    if not refusal:
        preset = CATALOGUE.presets.get(workspace.preset_name)
        manifests.machine(workspace, preset, name="ws000000000")
        manifests.workload(workspace, preset)


@given(mutants())
@more_examples
def test_what_create_accepts_the_reconciler_serves(obj: dict[str, Any]) -> None:
    if validate_create(obj, CATALOGUE):
        return

    metadata = {**obj["metadata"], "uid": UID}

    assert reconcile_refusal(Workspace.from_cluster({**obj, "metadata": metadata}), CATALOGUE) == ""


@given(json_values())
def test_reading_raises_nothing_but_invalid_object(obj: Any) -> None:
    for read in (Workspace.from_cluster, Workspace.from_user):
        with suppress(InvalidObject):
            read(obj)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_deep_nesting_is_answered_too() -> None:
    """Two separate towers: comparing one with itself would not descend."""
    old = a_manifest(inference={"template": {"spec": nested(100_000)}})
    new = a_manifest(inference={"template": {"spec": nested(100_000)}})

    assert_messages(validate_create(old, CATALOGUE))
    assert validate_update(old, new, CATALOGUE) == [
        "expected two objects that can be compared, found too many levels: object"
    ]
