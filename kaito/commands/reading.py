"""`kaito events`, `status` and `why`: questions asked of a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
import typer

from kaito.clock import WallClock
from kaito.commands import output
from kaito.commands.options import (
    DEFAULT_LOG,
    At,
    LogUrl,
    Name,
    Namespace,
    Output,
    TextOrJson,
    Uid,
    opened,
)
from kaito.history import finding, instants, tables, why
from kaito.history.chronicle import Chronicle
from kaito.history.objects import object_list, workspace_object
from kaito.problems import Problem
from store.records import EventLog

T = TypeVar("T")


def events(
    name: Name,
    log: LogUrl = DEFAULT_LOG,
    namespace: Namespace = "",
    uid: Uid = "",
    at: At = None,
    output_: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Print the raw events of a Workspace and of its Machines."""
    chronicle, _ = asked(log, name, namespace, uid, at)
    if output_ is Output.TABLE:
        output.table(tables.EVENT_COLUMNS, tables.event_rows(chronicle))
    else:
        output.data([tables.event_data(record) for record in chronicle.merged()], output_)


def status(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The Workspace; all when absent.")] = "",
    log: LogUrl = DEFAULT_LOG,
    namespace: Namespace = "",
    uid: Uid = "",
    at: At = None,
    output_: Annotated[
        Output, typer.Option("--output", "-o", help="How to print; json and yaml print the object.")
    ] = Output.TABLE,
) -> None:
    """Show the state of a Workspace at any instant."""
    if not name:
        _status_of_all(log, namespace, at, output_)
        return
    chronicle, instant = asked(log, name, namespace, uid, at)
    if output_ is not Output.TABLE:
        output.data(workspace_object(chronicle), output_)
        return
    for label, value in tables.facts(chronicle, instant):
        output.line(f"{label + ':':<12}{value}")
    for headers, rows in tables.status_tables(chronicle, instant):
        output.line()
        output.table(headers, rows)


def explain(
    name: Name,
    log: LogUrl = DEFAULT_LOG,
    namespace: Namespace = "",
    uid: Uid = "",
    at: At = None,
    output_: Annotated[TextOrJson, typer.Option("--output", "-o", help="How to print.")] = TextOrJson.TEXT,
) -> None:
    """Explain why a Workspace is in its state, what it waits for and what would end that."""
    chronicle, instant = asked(log, name, namespace, uid, at)
    story = why.explain(chronicle, instant)
    if output_ is TextOrJson.JSON:
        output.data(msgspec.to_builtins(story), Output.JSON)
        return
    for text in why.lines(story):
        output.line(text)


def asked(log: str, name: str, namespace: str, uid: str, at: str | None) -> tuple[Chronicle, datetime]:
    """The history up to the instant that the options name, and that instant."""
    instant = None if at is None else instants.parse(at)
    with opened(log) as open_:
        chronicle = finding.find(open_, name, namespace, uid)
        resolved = _resolved(instant, chronicle, _end_of(open_), at)
    return chronicle.until(resolved), resolved


def _resolved(instant: instants.Instant, chronicle: Chronicle, end: datetime, at: str | None) -> datetime:
    wall = WallClock().now()
    now = wall if at == "now" else instants.default_now(chronicle, end, wall)
    return instants.resolve(instant, chronicle, now)


def _end_of(log: EventLog) -> datetime:
    """The time of the last event of the log; there is one, for a Workspace was found."""
    position = max(head.position for head in log.streams())
    return log.read_all(after=position - 1, limit=1)[0].event.at


def _status_of_all(log: str, namespace: str, at: str | None, output_: Output) -> None:
    instant = None if at is None else instants.parse(at)
    with opened(log) as open_:
        chronicles, unreadable = finding.find_all(open_, namespace)
        end = _end_of(open_) if chronicles else WallClock().now()
    asked_at = [(chronicle, _resolved(instant, chronicle, end, at)) for chronicle in chronicles]
    found = [(c.until(when), when) for c, when in asked_at if when >= c.created_at]
    if output_ is not Output.TABLE:
        output.data(object_list(_shown(found, lambda c, _: workspace_object(c), unreadable)), output_)
    elif found:
        output.table(tables.LIST_COLUMNS, _shown(found, tables.list_row, unreadable))
    else:
        where = f" in namespace {namespace}" if namespace else ""
        output.note(f"no Workspace{where} in the log")
    for text in unreadable:
        output.note(text)


def _shown(
    found: Iterable[tuple[Chronicle, datetime]],
    show: Callable[[Chronicle, datetime], T],
    unreadable: list[str],
) -> list[T]:
    """Each as ``show`` shows it; one that cannot be folded is told of in ``unreadable`` instead."""
    shown = []
    for chronicle, at in found:
        try:
            shown.append(show(chronicle, at))
        except Problem as problem:
            unreadable.append(str(problem))
    return shown
