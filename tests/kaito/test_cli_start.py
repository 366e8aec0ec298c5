from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kaito.cli import VERBS, summary, targets

HEAVY = [
    "alembic",
    "kubernetes",
    "matplotlib",
    "numpy",
    "pydantic",
    "rich",
    "simulator",
    "sqlalchemy",
    "transitions",
    "yaml",
]
PROGRAM = """
import contextlib, io, json, sys
from kaito.cli import run
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = run(sys.argv[1:])
print(json.dumps([code, out.getvalue(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def fresh(*arguments: str) -> tuple[int, str, set[str]]:
    """Exit code, output and loaded modules of a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    code, out, loaded = json.loads(done.stdout)
    return code, out, set(loaded)


def test_help_loads_nothing_heavy() -> None:
    code, out, loaded = fresh("--help")

    assert code == 0
    assert all(f"  {verb} " in out for verb in targets())
    assert loaded.isdisjoint(HEAVY)


def test_verb_loads_only_what_it_needs() -> None:
    _, _, loaded = fresh("why", "--help")

    assert loaded.isdisjoint({"alembic", "matplotlib", "simulator", "sqlalchemy"})


def test_ascii_output_replaces_what_it_lacks() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from kaito.cli import main; main()",
            "diagram",
            "--condition",
            "MachineReady",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )

    assert b"MachineRequested ? CreateMachinePending" in done.stdout


def test_simulate_is_contributed_by_the_simulator() -> None:
    assert targets()["simulate"] == "simulator.cli:simulate"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does(verb: str) -> None:
    text = summary(VERBS[verb])

    assert text.endswith(".")
    assert len(text) < 90


@pytest.mark.parametrize("target", ["kaito.absent:verb", "absent.module:verb", "kaito.cli.deeper:verb"])
def test_target_that_is_not_there_has_no_help(target: str) -> None:
    assert summary(target) == ""
