"""Logs, open and ready to use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import open_log
from tests.store.samples import SteppingClock


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def sql_log(url: str, clock: SteppingClock) -> Iterator[SqlEventLog]:
    with open_log(url, clock, create=True) as log:
        assert isinstance(log, SqlEventLog)
        yield log


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, clock: SteppingClock) -> Iterator[SqlEventLog | MemoryEventLog]:
    if request.param == "memory":
        yield MemoryEventLog(clock)
    else:
        yield request.getfixturevalue("sql_log")
