"""Log lines: one line each, whatever is in them, and nothing that was not passed as a field."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from kaito.manager import logs
from kaito.manager.logs import LogFormat, fields

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


def test_terminal_gets_klog_like_text(terminal: Terminal) -> None:
    LOGGER.warning("decided", extra=fields(key="ws1", why='a "b"', names=["x"], empty=""))

    head, _, rest = terminal.getvalue().partition("] ")

    assert head[0] == "W"
    assert head.endswith(" kaito.test")
    assert rest == 'decided key=ws1 why="a \\"b\\"" names=["x"] empty=""\n'


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
