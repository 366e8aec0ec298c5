"""The two processes of the operator in virtual time: the workspace controller and the GPU provisioner."""

from __future__ import annotations

from kaito.catalogue import Catalogue
from kaito.runtime import mapping
from kaito.runtime.executor import Executor
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.machines import mapping as machine_mapping
from kaito.runtime.machines import observer as machine_observer
from kaito.runtime.machines.collector import Collector
from kaito.runtime.machines.executor import MachineExecutor
from kaito.runtime.machines.observer import MachineObserver
from kaito.runtime.machines.reconciler import MachineReconciler
from kaito.runtime.observer import CACHED, Observer
from kaito.runtime.pools import AgentPools
from kaito.runtime.reconciler import Reconciler
from kaito.runtime.repository import Repository
from kaito.runtime.settings import Settings
from kaito.runtime.streams import Streams
from simulator.cluster import Cluster
from simulator.controller import Controller
from simulator.engine import Engine
from simulator.randomness import Generators
from statemachine.machine.collection import PERIOD
from statemachine.machine.events import MACHINE_EVENTS
from statemachine.machine.observations import MachineObservation
from statemachine.machine.replay import fold
from store.records import EventLog


class Operator(Controller[WorkspaceKey]):
    """The workspace controller."""

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        log: EventLog,
        catalogue: Catalogue,
        settings: Settings,
        generators: Generators,
    ) -> None:
        super().__init__("informer", cluster, engine, generators, CACHED, mapping.keys_of)
        observer = Observer(self.caches, catalogue, settings)
        executor = Executor(cluster, catalogue, settings, engine)
        self._repository = Repository(log)
        self.reconcile = Reconciler(cluster, observer, self._repository, executor, engine).reconcile

    def resume(self) -> None:
        """Take up what the log has left open, as a process does that starts anew on its own cluster.

        Not for a log that holds runs on other clusters: their Workspaces would look deleted.
        """
        for key in self._repository.open_keys():
            self.add(key)


class Provisioner(Controller[str]):
    """The GPU provisioner; ``pools`` is the cloud."""

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        log: EventLog,
        pools: AgentPools,
        settings: Settings,
        generators: Generators,
    ) -> None:
        cached = machine_observer.CACHED
        super().__init__("provisioner", cluster, engine, generators, cached, machine_mapping.keys_of)
        observer = MachineObserver(self.caches, settings.provisioning)
        streams = Streams(log, fold, MACHINE_EVENTS)
        executor = MachineExecutor(cluster, pools, engine)
        self._engine = engine
        self._reconciler = MachineReconciler(cluster, observer, streams, executor, engine)
        self.reconcile = self._reconciler.reconcile
        self.collector = Collector(cluster, pools, self._tell, engine)

    def resume(self) -> None:
        """Take up what the log has left open; see `Operator.resume`."""
        for name in self._reconciler.unfinished():
            self.add(name)

    def collect_regularly(self) -> None:
        """Let the collector look around every period; from then on something is always still to happen."""
        self._engine.schedule(PERIOD.total_seconds(), self._collect)

    def _collect(self) -> None:
        self.errors += self.collector.collect().failures
        self._engine.schedule(PERIOD.total_seconds(), self._collect)

    def _tell(self, name: str, told: MachineObservation) -> None:
        """The collector's word steps the Machine at once; what follows from it is the queue's."""
        self._reconciler.reconcile(name, told)
        self.add(name)
