"""The environment variables of the published provisioner that are about the process, not about Azure.

All of them are read and checked, so that a deployment made for it starts this one. What a variable asks for
and this process does not do is told in `unserved`; nothing is pretended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from kaito.process.equipment import Addresses
from kaito.process.forms import (
    Address,
    Form,
    InvalidConfiguration,
    count,
    flag,
    port,
    rate,
    read_forms,
    whole,
)


class ProcessConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The published defaults. Port 0 serves nothing; a ``memory_limit`` (bytes) below 0 means none."""

    metrics_port: int = 8000
    health_probe_port: int = 8081
    webhook_port: int = 8443
    disable_webhook: bool = False
    kube_client_qps: float = 200.0
    kube_client_burst: int = 300
    leader_elect: bool = True
    enable_profiling: bool = False
    memory_limit: int = -1
    e2e_test_mode: bool = False
    dynamic_sku_cache: bool = False

    @property
    def addresses(self) -> Addresses:
        """Where metrics and probes are served: on all addresses, as published."""
        return Addresses(_everywhere(self.metrics_port), _everywhere(self.health_probe_port))

    def unserved(self) -> list[str]:
        """What is asked for and not served, each with its variable."""
        return [text for asked, text in self._asked() if asked]

    def _asked(self) -> Iterator[tuple[bool, str]]:
        default = ProcessConfiguration()
        yield not self.disable_webhook, f"a webhook on port {self.webhook_port} (DISABLE_WEBHOOK)"
        yield self.kube_client_qps != default.kube_client_qps, "a client-side rate limit (KUBE_CLIENT_QPS)"
        yield self.kube_client_burst != default.kube_client_burst, "a client-side burst (KUBE_CLIENT_BURST)"
        yield self.enable_profiling, "profiling (ENABLE_PROFILING)"
        yield self.memory_limit >= 0, "a soft memory limit (MEMORY_LIMIT)"
        yield self.e2e_test_mode, "the published test cloud (E2E_TEST_MODE)"
        yield self.dynamic_sku_cache, "a cache of sizes (AZURE_ENABLE_DYNAMIC_SKU_CACHE)"


def _everywhere(port: int) -> Address | None:
    return Address("", port) if port else None


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "metrics_port": port("METRICS_PORT"),
        "health_probe_port": port("HEALTH_PROBE_PORT"),
        "webhook_port": port("WEBHOOK_PORT"),
        "disable_webhook": flag("DISABLE_WEBHOOK"),
        "kube_client_qps": rate("KUBE_CLIENT_QPS"),
        "kube_client_burst": count("KUBE_CLIENT_BURST"),
        "leader_elect": flag("LEADER_ELECT"),
        "enable_profiling": flag("ENABLE_PROFILING"),
        "memory_limit": Form("MEMORY_LIMIT", "a whole number of bytes, -1 for none", whole),
        "e2e_test_mode": flag("E2E_TEST_MODE"),
        "dynamic_sku_cache": flag("AZURE_ENABLE_DYNAMIC_SKU_CACHE"),
    }
)
"""The variable of each field. The published process reads some more (names for its logging, service and
namespace), which can have no wrong form and mean nothing here."""


def read_process(
    environment: Mapping[str, str], flags: Mapping[str, str] = MappingProxyType({})
) -> ProcessConfiguration:
    """The settings in the environment; flags, by the name of their field, take precedence.

    Values are trimmed, and an empty one counts as absent.

    Raises:
        InvalidConfiguration: Values have the wrong form; tells all of them.
    """
    found, faults = read_forms(FORMS, environment, flags)
    faults += _collisions(found)
    if faults:
        raise InvalidConfiguration(faults)
    return msgspec.convert(found, ProcessConfiguration)


def _collisions(found: Mapping[str, object]) -> list[str]:
    default = ProcessConfiguration()
    metrics = found.get("metrics_port", default.metrics_port)
    health = found.get("health_probe_port", default.health_probe_port)
    if not metrics or metrics != health:
        return []
    return [f"HEALTH_PROBE_PORT: expected another port than METRICS_PORT, found {health}"]
