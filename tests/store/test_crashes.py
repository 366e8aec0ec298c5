"""Processes that are killed at any moment, and processes that race each other, on one log file."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.chain import verify
from store.log import SqlEventLog
from store.opening import open_log
from tests.store.appending import RACE_STREAM
from tests.store.samples import SteppingClock

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = 50
MOST_APPENDS = 10
LONGEST_DELAY_SECONDS = 0.004
"""A kill comes up to this long after the last append waited for; an append takes a fraction of it."""


class Nursery:
    """The program of `appending`, and the lines it says."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.appending", url],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input = self.process.stdin
        self._output = self.process.stdout

    def order(self, line: str) -> None:
        self._input.write(f"{line}\n".encode())
        self._input.flush()

    def line(self) -> list[str]:
        words = self._output.readline().decode().split()
        assert words, "the nursery died"
        return words

    def lines_to_the_end(self) -> list[list[str]]:
        self._input.close()
        return [line.decode().split() for line in self._output]

    def close(self) -> None:
        self._input.close()
        self.process.wait()
        self._output.close()


@pytest.fixture
def nursery(url: str) -> Iterator[Nursery]:
    nursery = Nursery(url)
    yield nursery
    nursery.close()


def killed(nursery: Nursery, seed: str, appends: int, delay_seconds: float) -> list[list[str]]:
    """Start a child, kill it a moment after so many appends, and return all it had acknowledged."""
    nursery.order(f"loop {seed}")
    _, child = nursery.line()
    said = [nursery.line() for _ in range(appends)]
    select.select([], [], [], delay_seconds)
    os.kill(int(child), signal.SIGKILL)
    while (words := nursery.line()) != ["end"]:
        said.append(words)
    return said


def test_killed_writers_lose_nothing_they_acknowledged(url: str, nursery: Nursery) -> None:
    """Fifty writers, one after the other, each killed at a moment drawn from a seed."""
    draw = random.Random("kills")
    acknowledged: list[list[str]] = []
    for kill in range(KILLS):
        appends, delay = draw.randrange(MOST_APPENDS), draw.uniform(0.0, LONGEST_DELAY_SECONDS)
        acknowledged += killed(nursery, f"s{kill}", appends, delay)

    with open_log(url, SteppingClock(), create=False) as log:
        assert isinstance(log, SqlEventLog)
        rows = list(log.rows())
        findings = verify(log)

    places = {(row.stream, row.version): row.position for row in rows}
    events = Counter(row.data for row in rows)
    assert len(acknowledged) > KILLS
    assert all(places.get((stream, int(version))) == int(at) for _, stream, version, at in acknowledged)
    assert set(events.values()) == {1}
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert findings == []


def test_one_of_eight_processes_wins_each_version(url: str, nursery: Nursery) -> None:
    writers, versions = [f"p{number}" for number in range(8)], 160
    open_log(url, SteppingClock(), create=True).close()
    for name in writers:
        nursery.order(f"race {name} {versions}")
    with open_log(url, SteppingClock(), create=False) as reader:
        seen = followed(reader, versions)

        said = nursery.lines_to_the_end()
        records = reader.read(RACE_STREAM)
        findings = verify(reader)

    wins = {int(words[2]): words[1] for words in said if words[0] == "ack"}
    assert [words for words in said if words[0] == "exit"] == [["exit", "0"]] * 8
    assert sum(words[0] == "ack" for words in said) == versions
    assert sorted(wins) == list(range(1, versions + 1))
    assert [record.event.phase for record in records] == [wins[version] for version in sorted(wins)]  # type: ignore[union-attr]
    assert seen == list(range(1, versions + 1))
    assert findings == []


def followed(reader: SqlEventLog, versions: int) -> list[int]:
    """The positions a subscriber sees while the others write; a skipped one would be missing."""
    seen: list[int] = []
    for page in reader.subscribe(limit=7):
        seen += [record.position for record in page]
        if len(seen) >= versions:
            return seen
        select.select([], [], [], 0.0 if page else 0.001)
    return seen


def test_racing_processes_make_one_log(url: str, nursery: Nursery) -> None:
    """Nobody has made the tables when eight processes open the file at once."""
    for number in range(8):
        nursery.order(f"race p{number} 16")

    said = nursery.lines_to_the_end()

    assert [words for words in said if words[0] == "exit"] == [["exit", "0"]] * 8
    with open_log(url, SteppingClock(), create=False) as log:
        assert len(log.read(RACE_STREAM)) == 16
        assert verify(log) == []
