"""A Machine that the log has ended is there again: the cluster was set back to a backup."""

from __future__ import annotations

from statemachine.state import Stage
from tests.statemachine.machine.builders import a_picture
from tests.statemachine.machine.story import Story, kinds


def ended() -> Story:
    story = Story()
    story.sees()
    story.sees(a_picture(machine=None), 60)
    assert story.state.stage is Stage.GONE
    return story


def test_restored_machine_starts_anew() -> None:
    story = ended()

    again = story.sees(a_picture(restored=True), 600)

    assert kinds(again)[:1] == ["MachineAccepted"]
    assert story.state.stage is Stage.LIVE


def test_picture_without_a_live_read_restores_nothing() -> None:
    story = ended()

    assert kinds(story.sees(a_picture(), 600)) == []


def test_restored_machine_is_accepted_once() -> None:
    story = ended()
    story.sees(a_picture(restored=True), 600)

    assert "MachineAccepted" not in kinds(story.sees(a_picture(restored=True), 601))
