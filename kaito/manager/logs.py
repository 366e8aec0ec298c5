"""Log lines of a process: JSON objects, or klog-like text for a terminal; one line each.

A line is a fixed message and fields. Only what is passed as a field is written: no environment, no headers,
no arguments of calls.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

_FIELDS = "kaito_fields"
_OURS = "kaito"


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


def fields(**values: Any) -> dict[str, Any]:
    """The ``extra`` of a logging call; fields that are None are left out."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


class JsonLines(logging.Formatter):
    """``time``, ``level``, ``logger`` and ``message``, then the fields; a trace is the field ``trace``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class KlogLines(logging.Formatter):
    """``I0405 18:29:58.776000       1 narration.py:58] "decided" stream="machine/ws1" position=7``.

    As klog writes it: level, time, process, place, message, fields; traces follow on lines of their own.
    """

    def format(self, record: logging.LogRecord) -> str:
        when = _time(record).strftime("%m%d %H:%M:%S.%f")
        head = f"{_level(record)}{when} {record.process or 0:>7} {record.filename}:{record.lineno}]"
        message = _plain(" ".join(record.getMessage().split()))
        pairs = "".join(f" {name}={_plain(value)}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{head} {message}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(form: LogFormat = LogFormat.AUTO, stream: TextIO | None = None) -> logging.Handler:
    """Write our lines from INFO on, and those of libraries from WARNING on.

    Returns:
        The handler, for `release`.
    """
    target = sys.stderr if stream is None else stream
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(KlogLines() if text else JsonLines())
    logging.getLogger().addHandler(handler)
    logging.getLogger(_OURS).setLevel(logging.INFO)
    return handler


def release(handler: logging.Handler) -> None:
    """Undo `configure`."""
    logging.getLogger().removeHandler(handler)
    logging.getLogger(_OURS).setLevel(logging.NOTSET)
    handler.close()


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _level(record: logging.LogRecord) -> str:
    """klog has no more levels than these."""
    if record.levelno >= logging.CRITICAL:
        return "F"
    return record.levelname[0] if record.levelno >= logging.WARNING else "I"


def _plain(value: Any) -> str:
    """JSON: strings quoted, numbers not; no value can begin a line or a field."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isprintable() else json.dumps(value, default=str)
