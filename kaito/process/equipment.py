"""What a process serves and tells beside its work: probes, metrics and Kubernetes Events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from kaito.manager.election import Election
from kaito.manager.manager import Manager
from kaito.process.forms import Address
from kaito.runtime.ports import Clock
from kaito.serving import ThreadedServer
from kaito.telemetry import checks
from kaito.telemetry.probes import Check, probes_application
from kaito.telemetry.processes import Telemetry
from store.log import SqlEventLog
from store.memory import MemoryEventLog


class Addresses(msgspec.Struct, frozen=True):
    """Where to listen; None where nothing is to be served."""

    metrics: Address | None
    probes: Address | None


def equip(
    manager: Manager,
    telemetry: Telemetry,
    log: SqlEventLog | MemoryEventLog,
    clock: Clock,
    addresses: Addresses,
    *,
    election: Election | None,
    more: Mapping[str, Check] = MappingProxyType({}),
) -> None:
    """Let the manager serve probes and metrics; the ports are taken at once.

    Args:
        log: The log itself, not the observed one.
        more: Further checks of readiness.

    Raises:
        OSError: A port is taken; names the address.
    """
    manager.on_leading = lambda: telemetry.seed(log)
    for controller in manager.controllers:
        telemetry.controllers.watch(controller)
    if election is not None:
        _follow(election, telemetry)
    if addresses.probes is not None:
        probes = probes_application(
            health=_health(manager, election),
            readiness={**_readiness(manager, telemetry, log, clock, election), **more},
        )
        manager.add_service(ThreadedServer(probes, "probes", **addresses.probes._asdict()))
    if addresses.metrics is not None:
        metrics = telemetry.metrics_application()
        manager.add_service(ThreadedServer(metrics, "metrics", **addresses.metrics._asdict()))


def _follow(election: Election, telemetry: Telemetry) -> None:
    name = election.name
    telemetry.leases.leads(name, False)
    election.on_standing = lambda leads: telemetry.leases.leads(name, leads)


def _health(manager: Manager, election: Election | None) -> dict[str, Check]:
    found: dict[str, Check] = {
        "informers": checks.informer_threads(manager.informers),
        "workers": checks.workers(manager.controllers),
    }
    return found | ({} if election is None else {"election": election.ended})


def _readiness(
    manager: Manager,
    telemetry: Telemetry,
    log: SqlEventLog | MemoryEventLog,
    clock: Clock,
    election: Election | None,
) -> dict[str, Check]:
    lost: Callable[[], str] = (lambda: "") if election is None else election.trouble
    return {
        "caches": checks.caches(manager.informers),
        "lease": checks.lease(lost),
        "log": checks.LogWritable(log, telemetry.log, clock),
    }
