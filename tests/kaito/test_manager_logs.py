"""Log lines: one line each, whatever is in them, and nothing that was not passed as a field."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from kaito.manager import logs
from kaito.manager.logs import KlogLines, LogFormat, fields

LOGGER = logging.getLogger("kaito.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    stream = Terminal()
    handler = logs.configure(LogFormat.AUTO, stream)
    yield stream
    logs.release(handler)


@pytest.fixture
def pipe() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logs.configure(LogFormat.AUTO, stream)
    yield stream
    logs.release(handler)


def test_pipe_gets_json_with_fields(pipe: io.StringIO) -> None:
    LOGGER.info("decided", extra=fields(stream="machine/ws1", position=7, why=None))

    line = json.loads(pipe.getvalue())

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "kaito.test",
        "message": "decided",
        "stream": "machine/ws1",
        "position": 7,
    }


def test_terminal_gets_lines_like_klog(terminal: Terminal) -> None:
    LOGGER.warning("not done", extra=fields(key="ws1", why='a "b"', names=["x"], version=7, dry_run=True))

    (line,) = terminal.getvalue().splitlines()

    shape = r"W\d{4} \d\d:\d\d:\d\d\.\d{6} +(\d+) test_manager_logs\.py:\d+\] (.*)"
    found = re.fullmatch(shape, line)
    assert found
    assert line.index("]") > len("W0405 18:29:58.945820       1 ")
    assert found[2] == '"not done" key="ws1" why="a \\"b\\"" names=["x"] version=7 dry_run=true'


@pytest.mark.parametrize(("level", "letter"), [(10, "I"), (20, "I"), (30, "W"), (40, "E"), (50, "F")])
def test_levels_are_those_of_klog(level: int, letter: str) -> None:
    record = logging.LogRecord("kaito", level, "place.py", 1, "told", None, None)

    assert KlogLines().format(record).startswith(letter)


@pytest.mark.parametrize("text", ["two\nlines", "carriage\rreturn", "\x1b[31mred", "a\u2028b"])
def test_no_value_breaks_out_of_its_line(terminal: Terminal, text: str) -> None:
    LOGGER.info("told", extra=fields(error=text))

    (line,) = terminal.getvalue().splitlines()

    assert line.isprintable()
    assert json.loads(line.partition("error=")[2]) == text


def test_trace_is_a_field_of_json(pipe: io.StringIO) -> None:
    try:
        raise KeyError("spec")
    except KeyError:
        LOGGER.exception("failed", extra=fields(key="ws1"))

    (line,) = pipe.getvalue().splitlines()

    assert "KeyError: 'spec'" in json.loads(line)["trace"]


def test_libraries_are_heard_from_warning_on(pipe: io.StringIO) -> None:
    logging.getLogger("azure.core").info("Request headers: %s", "Authorization")
    logging.getLogger("azure.core").warning("slow")

    assert [json.loads(line)["message"] for line in pipe.getvalue().splitlines()] == ["slow"]


def test_release_leaves_logging_as_it_was() -> None:
    before = list(logging.getLogger().handlers)

    logs.release(logs.configure(LogFormat.JSON, io.StringIO()))

    assert logging.getLogger().handlers == before
    assert logging.getLogger("kaito").level == logging.NOTSET
