"""`kaito operator`: what it refuses, what it says, and that it ends as a process should."""

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
from kaito.runtime.ports import LEASES, MACHINES, WORKSPACES
from store.opening import open_log
from tests.contracts.kube_api import a_workspace
from tests.kaito.live import LiveCluster, until

NOTHING_SERVED = ("--metrics-bind-address=0", "--health-probe-bind-address=0")


class Process:
    """The command in this process, on a cluster of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.cluster = LiveCluster()
        self.log = f"sqlite:///{directory / 'log.db'}"
        self.output = io.StringIO()
        monkeypatch.setattr(kube, "connect", lambda *arguments, **options: self.cluster)
        self._monkeypatch = monkeypatch

    def run(self, *arguments: str, reached: Callable[[], Any] = lambda: True) -> int:
        """Run until ``reached``, then send SIGTERM; the exit code."""
        self._monkeypatch.setattr("sys.stderr", self.output)
        stopper = Thread(target=self._stop, args=(reached,))
        stopper.start()
        code = cli.run(["operator", "--log", self.log, "--log-format=json", *NOTHING_SERVED, *arguments])
        stopper.join()
        return code

    def _stop(self, reached: Callable[[], Any]) -> None:
        # Before the caches are complete, the handler may not be there yet, and SIGTERM would end pytest.
        number = signal.SIGINT
        try:
            until(lambda: '"caches complete"' in self.output.getvalue())
            number = signal.SIGTERM
            until(reached)
        finally:
            os.kill(os.getpid(), number)

    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.output.getvalue().splitlines()]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    monkeypatch.setenv("SYSTEM_NAMESPACE", "kaito-workspace")
    monkeypatch.chdir(tmp_path)
    return Process(monkeypatch, tmp_path)


def test_faults_are_told_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYSTEM_NAMESPACE", raising=False)

    code = cli.run(["operator", "--workers=0", "--leader-elect=false", "--webhook=false"])

    assert code == 2
    assert capsys.readouterr().err == 'error: --workers: expected a whole number above 0, found "0"\n'
    assert list(tmp_path.iterdir()) == []


def test_workspace_is_served_by_a_leader(process: Process) -> None:
    process.cluster.create(WORKSPACES, a_workspace(), "default")

    code = process.run("--webhook=false", reached=lambda: process.cluster.list(MACHINES).items)

    assert code == 0
    assert process.messages()[:3] == ["operator starts", "caches complete", "became leader"]
    assert process.messages()[-2:] == ["lease released", "stopped"]
    with open_log(process.log, WallClock().now, create=False) as log:
        assert {record.epoch for record in log.read_all()} == {1}
    assert process.cluster.cluster.get(LEASES, "ef60f9b0.io", "kaito-workspace")


def test_go_spelling_of_flags_is_understood(process: Process) -> None:
    code = process.run("--webhook=false", "--leader-elect=false")

    assert code == 0
    assert "became leader" not in process.messages()


def test_unserved_settings_are_told(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILING_PORT", "8008")

    process.run("--webhook=false", "--leader-elect=false")

    assert "not served by this release" in process.messages()
