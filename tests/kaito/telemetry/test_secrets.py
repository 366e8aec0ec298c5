"""A secret of the process or the cluster gets into no line, no Event, no metric and no probe."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from kaito.clock import WallClock
from kaito.kube import connect
from kaito.manager import logs
from kaito.manager.logs import LogFormat
from kaito.manager.narration import NarratedLog
from kaito.runtime.ports import ApiError, Object, Resource
from kaito.telemetry.checks import LogWritable
from kaito.telemetry.probes import probes_application
from kaito.telemetry.processes import OperatorTelemetry
from store.memory import MemoryEventLog
from tests.kaito import lives
from tests.kaito.kube.loopback import RESET, Loopback
from tests.kaito.live import DEADLINE_SECONDS
from tests.kaito.telemetry.serving import Served

TOKEN = "canary-of-the-kubeconfig-4f2a"
DATA = "Y2FuYXJ5LW9mLWEtc2VjcmV0"
SECRETS = Resource("", "v1", "secrets", "Secret")
SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "workspace-webhook-cert", "namespace": "kaito"},
    "data": {"server-key.pem": DATA},
}


@pytest.fixture(params=[LogFormat.JSON, LogFormat.TEXT])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logs.configure(request.param, stream)
    logging.getLogger().setLevel(logging.DEBUG)
    yield stream
    logging.getLogger().setLevel(logging.WARNING)
    logs.release(handler)


def a_kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    named = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps({**named, "current-context": "x"}))
    return path


def echo(server: Loopback, status: int) -> None:
    """The server repeats what it should not know how to keep to itself."""
    server.answers(status, {"kind": "Status", "message": f"you sent Bearer {TOKEN}", "reason": "Forbidden"})


@pytest.mark.parametrize("trouble", ["refused", "broken", "taken"])
def test_secrets_are_told_to_nobody(
    trouble: str, written: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    with Loopback() as server:
        prepare: dict[str, Callable[[], None]] = {
            "refused": lambda: echo(server, 403),
            "broken": lambda: server.breaks(RESET),
            "taken": lambda: server.answers(201, SECRET),
        }
        prepare[trouble]()
        told = everything_told(a_kubeconfig(tmp_path, server.url))
        asked = [*server.asked]

    told += written.getvalue()
    assert any(TOKEN in each.headers.get("authorization", "") for each in asked)
    assert any(DATA.encode() in each.body for each in asked)
    assert TOKEN not in "".join(each.body.decode() for each in asked)
    assert TOKEN not in told
    assert DATA not in told
    assert "decided" in told


def everything_told(kubeconfig: Path) -> str:
    """Run a client, a log and a recorder; what metrics and probes say afterwards."""
    clock = WallClock()
    telemetry = OperatorTelemetry(clock)
    client = connect(kubeconfig, exchanged=telemetry.requests.exchanged)
    telemetry.requests.of(client.server)
    recorder = telemetry.recorder(client, "test")
    log = MemoryEventLog(lambda: lives.START)
    observed = NarratedLog(telemetry.observed(log, [recorder]))  # type: ignore[arg-type]  # the ports agree in what is used

    recorder.start()
    observed.append(lives.STREAM, [lives.created(), lives.requested(), lives.made()], expected_version=0)
    failures = []
    try:
        client.create(SECRETS, SECRET)
    except ApiError as error:
        failures.append(f"{error!r} {error.message}")
    recorder.stop(DEADLINE_SECONDS)
    client.close()
    check = LogWritable(log, telemetry.log, clock)
    with Served(probes_application(health={}, readiness={"log": check})) as served:
        probes = served.get("/readyz?verbose").text
    return generate_latest(telemetry.registry).decode() + probes + "".join(failures) + repr(client)
