"""`kaito crds`: the CustomResourceDefinitions, printed, written or compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaito.commands import output
from kaito.crds import files
from kaito.problems import Problem

NO = 1
"""The exit code for files that are not what the models say."""


def crds(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="workspaces.kaito.sh, machines.karpenter.sh; short names do too."
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Write one file each instead of printing.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DIR", help="Compare the files there; exit with 1 if they differ."),
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions, for kubectl apply."""
    definitions = files.chosen(names or [])
    if write is not None and check is not None:
        raise Problem("--check: expected without --write, found both")
    if write is not None:
        for path in files.write(definitions, write):
            output.note(f"wrote {path}")
    elif check is not None:
        _report(files.differences(definitions, check), check)
    else:
        output.line("---\n".join(definition.to_yaml() for definition in definitions).removesuffix("\n"))


def _report(differences: list[str], directory: Path) -> None:
    for text in differences:
        output.line(text)
    if differences:
        output.note(f"kaito crds --write {directory} brings them up to date")
        raise typer.Exit(NO)
