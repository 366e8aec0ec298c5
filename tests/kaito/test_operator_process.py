"""The operator's process against a live cluster: leadership, handover and the end of a leader."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from kaito.catalogue import load_catalogue
from kaito.clock import WallClock
from kaito.manager.election import Election
from kaito.operator.configuration import FAMILY
from kaito.operator.process import Options, new_manager
from kaito.process.leadership import Candidacy, new_election
from kaito.runtime.election import Terms
from kaito.runtime.keys import FINALIZER
from kaito.runtime.ports import LEASES, MACHINES, WORKSPACES, Object, Unavailable
from store.errors import LogUnavailable
from store.memory import MemoryEventLog
from tests.contracts.kube_api import a_workspace
from tests.kaito.live import LiveCluster, Running, until

NAMESPACE, NAME = "default", "w"
QUICK = Terms(lease_seconds=1.5, renew_seconds=1.0, retry_seconds=0.05)


class Bench:
    """One cluster, one log, and the operators that were started on them."""

    def __init__(self) -> None:
        self.cluster = LiveCluster()
        self.log = MemoryEventLog(WallClock().now)
        self._started: list[Running] = []

    def start(self, *, terms: Terms = QUICK, log: MemoryEventLog | None = None) -> tuple[Running, Election]:
        identity = f"process-{len(self._started)}"
        candidacy = Candidacy("lease", NAMESPACE, terms)
        clock = WallClock()
        log = log or self.log
        election = new_election(self.cluster, log, candidacy, FAMILY, identity, clock)  # type: ignore[arg-type]
        options = Options(identity=identity, workers=2)
        manager = new_manager(
            self.cluster,  # type: ignore[arg-type]
            log,
            load_catalogue(),
            clock,
            options,
            election=election,
        )
        self._started.append(Running(manager))
        return self._started[-1], election

    def close(self) -> None:
        for running in self._started:
            running.stop()

    def apply(self, name: str = NAME) -> None:
        self.cluster.create(WORKSPACES, a_workspace(name), NAMESPACE)

    def machines(self) -> list[Object]:
        found: list[Object] = self.cluster.list(MACHINES).items
        return found

    def holder(self) -> str:
        return str(self.cluster.get(LEASES, "lease", NAMESPACE)["spec"]["holderIdentity"])


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_leader_serves_workspaces(bench: Bench) -> None:
    _, election = bench.start()
    bench.apply()

    until(bench.machines)

    assert election.describe() == "leading with epoch 1"
    workspace = bench.cluster.get(WORKSPACES, NAME, NAMESPACE)
    assert FINALIZER in workspace["metadata"]["finalizers"]


def test_second_replica_waits_with_warm_caches(bench: Bench) -> None:
    _, first = bench.start()
    until(lambda: first.leads)
    _, second = bench.start()

    until(lambda: second.describe() == "waiting for process-0")

    assert not second.leads
    assert second.trouble() == ""


class Locked(MemoryEventLog):
    """A log whose lock somebody holds, for so many attempts to lead; each waits for it a while."""

    def __init__(self, attempts: float, seconds: float) -> None:
        super().__init__(WallClock().now)
        self.left = attempts
        self._seconds = seconds

    def lead(self, family: str, epoch: int) -> None:
        if self.left > 0:
            self.left -= 1
            Event().wait(self._seconds)
            raise LogUnavailable("the log is locked by another process")
        super().lead(family, epoch)


@pytest.mark.parametrize("seconds", [0.0, 1.2], ids=["at once", "longer than a term"])
def test_log_that_is_locked_for_a_while_ends_nobody(bench: Bench, seconds: float) -> None:
    _, election = bench.start(log=Locked(2, seconds))

    until(lambda: election.leads)
    bench.apply()

    until(bench.machines)


def test_replica_that_cannot_reach_its_log_lets_another_lead(bench: Bench) -> None:
    _, first = bench.start(log=Locked(float("inf"), 0.0))
    until(lambda: "locked" in first.trouble())
    _, second = bench.start()

    until(lambda: second.leads)

    assert not first.leads


def test_released_lease_passes_on_at_once(bench: Bench) -> None:
    running, first = bench.start()
    until(lambda: first.leads)
    _, second = bench.start()

    code = running.stop()
    until(lambda: second.leads)
    bench.apply()
    until(bench.machines)

    assert code == 0
    assert not first.leads
    assert bench.log.highest_epoch(FAMILY) == 2
    assert bench.holder() == "process-1"


def test_leader_that_loses_its_lease_ends_with_1(bench: Bench) -> None:
    running, first = bench.start()
    until(lambda: first.leads)

    bench.cluster.patch(LEASES, "lease", {"spec": {"holderIdentity": "somebody"}}, NAMESPACE)

    assert running.ended() == 1
    assert "somebody holds the lease" in first.trouble()
    assert bench.holder() == "somebody"


def test_leader_without_server_gives_up(bench: Bench) -> None:
    running, first = bench.start()
    until(lambda: first.leads)

    away = [Unavailable("connection refused") for _ in range(1000)]
    bench.cluster.failing |= {"get": away.copy(), "update": away.copy()}

    assert running.ended() == 1
    assert "the lease was not renewed in time" in first.trouble()


def test_leader_that_the_log_refuses_ends_with_1(bench: Bench) -> None:
    running, first = bench.start()
    until(lambda: first.leads)

    bench.log.lead(FAMILY, 7)
    bench.apply()

    assert running.ended() == 1
    assert bench.log.read_all() == []
    assert bench.machines() == []
