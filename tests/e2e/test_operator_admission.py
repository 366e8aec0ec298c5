"""The shipped process with everything it serves: admission, probes and metrics, asked as a cluster asks."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.runtime.ports import WORKSPACES, NotFound
from kaito.webhook import configuration, secret
from kaito.webhook.resources import CONFIGURATIONS, SECRETS
from tests.e2e.real_world import EXAMPLES, Member, RealWorld
from tests.e2e.servers import free_ports
from tests.kaito.webhook.world import a_configuration

pytestmark = pytest.mark.real_server

NAMESPACE = "default"
NAME = "workspace-falcon-7b-instruct"


@pytest.fixture
def client(world: RealWorld) -> Iterator[KubeClient]:
    connected = connect(world.plane.kubeconfig)
    yield connected
    for resource, name, namespace in (
        (CONFIGURATIONS, configuration.NAME, ""),
        (SECRETS, secret.NAME, NAMESPACE),
    ):
        try:
            connected.delete(resource, name, namespace)
        except NotFound:
            continue
    connected.close()


def admitting(world: RealWorld, client: KubeClient) -> Member:
    """An operator that the API server asks, on a port of this machine."""
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}{configuration.PATH}"
    client.create(CONFIGURATIONS, a_configuration(clientConfig={"url": url}))
    return world.operator(
        "--webhook",
        environment={
            "WEBHOOK_SERVICE": "workspace-webhook-svc",
            "WEBHOOK_PORT": str(port),
            "WEBHOOK_EXTRA_NAMES": "127.0.0.1",
            "SYSTEM_NAMESPACE": NAMESPACE,
        },
    )


def metrics_of(member: Member) -> str:
    flag = "--metrics-bind-address="
    (address,) = [text.removeprefix(flag) for text in member.process.arguments if text.startswith(flag)]
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_operator_admits_and_serves_and_says_so(world: RealWorld, client: KubeClient) -> None:
    operator = admitting(world, client)
    world.provisioner()

    with pytest.raises(AssertionError, match="denied the request: validation failed"):
        world.apply({**world.example("falcon-7b", "bad"), "inference": {"preset": {"name": "gpt-9"}}})
    world.apply(EXAMPLES / "falcon-7b-instruct.yaml")
    world.until(lambda: world.is_ready(NAME), 90)
    metrics = metrics_of(operator)
    world.delete(WORKSPACES, NAME, NAMESPACE)
    world.until(lambda: not world.workspaces(), 60)

    assert 'kaito_admission_total{allowed="false",code="400",operation="CREATE"} 1.0' in metrics
    assert 'kaito_admission_total{allowed="true"' in metrics
    assert 'leader_election_master_status{name="ef60f9b0.io"} 1.0' in metrics
    assert operator.process.terminate().code == 0
