from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from kaito.cli import run
from kaito.diagrams import diagram, mermaid, names, page
from kaito.plots import written
from statemachine.tables import EVENT_TRIGGERED, SLOT_TRIGGERED, STAGE_TRIGGERED, STATE_TRIGGERED

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "state-machine.md"


def test_documentation_shows_the_present_tables() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8")

    assert shown == f"{page()}\n", "run `kaito diagram > docs/state-machine.md`"


def test_every_row_of_the_tables_is_an_arrow() -> None:
    count = sum(len(diagram(name).transitions) for name in names())

    assert count == len(EVENT_TRIGGERED) + len(STATE_TRIGGERED) + len(SLOT_TRIGGERED) + len(STAGE_TRIGGERED)


@pytest.mark.parametrize("name", names())
def test_mermaid_tells_every_transition(name: str) -> None:
    found = diagram(name)

    text = mermaid(found)

    assert text.startswith("stateDiagram-v2\n")
    assert all(move.label in text for move in found.transitions)
    assert all(state in text for state in found.states)


@pytest.mark.parametrize("form", ["svg", "png"])
def test_drawing_repeats_byte_for_byte(form: str) -> None:
    from kaito.drawings import diagram_figure

    first, second = (written(diagram_figure([diagram("Stage")]), form) for _ in range(2))

    assert first == second


def test_file_gets_a_well_formed_drawing(tmp_path: Path) -> None:
    file = tmp_path / "machine.svg"

    code = run(["diagram", "-o", "svg", "--condition", "MachineReady", "-f", str(file)])

    assert code == 0
    assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert [path.name for path in tmp_path.iterdir()] == ["machine.svg"]


def test_standard_output_gets_the_picture(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    code = run(["diagram", "-o", "png", "--condition", "Stage"])

    assert code == 0
    assert capsysbinary.readouterr().out.startswith(b"\x89PNG\r\n")


def test_terminal_gets_no_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kaito.commands.output.is_terminal", lambda: True)

    code = run(["diagram", "-o", "png"])

    assert code == 2
    assert capsys.readouterr().err.startswith("error: --file: expected one for png")
