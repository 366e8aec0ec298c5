"""The real server of the differential suite, and the figures that it ends with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kaito.kube.access import access_loader
from kaito.kube.identity import Identities
from kaito.kube.transport import Transport
from tests.differential.ledger import read_ledger
from tests.differential.servers import RealServer
from tests.differential.trial import Trials
from tests.e2e.conftest import control_plane as control_plane
from tests.e2e.conftest import server as server
from tests.e2e.control_plane import ControlPlane

TRIALS = pytest.StashKey[Trials]()


@pytest.fixture(scope="session")
def real(server: ControlPlane) -> Iterator[RealServer]:
    connected = RealServer(Transport(Identities(access_loader(server.kubeconfig, None, 4)), "differential"))
    yield connected
    connected.api.close()


@pytest.fixture(scope="session")
def trials(real: RealServer, pytestconfig: pytest.Config) -> Trials:
    """All trials of the session, so that the ledger is judged by all of them."""
    pytestconfig.stash[TRIALS] = Trials(real, read_ledger())
    return pytestconfig.stash[TRIALS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    trials = config.stash.get(TRIALS, None)
    if trials is None:
        return
    ledger = trials.ledger
    terminalreporter.section("differential suite")
    terminalreporter.line(
        f"{trials.programs} programs, {trials.calls} calls, {len(ledger.entries)} entries in the ledger"
    )
    for entry in ledger.entries:
        terminalreporter.line(f"{ledger.hits[entry.id]:7} {entry.id}")
