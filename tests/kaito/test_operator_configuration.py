"""Flags and variables of the operator: the published ones are read as before, and every fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.operator.configuration import FORMS, OperatorConfiguration, read_operator
from kaito.process.equipment import Addresses
from kaito.process.forms import Address, InvalidConfiguration
from kaito.process.leadership import read_candidacy

ENVIRONMENT = {"WEBHOOK_SERVICE": "workspace", "SYSTEM_NAMESPACE": "kaito-workspace"}


def read(**flags: str) -> OperatorConfiguration:
    return read_operator(ENVIRONMENT, flags)


def faults(environment: dict[str, str], **flags: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        read_operator(environment, flags)
    return caught.value.messages


def test_published_deployment_needs_no_flag() -> None:
    found = read_operator(
        {**ENVIRONMENT, "WEBHOOK_PORT": "9443", "PRESET_REGISTRY_NAME": "registry.example/kaito"}, {}
    )

    assert found.addresses == Addresses(Address("", 8080), Address("", 8081))
    assert found.webhook is not None
    assert (found.webhook.service, found.webhook.namespace, found.webhook.port) == (
        "workspace",
        "kaito-workspace",
        9443,
    )
    assert found.candidacy is not None
    assert (found.candidacy.namespace, found.candidacy.name) == ("kaito-workspace", "ef60f9b0.io")
    assert found.settings.preset_registry == "registry.example/kaito"
    assert found.workers == 5


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9090", Address("", 9090)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:8080", Address("::1", 8080)),
        ("0", None),
    ],
)
def test_addresses_are_read_as_go_writes_them(text: str, address: Address | None) -> None:
    assert read(metrics=text).addresses.metrics == address


@pytest.mark.parametrize("text", ["8080", "::1:8080", ":http", ":70000", "localhost"])
def test_other_addresses_are_refused(text: str) -> None:
    (fault,) = faults(ENVIRONMENT, probes=text)

    assert fault.startswith("--health-probe-bind-address: expected an address such as :8080 ")


def test_every_fault_is_told_at_once() -> None:
    told = faults({"WEBHOOK_PORT": "x", "WEBHOOK_TLS_MIN_VERSION": "1.1"}, workers="0", machine_timeout="-1s")

    assert [line.partition(":")[0] for line in told] == [
        "--workers",
        "--machine-timeout",
        "WEBHOOK_PORT",
        "WEBHOOK_TLS_MIN_VERSION",
        "SYSTEM_NAMESPACE",
        "WEBHOOK_SERVICE",
        "SYSTEM_NAMESPACE",
    ]


def test_process_alone_needs_no_environment() -> None:
    found = read_operator({}, {"leader_elect": "False", "webhook": "False"})

    assert (found.candidacy, found.webhook) == (None, None)


def test_lease_is_in_the_pods_namespace(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("kaito-system\n")
    told: list[str] = []

    found = read_candidacy("lease", {}, {}, told, file)

    assert told == []
    assert found is not None
    assert (found.name, found.namespace, found.call_seconds) == ("lease", "kaito-system", 5.0)


def test_flags_name_another_lease() -> None:
    found = read(
        lease_name="other", namespace="elsewhere", lease_seconds="30s", renew_seconds="20s"
    ).candidacy

    assert found is not None
    assert (found.name, found.namespace) == ("other", "elsewhere")
    assert (found.terms.lease_seconds, found.terms.renew_seconds, found.terms.retry_seconds) == (30, 20, 2)


@given(st.dictionaries(st.sampled_from(sorted(FORMS)), st.text()))
def test_any_flags_are_read_or_explained(flags: dict[str, str]) -> None:
    told: list[str] = []
    try:
        read_operator(ENVIRONMENT, flags)
    except InvalidConfiguration as error:
        told = error.messages

    assert all(message.isprintable() for message in told)
