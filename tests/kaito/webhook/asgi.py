"""One request to an ASGI application, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from kaito.webhook.application import Application
from kaito.webhook.configuration import PATH


async def posted(
    application: Application,
    body: bytes | Sequence[bytes] = b"",
    *,
    path: str = PATH,
    method: str = "POST",
    content_type: str = "application/json",
    stalls: bool = False,
    **headers: str,
) -> tuple[int, bytes]:
    """The code and the content of the answer; 0 when there is none.

    Args:
        body: May come in several parts.
        stalls: The last part does not come.
    """
    parts = [body] if isinstance(body, bytes) else list(body)
    sent: list[Any] = []
    given = {"content-type": content_type, **{name.replace("_", "-"): text for name, text in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"timeout=10s",
        "headers": [(name.encode(), text.encode()) for name, text in given.items()],
    }

    async def receive() -> dict[str, Any]:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        if stalls and not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    code = sent[0]["status"] if sent else 0
    return code, b"".join(message.get("body", b"") for message in sent[1:])
