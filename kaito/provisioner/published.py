"""The environment variables of the published provisioner that are about the process, not about Azure.

All of them are read and checked, so that a deployment made for it starts this one. What a variable asks for
and this process does not do is told in `unserved`; nothing is pretended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from kaito.api.errors import describe
from kaito.provisioner.configuration import InvalidConfiguration

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


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

    def unserved(self) -> list[str]:
        """What is asked for and not served, each with its variable."""
        return [text for asked, text in self._asked() if asked]

    def _asked(self) -> Iterator[tuple[bool, str]]:
        default = ProcessConfiguration()
        yield self.leader_elect, "leader election (LEADER_ELECT): run one replica"
        yield self.metrics_port > 0, f"metrics on port {self.metrics_port} (METRICS_PORT)"
        yield self.health_probe_port > 0, f"probes on port {self.health_probe_port} (HEALTH_PROBE_PORT)"
        yield not self.disable_webhook, f"a webhook on port {self.webhook_port} (DISABLE_WEBHOOK)"
        yield self.kube_client_qps != default.kube_client_qps, "a client-side rate limit (KUBE_CLIENT_QPS)"
        yield self.kube_client_burst != default.kube_client_burst, "a client-side burst (KUBE_CLIENT_BURST)"
        yield self.enable_profiling, "profiling (ENABLE_PROFILING)"
        yield self.memory_limit >= 0, "a soft memory limit (MEMORY_LIMIT)"
        yield self.e2e_test_mode, "the published test cloud (E2E_TEST_MODE)"
        yield self.dynamic_sku_cache, "a cache of sizes (AZURE_ENABLE_DYNAMIC_SKU_CACHE)"


class _Form(msgspec.Struct, frozen=True):
    """How a variable is read: ``read`` raises ValueError for what is not ``expected``."""

    variable: str
    expected: str
    read: Callable[[str], object]


def _flag(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _port(text: str) -> int:
    port = _whole(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def _whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueError
    return int(text)


def _count(text: str) -> int:
    count = _whole(text)
    if count < 1:
        raise ValueError
    return count


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise ValueError
    return rate


_PORT, _FLAG = "a port from 0 to 65535", "true or false"

FORMS: Mapping[str, _Form] = MappingProxyType(
    {
        "metrics_port": _Form("METRICS_PORT", _PORT, _port),
        "health_probe_port": _Form("HEALTH_PROBE_PORT", _PORT, _port),
        "webhook_port": _Form("WEBHOOK_PORT", _PORT, _port),
        "disable_webhook": _Form("DISABLE_WEBHOOK", _FLAG, _flag),
        "kube_client_qps": _Form("KUBE_CLIENT_QPS", "a number above 0", _rate),
        "kube_client_burst": _Form("KUBE_CLIENT_BURST", "a whole number above 0", _count),
        "leader_elect": _Form("LEADER_ELECT", _FLAG, _flag),
        "enable_profiling": _Form("ENABLE_PROFILING", _FLAG, _flag),
        "memory_limit": _Form("MEMORY_LIMIT", "a whole number of bytes, -1 for none", _whole),
        "e2e_test_mode": _Form("E2E_TEST_MODE", _FLAG, _flag),
        "dynamic_sku_cache": _Form("AZURE_ENABLE_DYNAMIC_SKU_CACHE", _FLAG, _flag),
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
    found: dict[str, object] = {}
    faults: list[str] = []
    for field, form in FORMS.items():
        text = flags.get(field, "").strip() or environment.get(form.variable, "").strip()
        if not text:
            continue
        try:
            found[field] = form.read(text)
        except ValueError:
            faults.append(f"{form.variable}: expected {form.expected}, found {describe(text)}")
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
