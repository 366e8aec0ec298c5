"""Long-running operations: what a client can ask about them while they run and after they ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from simulator.azure.refusals import Complaint
from simulator.engine import EventNotice

Status = Literal["InProgress", "Succeeded", "Failed", "Canceled"]
Kind = Literal["create", "update", "delete"]

KEPT = timedelta(days=1)
"""How long an ended operation can still be asked about. Assumed; its URL is 404 after that."""


@dataclass(slots=True, eq=False)
class RunningOperation:
    """One operation. ``notice`` is its end, None for one that hangs or has ended."""

    id: str
    pool: str
    kind: Kind
    started_at: datetime
    seen_as: Literal["", "missing", "running"] = ""
    """How a lost one shows, whatever it really does."""
    status: Status = "InProgress"
    ended_at: datetime | None = None
    error: Complaint | None = None
    notice: EventNotice | None = None

    def document(self) -> dict[str, Any]:
        """The answer of the operation's URL."""
        found: dict[str, Any] = {"name": self.id, "startTime": _stamp(self.started_at)}
        if self.ended_at is None or self.seen_as == "running":
            return found | {"status": "InProgress"}
        found |= {"status": self.status, "endTime": _stamp(self.ended_at)}
        return found if self.error is None else found | {"error": self.error.document()}


class Operations:
    """Every operation of the cluster by its id."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[str, RunningOperation] = {}

    def add(self, operation: RunningOperation) -> None:
        self._known[operation.id] = operation

    def __getitem__(self, id_: str) -> RunningOperation:
        return self._known[id_]

    def find(self, id_: str) -> RunningOperation | None:
        """The operation as a client sees it: None for one that is unknown, lost or long over."""
        found = self._known.get(id_.lower())
        if found is None or found.seen_as == "missing":
            return None
        if found.ended_at is not None and self._now() - found.ended_at > KEPT:
            del self._known[found.id]
            return None
        return found

    def hanging(self) -> list[RunningOperation]:
        """Those that go on and have no end, in the order of their ids."""
        found = [each for each in self._known.values() if each.ended_at is None and each.notice is None]
        return sorted(found, key=lambda each: each.id)

    def end(self, operation: RunningOperation, status: Status, error: Complaint | None = None) -> None:
        operation.status, operation.error = status, error
        operation.ended_at = self._now()
        operation.notice = None


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
