"""The telling of one Workspace's history: events in order, folded as they are told."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from kaito.importing.evidence import Evidence
from kaito.importing.lives import Life
from statemachine import events as ev
from statemachine.limits import Limits
from statemachine.replay import advance
from statemachine.state import Stage, Workspace

ORIGINAL_LIMITS = Limits(machine_slow_after=240.0, machine_timeout=240.0, inference_timeout=1800.0)
"""What ran: one wait of 240 s for a Machine, and 30 min for inference, the limit of most presets."""


class Attested(NamedTuple):
    """An event and the line that proves it, such as ``workspace.log:85``."""

    event: ev.WorkspaceEvent
    cause: str


class Recorder:
    """Folds what it tells, so that ``state`` is always the state of the history so far."""

    def __init__(self, life: Life, instance_type: str) -> None:
        self.life = life
        self.state = Workspace()
        self.told: list[Attested] = []
        self._instance_type = instance_type

    @property
    def active(self) -> bool:
        """Whether something can still be provisioned: not yet begun, or live."""
        return self.state.stage in (Stage.ABSENT, Stage.LIVE)

    def tell(self, event: ev.WorkspaceEvent, item: Evidence) -> None:
        self.begin()
        last = self.told[-1].event.at
        # Two goroutines may log in the other order than they acted, by microseconds.
        told = event if event.at >= last else replace(event, at=last)
        advance(self.state, (told,))
        self.told.append(Attested(told, item.cause))

    def begin(self, node_count: int = 1) -> None:
        """Tell the beginning. A Workspace asks first for all its nodes; where it never asks, it has one."""
        if self.told:
            return
        life = self.life
        kind = ev.WorkspaceAdopted if life.adopted else ev.WorkspaceCreated
        event = kind(
            at=life.created_at, uid=life.uid, namespace=life.key[0], name=life.key[1], generation=1,
            node_count=node_count, instance_type=self._instance_type, inference="", limits=ORIGINAL_LIMITS,
        )  # fmt: skip
        advance(self.state, (event,))
        self.told.append(Attested(event, life.cause))
