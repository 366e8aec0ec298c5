"""A Workspace told picture by picture: the state goes on, time comes with each picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from statemachine import commands as cmd
from statemachine import events as ev
from statemachine.lifecycle import Step, step
from statemachine.observations import ClusterView, CommandOutcome, Observation, Result, StatusView
from statemachine.state import Condition, Workspace
from tests.builders import a_cluster_view, an_outcome, at

C = TypeVar("C")


class Story:
    """Shows observations to a Workspace; ``last`` is the latest step, ``log`` every event so far."""

    def __init__(self, state: Workspace | None = None) -> None:
        self.state = state or Workspace()
        self.log: list[ev.WorkspaceEvent] = []
        self.last = Step(self.state, ())

    def sees(self, view: ClusterView | None = None, seconds: float = 0) -> Step:
        """One picture at a moment after the epoch; without one, the object alone."""
        return self._take(a_cluster_view() if view is None else view, seconds)

    def hears(
        self, command: cmd.Command, result: Result = Result.DONE, seconds: float = 0, **more: object
    ) -> Step:
        """The outcome of one command."""
        return self._take(an_outcome(command, result, **more), seconds)

    def _take(self, observation: Observation, seconds: float) -> Step:
        assert isinstance(observation, ClusterView | CommandOutcome)
        self.last = step(self.state, observation, at(seconds))
        self.state = self.last.state
        self.log.extend(self.last.events)
        return self.last


def names(events: Iterable[ev.WorkspaceEvent]) -> list[str]:
    """The type names of events, in order."""
    return [type(event).__name__ for event in events]


def only(commands: Iterable[cmd.Command], kind: type[C]) -> list[C]:
    """The commands of one kind, in order."""
    return [command for command in commands if isinstance(command, kind)]


def said(condition: Condition) -> tuple[str, str, str]:
    return condition.status.value, condition.reason, condition.message


def written(stepped: Step) -> StatusView:
    """The status as it stands on the object once the step's WriteStatus is done."""
    (write,) = only(stepped.commands, cmd.WriteStatus)
    return StatusView(
        conditions=write.conditions,
        worker_nodes=write.worker_nodes,
        observed_generation=write.observed_generation,
    )
