"""Processes under test: started, watched and ended, with a verb that needs no cluster to refuse."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.processes import KaitoProcess
from tests.e2e.usage import usage_of
from tests.e2e.waiting import until

AZURE = {
    "ARM_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "ARM_RESOURCE_GROUP": "kaito",
    "AZURE_CLUSTER_NAME": "kaito",
    "AZURE_TENANT_ID": "kaito",
}


def test_refused_start_tells_code_and_reason(tmp_path: Path) -> None:
    with KaitoProcess(["provisioner", "--workers", "0"], tmp_path) as process:
        assert process.ended(60) == 2

    assert any("--workers" in line["message"] for line in process.lines())


def test_process_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    with (
        KaitoProcess(["no-such-verb"], tmp_path) as process,
        pytest.raises(AssertionError, match="ended with 2"),
    ):
        process.wait_ready()


def test_frozen_process_is_killed_all_the_same(tmp_path: Path) -> None:
    with KaitoProcess(["provisioner"], tmp_path) as process:
        process.freeze()
        usage = process.usage()

    assert not process.running
    assert process.ended(0) == -signal.SIGKILL
    assert usage.threads >= 1
    assert usage.rss_bytes > 0


def test_usage_counts_an_open_file(tmp_path: Path) -> None:
    before = usage_of(os.getpid())
    with (tmp_path / "file").open("w"):
        after = usage_of(os.getpid())

    assert after.descriptors == before.descriptors + 1
    assert after.sockets == before.sockets


def test_usage_counts_a_socket_that_nobody_closed() -> None:
    before = usage_of(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        connected = usage_of(os.getpid())
        client.shutdown(socket.SHUT_RDWR)
        peer.close()
    until(lambda: usage_of(os.getpid()).dead_sockets > before.dead_sockets, 5)
    client.close()

    assert connected.sockets == before.sockets + 3
    assert connected.dead_sockets == before.dead_sockets == usage_of(os.getpid()).dead_sockets


def test_wait_that_is_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.1 s: the moon"):
        until(lambda: False, 0.1, "the moon")
