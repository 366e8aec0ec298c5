"""The shipped adapter on a simulated cloud, as ``--arm-endpoint`` connects it."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from threading import Thread

import msgspec
import pytest

from kaito.provisioner import azure
from tests.kaito.provisioner.azure_pools import CONFIGURATION, FixedClock


class Recorder(http.server.BaseHTTPRequestHandler):
    """A cloud without pools that remembers the headers of each request."""

    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        body = json.dumps({"value": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is to be printed."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Recorder,), {"seen": seen})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_simulated_cloud_is_sent_no_credential(recorder: tuple[str, list[dict[str, str]]]) -> None:
    url, seen = recorder
    pools = azure.connect(msgspec.structs.replace(CONFIGURATION, endpoint=url), FixedClock())

    found = pools.list()

    pools.close()
    assert found == []
    assert [("authorization" in headers) for headers in seen] == [False]
