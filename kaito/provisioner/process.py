"""The gpu-provisioner as a live process: the Machine controller and the collector, wired to a manager."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Lock

import msgspec

from kaito.manager.controller import Controller
from kaito.manager.election import Election
from kaito.manager.informers import Informers, LiveApi
from kaito.manager.logs import fields
from kaito.manager.manager import Manager, Service
from kaito.manager.narration import NarratedLog
from kaito.manager.timer import Timer
from kaito.provisioner.dry_run import Announcer, DryRunApi, DryRunExecutor, DryRunPools
from kaito.runtime.leading import LedApi, LedPools
from kaito.runtime.machines.collector import Collected, Collector
from kaito.runtime.machines.executor import MachineExecutor
from kaito.runtime.machines.keys import NAME_LABEL, POOL_LABEL
from kaito.runtime.machines.mapping import keys_of
from kaito.runtime.machines.observer import CACHED, MachineObserver
from kaito.runtime.machines.reconciler import MachineReconciler
from kaito.runtime.pools import AgentPools
from kaito.runtime.ports import Clock, KubeApi
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.settings import Settings
from kaito.runtime.streams import Streams
from statemachine.machine.collection import PERIOD
from statemachine.machine.events import MACHINE_EVENTS
from statemachine.machine.observations import MachineObservation
from statemachine.machine.replay import fold
from store.records import EventLog

_LOGGER = logging.getLogger(__name__)

WORKERS = 10
"""The published provisioner had a thousand, each held by one Azure operation; ours wait for none."""

CONTROLLER = "machine"

FAMILY = "machine"
"""The streams that the leader writes."""

FRESH_SECONDS = 30.0
"""How old the collector's word may be when its Machine is stepped with it; its proof is a live read."""

_Run = Callable[[str, MachineObservation | None], Reconciled]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``identity`` tells this process from others: in the log's appends, and in the jitter of its retries."""

    identity: str
    workers: int = WORKERS
    dry_run: bool = False
    settings: Settings = Settings()


def new_manager(
    api: LiveApi,
    pools: AgentPools,
    log: EventLog,
    clock: Clock,
    options: Options,
    *,
    election: Election | None = None,
    services: Sequence[Service] = (),
) -> Manager:
    """Everything wired, nothing started.

    Args:
        log: Of a dry run, one that may be written to: it tells the core what has been decided so far.
        election: Without one the process takes itself for the only one.
    """
    executor: MachineExecutor
    writing: KubeApi = api
    if options.dry_run:
        announce = Announcer()
        api, pools = DryRunApi(api, announce), DryRunPools(pools, announce)
        writing, executor = api, DryRunExecutor(api, pools, clock, announce)
    else:
        if election is not None:
            writing, pools = LedApi(api, election.check), LedPools(pools, election.check)
        executor = MachineExecutor(writing, pools, clock)
    marks = {"dry_run": True} if options.dry_run else {}
    narrated = NarratedLog(log, **marks)
    epoch = (lambda: 0) if election is None else election.epoch
    informers = Informers(api, CACHED, clock, options.identity, (NAME_LABEL, POOL_LABEL))
    observer = MachineObserver(informers.caches, options.settings.provisioning)
    streams = Streams(narrated, fold, MACHINE_EVENTS, options.identity, epoch)
    reconciler = MachineReconciler(writing, observer, streams, executor, clock)
    told = Told(reconciler.reconcile, clock)
    controller = Controller(
        CONTROLLER,
        informers.caches,
        keys_of,
        told.step,
        clock,
        workers=options.workers,
        unfinished=reconciler.unfinished,
    )
    informers.add_handler(controller.notice)
    told.wake = controller.add
    collector = Collector(writing, pools, told.tell, clock)
    timer = Timer("collector", PERIOD, lambda: report(collector.collect(), **marks))
    return Manager(informers, [controller], [timer], clock, election=election, services=services)


class Told:
    """What the collector has to say of Machines, kept until a worker has the Machine in hand.

    The collector's thread must not step a Machine itself: a worker might be doing so. Every round says
    again what still holds, so what is too old when its turn comes is dropped.

    Attributes:
        wake: Puts a Machine's name into the queue.
    """

    def __init__(self, run: _Run, clock: Clock) -> None:
        self.wake: Callable[[str], None] = lambda name: None
        self._run = run
        self._clock = clock
        self._lock = Lock()
        self._waiting: dict[str, list[tuple[float, MachineObservation]]] = {}

    def tell(self, name: str, observation: MachineObservation) -> None:
        with self._lock:
            self._waiting.setdefault(name, []).append((self._clock.monotonic(), observation))
        self.wake(name)

    def step(self, name: str) -> Reconciled:
        """Reconcile the Machine, once for each word about it; the last one knows when to look again."""
        done = None
        for observation in self._taken(name):
            done = self._run(name, observation)
        return done if done is not None else self._run(name, None)

    def _taken(self, name: str) -> list[MachineObservation]:
        with self._lock:
            waiting = self._waiting.pop(name, [])
        oldest = self._clock.monotonic() - FRESH_SECONDS
        return [observation for at, observation in waiting if at >= oldest]


def report(round_: Collected, **marks: bool) -> None:
    """One line for a round that did or held back something, and one for each call that failed."""
    for failure in round_.failures:
        _LOGGER.warning("collector: a call failed", extra=fields(**marks, error=failure))
    acts = {
        name: list(names)
        for name in ("pools", "machines", "nodes", "held")
        if (names := getattr(round_, name))
    }
    if acts:
        _LOGGER.info("collector: round", extra=fields(**marks, **acts))
