"""What the reconciler refuses to serve, whatever admission once let through."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.catalogue import Catalogue
from kaito.validation import reconcile_refusal, validate_create
from tests.kaito.workspaces import a_manifest, a_stored, a_template, a_tuning

CATALOGUE = Catalogue.load()


def refusal(manifest: dict[str, Any]) -> str:
    return reconcile_refusal(a_stored(manifest), CATALOGUE)


def test_good_workspaces_are_served() -> None:
    assert refusal(a_manifest()) == ""
    assert refusal(a_manifest(inference={"template": a_template()}, sku="Standard_D4s_v3")) == ""


@pytest.mark.parametrize("name", ["gone", "Falcon-7B", ""])
def test_unregistered_preset_has_its_published_text(name: str) -> None:
    text = f"The preset model name {name} is not registered for workspace default/falcon"

    assert refusal(a_manifest(name)) == text


REFUSED = {
    "no inference": a_manifest(inference=None),
    "tuning": a_manifest(inference=None, tuning=a_tuning()),
    "negative count": a_manifest(inference={"template": a_template()}, count=-1),
    "no nodes for a distributed model": a_manifest("llama-2-70b", sku="Standard_NX1", count=0, private=True),
    "too small": a_manifest("falcon-40b"),
    "no selector": a_manifest(labels={}),
    "no image": a_manifest("llama-2-7b"),
    "long name": a_manifest("llama-2-13b", name="a" * 53, private=True),
    "odd template": a_manifest(inference={"template": {"spec": {"containers": {}}}}),
    "nothing": {"metadata": {"name": "x"}},
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusal_tells_what_admission_would(what: str) -> None:
    found = refusal(REFUSED[what])

    assert found
    assert "\n" not in found
    expected = [line.removesuffix(": ") for line in validate_create(REFUSED[what], CATALOGUE)]
    assert found == "; ".join(expected)


def test_unreadable_fields_are_a_reason() -> None:
    manifest = a_manifest()
    manifest["resource"]["count"] = "two"

    assert refusal(manifest) == 'expected a whole number, found "two": resource.count'


def test_unknown_fields_are_no_reason() -> None:
    assert refusal(a_manifest(novelty=1)) == ""
