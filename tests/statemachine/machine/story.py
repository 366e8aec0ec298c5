"""A Machine told picture by picture and answer by answer; time comes with each."""

from __future__ import annotations

from typing import TypeVar

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.lifecycle import MachineStep, step
from statemachine.machine.observations import MachineObservation, MachinePicture
from statemachine.machine.state import Machine
from statemachine.state import Condition
from tests.builders import at
from tests.statemachine.machine.builders import a_picture, accepted

C = TypeVar("C")


class Story:
    """Shows observations to a Machine; ``last`` is the latest step, ``log`` every event so far."""

    def __init__(self, state: Machine | None = None) -> None:
        self.state = state or Machine()
        self.log: list[ev.MachineEvent] = []
        self.last = MachineStep(self.state, ())

    def sees(self, picture: MachinePicture | None = None, seconds: float = 0) -> MachineStep:
        """One picture at a moment after the epoch; without one, the object alone."""
        return self.hears(a_picture() if picture is None else picture, seconds)

    def hears(self, observation: MachineObservation, seconds: float = 0) -> MachineStep:
        self.last = step(self.state, observation, at(seconds))
        self.log.extend(self.last.events)
        self.state = self.last.state
        return self.last


def submitted(seconds: float = 1) -> Story:
    """A Machine whose creation was accepted."""
    story = Story()
    story.sees()
    story.hears(accepted(), seconds)
    return story


def kinds(stepped: MachineStep) -> list[str]:
    return [type(event).__name__ for event in stepped.events]


def asked(stepped: MachineStep) -> list[str]:
    return [type(command).__name__ for command in stepped.commands]


def only(commands: tuple[cmd.MachineCommand, ...], kind: type[C]) -> list[C]:
    return [command for command in commands if isinstance(command, kind)]


def said(condition: Condition) -> tuple[str, str, str]:
    return condition.status.value, condition.reason, condition.message
