"""Simulated runs whose two processes append to an observed log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from random import Random
from typing import Any

from kaito.catalogue import load_catalogue
from kaito.runtime.ports import Object
from kaito.telemetry.log import ObservedLog, Observer
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry
from simulator.azure.loading import from_section
from simulator.bad_clouds import bad_cloud
from simulator.engine import Engine
from simulator.profile import load
from simulator.replication import START, Replication, Scenario
from store.memory import MemoryEventLog
from store.records import Record, StoredEvent


def a_workspace(name: str, count: int = 1) -> Object:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "count": count,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }


class World:
    """One run from its seed: three Workspaces in a cloud that fails now and then."""

    def __init__(self, seed: int, **changes: Any) -> None:
        self.engine = Engine(START)
        self.log = MemoryEventLog(self.engine.now)
        self.operator = OperatorTelemetry(self.engine)
        self.provisioner = ProvisionerTelemetry(self.engine)
        fields: dict[str, Any] = {
            "workspaces": tuple(a_workspace(f"w{number}", 1 + number % 2) for number in range(3)),
            "profile": load("aks-gpu"),
            "azure": from_section(bad_cloud(Random(f"{seed}/cloud")), "cloud"),
            "seed": seed,
            "delete_after": timedelta(minutes=50),
        }
        self.scenario = Scenario(**{**fields, **changes})

    def run(self, observers: Sequence[Observer] = (), then: Callable[[], None] | None = None) -> World:
        """Run to the end; ``then`` is called after each append has been observed."""
        observed = self.operator.observed(self.log, [*observers, self.provisioner.lives])
        log = (
            observed if then is None else ObservedLog(observed, self.operator.log, self.engine, [_Call(then)])
        )
        Replication(self.scenario, log, load_catalogue(), engine=self.engine).run()
        return self


class _Call:
    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def appended(self, stream: str, events: Sequence[StoredEvent], version: int) -> None:
        self._then()


def batches(records: Sequence[Record]) -> list[list[Record]]:
    """The appends that wrote these records, as far as they can be told apart."""
    return [
        list(found)
        for _, found in groupby(records, lambda record: (record.stream, record.cause, record.event.at))
    ]
