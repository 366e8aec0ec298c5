"""JSON lines of knative's and karpenter's zap: one object a line.

knative writes ``severity``, ``timestamp`` and ``message``; karpenter ``level``, ``time`` and ``message``, or
``level``, ``ts`` (seconds since 1970) and ``msg``. Only the keys that some evidence needs are decoded; the
rest of the line is checked to be JSON and dropped, because a request dump makes a line a kilobyte long.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kaito.importing.entries import Entry, Malformed, parse_time


class _Line(msgspec.Struct):
    message: Any = None
    msg: Any = None
    timestamp: Any = None
    time: Any = None
    ts: Any = None
    severity: Any = None
    level: Any = None
    logger: Any = ""
    machine: Any = None
    agentpool: Any = None
    node: Any = None
    provider_id: Any = msgspec.field(default=None, name="provider-id")
    kind: Any = msgspec.field(default=None, name="knative.dev/kind")
    namespace: Any = msgspec.field(default=None, name="knative.dev/namespace")
    name: Any = msgspec.field(default=None, name="knative.dev/name")
    operation: Any = msgspec.field(default=None, name="knative.dev/operation")
    subresource: Any = msgspec.field(default=None, name="knative.dev/subresource")
    allowed: Any = msgspec.field(default=None, name="admissionreview/allowed")


_DECODER = msgspec.json.Decoder(_Line)
_KEPT = (
    "machine", "agentpool", "node", "provider_id",
    "kind", "namespace", "name", "operation", "subresource", "allowed",
)  # fmt: skip
_SEVERE = frozenset({"ERROR", "CRITICAL", "ALERT", "EMERGENCY", "DPANIC", "PANIC", "FATAL"})


def looks_like(text: str) -> bool:
    return text.startswith("{")


def parse(text: str, *, whole: bool = True) -> Entry | None:
    """Parse one line; None for an object that is not a log line.

    Raises:
        Malformed: It is not a JSON object, or its time makes no sense.
    """
    try:
        line = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(f"the JSON object is cut or malformed ({error})") from None
    message = line.message if line.message is not None else line.msg
    stamp = line.timestamp or line.time or line.ts
    if not isinstance(message, str) or stamp is None:
        return None
    severity = str(line.severity or line.level or "").upper()
    logger = line.logger if isinstance(line.logger, str) else ""
    fields = {key: value for key in _KEPT if (value := getattr(line, key)) is not None}
    return Entry(parse_time(stamp), message, logger, fields, severe=severity in _SEVERE)
