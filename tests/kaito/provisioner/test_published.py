"""The published variables about the process: defaults, forms, and what is told of those in vain."""

from __future__ import annotations

import msgspec
import pytest

from kaito.process.equipment import Addresses
from kaito.process.forms import InvalidConfiguration
from kaito.provisioner.published import FORMS, ProcessConfiguration, read_process

WRONG = {
    "metrics_port": ["65536", "-1", "8e3", "٣", "http"],
    "health_probe_port": ["65536", "1.5"],
    "webhook_port": ["x"],
    "disable_webhook": ["yes", "2"],
    "kube_client_qps": ["0", "-1", "inf", "nan", "x"],
    "kube_client_burst": ["0", "1.5", "-3"],
    "leader_elect": ["on", "FaLsE"],
    "enable_profiling": ["maybe"],
    "memory_limit": ["1Gi", "--1"],
    "e2e_test_mode": ["x"],
    "dynamic_sku_cache": ["x"],
}


def test_empty_environment_gives_published_defaults() -> None:
    assert read_process({"METRICS_PORT": " "}) == ProcessConfiguration()


def test_every_field_has_a_variable() -> None:
    assert set(FORMS) == set(ProcessConfiguration.__struct_fields__) == set(WRONG)


@pytest.mark.parametrize(("field", "text"), [(field, text) for field in WRONG for text in WRONG[field]])
def test_wrong_form_is_refused_by_name(field: str, text: str) -> None:
    form = FORMS[field]

    with pytest.raises(InvalidConfiguration) as caught:
        read_process({form.variable: text})

    assert caught.value.messages == [f'{form.variable}: expected {form.expected}, found "{text}"']


def test_flag_goes_before_variable() -> None:
    found = read_process({"METRICS_PORT": "1"}, {"metrics_port": " 2 "})

    assert found.metrics_port == 2


def test_one_port_cannot_serve_both() -> None:
    with pytest.raises(InvalidConfiguration, match="HEALTH_PROBE_PORT: expected another port than METRICS"):
        read_process({"METRICS_PORT": "8081"})

    assert read_process({"METRICS_PORT": "0", "HEALTH_PROBE_PORT": "0"}).addresses == Addresses(None, None)


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ({"disable_webhook": False}, "DISABLE_WEBHOOK"),
        ({"kube_client_qps": 1.0}, "KUBE_CLIENT_QPS"),
        ({"kube_client_burst": 1}, "KUBE_CLIENT_BURST"),
        ({"enable_profiling": True}, "ENABLE_PROFILING"),
        ({"memory_limit": 5}, "MEMORY_LIMIT"),
        ({"e2e_test_mode": True}, "E2E_TEST_MODE"),
        ({"dynamic_sku_cache": True}, "AZURE_ENABLE_DYNAMIC_SKU_CACHE"),
    ],
)
def test_what_is_asked_in_vain_is_told(change: dict[str, object], variable: str) -> None:
    quiet = ProcessConfiguration(
        leader_elect=False, metrics_port=0, health_probe_port=0, disable_webhook=True
    )

    (line,) = msgspec.structs.replace(quiet, **change).unserved()

    assert quiet.unserved() == []
    assert f"({variable})" in line
