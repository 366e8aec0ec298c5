"""Every preset's objects, on one node and on several, against files that a person has read.

After a wanted change: ``KAITO_REWRITE_GOLDEN=1 pytest tests/kaito/test_manifests_golden.py``, then read the
difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaito import manifests
from kaito.catalogue import Catalogue
from kaito.validation import validate_create
from statemachine.naming import machine_name
from tests.kaito.workspaces import UID, a_manifest, a_stored, a_template

GOLDEN = Path(__file__).parent / "golden"
CATALOGUE = Catalogue.load()

SIZES = {
    "falcon-40b": "Standard_NC96ads_A100_v4",
    "falcon-40b-instruct": "Standard_NC96ads_A100_v4",
    "phi-2": "Standard_NC6s_v3",
    "llama-2-70b": "Standard_ND96amsr_A100_v4",
    "llama-2-70b-chat": "Standard_ND96amsr_A100_v4",
}
DEFAULT_SIZE = "Standard_NC12s_v3"

CASES = [(name, count) for name in sorted(CATALOGUE.presets) for count in (1, 2)]


def case_manifest(name: str, count: int) -> dict[str, Any]:
    manifest = a_manifest(
        name,
        name=f"workspace-{name}",
        sku=SIZES.get(name, DEFAULT_SIZE),
        count=count,
        labels={"apps": name},
        private=CATALOGUE.presets[name].access == "private",
    )
    if manifest["inference"]["preset"].get("presetOptions"):
        manifest["inference"]["preset"]["presetOptions"]["imagePullSecrets"] = ["pull-secret"]
    return manifest


def objects(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    workspace = a_stored(manifest)
    preset = CATALOGUE.presets.get(workspace.preset_name)
    made = [manifests.machine(workspace, preset, name=machine_name(UID, 0, 1))]
    if manifests.wants_service(workspace):
        made.append(manifests.service(workspace, preset))
    if manifests.workload_kind(workspace, preset) == "StatefulSet":
        made.append(manifests.headless_service(workspace))
    return [*made, manifests.workload(workspace, preset)]


def assert_golden(name: str, made: list[dict[str, Any]]) -> None:
    path = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump_all(made, sort_keys=False, width=100)
    if os.environ.get("KAITO_REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "count"), CASES)
def test_objects_of_a_preset_are_golden(name: str, count: int) -> None:
    manifest = case_manifest(name, count)

    made = objects(manifest)

    assert validate_create(manifest, CATALOGUE) == []
    assert_golden(f"{name}-{count}", made)


@pytest.mark.parametrize("count", [1, 2])
def test_objects_of_a_template_are_golden(count: int) -> None:
    template = a_template(tolerations=[{"key": "mine", "operator": "Exists"}])
    manifest = a_manifest(name="custom", sku="Standard_D4s_v3", count=count, inference={"template": template})

    made = objects(manifest)

    assert validate_create(manifest, CATALOGUE) == []
    assert_golden(f"template-{count}", made)


def test_every_golden_file_is_compared() -> None:
    names = {f"{name}-{count}" for name, count in CASES} | {"template-1", "template-2"}

    assert {path.stem for path in GOLDEN.glob("*.yaml")} == names
