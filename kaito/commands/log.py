"""Import, export, verify and migrate an event log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaito.commands import output
from kaito.commands.options import DEFAULT_LOG, LogUrl, opened
from kaito.files import write_whole
from kaito.history.sentences import counted
from kaito.problems import Problem
from store import jsonlines
from store.chain import verify as findings_of

if TYPE_CHECKING:
    from kaito.importing.evidence import OddLine
    from kaito.importing.importer import ImportResult

app = typer.Typer(rich_markup_mode=None, add_completion=False)

STDOUT = "-"

EXPORT_BEGINS = b'{"position":'
"""How every line of an export begins, and no line of a controller's log."""


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Logs of Kaito's controllers and tables of kubectl, or one export of a log.",
        ),
    ],
    log: LogUrl = DEFAULT_LOG,
    partial: Annotated[
        bool, typer.Option("--partial", help="Read a broken file up to the line where it stops making sense.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every line that was not understood.")
    ] = False,
    year: Annotated[
        int | None,
        typer.Option("--year", min=1970, max=9998, help="The year of klog lines, when no line shows it."),
    ] = None,
) -> None:
    """Append what logs of Kaito's controllers prove; restore an export."""
    exports = [path for path in files if _is_export(path)]
    if not exports:
        _import_logs(files, log, partial, verbose, year)
    elif len(files) > 1:
        raise Problem(f"{exports[0]}: is an export of a log; expected it alone, found {len(files)} files")
    else:
        _restore(exports[0], log)


@app.command()
def export(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to; standard output when absent or -.")
    ] = STDOUT,
    log: LogUrl = DEFAULT_LOG,
) -> None:
    """Write each event as a JSON object a line, in global order."""
    with opened(log) as open_:
        if file == STDOUT:
            sys.stdout.flush()
            for line in jsonlines.export(open_):
                sys.stdout.buffer.write(line)
        else:
            write_whole(Path(file), jsonlines.export(open_))


@app.command()
def verify(log: LogUrl = DEFAULT_LOG) -> None:
    """Check that nothing was changed; exit with 1 if it was."""
    with opened(log) as open_:
        found = findings_of(open_)
        events = sum(head.version for head in open_.streams()) if not found else 0
        streams = len(open_.streams()) if not found else 0
    for finding in found:
        output.line(str(finding))
    if found:
        raise typer.Exit(1)
    output.line(f"ok: {counted(events, 'event')} in {counted(streams, 'stream')}")


@app.command()
def migrate(log: LogUrl = DEFAULT_LOG) -> None:
    """Bring the tables of a log to the schema of this release."""
    from store.migrations.runner import migrate as migrated

    old, new = migrated(log)
    output.line(f"already at revision {new}" if old == new else f"migrated from {old or 'nothing'} to {new}")


# --- importing --------------------------------------------------------------------------------------


def _is_export(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(EXPORT_BEGINS)) == EXPORT_BEGINS
    except OSError:
        return False  # the import of logs says what is wrong with the file


def _restore(path: Path, url: str) -> None:
    with path.open("rb") as lines, opened(url, create=True) as log:
        done = jsonlines.import_lines(log, lines, str(path))
    known = f", {done.known} were there already" if done.known else ""
    output.line(f"{counted(done.added, 'event')} added{known}")


def _import_logs(files: list[Path], url: str, partial: bool, verbose: bool, year: int | None) -> None:
    from kaito.importing.appending import append_histories
    from kaito.importing.importer import read_logs

    result = read_logs(files, partial=partial, year=year)
    if verbose:
        _show("not understood", result.not_understood)
        _show("not attributable", result.unattributed)
    with opened(url, create=True) as log:
        summary = append_histories(log, result)
    _report(result)
    for stream in summary.streams:
        known = f", {stream.known} were there already" if stream.known else ""
        output.line(f"{stream.stream}: {counted(stream.added, 'event')} added{known}")
    if not summary.streams:
        output.line("no Workspace or Machine is named in these files; nothing added")


def _report(result: ImportResult) -> None:
    output.line(
        f"{counted(result.lines, 'line')}: {result.understood} understood, "
        f"of which {result.irrelevant} prove no event; "
        f"{result.not_understood_count} not understood, {len(result.unattributed)} not attributable"
    )
    for broken in result.broken:
        output.note(f"read in part: {broken}")
    for note in result.notes:
        output.note(f"{note.stream}: {note.why}")


def _show(what: str, lines: tuple[OddLine, ...]) -> None:
    for odd in lines:
        why = f" ({odd.why})" if odd.why else ""
        output.note(f"{odd.file}:{odd.line}: {what}{why}: {odd.excerpt}")
