"""Who starts processes again that have ended, as a kubelet does with containers."""

from __future__ import annotations

from tests.e2e.processes import KaitoProcess
from tests.e2e.real_world import Member
from tests.e2e.routines import Routine

LOOK_SECONDS = 0.5
"""How soon an end is seen; a kubelet would wait longer with each restart."""


class Kubelet(Routine):
    """Enter it to have these members restarted whenever they end.

    Attributes:
        endings: The exit codes of those that ended, by name.
    """

    def __init__(self, *members: Member) -> None:
        super().__init__("kubelet", self._look, LOOK_SECONDS)
        self.endings: dict[str, list[int]] = {member.kube.name: [] for member in members}
        self._members = members

    def _look(self) -> None:
        for member in self._members:
            if not member.process.running:
                self._restart(member.kube.name, member.process)

    def _restart(self, name: str, process: KaitoProcess) -> None:
        self.endings[name].append(process.ended(0))
        process.start()
