"""All that one process tells of itself, on one object; there is no state beside it.

`OperatorTelemetry` and `ProvisionerTelemetry` differ in whose lives they follow. Both are made before the
log is used; `seed` follows as soon as the process leads, and before its workers start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette

from kaito.manager.logs import fields
from kaito.runtime.ports import Clock, KubeApi
from kaito.telemetry.admission import AdmissionMetrics
from kaito.telemetry.controllers import ControllerMetrics
from kaito.telemetry.exposition import metrics_application
from kaito.telemetry.leases import LeaseMetrics
from kaito.telemetry.lives import Lives, Past
from kaito.telemetry.log import LogMetrics, ObservedLog, Observer
from kaito.telemetry.machines import MACHINES, MachineMetrics
from kaito.telemetry.notices import about_machine, about_workspace
from kaito.telemetry.pools import PoolMetrics
from kaito.telemetry.recorder import OPERATOR, PROVISIONER, Recorder
from kaito.telemetry.requests import RequestMetrics
from kaito.telemetry.workspaces import WORKSPACES, WorkspaceMetrics
from statemachine.machine.state import Machine
from store.errors import StoreError
from store.records import EventLog

_LOGGER = logging.getLogger(__name__)


class Telemetry:
    """What both processes have.

    Attributes:
        controllers, requests, leases, log: See the classes; each is told by whom it is about.
        lives: Of the aggregate that the process works on.
    """

    lives: Lives[Any]

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.registry = CollectorRegistry()
        self.registry.register(_Settling(self))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.controllers = ControllerMetrics(self.registry)
        self.requests = RequestMetrics(self.registry)
        self.leases = LeaseMetrics(self.registry)
        self.log = LogMetrics(self.registry)

    def observed(self, log: EventLog, observers: Sequence[Observer] = ()) -> ObservedLog:
        """The log as the process is to append to it.

        Args:
            observers: Told first, while a life that an append ends is still known.
        """
        return ObservedLog(log, self.log, self.clock, [*observers, self.lives])

    def seed(self, log: Past) -> None:
        """Begin with what the log holds: gauges show the truth, and phases under way their whole length.

        It never raises: a process that cannot tell how it stands works on.
        """
        try:
            self.lives.seed(log)
            self.log.reached(log.last_position())
        except StoreError as error:
            _LOGGER.warning("metrics begin without the log", extra=fields(error=str(error)))

    def metrics_application(self) -> Starlette:
        return metrics_application(self.registry)


class _Settling(Collector):
    """First in the registry, so that the histograms behind it know what has ended before they are read."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Metric]:
        self._telemetry.lives.settle(self._telemetry.clock.now())
        return ()

    def describe(self) -> Iterable[Metric]:
        return ()


class OperatorTelemetry(Telemetry):
    """Of `kaito operator`, its webhook included."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.admission = AdmissionMetrics(self.registry)
        self.lives = Lives(WORKSPACES, WorkspaceMetrics(self.registry))

    def recorder(self, api: KubeApi, instance: str) -> Recorder:
        """Tells of Workspaces; to be given to `observed`, started, and stopped at the end."""
        return Recorder(
            api, about_workspace, self.clock, self.registry, component=OPERATOR, instance=instance
        )


class ProvisionerTelemetry(Telemetry):
    """Of `kaito provisioner`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.pools = PoolMetrics(self.registry)
        self.machines: Lives[Machine] = Lives(MACHINES, MachineMetrics(self.registry))
        self.lives = self.machines

    def recorder(self, api: KubeApi, instance: str) -> Recorder:
        """Tells of Machines; to be given to `observed`, started, and stopped at the end."""
        about = about_machine(self.uid_of)
        return Recorder(api, about, self.clock, self.registry, component=PROVISIONER, instance=instance)

    def uid_of(self, stream: str) -> str:
        """The UID of the Machine whose stream this is; empty where it is not known."""
        state = self.machines.state(stream)
        return "" if state is None else state.uid
