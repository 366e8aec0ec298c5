"""Configuration by the published environment variables: trimmed, checked first, every fault at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.provisioner.configuration import (
    CHINA,
    PUBLIC,
    US_GOVERNMENT,
    VARIABLES,
    AzureConfiguration,
    InvalidConfiguration,
    read_configuration,
)
from tests.kaito.provisioner.azure_pools import SUBSCRIPTION, TENANT

ENVIRONMENT = {
    "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
    "ARM_RESOURCE_GROUP": "rg-ai",
    "AZURE_CLUSTER_NAME": "kaito-demo",
    "AZURE_TENANT_ID": TENANT,
    "AZURE_NODE_RESOURCE_GROUP": "MC_rg-ai_kaito-demo_eastus",
    "LOCATION": "eastus",
}
REQUIRED = sorted(ENVIRONMENT.keys() - {"LOCATION"})


def faults(**changes: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        read_configuration(ENVIRONMENT | changes)
    return caught.value.messages


def test_published_variables_are_enough() -> None:
    assert read_configuration(ENVIRONMENT) == AzureConfiguration(
        subscription_id=SUBSCRIPTION,
        resource_group="rg-ai",
        cluster_name="kaito-demo",
        tenant_id=TENANT,
        node_resource_group="MC_rg-ai_kaito-demo_eastus",
        location="eastus",
    )


def test_blanks_around_values_are_dropped() -> None:
    padded = {name: f" \t{value}\n" for name, value in ENVIRONMENT.items()}

    assert read_configuration(padded) == read_configuration(ENVIRONMENT)


def test_everything_missing_is_told_at_once() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        read_configuration({})

    named = sorted(message.partition(":")[0] for message in caught.value.messages)
    assert named == REQUIRED
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("variable", REQUIRED)
def test_missing_variable_is_named(variable: str) -> None:
    (message,) = faults(**{variable: "  "})

    assert message.startswith(f"{variable}: expected ")
    assert message.endswith(", found nothing")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ARM_SUBSCRIPTION_ID", "my subscription"),
        ("ARM_SUBSCRIPTION_ID", f"{SUBSCRIPTION}/../x"),
        ("ARM_RESOURCE_GROUP", "rg/ai"),
        ("ARM_RESOURCE_GROUP", ".."),
        ("ARM_RESOURCE_GROUP", "r" * 91),
        ("AZURE_CLUSTER_NAME", "-kaito"),
        ("AZURE_CLUSTER_NAME", "kaito?x=y"),
        ("AZURE_TENANT_ID", "tenant/1"),
        ("AZURE_NODE_RESOURCE_GROUP", "MC/x"),
        ("AZURE_API_VERSION", "2023-07-01"),
        ("AZURE_API_VERSION", "newest"),
        ("ARM_CLOUD", "AzureMoonCloud"),
        ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com.evil.example"),
        ("AZURE_AUTHORITY_HOST", "https://user@login.microsoftonline.com"),
        ("AZURE_AUTHORITY_HOST", "https://[broken"),
    ],
)
def test_wrong_form_is_told_with_its_value(variable: str, value: str) -> None:
    (message,) = faults(**{variable: value})

    assert message.startswith(f"{variable}: expected ")
    assert message.endswith(f', found "{value if len(value) < 80 else value[:50] + "…" + value[-20:]}"')


def test_token_file_needs_a_client() -> None:
    (message,) = faults(AZURE_FEDERATED_TOKEN_FILE="/var/run/secrets/token")

    assert message == "AZURE_CLIENT_ID: expected the client id that the token file is for, found nothing"


@pytest.mark.parametrize(
    ("settings", "cloud"),
    [
        ({}, PUBLIC),
        ({"ARM_CLOUD": "AzureCloud"}, PUBLIC),
        ({"ARM_CLOUD": "azurechinacloud"}, CHINA),
        ({"ARM_CLOUD": "AzureUSGovernmentCloud"}, US_GOVERNMENT),
        ({"ARM_CLOUD": "AzureUSGovernment"}, US_GOVERNMENT),
        ({"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}, PUBLIC),
        ({"AZURE_AUTHORITY_HOST": "https://LOGIN.chinacloudapi.cn"}, CHINA),
        ({"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"}, US_GOVERNMENT),
    ],
)
def test_cloud_is_named_or_follows_authority(settings: dict[str, str], cloud: str) -> None:
    assert read_configuration(ENVIRONMENT | settings).cloud == cloud


def test_token_goes_to_its_own_cloud_only() -> None:
    (message,) = faults(
        ARM_CLOUD="AzureChinaCloud", AZURE_AUTHORITY_HOST="https://login.microsoftonline.com/"
    )

    assert message.startswith("AZURE_AUTHORITY_HOST: expected an authority of AzureChinaCloud, found ")


def test_flags_take_precedence() -> None:
    flags = {
        "cluster_name": "other",
        "cloud": "AzureUSGovernment",
        "location": "",
        "api_version": "2025-03-01",
    }

    configuration = read_configuration(ENVIRONMENT, flags)

    assert (configuration.cluster_name, configuration.cloud) == ("other", US_GOVERNMENT)
    assert (configuration.location, configuration.api_version) == ("eastus", "2025-03-01")


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES.values())), st.text()))
def test_any_environment_is_read_or_explained(changes: dict[str, str]) -> None:
    told: list[str] = []
    try:
        found = read_configuration(ENVIRONMENT | changes)
    except InvalidConfiguration as error:
        found, told = read_configuration(ENVIRONMENT), error.messages

    assert all(message.isprintable() for message in told)
    assert "/" not in found.resource_group + found.cluster_name + found.tenant_id


def test_configuration_loads_no_client_library() -> None:
    program = "import sys, kaito.provisioner.configuration; print('azure' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_command_line_loads_no_client_library() -> None:
    program = "import sys; from kaito.cli import run; run(['--help']); print('azure' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8090", "http://localhost:1/", "http://[::1]:65535"])
def test_simulated_cloud_of_this_machine_is_accepted(url: str) -> None:
    assert read_configuration(ENVIRONMENT, {"endpoint": url}).endpoint == url


@pytest.mark.parametrize(
    "url",
    [
        "https://management.azure.com",
        "http://10.0.0.1:80",
        "http://127.0.0.1",
        "http://127.0.0.1:0x50",
        "http://user@127.0.0.1:80",
        "http://127.0.0.1:80/path",
        "http://127.0.0.1.evil.example:80",
    ],
)
def test_no_other_endpoint_is_accepted(url: str) -> None:
    (message,) = faults(KAITO_ARM_ENDPOINT=url)

    assert message.startswith("KAITO_ARM_ENDPOINT: expected a simulated cloud of this machine, such as ")
