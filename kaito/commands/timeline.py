"""`kaito timeline`: the phases of a Workspace, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kaito.commands import output
from kaito.commands.options import (
    DEFAULT_LOG,
    At,
    LogUrl,
    Name,
    Namespace,
    Output,
    TableOrJson,
    Uid,
)
from kaito.commands.pictures import require_suffix
from kaito.commands.reading import asked
from kaito.history import finding
from kaito.history import timeline as timelines
from kaito.runtime.keys import WorkspaceKey
from store.records import EventLog


def timeline(
    name: Name,
    log: LogUrl = DEFAULT_LOG,
    namespace: Namespace = "",
    uid: Uid = "",
    at: At = None,
    plot: Annotated[
        str, typer.Option("--plot", metavar="FILE", help="Draw phases and conditions to this .png or .svg.")
    ] = "",
    output_: Annotated[TableOrJson, typer.Option("--output", "-o", help="How to print.")] = TableOrJson.TABLE,
) -> None:
    """Show the phases of a Workspace with their durations."""
    if plot:
        require_suffix(plot)
    chronicle, instant = asked(log, name, namespace, uid, at)
    found = timelines.tell(chronicle, instant)
    if plot:
        _draw(found, Path(plot))
    if output_ is TableOrJson.JSON:
        output.data(msgspec.to_builtins(found), Output.JSON)
        return
    output.line(timelines.title(found))
    output.line()
    output.table(timelines.COLUMNS, timelines.rows(found))


def draw(log: EventLog, key: WorkspaceKey, path: Path) -> None:
    """Draw the newest life of a Workspace up to its last event, to a .png or .svg file.

    Raises:
        Problem: The log holds no such Workspace, or the file's name is no picture's.
    """
    require_suffix(str(path))
    chronicle = finding.find(log, key.name, key.namespace)
    _draw(timelines.tell(chronicle, chronicle.last_at), path)


def _draw(found: timelines.Timeline, path: Path) -> None:
    from kaito.plots import save, timeline_figure

    save(timeline_figure(found), path)
