"""Controller processes that can die: each life has queue, caches and memory of its own.

What survives a crash is what survives a real one: the log, the cluster and the cloud.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from kaito.runtime.pools import AgentPools
from simulator.cluster import Cluster
from simulator.controller import Controller
from simulator.engine import Callback, Engine, EventNotice
from simulator.faults import Crashed, FaultyApi, FaultyLog, FaultyPools, Plan
from simulator.randomness import Generators
from store.records import EventLog


class LifeEngine(Engine):
    """The engine as one life of a process sees it: what it scheduled dies with it.

    A subclass only to be taken for an `Engine`: it has no queue of its own.
    """

    def __init__(self, engine: Engine, crash: Callable[[], object]) -> None:
        self._engine = engine
        self._crash = crash
        self.alive = True

    def now(self) -> datetime:
        return self._engine.now()

    def monotonic(self) -> float:
        return self._engine.monotonic()

    def schedule(self, when: float | datetime, callback: Callback) -> EventNotice:
        return self._engine.schedule(when, lambda: self.guard(callback))

    def cancel(self, notice: EventNotice) -> None:
        self._engine.cancel(notice)

    def guard(self, callback: Callback) -> None:
        """Run it while this life lasts; a crash inside ends the life."""
        if not self.alive:
            return
        try:
            callback()
        except Crashed:
            self.alive = False
            self._crash()


class Build(Protocol):
    """Makes the controller of one life on what that life sees."""

    def __call__(
        self, api: Cluster, engine: Engine, log: EventLog, pools: AgentPools, generators: Generators
    ) -> Controller[Any]: ...


class Surrounding(Protocol):
    """What outlives the process."""

    engine: Engine
    cluster: Cluster
    pools: AgentPools

    @property
    def log(self) -> EventLog: ...


class Incarnations:
    """The lives of one process, one after the other.

    Args:
        name: Of the process; its generators bear it and the number of the life.
        downtime: From a crash to the next start, in seconds.
        on_call: Told of each PUT or DELETE of an agent pool just before it goes out.
    """

    def __init__(
        self,
        name: str,
        around: Surrounding,
        plan: Plan,
        build: Build,
        *,
        seed: int | str,
        downtime: Callable[[], float] = lambda: 5.0,
        on_call: Callable[[str, str], object] = lambda verb, pool: None,
    ) -> None:
        self.lives = 0
        self.reconciles = 0
        """Those of the lives that are over."""
        self._name = name
        self._around = around
        self._plan = plan
        self._build = build
        self._seed = seed
        self._downtime = downtime
        self._on_call = on_call
        self.api: FaultyApi
        self._life: LifeEngine
        self.controller: Controller[Any]

    def start(self) -> None:
        """Begin a life."""
        self.lives += 1
        around = self._around
        self.api = FaultyApi(around.cluster, self._plan)
        self._life = LifeEngine(around.engine, self._fall)
        self.controller = self._build(
            self.api,
            self._life,
            FaultyLog(around.log, self._plan),
            FaultyPools(around.pools, self._plan, self._on_call),
            Generators(f"{self._seed}/{self._name}/{self.lives}"),
        )
        self._life.guard(self.controller.start)

    def kill(self) -> None:
        """Let the present life end now, if there is one."""
        if self._life.alive:
            self._life.alive = False
            self._fall()

    def stop(self) -> None:
        """End the present life; no other follows by itself."""
        self._life.alive = False
        self.api.close()

    def _fall(self) -> None:
        self.api.close()
        self.reconciles += self.controller.reconciles
        self._around.engine.schedule(self._downtime(), self.start)
