"""Pictures: the timeline of a Workspace and the state machine. The one module that loads matplotlib.

Equal input gives equal bytes: no time stamps, no random identifiers, the font that matplotlib brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter

from kaito import durations
from kaito.files import write_whole
from kaito.history.timeline import Phase, Timeline, span_text

STYLE: Any = {
    "svg.hashsalt": "kaito",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}

STATUS_COLOURS = {"True": "#3a923a", "False": "#c03d3e", "Unknown": "#e8b43a"}
PHASE_COLOURS = {
    "accepted → created": "#8c8c8c",
    "created → launched": "#3274a1",
    "launched → ready": "#5ba3cf",
    "ready → GPU usable": "#8fc1de",
    "nodes → workload": "#9372b2",
    "inference": "#e1812c",
    "serving": "#3a923a",
    "deletion": "#6b4f3f",
}
OTHER_PHASE = "#c03d3e"
"""Phases that nobody wishes for: degraded, node lost, machine lost, spec refused."""

TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 604_800)
"""Distances between two marks of the time axis, in seconds, as clocks are divided."""

MOST_TICKS = 8
ROW_INCHES = 0.34
WIDTH_INCHES = 10.0


def save(figure: Figure, path: Path, kind: str = "") -> None:
    """Write a figure as svg or png, by the file's suffix unless told, whole or not at all."""
    write_whole(path, [written(figure, kind or path.suffix.lower().removeprefix("."))])


def written(figure: Figure, kind: str) -> bytes:
    """The bytes of the picture; ``kind`` is svg or png."""
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=140, metadata=metadata)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def timeline_figure(timeline: Timeline) -> Figure:
    """Phases as bars, each in a row with its steps below it, over the conditions as coloured bands."""
    rows = [(phase, step) for phase in timeline.phases for step in (None, *phase.steps)]
    heights = [ROW_INCHES * max(len(rows), 1), ROW_INCHES * max(len(timeline.conditions), 1)]
    with mpl.rc_context(STYLE):
        figure = new_figure(WIDTH_INCHES, sum(heights) + 1.9)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=heights)
        _draw_phases(upper, timeline, rows)
        _draw_conditions(lower, timeline)
        _draw_axis(lower, timeline)
        figure.suptitle(_title(timeline), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _title(timeline: Timeline) -> str:
    total = durations.rounded(timedelta(seconds=timeline.total_seconds))
    lasting = f"{total} so far" if timeline.open else f"{total} in all"
    return f"{timeline.namespace}/{timeline.name}: {lasting}"


def _draw_phases(axes: Any, timeline: Timeline, rows: Sequence[tuple[Phase, Phase | None]]) -> None:
    span = max(timeline.total_seconds, 1e-6)
    for index, (phase, step) in enumerate(rows):
        shown = step or phase
        start, width = _seconds(timeline, shown.start), shown.seconds
        colour = PHASE_COLOURS.get(phase.name, OTHER_PHASE)
        thin = step is not None
        axes.barh(
            index, max(width, span / 600), left=start, height=0.34 if thin else 0.62, color=colour,
            alpha=0.55 if thin else 1.0, zorder=3,
        )  # fmt: skip
        if shown.seconds_max > width:
            axes.barh(
                index, shown.seconds_max - width, left=start + width, height=0.62, facecolor="none",
                edgecolor=colour, hatch="////", linewidth=0.8, zorder=4,
            )  # fmt: skip
        _label_bar(axes, index, start, shown.seconds_max, span, span_text(shown), small=thin)
    axes.set_yticks(range(len(rows)), [f"    {step.name}" if step else phase.name for phase, step in rows])
    for label, (_, step) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontsize(8 if step else 9)
        label.set_color("#555555" if step else "black")
    axes.invert_yaxis()
    axes.set_title("Phases", loc="left", fontsize=9, color="#555555")
    _tidy(axes)


def _label_bar(
    axes: Any, row: int, start: float, width: float, span: float, text: str, *, small: bool
) -> None:
    """The duration beside the bar: behind it, or before it where no room is left."""
    behind = start + width < 0.86 * span
    axes.annotate(
        text,
        (start + width if behind else start, row),
        xytext=(5 if behind else -5, 0),
        textcoords="offset points",
        ha="left" if behind else "right",
        va="center",
        fontsize=8 if small else 9,
        color="#555555" if small else "black",
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )


def _draw_conditions(axes: Any, timeline: Timeline) -> None:
    seen: list[str] = []
    for index, spells in enumerate(timeline.conditions.values()):
        for spell in spells:
            start, stop = _seconds(timeline, spell.start), _seconds(timeline, spell.end)
            axes.barh(
                index, stop - start, left=start, height=0.7, color=STATUS_COLOURS[spell.status],
                edgecolor="white", linewidth=0.6, zorder=3,
            )  # fmt: skip
            seen.append(spell.status)
    axes.set_yticks(range(len(timeline.conditions)), list(timeline.conditions))
    axes.invert_yaxis()
    axes.set_title("Conditions", loc="left", fontsize=9, color="#555555")
    handles = [Patch(color=colour, label=name) for name, colour in STATUS_COLOURS.items() if name in seen]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)
    _tidy(axes)


def _draw_axis(axes: Any, timeline: Timeline) -> None:
    length = max(timeline.total_seconds, 1.0)
    step = next((tick for tick in TICKS if length / tick <= MOST_TICKS), length / MOST_TICKS)
    axes.set_xlim(0, length * 1.02)
    axes.xaxis.set_major_locator(FixedLocator([step * count for count in range(int(length / step) + 1)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(timeline, float(value))))
    axes.set_xlabel(f"age, and time of day on {timeline.created_at:%Y-%m-%d} (UTC)")


def _tick(timeline: Timeline, seconds: float) -> str:
    at = timeline.created_at + timedelta(seconds=seconds)
    return f"{durations.rounded(timedelta(seconds=max(seconds, 0.0)))}\n{at:%H:%M:%S}"


def _tidy(axes: Any) -> None:
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)


def _seconds(timeline: Timeline, at: datetime) -> float:
    return (at - timeline.created_at).total_seconds()
