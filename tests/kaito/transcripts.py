"""Transcripts: command lines and what they print, in `tests/transcripts/*.txt`.

A transcript is a row of sections: a command line behind ``$``, the line ``----``, and everything it printed
on both streams, then ``exit N`` when it is not 0. The commands of a file run one after the other in an empty
directory, in which ``reference-run/`` holds the logs of the reference run.

After a wanted change: ``python -m tests.kaito.transcripts --rewrite`` writes what the commands print now.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from kaito.cli import run

TESTS = Path(__file__).resolve().parents[1]
FOLDER = TESTS / "transcripts"
DATA = TESTS / "data" / "reference-run"
PARTING = "----"


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


def commands(text: str) -> list[str]:
    """The command lines of a transcript."""
    lines = text.splitlines()
    return [
        line.removeprefix("$ ")
        for line, below in pairwise(lines)
        if line.startswith("$ ") and below == PARTING
    ]


def replay(text: str) -> str:
    """The transcript with what its commands print now."""
    with _workplace():
        return "\n".join(f"$ {command}\n{PARTING}\n{_printed(command)}" for command in commands(text))


@contextlib.contextmanager
def _workplace() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in ("KAITO_LOG_URL", "COLUMNS") if name in os.environ}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(DATA, "reference-run")
        try:
            yield
        finally:
            os.environ.update(kept)


def _printed(command: str) -> str:
    program, *arguments = shlex.split(command)
    if program != "kaito":
        raise ValueError(f"expected a command line of kaito, found {command!r}")
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        code = run(arguments)
    ending = f"exit {code}\n" if code else ""
    return buffer.getvalue().decode() + ending


def main() -> None:
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m tests.kaito.transcripts --rewrite")
    for path in paths():
        path.write_text(replay(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
