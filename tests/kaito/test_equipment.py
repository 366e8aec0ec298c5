"""What a process serves beside its work, asked over HTTP while it waits, leads and has lost."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from kaito.catalogue import load_catalogue
from kaito.clock import WallClock
from kaito.manager.manager import Manager
from kaito.operator.configuration import FAMILY
from kaito.operator.process import Options, new_manager
from kaito.process.equipment import Addresses, equip
from kaito.process.forms import Address
from kaito.process.leadership import Candidacy, new_election
from kaito.runtime.election import Terms
from kaito.runtime.ports import LEASES, WORKSPACES, Unavailable
from kaito.serving import ThreadedServer
from kaito.telemetry.processes import OperatorTelemetry
from store.memory import MemoryEventLog
from tests.contracts.kube_api import a_workspace
from tests.kaito.live import LiveCluster, Running, until

HERE = Address("127.0.0.1", 0)
QUICK = Terms(lease_seconds=1.5, renew_seconds=1.0, retry_seconds=0.05)


class Bench:
    """One operator with everything it serves."""

    def __init__(self) -> None:
        clock = WallClock()
        self.cluster = LiveCluster()
        self.log = MemoryEventLog(clock.now)
        telemetry = OperatorTelemetry(clock)
        election = new_election(
            self.cluster,  # type: ignore[arg-type]
            self.log,
            Candidacy("lease", "default", QUICK),
            FAMILY,
            "process",
            clock,
        )
        self.manager: Manager = new_manager(
            self.cluster,  # type: ignore[arg-type]
            telemetry.observed(self.log),
            load_catalogue(),
            clock,
            Options(identity="process", workers=1),
            election=election,
        )
        equip(self.manager, telemetry, self.log, clock, Addresses(HERE, HERE), election=election)
        self.running: Running | None = None

    def start(self) -> Running:
        self.running = Running(self.manager)
        return self.running

    def get(self, path: str) -> tuple[int, str]:
        port = self._port("metrics" if path == "/metrics" else "probes")
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def _port(self, name: str) -> int:
        servers = [each for each in self.manager.services if isinstance(each, ThreadedServer)]
        return next(server.port for server in servers if server.name == name)

    def close(self) -> None:
        if self.running is not None:
            self.running.stop()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_process_is_ready_once_its_caches_are(bench: Bench) -> None:
    bench.cluster.failing["list"] = [Unavailable("not yet") for _ in range(7)]
    bench.start()
    until(lambda: bench.manager.services[0].serving)  # type: ignore[attr-defined]

    early = bench.get("/readyz?verbose")
    until(lambda: bench.get("/readyz")[0] == 200)

    assert early[0] == 500
    assert "[-]caches failed: " in early[1]
    assert bench.get("/healthz") == (200, "ok")


def test_metrics_show_leader_and_reconciles(bench: Bench) -> None:
    bench.start()
    bench.cluster.create(WORKSPACES, a_workspace(), "default")
    until(lambda: bench.log.read_all())

    code, text = bench.get("/metrics")

    assert code == 200
    assert 'leader_election_master_status{name="lease"} 1.0' in text
    assert 'controller_runtime_reconcile_total{controller="workspace",result=' in text
    assert 'workqueue_adds_total{controller="workspace",name="workspace"}' in text
    assert 'kaito_workspace_condition{status="Unknown",type="WorkspaceReady"} 1.0' in text


def test_lost_lease_shows_before_the_end(bench: Bench) -> None:
    running = bench.start()
    until(lambda: bench.get("/readyz")[0] == 200)
    until(lambda: bench.log.highest_epoch(FAMILY) == 1)

    bench.cluster.patch(LEASES, "lease", {"spec": {"holderIdentity": "somebody"}}, "default")

    assert running.ended() == 1
    assert not any(each.serving for each in bench.manager.services)  # type: ignore[attr-defined]
