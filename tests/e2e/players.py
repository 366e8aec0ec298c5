"""Everybody but the operator and the provisioner, played on a real API server by the simulator's processes.

The kubelets, the scheduler, the controllers of workloads and budgets, the joining of nodes and the garbage
collector live on an engine whose time follows the clock on the wall, as many times as fast as is wanted. All
of them run in one thread, so each may rely on what it was written for: nobody acts while it acts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Event, Thread
from types import TracebackType

from kaito.clock import WallClock
from kaito.kube import connect
from kaito.manager.informers import Informers
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODDISRUPTIONBUDGETS,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    Object,
    Resource,
)
from simulator.azure.arm import VirtualArm
from simulator.azure.joining import NodeJoiner
from simulator.azure.pacing import Pacer
from simulator.disruption import DisruptionController
from simulator.engine import Engine
from simulator.nodes import GpuPlugin, NodeLife, PodGarbageCollector
from simulator.profile import load as load_profile
from simulator.randomness import Generators
from simulator.scheduler import Scheduler
from simulator.storage import Change
from tests.e2e.garbage import LiveCollector
from tests.e2e.mirror import Mirror
from tests.e2e.played_api import PlayedApi, PlayersClient
from tests.e2e.roles import RETRY_SECONDS, Deployments, LiveSurroundings, StatefulSets, SteadyKubelet
from tests.e2e.waiting import until

SPEED = 240.0
"""Virtual seconds a second: a pool takes one second, and so does a pull of four minutes."""

KINDS = (WORKSPACES, MACHINES, NODES, PODS, SERVICES, DEPLOYMENTS, STATEFULSETS, PODDISRUPTIONBUDGETS)
IDLE_SECONDS = 0.25
TICK_SECONDS = 0.01


class Players:
    """Enter it to let them play; ``post`` is the way in for other threads.

    Args:
        arm: The cloud whose machines become nodes.
        speed: Virtual seconds a second.
        collects: Whether the garbage collector plays.
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        arm: VirtualArm | None = None,
        speed: float = SPEED,
        profile: str = "reference-run",
        collects: bool = True,
    ) -> None:
        clock = WallClock()
        self._client = PlayersClient(connect(kubeconfig, user_agent="players", workers=12)._transport)
        self._stopping = Event()
        self._posted: deque[Callable[[], object]] = deque()
        self._rung = Condition()
        self.engine = Engine(clock.now())
        self.pacer = Pacer(self.engine, clock, speed)
        self.mirror = Mirror(KINDS, clock.now, self._on_change)
        addresses = self._addresses()
        self.api = PlayedApi(self._client, self.mirror, self._stopping, addresses)
        self.surroundings = LiveSurroundings(
            self.api, self.engine, load_profile(profile), Generators("players"), self.pacer
        )
        self.collector = LiveCollector(self.api, self.mirror, self._collect_soon if collects else None)
        self.joiner = self._joiner(arm) if arm is not None else None
        self._arm = arm
        self._play()
        self._kinds = {addresses.get(kind, kind): kind for kind in KINDS}
        self._informers = Informers(self._client, tuple(self._kinds), clock, f"players-{clock.monotonic()}")
        self._informers.add_handler(self._on_watched)
        self._thread = Thread(target=self._run, name="players", daemon=True)

    def __enter__(self) -> Players:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Nobody acts before all of them know all that is there, nor does this return."""
        synced: list[None] = []
        self._informers.start(lambda: synced.append(None))
        until(lambda: len(synced) == len(KINDS), 60, self._informers.unsynced)
        self.post(self._meet_machines)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self.post(lambda: None)
        self._informers.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._informers.join(10, WallClock())
        if self._arm is not None:
            machines = self._arm.service.machines
            machines.on_vm, machines.on_vm_gone = lambda *_: None, lambda *_: None
        self._client.close()

    @property
    def troubles(self) -> list[str]:
        return self.surroundings.troubles

    @property
    def writes(self) -> int:
        """How many requests they have made, watches aside."""
        return self.api.writes

    def post(self, callback: Callable[[], object]) -> None:
        """Let it run among the players, soon; from any thread."""
        with self._rung:
            self._posted.append(callback)
            self._rung.notify()

    # --- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._rung:
                self._rung.wait_for(lambda: self._posted or self._stopping.is_set(), self._pause())
                posted, self._posted = self._posted, deque()
            with self.pacer.lock:
                for callback in posted:
                    self.surroundings._guarded(callback)
                self.pacer.catch_up()

    def _pause(self) -> float:
        due = self.engine.peek()
        if due is None or not self.pacer.speed:
            return IDLE_SECONDS
        real = (due - self.engine.now()).total_seconds() / self.pacer.speed
        return min(max(real, TICK_SECONDS), IDLE_SECONDS)

    def _on_watched(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        """In the thread of an informer."""
        kind = self._kinds[resource]
        if new is not None:
            self.post(lambda: self.mirror.put(kind, new))
        elif old is not None:
            self.post(lambda: self.mirror.remove(kind, old))

    def _on_change(self, change: Change) -> None:
        self.surroundings.tell(change)
        self.collector.notice(change)

    # --- the players

    def _play(self) -> None:
        around = self.surroundings
        NodeLife(around)
        GpuPlugin(around)
        PodGarbageCollector(around)
        Deployments(around)
        StatefulSets(around)
        DisruptionController(around)
        Scheduler(around)
        SteadyKubelet(around)

    def _joiner(self, arm: VirtualArm) -> NodeJoiner:
        """The cloud calls from its own thread, and must not wait for the API server."""
        joiner, machines = NodeJoiner(self.surroundings, arm.service), arm.service.machines
        on_vm, on_vm_gone = machines.on_vm, machines.on_vm_gone
        machines.on_vm = lambda pool, vm: self.post(lambda: on_vm(pool, vm))
        machines.on_vm_gone = lambda pool, vm, why: self.post(lambda: on_vm_gone(pool, vm, why))
        return joiner

    def _meet_machines(self) -> None:
        """Kubelets that run before the players come register again, and nodes without a machine go."""
        if self._arm is None or self.joiner is None:
            return
        for vm in list(self._arm.vms):
            if vm.ended_at is None:
                self.joiner._join(vm)
            else:
                self.surroundings.delete(NODES, vm.node_name)

    def _collect_soon(self) -> None:
        self.surroundings.after(0, self._collect)

    def _collect(self) -> None:
        self.collector.collect()
        if self.collector.pending:
            self.surroundings.after_real(RETRY_SECONDS, self._collect)

    def _addresses(self) -> dict[Resource, Resource]:
        """Where a kind is served, if not as the runtime knows it."""
        served = self._client.budgets()
        return {} if served == PODDISRUPTIONBUDGETS else {PODDISRUPTIONBUDGETS: served}
