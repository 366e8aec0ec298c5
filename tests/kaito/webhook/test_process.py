"""The whole of it as a process has it, on a virtual API server and a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import Unavailable
from tests.kaito.webhook.clients import a_client, a_review, a_webhook, a_workspace, posted
from tests.kaito.webhook.world import Flaky, HandClock, a_cluster, trusted

LONG = 10.0


def wait_until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(LONG / 0.02)):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError(f"not within {LONG:.0f} s")


def test_webhook_serves_until_it_is_stopped() -> None:
    cluster = a_cluster(HandClock())
    webhook = a_webhook(cluster)
    before = webhook.ready()

    webhook.start()
    wait_until(lambda: not webhook.ready())
    with a_client(webhook.port, trusted(cluster)) as client:
        answer = posted(client, a_review(a_workspace()))
    expires = webhook.certificate_expires_at
    stopped = webhook.stop(5.0)

    assert before == webhook.ready() == "the webhook does not serve"
    assert answer["allowed"]
    assert expires is not None
    assert (expires - WallClock().now()).days == 364
    assert stopped


def test_webhook_starts_without_an_api_server() -> None:
    api = Flaky(a_cluster(HandClock()))
    api.fault = Unavailable("no route")
    webhook = a_webhook(api)

    webhook.start()
    wait_until(lambda: webhook.ready() == "there is no certificate yet; no route")
    api.fault = None
    wait_until(lambda: not webhook.ready())

    assert webhook.stop(5.0)


def test_unknown_version_of_tls_is_refused() -> None:
    with pytest.raises(KeyError):
        a_webhook(a_cluster(HandClock()), tls_min_version="1.1")


def test_webhook_that_never_started_stops() -> None:
    assert a_webhook(a_cluster(HandClock())).stop()
