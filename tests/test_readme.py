"""The README shows what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kaito import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DEMO_LOG = "sqlite:///out/demo.db"


def _consoles() -> list[tuple[str, str]]:
    """(command, output) of every ``$ kaito …`` in a console block, in order."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
    parts = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def test_consoles_show_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)

    for command, output in _consoles():
        assert cli.run(shlex.split(command)[1:]) in (0, 1)
        assert capsys.readouterr().out.strip() == output.strip(), command


def test_demo_target_runs_the_shown_command() -> None:
    command = _consoles()[0][0].removeprefix("kaito ").replace(DEMO_LOG, "sqlite:///$(DEMO_LOG)")

    assert command in (ROOT / "Makefile").read_text()


def test_named_paths_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    folders = re.findall(r"^\| `(\w+/)`", README, re.MULTILINE)

    missing = [path for path in [*links, *folders] if not (ROOT / path).exists()]
    assert missing == []
