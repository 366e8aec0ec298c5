"""One seed, one run, one Result: the operator that ships in a simulated world, from nothing to settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from kaito.catalogue import Catalogue
from kaito.runtime.cache import key_of
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.ports import WORKSPACES, NotFound, Object
from kaito.runtime.settings import Settings
from kaito.runtime.translation import conditions_of, is_deleting
from simulator.azure.arm import VirtualArm
from simulator.azure.scenario import AzureScenario
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.operator import Operator, Provisioner
from simulator.profile import Profile
from simulator.randomness import Generators
from simulator.watching import Watch
from simulator.world import World
from store.records import EventLog

START = datetime(2024, 4, 5, 18, 29, 58, tzinfo=UTC)
"""When a run begins unless told otherwise: the second in which the reference run's Workspace was created."""

HORIZON = timedelta(hours=2)
"""How long a run may last in virtual time when something never settles."""

LINGER_SECONDS = 1.0
"""How long a run goes on after the last Workspace settled."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated.

    ``workspaces`` are created at the start. ``delete_after`` is counted from the creation; a run with it
    ends when every Workspace is gone, a run without it when every one is ready.
    """

    workspaces: tuple[Object, ...]
    profile: Profile
    settings: Settings = Settings()
    azure: AzureScenario | None = None
    """What goes wrong in the cloud; by default nothing."""
    seed: int | str = 1
    start: datetime = START
    horizon: timedelta = HORIZON
    delete_after: timedelta | None = None


class Sighting(msgspec.Struct, frozen=True):
    """A Workspace as a watcher saw it: ``age`` since its creation, ``object`` None once it is gone."""

    at: datetime
    age: timedelta
    key: WorkspaceKey
    object: Object | None


class Result(msgspec.Struct, frozen=True):
    """What came of a run. ``settled`` is False when the horizon ended it."""

    sightings: tuple[Sighting, ...]
    ended_at: datetime
    settled: bool
    reconciles: int
    errors: tuple[str, ...]


class Replication:
    """One run under way. ``on_sighting`` is called for each change a watcher of Workspaces sees."""

    def __init__(
        self,
        scenario: Scenario,
        log: EventLog,
        catalogue: Catalogue,
        *,
        engine: Engine | None = None,
        on_sighting: Callable[[Sighting], None] | None = None,
    ) -> None:
        self.engine = engine or Engine(scenario.start)
        self.cluster = Cluster(self.engine.now, scenario.seed)
        generators = Generators(scenario.seed)
        self._scenario = scenario
        self._on_sighting = on_sighting
        self._sightings: list[Sighting] = []
        self._created: dict[WorkspaceKey, datetime] = {}
        self._open: set[WorkspaceKey] = set()
        self._over = False
        self.arm = VirtualArm(self.engine, generators, scenario.profile, scenario.azure)
        self.world = World(self.cluster, self.engine, generators, scenario.profile, self.arm)
        self.operator = Operator(self.cluster, self.engine, log, catalogue, scenario.settings, generators)
        self.provisioner = Provisioner(
            self.cluster, self.engine, log, self.arm, scenario.settings, generators
        )
        self._watch: Watch = self.cluster.watch(WORKSPACES, on_ready=self._ring)

    def run(self) -> Result:
        """Run to the end, or to the horizon."""
        self.operator.start()
        self.provisioner.start()
        self.provisioner.collect_regularly()
        self.engine.schedule(0, self._create)
        self.engine.run(until=self._scenario.start + self._scenario.horizon, stop=lambda: self._over)
        return Result(
            sightings=tuple(self._sightings),
            ended_at=self.engine.now(),
            settled=self._over,
            reconciles=self.operator.reconciles + self.provisioner.reconciles,
            errors=(*self.operator.errors, *self.provisioner.errors),
        )

    def _create(self) -> None:
        for body in self._scenario.workspaces:
            namespace = body["metadata"].get("namespace") or "default"
            made = self.cluster.create(WORKSPACES, body, namespace)
            key = WorkspaceKey(*key_of(made))
            self._created[key] = self.engine.now()
            self._open.add(key)
            if self._scenario.delete_after is not None:
                seconds = self._scenario.delete_after.total_seconds()
                self.engine.schedule(seconds, partial(self._delete, key))

    def _delete(self, key: WorkspaceKey) -> None:
        try:
            self.cluster.delete(WORKSPACES, key.name, key.namespace)
        except NotFound:
            self._close(key)

    def _close(self, key: WorkspaceKey) -> None:
        """Nothing more is to come of this one; after the last, the operator may still note what it sees."""
        self._open.discard(key)
        if not self._open:
            self.engine.schedule(LINGER_SECONDS, self._end)

    def _end(self) -> None:
        self._over = not self._open

    def _ring(self) -> None:
        self.engine.schedule(0, self._look)

    def _look(self) -> None:
        for notification in self._watch.poll():
            if notification.type in ("ADDED", "MODIFIED", "DELETED"):
                self._see(notification.object, gone=notification.type == "DELETED")

    def _see(self, object_: Object, *, gone: bool) -> None:
        key = WorkspaceKey(*key_of(object_))
        now = self.engine.now()
        sighting = Sighting(now, now - self._created[key], key, None if gone else object_)
        self._sightings.append(sighting)
        if gone or (self._scenario.delete_after is None and is_settled(object_)):
            self._close(key)
        if self._on_sighting is not None:
            self._on_sighting(sighting)


def is_settled(workspace: Object) -> bool:
    """Whether nothing more is to come without somebody's doing."""
    ready = conditions_of(workspace).get("WorkspaceReady", {}).get("status") == "True"
    return ready and not is_deleting(workspace)


def creation_keys(workspaces: Sequence[Object]) -> list[WorkspaceKey]:
    """The names that a scenario will use, as the cluster will spell them."""
    return [
        WorkspaceKey(body["metadata"].get("namespace") or "default", body["metadata"]["name"])
        for body in workspaces
    ]
