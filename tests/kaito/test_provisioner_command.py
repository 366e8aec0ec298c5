"""`kaito provisioner`: what it refuses, what it says, and that it ends as a process should."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kaito import cli, kube
from kaito.clock import WallClock
from kaito.provisioner import azure
from kaito.runtime.ports import LEASES, MACHINES
from store.opening import open_log
from tests.kaito.live import LiveCluster, ScriptedPools, a_machine, until

NAME = "ws000000001"
SECRET = "canary-hunter2"
ENVIRONMENT = {
    "ARM_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
    "ARM_RESOURCE_GROUP": "rg",
    "AZURE_CLUSTER_NAME": "aks",
    "AZURE_TENANT_ID": "tenant",
    "AZURE_NODE_RESOURCE_GROUP": "MC_rg",
    "SYSTEM_NAMESPACE": "gpu-provisioner",
    "METRICS_PORT": "0",
    "HEALTH_PROBE_PORT": "0",
    "AZURE_CLIENT_SECRET": SECRET,
    "KAITO_TEST_TOKEN": SECRET,
}


class Output(io.StringIO):
    """What the process writes to stderr, line by line as JSON."""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]


class Process:
    """The command in this process, on a cluster and a cloud of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.cluster = LiveCluster()
        self.pools = ScriptedPools(self.cluster)
        self.log = f"sqlite:///{directory / 'log.db'}"
        self.output = Output()
        self.connected: list[dict[str, Any]] = []
        monkeypatch.setattr(azure, "connect", lambda configuration, clock: self.pools)
        monkeypatch.setattr(kube, "connect", self._connect)
        self._monkeypatch = monkeypatch
        self._runs = 0

    def _connect(self, kubeconfig: str | None, context: str | None, **options: Any) -> LiveCluster:
        self.connected.append({"kubeconfig": kubeconfig, "context": context, **options})
        return self.cluster

    def run(self, *arguments: str, reached: Callable[[], Any] | None = None) -> int:
        """Run until ``reached``, or until it is at work, then send SIGTERM; the exit code."""
        self._monkeypatch.setattr("sys.stderr", self.output)
        self._runs += 1
        stopper = Thread(target=self._stop, args=(reached,))
        stopper.start()
        code = cli.run(["provisioner", "--log", self.log, "--log-format", "json", *arguments])
        stopper.join()
        return code

    def _stop(self, reached: Callable[[], Any] | None) -> None:
        # Before the caches are complete, the handler may not be there yet, and SIGTERM would end pytest.
        number = signal.SIGINT
        try:
            until(lambda: self.output.getvalue().count('"caches complete"') == self._runs)
            number = signal.SIGTERM
            if reached is not None:
                until(reached)
        finally:
            os.kill(os.getpid(), number)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    for name in [name for name in os.environ if name.startswith(("ARM_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Process(monkeypatch, tmp_path)


def test_every_fault_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**ENVIRONMENT, "METRICS_PORT": "http", "KUBE_CLIENT_QPS": "-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ARM_SUBSCRIPTION_ID")

    code = cli.run(["provisioner", "--workers", "0", "--leader-elect-lease-duration", "9s"])

    assert code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --workers: expected a number from 1 to 1000, found 0",
        "error: ARM_SUBSCRIPTION_ID: expected the id of a subscription (a UUID), found nothing",
        'error: METRICS_PORT: expected a port from 0 to 65535, found "http"',
        'error: KUBE_CLIENT_QPS: expected a number above 0, found "-1"',
        "error: --leader-elect-lease-duration: expected more than the renew deadline of 10 s, found 9 s",
    ]
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_process_with_0(process: Process) -> None:
    code = process.run()

    assert code == 0
    assert process.output.lines()[-1]["message"] == "stopped"
    assert process.output.lines()[-1]["why"] == "SIGTERM"
    assert process.pools.closed
    assert process.cluster.closed
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_machine_becomes_ready_and_is_logged(process: Process) -> None:
    process.cluster.create(MACHINES, a_machine())

    process.run(reached=lambda: ("create", NAME) in process.pools.calls)

    with open_log(process.log, WallClock().now, create=False) as log:
        types = [record.type for record in log.read(f"machine/{NAME}")]
    assert types[:3] == ["MachineAccepted", "PoolCreationRequested", "PoolCreationSubmitted"]


def test_dry_run_changes_nothing_anywhere(process: Process, tmp_path: Path) -> None:
    process.cluster.create(MACHINES, a_machine())
    version = process.cluster.cluster.resource_version
    would_create = "would create the agent pool of the Machine"

    code = process.run("--dry-run", reached=lambda: would_create in process.output.messages())

    assert code == 0
    assert process.cluster.cluster.resource_version == version
    assert process.pools.calls == []
    assert list(tmp_path.iterdir()) == []
    line = next(line for line in process.output.lines() if line["message"] == would_create)
    assert (line["dry_run"], line["name"], line["vm_size"]) == (True, NAME, "Standard_NC12s_v3")


def test_dry_run_goes_on_from_log(process: Process, tmp_path: Path) -> None:
    process.cluster.create(MACHINES, a_machine())
    process.run(reached=lambda: process.pools.calls)
    before = (tmp_path / "log.db").read_bytes()
    lines = len(process.output.lines())

    process.run("--dry-run")

    told = process.output.messages()[lines:]
    assert (tmp_path / "log.db").read_bytes() == before
    assert "provisioner starts" in told
    assert "dry run without a history" not in told
    assert not [text for text in told if "create the agent pool" in text]


def test_unserved_settings_are_told(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISABLE_WEBHOOK", "true")
    monkeypatch.setenv("ENABLE_PROFILING", "true")

    process.run("--metrics-port", "0", "--leader-elect=true")

    (line,) = [line for line in process.output.lines() if line["message"].startswith("not served")]
    assert line["asked_for"] == ["profiling (ENABLE_PROFILING)"]


def test_nothing_unserved_is_no_line(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DISABLE_WEBHOOK": "true", "LEADER_ELECT": "false", "METRICS_PORT": "0"}.items():
        monkeypatch.setenv(name, value)

    process.run("--health-probe-port", "0")

    assert not [text for text in process.output.messages() if text.startswith("not served")]


def test_cluster_is_reached_as_asked(process: Process) -> None:
    process.run("--kubeconfig", "config", "--context", "aks", "--workers", "3")

    work, lease = process.connected
    common = {"kubeconfig": "config", "context": "aks", "user_agent": "kaito-provisioner"}
    assert callable(work.pop("exchanged"))
    assert work == {**common, "workers": 4}
    assert lease == {**common, "workers": 1, "read_seconds": 5.0}


def test_leader_writes_with_its_epoch(process: Process) -> None:
    process.cluster.create(MACHINES, a_machine())

    process.run(reached=lambda: process.pools.calls)
    process.run()

    with open_log(process.log, WallClock().now, create=False) as log:
        assert {record.epoch for record in log.read(f"machine/{NAME}")} <= {1, 2}
        assert log.highest_epoch("machine") == 2
    lease = process.cluster.cluster.get(LEASES, "karpenter-leader-election", "gpu-provisioner")
    assert lease["spec"]["holderIdentity"] == ""


def test_no_line_shows_a_secret(process: Process) -> None:
    process.cluster.create(MACHINES, a_machine())

    process.run(reached=lambda: process.pools.calls)

    assert SECRET not in process.output.getvalue()


def test_identity_differs_between_starts(process: Process) -> None:
    process.run()
    process.run()

    starts = [line for line in process.output.lines() if line["message"] == "provisioner starts"]
    assert len({line["identity"] for line in starts}) == len(starts) == 2
