"""Whether processes grow: their usage sampled over time, the slope of it, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kaito.clock import WallClock
from tests.e2e.processes import KaitoProcess
from tests.e2e.routines import Routine
from tests.e2e.usage import Usage

MEBIBYTE = 1024 * 1024
WARM_UP = 0.34
"""The share of the time that is not looked at: caches, pools of connections and the allocator fill up."""


@dataclass(frozen=True)
class Sample:
    seconds: float
    usage: Usage


class Samples:
    """Of one process; taken only while it is the same one.

    Attributes:
        taken: In the order of time.
    """

    def __init__(self, taken: Sequence[Sample] = ()) -> None:
        self.taken: list[Sample] = list(taken)

    @property
    def settled(self) -> list[Sample]:
        """Those after the warm-up."""
        end = self.taken[-1].seconds
        return [sample for sample in self.taken if sample.seconds >= WARM_UP * end]

    def slope(self) -> float:
        """Mebibytes of memory that it gains each minute, as the straight line through the settled samples."""
        minutes = np.array([sample.seconds / 60 for sample in self.settled])
        mebibytes = np.array([sample.usage.rss_bytes / MEBIBYTE for sample in self.settled])
        return float(np.polyfit(minutes, mebibytes, 1)[0])

    def gained(self, what: str) -> int:
        """How many more of something it held, at most, in the last third of the time than in the first."""
        values = [int(getattr(sample.usage, what)) for sample in self.settled]
        third = max(len(values) // 3, 1)
        return max(values[-third:]) - max(values[:third])

    def figures(self) -> dict[str, float]:
        first, last = self.settled[0], self.settled[-1]
        cpu = last.usage.cpu_seconds - first.usage.cpu_seconds
        return {
            "minutes": round(last.seconds / 60, 1),
            "rss_mib_after_warm_up": round(first.usage.rss_bytes / MEBIBYTE, 1),
            "rss_mib_at_the_end": round(last.usage.rss_bytes / MEBIBYTE, 1),
            "slope_mib_per_minute": round(self.slope(), 4),
            "cpu_percent": round(100 * cpu / max(last.seconds - first.seconds, 1.0), 2),
            **{f"{what}_gained": self.gained(what) for what in ("threads", "descriptors", "sockets")},
            **{f"{what}_most": max(getattr(each.usage, what) for each in self.settled)
               for what in ("threads", "descriptors", "sockets")},
        }  # fmt: skip


class Watcher(Routine):
    """Enter it to have every process sampled, every few seconds."""

    def __init__(self, processes: Mapping[str, KaitoProcess], every_seconds: float) -> None:
        super().__init__("watcher", self._sample, every_seconds)
        self.samples = {name: Samples() for name in processes}
        self._processes = processes
        self._clock = WallClock()
        self._begun = self._clock.monotonic()

    def _sample(self) -> None:
        for name, process in self._processes.items():
            if process.running:
                seconds = self._clock.monotonic() - self._begun
                self.samples[name].taken.append(Sample(seconds, process.usage()))


def write_figures(path: Path, samples: Mapping[str, Samples], **rest: object) -> None:
    """The figures, and every sample behind them."""
    found = {
        **rest,
        "figures": {name: each.figures() for name, each in samples.items()},
        "samples": {name: [asdict(sample) for sample in each.taken] for name, each in samples.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def draw_memory(path: Path, samples: Mapping[str, Samples]) -> None:
    """Memory over time with the fitted lines, and the sockets below."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    memory, sockets = figure.subplots(2, 1, sharex=True)
    for name, each in samples.items():
        minutes = [sample.seconds / 60 for sample in each.taken]
        (line,) = memory.plot(
            minutes, [sample.usage.rss_bytes / MEBIBYTE for sample in each.taken], label=name
        )
        settled = np.array([sample.seconds / 60 for sample in each.settled])
        fit = np.polyfit(settled, [sample.usage.rss_bytes / MEBIBYTE for sample in each.settled], 1)
        label = f"{fit[0]:+.3f} MiB a minute"
        memory.plot(settled, np.polyval(fit, settled), linestyle="--", color=line.get_color(), label=label)
        sockets.step(minutes, [sample.usage.sockets for sample in each.taken], label=f"{name}: sockets")
        sockets.step(minutes, [sample.usage.threads for sample in each.taken], label=f"{name}: threads")
    memory.set_ylabel("resident memory in MiB")
    memory.set_ylim(bottom=0)
    sockets.set_ylim(bottom=0)
    sockets.set_xlabel("minutes")
    for axes in (memory, sockets):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
