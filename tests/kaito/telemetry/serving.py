"""An ASGI application asked over a socket of the loopback interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from kaito.serving import ThreadedServer


class Answer(NamedTuple):
    code: int
    text: str
    content_type: str


class Served(ThreadedServer):
    def __init__(self, application: Any) -> None:
        super().__init__(application, "test")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers or {}))
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), response.headers["Content-Type"])
        except HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), error.headers["Content-Type"])
