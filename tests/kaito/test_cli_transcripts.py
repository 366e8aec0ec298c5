from __future__ import annotations

from pathlib import Path

import pytest

from tests.kaito import transcripts


@pytest.mark.parametrize("path", transcripts.paths(), ids=lambda path: path.stem)
def test_commands_print_what_the_transcript_shows(path: Path) -> None:
    expected = path.read_text(encoding="utf-8")

    assert transcripts.replay(expected) == expected


def test_every_transcript_holds_commands() -> None:
    found = [transcripts.commands(path.read_text(encoding="utf-8")) for path in transcripts.paths()]

    assert len(found) >= 3
    assert all(found)
