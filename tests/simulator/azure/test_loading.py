"""Scenarios: what comes with the simulator, what a file may change, and how a wrong one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.azure.loading import NAMES, InvalidScenario, from_section, load

NUMBERED = {"value", "distribution", "burst", "evictions_per_hour"}

every_scenario = pytest.mark.parametrize("name", NAMES)


def trees(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree."""
    if isinstance(value, dict):
        yield value
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        yield from trees(inner)


@every_scenario
def test_every_number_has_source_and_mark(name: str) -> None:
    numbers = [
        each for each in trees(load(name).model_dump()) if NUMBERED & each.keys() and "kind" not in each
    ]

    unsourced = [each for each in numbers if not {"source", "mark"} <= each.keys()]
    assert len(numbers) > 20
    # The inner half of a parameter holds the bare distribution; its outer half says where it is from.
    assert [each for each in unsourced if "distribution" not in each] == []
    assert {each["mark"] for each in numbers if "mark" in each} == {"assumed", "measured"}


def test_calm_is_without_any_failure() -> None:
    calm = load("calm")

    chances = [
        getattr(section, name)
        for section in (calm.failures, calm.calls)
        for name in type(section).model_fields
    ]
    values = [each.value for each in chances if hasattr(each, "value")]
    assert len(values) == 12
    assert set(values) == {0}
    assert (calm.background, calm.stockouts.on_demand, calm.outages.spells) == (None, None, None)
    assert (calm.throttling.enabled, calm.spot.evictions_per_hour) == (False, 0)


def test_aks_has_the_published_rates() -> None:
    failures = load("aks").failures

    rates = {
        "bootstrap": 0.01,
        "service": 0.007,
        "service_again": 0.2,
        "lost_operation": 0.001,
        "node_never": 0.005,
    }
    assert {name: getattr(failures, name).value for name in rates} == rates


def test_section_changes_only_what_it_names() -> None:
    changed = from_section({"based_on": "aks", "failures": {"bootstrap": 0.5}, "pool_limit": 3})

    assert (changed.failures.bootstrap.value, changed.pool_limit) == (0.5, 3)
    assert changed.failures.bootstrap.source == "set by hand"
    assert changed.failures.service == load("aks").failures.service
    assert changed.throttling == load("aks").throttling


def test_distribution_is_replaced_whole() -> None:
    fixed = {"distribution": "fixed", "value": 9, "unit": "seconds", "source": "test", "mark": "assumed"}

    changed = from_section({"failures": {"bootstrap_surfaces": fixed}})

    assert changed.failures.bootstrap_surfaces.distribution.quantile(0.99) == 9


def test_plain_section_is_based_on_calm() -> None:
    assert from_section({}) == load("calm")
    assert from_section({"based_on": "aks"}) == load("aks")


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cloud.yaml"
    path.write_text(
        "based_on: aks\nname: mine\nquota:\n  regional: {limit: 100, used: 96}\n"
        "script:\n- {verb: put, pool: 'ws*', times: 2, fault: {kind: fail, code: AllocationFailed}}\n",
        encoding="utf-8",
    )

    found = load(str(path))

    assert (found.name, found.quota.regional.limit if found.quota.regional else 0) == ("mine", 100)
    assert found.script[0].times == 2


@every_scenario
def test_dumped_scenario_reads_back(name: str) -> None:
    text = yaml.safe_dump(load(name).model_dump(mode="json", exclude_none=True))

    assert from_section(yaml.safe_load(text)) == load(name)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ([], "azure: expected a mapping, found list"),
        ({"based_on": "aws"}, "azure: based_on: expected aks or calm, found 'aws'"),
        ({"quotas": {}}, "azure: quotas: expected no field of this name"),
        (
            {"quota": {"regional": {"limit": -1}}},
            "azure: quota.regional.limit: expected greater than or equal to 0, found -1",
        ),
        (
            {"failures": {"bootstrap": 1.5}},
            "azure: failures.bootstrap.value: expected less than or equal to 1, found 1.5",
        ),
        (
            {"script": [{"fault": {"kind": "explode"}}]},
            "azure: script.0.fault: expected a fault out of 'refuse', 'reset', 'garbage', 'fail', 'hang', "
            "'lose', 'take', found explode",
        ),
        (
            {"stockouts": {"windows": [{"vm_size": "S", "from_seconds": 9, "until_seconds": 3}]}},
            "azure: stockouts.windows.0: from_seconds must be before until_seconds, found 9 and 3",
        ),
        (
            {"pools": [{"name": "a"}, {"name": "a"}]},
            "azure: each pool's name must occur once, found a, a",
        ),
        (
            {"pools": [{"name": "System-1"}]},
            "azure: pools.0.name: expected string should match pattern '^[a-z][a-z0-9]{0,11}$', found "
            "'System-1'",
        ),
        (
            {
                "background": {
                    "good": {"distribution": "exponential", "unit": "hours", "source": "s", "mark": "assumed"}
                }
            },
            "azure: background.good: expected mean for exponential, found nothing",
        ),
    ],
)
def test_wrong_section_is_refused_in_one_line(section: Any, line: str) -> None:
    with pytest.raises(InvalidScenario) as caught:
        from_section(section)

    assert str(caught.value) == line


def test_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidScenario, match="storm: expected aks or calm or a YAML file, found neither"):
        load("storm")


def test_broken_file_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "cloud.yaml"
    path.write_text("quota:\n  regional: {limit: 1\n", encoding="utf-8")

    with pytest.raises(InvalidScenario, match=r"cloud\.yaml: line 3"):
        load(str(path))
