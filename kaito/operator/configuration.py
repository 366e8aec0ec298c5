"""The settings of the operator: the published manager's flags and environment variables, and ours.

All are read and checked together, so that a deployment made for the published manager starts this one. What
it asks for and this process does not do is told in `unserved`; nothing is pretended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from kaito.process.equipment import Addresses
from kaito.process.forms import Address, Form, InvalidConfiguration, count, flag, port, read_forms, seconds
from kaito.process.leadership import Candidacy, read_candidacy
from kaito.runtime.settings import Settings

LEASE_NAME = "ef60f9b0.io"
"""The published leader election id."""

WORKERS = 5
"""As many as the published operator has; ours never wait."""

FAMILY = "workspace"
"""The streams that the leader writes."""

_NAME = re.compile(r"[0-9A-Za-z]([-0-9A-Za-z.]*[0-9A-Za-z])?|[0-9A-Fa-f:]+", re.ASCII)
"""A DNS name or an address of either kind."""


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the webhook listens, and by which Service the API server finds it."""

    service: str
    namespace: str
    port: int = 9443
    tls_min_version: str = "1.2"
    extra_names: tuple[str, ...] = ()


class OperatorConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """``webhook`` is None where it is not to be served, ``candidacy`` where there is no election."""

    settings: Settings
    workers: int
    addresses: Addresses
    webhook: WebhookSettings | None
    candidacy: Candidacy | None
    profiling_port: int = 0

    def unserved(self) -> list[str]:
        """What is asked for and not served, each with its variable."""
        return ["profiling (PROFILING_PORT)"] if self.profiling_port else []


def _address(text: str) -> Address | None:
    """``:8080``, ``127.0.0.1:8080``, ``[::1]:8080``; ``0`` serves nothing."""
    if text == "0":
        return None
    host, colon, port_ = text.rpartition(":")
    if not colon or not port_.isdigit() or not 0 <= int(port_) <= 65535:
        raise ValueError
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError
    return Address(host.strip("[]"), int(port_))


def _tls(text: str) -> str:
    if text not in ("1.2", "1.3"):
        raise ValueError
    return text


def _names(text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.split(","))
    if not all(_NAME.fullmatch(name) for name in found):
        raise ValueError
    return found


def _bind(name: str) -> Form:
    return Form(name, "an address such as :8080 or 127.0.0.1:8080, or 0 for none", _address, flag_only=True)


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "metrics": _bind("--metrics-bind-address"),
        "probes": _bind("--health-probe-bind-address"),
        "workers": Form("--workers", count("").expected, count("").read, flag_only=True),
        "leader_elect": Form("--leader-elect", flag("").expected, flag("").read, flag_only=True),
        "webhook": Form("--webhook", flag("").expected, flag("").read, flag_only=True),
        "machine_slow_after": seconds("--machine-slow-after", flag_only=True),
        "machine_timeout": seconds("--machine-timeout", flag_only=True),
        "webhook_port": port("WEBHOOK_PORT"),
        "webhook_service": Form("WEBHOOK_SERVICE", "the name of a Service", str),
        "tls_min_version": Form("WEBHOOK_TLS_MIN_VERSION", "1.2 or 1.3", _tls),
        "webhook_names": Form("WEBHOOK_EXTRA_NAMES", "names and addresses, comma-separated", _names),
        "preset_registry": Form("PRESET_REGISTRY_NAME", "a registry", str),
        "profiling_port": port("PROFILING_PORT"),
    }
)
"""The flag or variable of each field. ``POD_NAME`` and the ConfigMaps of the published manager mean nothing
here and can have no wrong form."""


def read_operator(environment: Mapping[str, str], flags: Mapping[str, str]) -> OperatorConfiguration:
    """The configuration that flags and environment make.

    Raises:
        InvalidConfiguration: Something is missing or has the wrong form; tells all of it.
    """
    found, faults = read_forms(FORMS, environment, flags)
    candidacy = None
    if found.get("leader_elect", True):
        candidacy = read_candidacy(LEASE_NAME, environment, flags, faults)
    webhook = None
    if found.get("webhook", True):
        faults += _missing(environment)
        webhook = _webhook(found, environment)
    if faults:
        raise InvalidConfiguration(faults)
    return OperatorConfiguration(
        settings=_settings(found),
        workers=msgspec.convert(found.get("workers", WORKERS), int),
        addresses=Addresses(
            _bound(found, "metrics", Address("", 8080)), _bound(found, "probes", Address("", 8081))
        ),
        webhook=webhook,
        candidacy=candidacy,
        profiling_port=msgspec.convert(found.get("profiling_port", 0), int),
    )


def _missing(environment: Mapping[str, str]) -> Iterator[str]:
    for variable, what in (
        ("WEBHOOK_SERVICE", "the Service of the webhook"),
        ("SYSTEM_NAMESPACE", "the namespace of the webhook's Service and certificate"),
    ):
        if not environment.get(variable, "").strip():
            yield f"{variable}: expected {what} (or --webhook=false), found nothing"


def _webhook(found: Mapping[str, object], environment: Mapping[str, str]) -> WebhookSettings:
    given = {
        "port": "webhook_port",
        "tls_min_version": "tls_min_version",
        "extra_names": "webhook_names",
    }
    chosen = {field: found[name] for field, name in given.items() if name in found}
    return msgspec.convert(
        {
            "service": found.get("webhook_service", ""),
            "namespace": environment.get("SYSTEM_NAMESPACE", "").strip(),
            **chosen,
        },
        WebhookSettings,
    )


def _settings(found: Mapping[str, object]) -> Settings:
    names = ("machine_slow_after", "machine_timeout", "preset_registry")
    return msgspec.convert({name: found[name] for name in names if name in found}, Settings)


def _bound(found: Mapping[str, object], name: str, default: Address) -> Address | None:
    chosen = found.get(name, default)
    return chosen if isinstance(chosen, Address) else None
