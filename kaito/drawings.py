"""The state machine drawn: states as lines from top to bottom, each transition an arrow in a row of its own.

Boxes and curves of many transitions between four states cover each other; in rows every event can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from kaito.diagrams import Diagram, Transition
from kaito.plots import STYLE, new_figure

COLOURS = {
    "True": "#3a923a", "False": "#c03d3e", "Unknown": "#d39e1d", "Absent": "#8c8c8c", "Any": "#555555",
    "Live": "#3a923a", "Deleting": "#d39e1d", "Gone": "#6b4f3f",
}  # fmt: skip
OTHER = "#3274a1"
ROW_INCHES = 0.24
HEAD_ROWS = 4.2
"""Rows that the title and the names of the states take up."""

TEXT_SHARE = 0.5
"""Of the width, what the events take up; the states share the rest."""


def diagram_figure(found: Sequence[Diagram]) -> Figure:
    """All diagrams below each other."""
    heights = [len(diagram.transitions) + HEAD_ROWS for diagram in found]
    with mpl.rc_context(STYLE):
        figure = new_figure(10.0, ROW_INCHES * sum(heights))
        axes = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for place, diagram, height in zip(axes, found, heights, strict=True):
            _draw(place, diagram, height)
    return figure


def _draw(axes: Any, diagram: Diagram, height: float) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(height - 0.2, 0)
    axes.axis("off")
    axes.text(0, 0.7, diagram.name, fontsize=12, fontweight="bold", va="center")
    axes.text(0, 1.7, diagram.about, fontsize=8.5, color="#555555", va="center")
    places = _places(diagram.states)
    for state, x in places.items():
        colour = COLOURS.get(state, OTHER)
        axes.plot([x, x], [3.1, height - 0.6], color=colour, linewidth=1.6, alpha=0.55, zorder=1)
        axes.text(
            x, 2.8, state, ha="center", va="center", fontsize=9, color="white", zorder=4,
            bbox={"facecolor": colour, "edgecolor": "none", "boxstyle": "round,pad=0.35"},
        )  # fmt: skip
    for row, move in enumerate(diagram.transitions):
        _draw_move(axes, move, places, row + HEAD_ROWS - 0.4)


def _places(states: Sequence[str]) -> dict[str, float]:
    left, width = TEXT_SHARE + 0.04, 1 - TEXT_SHARE - 0.08
    step = width / max(len(states) - 1, 1)
    return {state: left + step * index for index, state in enumerate(states)}


def _draw_move(axes: Any, move: Transition, places: dict[str, float], y: float) -> None:
    axes.text(TEXT_SHARE - 0.01, y, move.label, ha="right", va="center", fontsize=8.5)
    start, stop = places[move.source], places[move.dest]
    colour = COLOURS.get(move.dest, OTHER)
    axes.axhline(y, color="#eeeeee", linewidth=0.6, zorder=0)
    if start == stop:
        axes.plot([start], [y], "o", color="white", markeredgecolor=colour, markeredgewidth=1.6, zorder=3)
        return
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(stop, y), xytext=(start, y), arrowprops=arrow, zorder=3)
    axes.plot([start], [y], ".", color=colour, zorder=3)
