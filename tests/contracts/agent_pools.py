"""The implementations of the port to agent pools, each on a simulated cloud of its own.

A new implementation is one more function in `IMPLEMENTATIONS`: given a scenario, it yields a `Cloud`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from kaito.provisioner.configuration import AzureConfiguration
from kaito.runtime.pools import AgentPools
from simulator.azure.arm import VirtualArm
from simulator.azure.pacing import STANDSTILL, Pacer
from simulator.azure.scenario import AzureScenario
from simulator.azure.serving import ArmServer
from simulator.engine import Engine
from simulator.randomness import Generators
from tests.contracts.plain_http import PlainPools
from tests.kaito.provisioner.azure_pools import azure_pools
from tests.simulator.azure.clouds import LATENCIES

START = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
CONFIGURATION = AzureConfiguration(
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group="kaito",
    cluster_name="kaito",
    tenant_id="kaito",
)


class StoppedClock:
    """A wall clock that does not move: virtual time is moved by hand."""

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Cloud:
    """A cloud, and the implementation under test, which is a client of it.

    Attributes:
        pools: The implementation.
        reopen: Makes another instance of it for the same cloud, as after a restart.
    """

    pools: AgentPools
    reopen: Callable[[], AgentPools]
    arm: VirtualArm
    pacer: Pacer

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.pacer.advance(seconds)

    @contextmanager
    def switches(self) -> Iterator[VirtualArm]:
        """The cloud's model, to set faults on and to look into; nothing moves meanwhile."""
        with self.pacer.lock:
            yield self.arm

    def calls(self, verb: str) -> int:
        """How many calls of this kind have arrived."""
        with self.switches() as arm:
            return sum(call.verb == verb for call in arm.journal)


def a_cloud(scenario: AzureScenario) -> tuple[Engine, VirtualArm]:
    engine = Engine(START)
    return engine, VirtualArm(engine, Generators(1), LATENCIES, scenario)


@contextmanager
def in_process(scenario: AzureScenario) -> Iterator[Cloud]:
    """The virtual ARM itself."""
    engine, arm = a_cloud(scenario)
    yield Cloud(arm, lambda: arm, arm, Pacer(engine, StoppedClock(), STANDSTILL))


@contextmanager
def served(scenario: AzureScenario) -> Iterator[tuple[ArmServer, VirtualArm]]:
    """The virtual ARM on a socket, its time standing still but for `Cloud.advance`."""
    engine, arm = a_cloud(scenario)
    with ArmServer(arm, engine, speed=STANDSTILL, clock=StoppedClock()) as server:
        yield server, arm


@contextmanager
def plain_http(scenario: AzureScenario) -> Iterator[Cloud]:
    """The REST API by the standard library alone, over a socket."""
    with served(scenario) as (server, arm):
        yield Cloud(PlainPools(server.url), lambda: PlainPools(server.url), arm, server.pacer)


@contextmanager
def azure_sdk(scenario: AzureScenario) -> Iterator[Cloud]:
    """The shipped adapter with the real SDK, over a socket."""
    with served(scenario) as (server, arm), ExitStack() as opened:

        def reopen() -> AgentPools:
            return opened.enter_context(closing(azure_pools(server.url, CONFIGURATION)))

        yield Cloud(reopen(), reopen, arm, server.pacer)


IMPLEMENTATIONS: dict[str, Callable[[AzureScenario], AbstractContextManager[Cloud]]] = {
    "azure-sdk": azure_sdk,
    "in-process": in_process,
    "plain-http": plain_http,
}
