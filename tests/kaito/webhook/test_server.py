"""The server over TLS on loopback: versions, reloads under load, and clients that say nothing."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import urllib3

from kaito.clock import WallClock
from kaito.serving import LOOPBACK
from kaito.webhook.application import Application
from kaito.webhook.certificates import Pair, Terms, issue
from kaito.webhook.server import Certificate, WebhookServer
from tests.kaito.webhook.clients import CATALOGUE, a_client, a_review, a_workspace, posted

TERMS = Terms(valid=timedelta(hours=2), renew_before=timedelta(hours=1))


def a_pair() -> Pair:
    return issue({LOOPBACK}, WallClock().now(), TERMS)


@pytest.fixture
def certificate() -> Certificate:
    return Certificate("1.2")


@pytest.fixture
def server(certificate: Certificate) -> Iterator[WebhookServer]:
    application = Application(CATALOGUE, WallClock())
    with WebhookServer(application, certificate, host=LOOPBACK, port=0) as served:
        yield served  # type: ignore[misc]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_served(
    server: WebhookServer, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    pair = a_pair()
    certificate.install(pair)

    with a_client(server.port, [pair.authority], version=version) as client:
        assert posted(client, a_review(a_workspace()))["allowed"]


@pytest.mark.parametrize(("offered", "is_answered"), [(3, True), (2, False), (1, False)])
def test_older_tls_is_refused(
    server: WebhookServer, certificate: Certificate, offered: int, is_answered: bool
) -> None:
    """The minor version: 3 stands for TLS 1.2, 2 for 1.1."""
    certificate.install(a_pair())

    with socket.create_connection((LOOPBACK, server.port), 10) as connection:
        connection.sendall(_hello(offered))
        answer = connection.recv(64)

    # A record of type 22 goes on with the handshake, one of type 21 is an alert.
    assert (answer[:1] == bytes([22])) is is_answered


def test_minimum_of_tls_1_3_is_kept() -> None:
    certificate = Certificate("1.3")
    pair = a_pair()
    certificate.install(pair)
    application = Application(CATALOGUE, WallClock())

    with (
        WebhookServer(application, certificate, host=LOOPBACK, port=0) as server,
        a_client(server.port, [pair.authority], version=ssl.TLSVersion.TLSv1_2) as client,
        pytest.raises(urllib3.exceptions.SSLError),
    ):
        posted(client, a_review(a_workspace()))


def test_handshake_fails_without_a_certificate(server: WebhookServer) -> None:
    with a_client(server.port, [a_pair().authority]) as client, pytest.raises(urllib3.exceptions.SSLError):
        posted(client, a_review(a_workspace()))


def test_reload_under_load_fails_no_request(server: WebhookServer, certificate: Certificate) -> None:
    """One kept connection and one new one for each request, while the pair changes again and again."""
    pairs = [a_pair() for _ in range(5)]
    authorities = [pair.authority for pair in pairs]
    certificate.install(pairs[0])
    done = threading.Event()

    def reload() -> None:
        while not done.wait(0.005):
            certificate.install(pairs[0])
            pairs.append(pairs.pop(0))

    thread = threading.Thread(target=reload)
    thread.start()
    with a_client(server.port, authorities) as kept:
        answers = []
        for _ in range(20):
            with a_client(server.port, authorities) as fresh:
                answers.append(posted(fresh, a_review(a_workspace())))
            answers.append(posted(kept, a_review(a_workspace())))
        connections = kept.num_connections
    done.set()
    thread.join()

    assert all(answer["allowed"] for answer in answers)
    assert connections == 1


def test_new_handshakes_see_the_new_pair(server: WebhookServer, certificate: Certificate) -> None:
    old, new = a_pair(), a_pair()
    certificate.install(old)
    certificate.install(new)

    with a_client(server.port, [new.authority]) as client:
        assert posted(client, a_review(a_workspace()))["allowed"]
    with a_client(server.port, [old.authority]) as client, pytest.raises(urllib3.exceptions.SSLError):
        posted(client, a_review(a_workspace()))


@pytest.mark.parametrize("begun", [b"", b"POST /validate/workspace.kaito.sh HTTP/1.1\r\nHost: "])
def test_client_without_a_request_is_dropped(certificate: Certificate, begun: bytes) -> None:
    """At once, and also when it had one before."""
    pair = a_pair()
    certificate.install(pair)
    application = Application(CATALOGUE, WallClock())
    context = ssl.create_default_context(cadata=pair.authority)

    with (
        WebhookServer(application, certificate, host=LOOPBACK, port=0, head_seconds=0.1) as server,
        socket.create_connection((LOOPBACK, server.port), 10) as raw,
        context.wrap_socket(raw, server_hostname=LOOPBACK) as connection,
    ):
        if begun:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"registered for: /" not in connection.recv(4096):
                pass
            connection.sendall(begun)
        try:
            answer = connection.recv(1)
        except (ConnectionError, ssl.SSLError):
            answer = b""

    assert answer == b""


def test_idle_connection_is_kept(certificate: Certificate) -> None:
    """The deadline is one of requests that have begun, not of the pauses between them."""
    pair = a_pair()
    certificate.install(pair)
    application = Application(CATALOGUE, WallClock())

    with (
        WebhookServer(application, certificate, host=LOOPBACK, port=0, head_seconds=0.1) as server,
        a_client(server.port, [pair.authority]) as client,
    ):
        posted(client, a_review(a_workspace()))
        threading.Event().wait(0.3)
        posted(client, a_review(a_workspace()))

        assert client.num_connections == 1


def _hello(minor: int) -> bytes:
    """A client's greeting of TLS 1.2 with another version written into it: no library offers 1.1 any more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=LOOPBACK)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    hello = bytearray(outgoing.read())
    hello[9:11] = bytes([3, minor])
    return bytes(hello)
