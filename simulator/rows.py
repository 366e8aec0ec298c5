"""What a watcher prints of a run: the rows of `kubectl get workspace -w`."""

from __future__ import annotations

from collections.abc import Sequence

from kaito import durations
from kaito.runtime.ports import Object
from kaito.runtime.translation import conditions_of
from simulator.replication import Sighting

COLUMNS = ("NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE")
WIDE = ("NAME", "INSTANCE", "MACHINEREADY", *COLUMNS[2:], "REASON")


def cells(sighting: Sighting, object_: Object, *, wide: bool = False) -> tuple[str, ...]:
    """One row; the reason in the wide form is that of the first condition that is not True."""
    conditions = conditions_of(object_)

    def status(kind: str) -> str:
        return str(conditions.get(kind, {}).get("status", ""))

    instance = (object_.get("resource") or {}).get("instanceType", "")
    verdicts = tuple(status(kind) for kind in ("ResourceReady", "InferenceReady", "WorkspaceReady"))
    age = durations.age(sighting.age)
    if not wide:
        return (sighting.key.name, instance, *verdicts, age)
    return (sighting.key.name, instance, status("MachineReady"), *verdicts, age, _reason(object_))


def _reason(object_: Object) -> str:
    for kind in ("WorkspaceDeleting", "MachineReady", "ResourceReady", "InferenceReady"):
        found = conditions_of(object_).get(kind, {})
        if found and (found.get("status") != "True" or kind == "WorkspaceDeleting"):
            return str(found.get("reason", ""))
    return ""


class Layout:
    """Pads cells as kubectl does; the width of the name is known before the first row."""

    def __init__(self, names: Sequence[str], instances: Sequence[str], *, wide: bool = False) -> None:
        header = WIDE if wide else COLUMNS
        widths = {"NAME": max(map(len, names), default=0), "INSTANCE": max(map(len, instances), default=0)}
        self._widths = [max(len(name), widths.get(name, 0)) for name in header]
        self.header = self.line(header)

    def line(self, cells: Sequence[str]) -> str:
        return "   ".join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)).rstrip()
