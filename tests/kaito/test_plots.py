from __future__ import annotations

from pathlib import Path

import pytest

from kaito.commands.timeline import draw
from kaito.history.timeline import Timeline, tell
from kaito.plots import MOST_TICKS, STATUS_COLOURS, timeline_figure, written
from kaito.problems import Problem
from kaito.runtime.keys import WorkspaceKey
from store.memory import MemoryEventLog
from tests.kaito import lives


def timeline(seconds: float = 3000) -> Timeline:
    chronicle = lives.chronicle(lives.IMPORTED, lives.PROVISIONER).until(lives.at(seconds))
    return tell(chronicle, lives.at(seconds))


def test_picture_names_every_phase_and_condition() -> None:
    found = timeline()

    upper, lower = timeline_figure(found).axes

    rows = [label.get_text().strip() for label in upper.get_yticklabels()]
    assert rows == [name for phase in found.phases for name in (phase.name, *(s.name for s in phase.steps))]
    assert [label.get_text() for label in lower.get_yticklabels()] == list(found.conditions)


def test_bars_last_as_long_as_their_phases() -> None:
    found = timeline()

    upper, _ = timeline_figure(found).axes

    bars = {(patch.get_x(), patch.get_width()) for patch in upper.patches}
    long = [phase for phase in found.phases if phase.seconds > 10]
    expected = [((phase.start - found.created_at).total_seconds(), phase.seconds) for phase in long]
    assert len(long) == 4
    assert all(bar in bars for bar in expected)


def test_uncertain_end_is_hatched() -> None:
    upper, _ = timeline_figure(timeline()).axes

    hatched = [patch for patch in upper.patches if patch.get_hatch()]
    assert [patch.get_width() for patch in hatched] == [pytest.approx(60)]


def test_legend_explains_the_colours_shown() -> None:
    _, lower = timeline_figure(timeline()).axes

    shown = [text.get_text() for text in lower.get_legend().get_texts()]
    assert shown == [name for name in STATUS_COLOURS if name != "False"]


@pytest.mark.parametrize("seconds", [0, 0.1, 1, 61, 300, 3000, 400_000])
def test_any_age_gets_few_ticks(seconds: float) -> None:
    figure = timeline_figure(timeline(seconds))

    written(figure, "png")
    assert len(figure.axes[1].get_xticks()) <= MOST_TICKS + 1


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_picture_repeats_byte_for_byte(kind: str) -> None:
    assert written(timeline_figure(timeline()), kind) == written(timeline_figure(timeline()), kind)


def test_drawing_takes_the_newest_life(tmp_path: Path) -> None:
    log = MemoryEventLog(lambda: lives.START)
    lives.write(log, lives.DELETED)

    draw(log, WorkspaceKey("default", "falcon"), tmp_path / "life.svg")

    assert (tmp_path / "life.svg").read_bytes().startswith(b"<?xml")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"expected a file that ends in \.png or \.svg"):
        draw(MemoryEventLog(lambda: lives.START), WorkspaceKey("default", "falcon"), tmp_path / "life.pdf")
