"""What both processes open, in the order in which it can fail, and how they run until they are stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from kaito.manager.election import Election
from kaito.manager.logs import LogFormat, configure, release
from kaito.manager.manager import Manager
from kaito.manager.signals import stopping_on_signals
from kaito.process.leadership import Candidacy, new_election
from kaito.runtime.ports import Clock
from kaito.telemetry.processes import Telemetry
from store.records import EventLog

if TYPE_CHECKING:
    from kaito.kube.client import KubeClient


class Cluster(msgspec.Struct, frozen=True):
    """Which cluster to work on, and under which name."""

    agent: str
    kubeconfig: str | None
    context: str | None

    def client(self, stack: ExitStack, telemetry: Telemetry, workers: int) -> KubeClient:
        """The client of the workers; each of its requests is measured.

        Raises:
            InvalidKubeconfig: The configuration cannot be read or used.
        """
        connect = self._connect()
        api = connect(workers=workers, exchanged=telemetry.requests.exchanged)
        stack.callback(api.close)
        telemetry.requests.of(api.server)
        return api

    def election(
        self,
        stack: ExitStack,
        log: EventLog,
        candidacy: Candidacy | None,
        family: str,
        identity: str,
        clock: Clock,
    ) -> Election | None:
        """The candidacy, with a client of its own, whose calls end well within the renew deadline."""
        if candidacy is None:
            return None
        api = self._connect()(workers=1, read_seconds=candidacy.call_seconds)
        stack.callback(api.close)
        return new_election(api, log, candidacy, family, identity, clock)

    def _connect(self) -> Callable[..., KubeClient]:
        from kaito import kube

        return partial(kube.connect, self.kubeconfig, self.context, user_agent=self.agent)


def run_until_stopped(manager: Manager, stack: ExitStack) -> int:
    """Run until SIGTERM, SIGINT or a failure; the exit code."""
    with stopping_on_signals(manager.stop):
        code = manager.run()
    if not manager.drained:
        # A call that is still under way holds its connection; the end of the process frees both.
        stack.pop_all()
    return code


def logged(form: LogFormat, run: Callable[[], int]) -> int:
    """Run with our lines on standard error."""
    handler = configure(form)
    try:
        return run()
    finally:
        release(handler)
