"""Our four import packages bear generic names; nobody else may own them in this environment."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ["kaito", "simulator", "statemachine", "store"]


@pytest.mark.parametrize("name", PACKAGES)
def test_import_name_belongs_to_this_repository(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(REPOSITORY)
    assert not Path(module.__file__).is_relative_to(REPOSITORY / "tests")


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_owns_the_name(name: str) -> None:
    owners = set(metadata.packages_distributions().get(name, []))

    assert owners <= {"kaito-operator"}
