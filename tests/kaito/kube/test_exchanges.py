"""Every request is told to whoever counts them, and counted under client-go's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kaito.clock import WallClock
from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.kube.transport import Exchange
from kaito.runtime.ports import PODS, ApiError, NotFound, Object, Unavailable
from kaito.telemetry.processes import OperatorTelemetry
from tests.kaito.kube.loopback import RESET, Loopback

POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


class Counted:
    """A client whose requests are counted, and kept."""

    def __init__(self, kubeconfig: Path) -> None:
        self.exchanges: list[Exchange] = []
        self.telemetry = OperatorTelemetry(WallClock())
        self.client: KubeClient = connect(kubeconfig, exchanged=self._exchanged)
        self.telemetry.requests.of(self.client.server)

    def _exchanged(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.telemetry.requests.exchanged(exchange)

    def value(self, name: str, /, **labels: str) -> float | None:
        host = self.client.server.removeprefix("http://")
        return self.telemetry.registry.get_sample_value(f"rest_client_{name}", {"host": host, **labels})


@pytest.fixture
def counted(server: Loopback, kubeconfig: Callable[..., Path]) -> Iterator[Counted]:
    bench = Counted(kubeconfig(server.url))
    yield bench
    bench.client.close()


def test_answer_is_counted_with_its_sizes(server: Loopback, counted: Counted) -> None:
    server.answers(201, POD)

    counted.client.create(PODS, POD)

    (exchange,) = counted.exchanges
    assert (exchange.method, exchange.code, exchange.repeated) == ("POST", 201, False)
    assert exchange.sent == len(server.asked[0].body)
    assert counted.value("requests_total", code="201", method="POST") == 1
    assert counted.value("request_duration_seconds_count", verb="POST") == 1
    assert counted.value("request_size_bytes_sum", verb="POST") == exchange.sent
    assert counted.value("response_size_bytes_sum", verb="POST") == exchange.received


def test_refusal_is_counted_by_its_code(server: Loopback, counted: Counted) -> None:
    server.answers(404, {"kind": "Status", "reason": "NotFound", "message": "no"})

    with pytest.raises(NotFound):
        counted.client.get(PODS, "p")

    assert counted.value("requests_total", code="404", method="GET") == 1


def test_no_answer_has_a_code_of_its_own(server: Loopback, counted: Counted) -> None:
    server.breaks(RESET)

    with pytest.raises(Unavailable):
        counted.client.get(PODS, "p")

    assert counted.value("requests_total", code="<error>", method="GET") == 1
    assert counted.value("response_size_bytes_count", verb="GET") is None


def test_watch_is_counted_when_it_opens(server: Loopback, counted: Counted) -> None:
    server.streams()

    counted.client.open_watch(PODS).close()

    (exchange,) = counted.exchanges
    assert (exchange.code, exchange.received) == (200, None)
    assert counted.value("requests_total", code="200", method="GET") == 1


def test_request_sent_again_is_a_retry(
    server: Loopback, kubeconfig: Callable[..., Path], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    counted = Counted(kubeconfig(server.url, {"tokenFile": str(token)}))
    server.answers(401, {"kind": "Status", "reason": "Unauthorized"})
    server.answers(200, POD)

    token.write_text("new")
    try:
        counted.client.get(PODS, "p")
    except ApiError as error:
        pytest.fail(f"not sent again: {error}")
    finally:
        counted.client.close()

    assert [(each.code, each.repeated) for each in counted.exchanges] == [(401, False), (200, True)]
    assert counted.value("request_retries_total", code="200", verb="GET") == 1
