"""The published examples get the decided answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaito.api.loading import load_documents
from kaito.catalogue import Catalogue
from kaito.validation import reconcile_refusal, validate_create

EXAMPLES = Path(__file__).parents[2] / "examples"
CATALOGUE = Catalogue.load()

V100, A100 = "Standard_NC12s_v3", "Standard_NC96ads_A100_v4"

ACCEPTED = [
    ("falcon-7b", V100, 1, "public"),
    ("falcon-7b-instruct", V100, 1, "public"),
    ("falcon-40b", A100, 1, "public"),
    ("falcon-40b-instruct", A100, 1, "public"),
    ("mistral-7b", V100, 1, "public"),
    ("mistral-7b-instruct", V100, 1, "public"),
    ("phi-2", "Standard_NC6s_v3", 1, "public"),
    ("llama-2-7b", V100, 1, "private"),
    ("llama-2-7b-chat", V100, 1, "private"),
    ("llama-2-13b", V100, 1, "private"),
    ("llama-2-13b-chat", V100, 1, "private"),
    ("llama-2-70b", A100, 2, "private"),
    ("llama-2-70b-chat", A100, 2, "private"),
]
REFUSED = {"tuning-falcon-7b": ["tuning is not supported yet: tuning"]}


def test_every_published_example_is_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.yaml")}

    assert {name for name, *_ in ACCEPTED} | set(REFUSED) <= names
    assert len(ACCEPTED) + len(REFUSED) == 14


@pytest.mark.parametrize(("preset", "sku", "count", "access"), ACCEPTED)
def test_example_is_accepted(preset: str, sku: str, count: int, access: str) -> None:
    (document,) = load_documents(EXAMPLES / f"{preset}.yaml")

    workspace = document.workspace
    assert validate_create(document.object, CATALOGUE) == []
    assert reconcile_refusal(workspace, CATALOGUE) == ""
    assert (workspace.name, workspace.preset_name) == (f"workspace-{preset}", preset)
    assert (workspace.resource.instance_type, workspace.resource.count) == (sku, count)
    assert workspace.resource.selector() == {"apps": preset}
    assert workspace.preset is not None
    assert workspace.preset.access_mode == access


@pytest.mark.parametrize("name", REFUSED)
def test_example_is_refused_with_a_clear_text(name: str) -> None:
    (document,) = load_documents(EXAMPLES / f"{name}.yaml")

    assert validate_create(document.object, CATALOGUE) == REFUSED[name]
    assert reconcile_refusal(document.workspace, CATALOGUE) == "; ".join(REFUSED[name])


def test_sample_with_a_volume_is_refused() -> None:
    """The stale sample of the published repository: an unknown field, and no private access."""
    sample = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-sample-aks"},
        "resource": {
            "count": 2,
            "instanceType": V100,
            "labelSelector": {"matchLabels": {"apps": "llama-2-13b-chat"}},
            "preferredNodes": ["node1", "node2"],
        },
        "inference": {"preset": {"name": "llama-2-13b-chat", "volume": []}},
    }

    assert validate_create(sample, CATALOGUE) == [
        "This preset only supports private AccessMode, AccessMode must be private to continue: ",
        "expected one of accessMode, name, presetOptions, found volume: inference.preset.volume",
    ]
