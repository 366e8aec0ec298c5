"""A simulated cloud to test with, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kaito.runtime.pools import OWNER_TAG, Operation, PoolFault, PoolRefused, PoolSpec
from simulator import profile
from simulator.azure.arm import VirtualArm
from simulator.azure.loading import from_section
from simulator.azure.refusals import Refusal
from simulator.azure.service import Answer
from simulator.engine import Engine
from simulator.randomness import Generators

START = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
SIZE = "Standard_NC12s_v3"
FAMILY = "standardNCSv3Family"

CREATE_SECONDS = 3.55 + 225
LATENCIES = profile.load("reference-run").with_values(
    {
        "machine.request": 3.55,
        "machine.operation": 225,
        "machine.node_wait": 14,
        "deletion.request": 2.604,
        "deletion.operation": 25,
    }
)
"""Every phase fixed, so that a test can count on the second in which something happens."""


class Cloud:
    """One virtual ARM with its engine. Without a section, nothing fails."""

    def __init__(
        self, section: Mapping[str, Any] | None = None, *, seed: int = 1, latencies: str = ""
    ) -> None:
        self.engine = Engine(START)
        scenario = from_section(section or {})
        chosen = profile.load(latencies) if latencies else LATENCIES
        self.arm = VirtualArm(self.engine, Generators(seed), chosen, scenario)
        self.service = self.arm.service

    def advance(self, seconds: float) -> None:
        self.engine.run(until=self.engine.now() + timedelta(seconds=seconds))

    def create(self, name: str = "ws1", **fields: Any) -> Operation:
        return self.arm.begin_create(a_spec(name, **fields))

    def created(self, name: str = "ws1", **fields: Any) -> Operation:
        """Create the pool and wait until it is ready."""
        operation = self.create(name, **fields)
        self.advance(CREATE_SECONDS)
        return operation

    def fault(self, name: str = "ws1", **fields: Any) -> PoolFault:
        """Why a create is refused."""
        with pytest.raises(PoolRefused) as caught:
            self.create(name, **fields)
        return caught.value.fault

    def put(
        self, name: str = "ws1", *, if_match: str = "", if_none_match: str = "", **properties: Any
    ) -> Answer:
        """A PUT of the REST API, which can update."""
        body = {"properties": {"vmSize": SIZE, **properties}}
        return self.service.put(name, body, if_match=if_match, if_none_match=if_none_match)

    def refused(self, name: str = "ws1", **properties: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.put(name, **properties)
        return caught.value


def a_spec(name: str = "ws1", **fields: Any) -> PoolSpec:
    given: dict[str, Any] = {"vm_size": SIZE, "labels": {"apps": "falcon"}, "tags": {OWNER_TAG: name}}
    return PoolSpec(name=name, **{**given, **fields})
