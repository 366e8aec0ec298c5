"""One cluster, cloud and log with both controllers as processes that may die: where faults are tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache, partial
from typing import Any

from kaito.catalogue import Catalogue, load_catalogue
from kaito.runtime.pools import AgentPools
from kaito.runtime.settings import Settings
from simulator import profile
from simulator.azure.arm import VirtualArm
from simulator.azure.loading import from_section
from simulator.checkers import Conservation
from simulator.cluster import Cluster
from simulator.controller import Controller
from simulator.engine import Engine
from simulator.faults import Plan
from simulator.incarnations import Incarnations
from simulator.operator import Operator, Provisioner
from simulator.profile import Profile
from simulator.randomness import Generators
from simulator.replication import START
from simulator.world import World
from store.memory import MemoryEventLog
from store.records import EventLog

_catalogue: Callable[[], Catalogue] = cache(load_catalogue)
_profile: Callable[[str], Profile] = cache(profile.load)
_SETTINGS = Settings()


class Laboratory:
    """The world of one run; ``checker`` watches it from the start.

    Args:
        azure: The section of a scenario: what is different from a cloud in which nothing fails.
        before_put: Told of the pool just before a controller's PUT goes out.
    """

    def __init__(
        self,
        seed: int | str,
        plan: Plan,
        azure: Mapping[str, Any],
        *,
        latencies: str = "aks-gpu",
        settings: Settings = _SETTINGS,
        downtime: Callable[[], float] = lambda: 5.0,
        before_put: Callable[[str], object] = lambda pool: None,
    ) -> None:
        self.engine = Engine(START)
        self.cluster = Cluster(self.engine.now, seed)
        self.log = MemoryEventLog(self.engine.now)
        generators = Generators(seed)
        chosen = _profile(latencies)
        self.arm = VirtualArm(self.engine, generators, chosen, from_section(azure))
        self.pools: AgentPools = self.arm
        self.world = World(self.cluster, self.engine, generators, chosen, self.arm)
        self.checker = Conservation(self.cluster, self.arm, self.log, self.engine)
        self._settings = settings
        self._before_put = before_put
        process = partial(Incarnations, around=self, plan=plan, seed=seed, downtime=downtime)
        self.operator = process("operator", build=self._build_operator)
        self.provisioner = process("provisioner", build=self._build_provisioner, on_call=self._on_call)

    def start(self) -> None:
        self.operator.start()
        self.provisioner.start()

    def run(self, duration: timedelta) -> None:
        """Go on for so long, looked at after every notice."""
        self.engine.run(until=self.engine.now() + duration, stop=self._look)

    @property
    def processes(self) -> tuple[Incarnations, Incarnations]:
        return self.operator, self.provisioner

    def _look(self) -> bool:
        self.checker.look()
        return False

    def _on_call(self, verb: str, pool: str) -> None:
        self.checker.on_call(verb, pool)
        if verb == "put":
            self._before_put(pool)

    def _build_operator(
        self, api: Cluster, engine: Engine, log: EventLog, pools: AgentPools, generators: Generators
    ) -> Controller[Any]:
        operator = Operator(api, engine, log, _catalogue(), self._settings, generators)
        operator.resume()
        return operator

    def _build_provisioner(
        self, api: Cluster, engine: Engine, log: EventLog, pools: AgentPools, generators: Generators
    ) -> Controller[Any]:
        provisioner = Provisioner(api, engine, log, pools, self._settings, generators)
        provisioner.resume()
        provisioner.collect_regularly()
        return provisioner
