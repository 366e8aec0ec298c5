"""Credentials and certificates that are rotated under a running client."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kaito.kube.access import access_loader
from kaito.kube.answers import Unauthorized
from kaito.kube.client import KubeClient
from kaito.kube.identity import RENEWAL_SECONDS, Identities
from kaito.kube.transport import Transport
from kaito.runtime.ports import PODS, ApiError, Object, Unavailable
from tests.kaito.kube.certificates import Authority
from tests.kaito.kube.conftest import TOKEN
from tests.kaito.kube.loopback import Loopback

POD: Object = {"kind": "Pod"}
REFUSED: Object = {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized", "code": 401}

Open = Callable[[Path], KubeClient]


class HandClock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def open_client(clock: HandClock) -> Iterator[Open]:
    """A client of a kubeconfig, its renewals by a clock that the test moves."""
    opened: list[KubeClient] = []

    def of(path: Path) -> KubeClient:
        identities = Identities(access_loader(path, None, 2), clock)
        opened.append(KubeClient(Transport(identities, "kaito")))
        return opened[-1]

    yield of
    for client in opened:
        client.close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("old")
    return path


@pytest.fixture
def client(server: Loopback, kubeconfig: Any, open_client: Open, token_file: Path) -> KubeClient:
    return open_client(kubeconfig(server.url, {"tokenFile": str(token_file)}))


def tokens(server: Loopback) -> list[str]:
    return [asked.headers["authorization"] for asked in server.asked]


def test_replaced_token_is_read_and_sent(server: Loopback, client: KubeClient, token_file: Path) -> None:
    server.answers(401, REFUSED)
    server.answers(200, POD)
    token_file.write_text("new")

    assert client.get(PODS, "p") == POD

    assert tokens(server) == ["Bearer old", "Bearer new"]


def test_write_is_repeated_with_its_body(server: Loopback, client: KubeClient, token_file: Path) -> None:
    server.answers(401, REFUSED)
    server.answers(201, POD)
    token_file.write_text("new")

    client.create(PODS, {"metadata": {"name": "p"}})

    first, second = server.asked
    assert first.body == second.body != b""


def test_watch_is_opened_with_the_new_token(server: Loopback, client: KubeClient, token_file: Path) -> None:
    server.answers(401, REFUSED)
    server.streams().end()
    token_file.write_text("new")

    with closing(client.open_watch(PODS)):
        assert tokens(server) == ["Bearer old", "Bearer new"]


def test_same_token_is_not_sent_again(server: Loopback, client: KubeClient) -> None:
    server.answers(401, REFUSED)

    with pytest.raises(Unauthorized) as caught:
        client.get(PODS, "p")

    assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")
    assert len(server.asked) == 1


def test_second_refusal_is_final(server: Loopback, client: KubeClient, token_file: Path) -> None:
    server.answers(401, REFUSED)
    token_file.write_text("new")

    with pytest.raises(Unauthorized):
        client.get(PODS, "p")

    assert len(server.asked) == 2


def test_configuration_is_read_again_in_intervals(
    server: Loopback, client: KubeClient, token_file: Path, clock: HandClock
) -> None:
    server.answers(401, REFUSED)
    with pytest.raises(Unauthorized):
        client.get(PODS, "p")
    token_file.write_text("new")

    with pytest.raises(Unauthorized):
        client.get(PODS, "p")
    clock.seconds = RENEWAL_SECONDS
    with pytest.raises(Unauthorized):
        client.get(PODS, "p")

    assert tokens(server) == ["Bearer old", "Bearer old", "Bearer old", "Bearer new"]


def test_lost_token_file_keeps_the_old(
    server: Loopback, client: KubeClient, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers(401, REFUSED)
    server.answers(200, POD)
    token_file.unlink()

    with pytest.raises(Unauthorized):
        client.get(PODS, "p")

    assert client.get(PODS, "p") == POD
    assert "credentials kept" in caplog.text


def test_plugin_is_run_again(server: Loopback, kubeconfig: Any, open_client: Open, tmp_path: Path) -> None:
    count, plugin = tmp_path / "count", tmp_path / "plugin"
    answer = {"apiVersion": "v1", "kind": "ExecCredential", "status": {"token": "t-COUNT"}}
    plugin.write_text(
        f"#!/bin/sh\necho x >> {count}\necho '{json.dumps(answer)}' | sed \"s/COUNT/$(grep -c x {count})/\"\n"
    )
    plugin.chmod(0o755)
    client = open_client(kubeconfig(server.url, {"exec": {"apiVersion": "v1", "command": str(plugin)}}))
    server.answers(401, REFUSED)
    server.answers(200, POD)

    client.get(PODS, "p")

    assert tokens(server) == ["Bearer t-1", "Bearer t-2"]


def test_plugin_is_run_before_its_token_expires(
    server: Loopback, kubeconfig: Any, open_client: Open, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    status = {"token": "long-gone", "expirationTimestamp": "2020-01-01T00:00:00Z"}
    answer = {"apiVersion": "v1", "kind": "ExecCredential", "status": status}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o755)
    client = open_client(kubeconfig(server.url, {"exec": {"apiVersion": "v1", "command": str(plugin)}}))
    server.answers(200, POD)
    fresh = {**answer, "status": {"token": "fresh"}}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(fresh)}'\n")

    client.get(PODS, "p")

    assert tokens(server) == ["Bearer fresh"]


def inline(authority: Authority) -> str:
    return base64.b64encode(authority.file.read_bytes()).decode()


def test_replaced_authority_is_trusted(kubeconfig: Any, open_client: Open, tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    with Loopback(new.server()) as server:
        server.answers(200, POD)
        client = open_client(kubeconfig(server.url, **{"certificate-authority-data": inline(old)}))
        kubeconfig(server.url, **{"certificate-authority-data": inline(new)})

        assert client.get(PODS, "p") == POD


def test_moved_server_is_found(kubeconfig: Any, open_client: Open, server: Loopback) -> None:
    server.answers(401, REFUSED)
    client = open_client(kubeconfig(server.url))
    with Loopback() as elsewhere:
        elsewhere.answers(200, POD)
        kubeconfig(elsewhere.url)

        assert client.get(PODS, "p") == POD
        assert client.server == elsewhere.url


def test_rotation_leaves_open_watches_alone(server: Loopback, client: KubeClient, token_file: Path) -> None:
    stream = server.streams()
    server.answers(401, REFUSED)
    server.answers(200, POD)
    with closing(client.open_watch(PODS)) as watch:
        token_file.write_text("new")

        client.get(PODS, "p")
        stream.send("ADDED", {"metadata": {"name": "p"}})

        assert watch.read(10.0)


ECHOES = {
    "Status": (500, json.dumps({"kind": "Status", "message": f"no good: Bearer {TOKEN}"}).encode(), ApiError),
    "page": (502, f"<pre>Authorization: Bearer {TOKEN}</pre>".encode(), Unavailable),
    "page with success": (200, f"<pre>Authorization: Bearer {TOKEN}</pre>".encode(), Unavailable),
}


@pytest.mark.parametrize(("code", "body", "kind"), ECHOES.values(), ids=ECHOES)
def test_echoed_credential_is_not_passed_on(
    server: Loopback,
    kubeconfig: Any,
    open_client: Open,
    code: int,
    body: bytes,
    kind: type[ApiError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.answers(code, body)
    client = open_client(kubeconfig(server.url))

    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as caught:
        client.get(PODS, "p")

    assert "[redacted]" in caught.value.message
    assert TOKEN not in f"{caught.value!r} {caught.value.message} {caught.value.causes}"
    assert TOKEN not in caplog.text
