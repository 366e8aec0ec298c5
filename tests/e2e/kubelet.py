"""Who starts processes again that have ended, as a kubelet does with containers."""

from __future__ import annotations

from threading import Event, Thread
from types import TracebackType

from tests.e2e.processes import KaitoProcess
from tests.e2e.real_world import Member

LOOK_SECONDS = 0.5
"""How soon an end is seen; a kubelet would wait longer with each restart."""


class Kubelet:
    """Enter it to have these members restarted whenever they end.

    Attributes:
        endings: The exit codes of those that ended, by name.
    """

    def __init__(self, *members: Member) -> None:
        self.endings: dict[str, list[int]] = {member.kube.name: [] for member in members}
        self._members = members
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="kubelet", daemon=True)

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for member in self._members:
                if not member.process.running:
                    self._restart(member.kube.name, member.process)

    def _restart(self, name: str, process: KaitoProcess) -> None:
        self.endings[name].append(process.ended(0))
        process.start()
