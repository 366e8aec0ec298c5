"""The proxy alone, before a small server that counts what reaches it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from tests.e2e.journal import calls, watches, writes
from tests.e2e.proxy import Proxy, Upstream
from tests.e2e.rules import AFTER, BEFORE
from tests.e2e.waiting import until

SECONDS = 10.0


class Echo(BaseHTTPRequestHandler):
    """Answers with what was asked; a watch is one line for every ring of the server's bell."""

    protocol_version = "HTTP/1.1"
    server: EchoServer

    def do_GET(self) -> None:
        self.server.reached.append(f"{self.command} {self.path}")
        if "watch=true" in self.path:
            self._stream()
        else:
            size = int(self.headers.get("Content-Length") or 0)
            seen = {"body": self.rfile.read(size).decode(), "token": self.headers.get("Authorization", "")}
            raw = json.dumps(seen).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    do_POST = do_PATCH = do_GET  # noqa: N815

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            self.server.bell.wait(SECONDS)
            self.server.bell.clear()
            line = f"line {number}\n".encode()
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


class EchoServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.reached: list[str] = []
        self.bell = Event()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with EchoServer() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.bell.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[Proxy]:
    upstream = Upstream(server.server_address[1], headers={"Authorization": "Bearer t"})
    with Proxy("operator", upstream) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)) as connection:
        yield connection


def ask(client: http.client.HTTPConnection, method: str = "GET", path: str = "/x", body: str = "") -> int:
    client.request(method, path, body or None, {"User-Agent": "kaito-operator/1"})
    answer = client.getresponse()
    answer.read()
    return answer.status


def test_request_and_answer_pass_unchanged(client: http.client.HTTPConnection) -> None:
    client.request("POST", "/x?a=b", "the body")

    assert json.loads(client.getresponse().read()) == {"body": "the body", "token": "Bearer t"}


def test_journal_tells_every_call(proxy: Proxy, client: http.client.HTTPConnection) -> None:
    ask(client, path="/a?b=c")
    ask(client, "PATCH", "/w", "{}")

    first, second = proxy.journal.since()
    assert (first.client, first.agent, first.method) == ("operator", "kaito-operator/1", "GET")
    assert (first.path, first.query, first.code, first.told) == ("/a", "b=c", 200, True)
    assert (second.body, second.writes) == (b"{}", True)
    assert first.started <= second.started
    assert proxy.journal.count(writes) == 1
    assert proxy.journal.count(mark=1) == 1


def test_fate_before_never_reaches_the_server(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    killed: list[str] = []
    proxy.rules.kill(BEFORE, lambda: killed.append("client"), writes, nth=2)
    ask(client)
    ask(client, "POST", "/first")

    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        ask(client, "POST", "/second")

    assert killed == ["client"]
    assert server.reached == ["GET /x", "POST /first"]
    assert proxy.journal.since()[-1].code is None


def test_fate_after_has_its_effect(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    proxy.rules.kill(AFTER, lambda: None, writes)

    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        ask(client, "POST", "/only")

    assert server.reached == ["POST /only"]
    (call,) = proxy.journal.since()
    assert (call.code, call.told) == (200, False)


def test_refusal_never_reaches_the_server(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    proxy.rules.refuse(429, calls("GET", "^/x"), retry_after=3, times=1)
    client.request("GET", "/x")
    answer = client.getresponse()

    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert json.loads(answer.read())["reason"] == "TooManyRequests"
    assert ask(client) == 200
    assert server.reached == ["GET /x"]


def test_stalled_watch_stays_open(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    client.request("GET", "/w?watch=true")
    stream = client.getresponse()
    server.bell.set()
    first = stream.readline()

    proxy.stall()
    server.bell.set()
    assert client.sock is not None
    client.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.sock.recv(1, socket.MSG_PEEK)
    client.sock.settimeout(SECONDS)
    open_meanwhile = proxy.under_way(watches)
    proxy.resume()

    assert first == b"line 0\n"
    assert len(open_meanwhile) == 1
    assert stream.readline() == b"line 1\n"


def test_connection_outlives_a_watch(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    client.request("GET", "/w?watch=true")
    stream = client.getresponse()
    for number in range(3):
        server.bell.set()
        assert stream.readline() == f"line {number}\n".encode()
    assert stream.read() == b""

    assert ask(client) == 200
    assert proxy.connections == 1


def test_client_that_goes_frees_its_watch(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    client.request("GET", "/w?watch=true")
    stream = client.getresponse()

    stream.close()
    client.close()

    until(lambda: proxy.connections == 0, SECONDS)


def test_cut_watch_is_broken(proxy: Proxy, client: http.client.HTTPConnection) -> None:
    client.request("GET", "/w?watch=true")
    stream = client.getresponse()

    cut = proxy.cut(watches)

    assert cut == 1
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        stream.read()


def test_black_hole_never_answers(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    proxy.rules.black_hole()
    client.timeout = 0.3

    with pytest.raises(TimeoutError):
        ask(client)

    assert server.reached == []


def test_delayed_call_arrives_later(proxy: Proxy, client: http.client.HTTPConnection) -> None:
    proxy.rules.delay(0.3, times=1)

    ask(client)

    assert proxy.journal.since()[0].seconds >= 0.3


def test_isolated_client_reaches_nobody(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    proxy.isolate()
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        ask(client)
    client.close()

    proxy.rejoin()

    assert ask(client) == 200
    assert server.reached == ["GET /x"]


def test_server_that_goes_takes_the_connection(
    proxy: Proxy, server: EchoServer, client: http.client.HTTPConnection
) -> None:
    ask(client)

    (connection,) = proxy._open()
    assert connection._server is not None
    connection._server.shutdown(socket.SHUT_RDWR)

    until(lambda: proxy.connections == 0, SECONDS)
