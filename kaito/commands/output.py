"""What a command prints: tables for a terminal and for a pipe, JSON as kubectl writes it, YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from kaito.commands.options import Output

COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
"""Of condition statuses, on a terminal."""

GAP = 3
"""Blanks between two columns, as kubectl puts them."""

LEAST_LAST = 24
"""Columns of the terminal below which a last column cannot be read any more."""


def line(text: str = "") -> None:
    print(text)


def note(text: str) -> None:
    """Something beside the answer, on stderr, so that a pipe gets the answer alone."""
    print(text, file=sys.stderr)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """Print a table: drawn by Rich on a terminal, in columns like kubectl's elsewhere."""
    if is_terminal():
        _drawn(headers, rows, indent)
        return
    for text in columns([headers, *rows]):
        print(" " * indent + text)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells under each other, without blanks at the end of a line."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width + GAP) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return ["".join(cells).rstrip() for cells in padded]


def _drawn(headers: Sequence[str], rows: Sequence[Sequence[str]], indent: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    # Where there is room for it, only the last column is folded: the others hold names and times.
    fixed = sum(max(map(len, column)) + GAP for column in list(zip(headers, *rows, strict=True))[:-1])
    roomy = fixed + indent + LEAST_LAST <= console.width
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index, header in enumerate(headers):
        drawn.add_column(header, overflow="fold", no_wrap=roomy and index < len(headers) - 1)
    for row in rows:
        drawn.add_row(*[Text(cell, style=COLOURS.get(cell, "")) for cell in row])
    console.print(Padding(drawn, (0, 0, 0, indent)))


def data(value: Any, output: Output) -> None:
    """Print plain data as JSON (four blanks, as kubectl) or YAML."""
    if output is Output.YAML:
        import yaml

        sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    else:
        print(json.dumps(value, indent=4, ensure_ascii=False))
