"""`kaito diagram`: the state machine, drawn from its tables."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kaito import diagrams
from kaito.commands import output
from kaito.files import write_whole
from kaito.problems import Problem


class Form(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"
    PNG = "png"


def diagram(
    form: Annotated[
        Form, typer.Option("--output", "-o", help="Mermaid in a Markdown page, or a drawing.")
    ] = Form.MERMAID,
    condition: Annotated[
        str, typer.Option("--condition", metavar="NAME", help="Only this condition, or Slot, or Stage.")
    ] = "",
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="Where to; standard output when absent.")
    ] = "",
) -> None:
    """Print the state machine as Mermaid, or draw it as SVG or PNG."""
    chosen = _chosen(condition)
    if form is Form.MERMAID:
        text = diagrams.mermaid(diagrams.diagram(condition)) if condition else diagrams.page()
        if file:
            write_whole(Path(file), [f"{text}\n".encode()])
        else:
            output.line(text)
    elif file:
        _draw(chosen, form, Path(file))
    else:
        _draw_to_stdout(chosen, form)


def _chosen(condition: str) -> list[diagrams.Diagram]:
    if condition and condition not in diagrams.names():
        raise Problem(f"--condition: expected one of {', '.join(diagrams.names())}; found {condition}")
    return [diagrams.diagram(name) for name in ([condition] if condition else diagrams.names())]


def _draw(chosen: list[diagrams.Diagram], form: Form, path: Path) -> None:
    from kaito.drawings import diagram_figure
    from kaito.plots import save

    save(diagram_figure(chosen), path, form)


def _draw_to_stdout(chosen: list[diagrams.Diagram], form: Form) -> None:
    if output.is_terminal():
        raise Problem(f"--file: expected one for {form.value}, for standard output is a terminal")
    from kaito.drawings import diagram_figure
    from kaito.plots import written

    sys.stdout.flush()
    sys.stdout.buffer.write(written(diagram_figure(chosen), form))
