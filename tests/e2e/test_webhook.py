"""The webhook asked by a real API server, by url: refused, down, expired, healed, and rotated under load."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.runtime.ports import Unavailable
from kaito.serving import LOOPBACK
from kaito.webhook import certificates, configuration, secret
from kaito.webhook.certificates import Terms
from kaito.webhook.process import Webhook
from kaito.webhook.resources import CONFIGURATIONS, SECRETS
from tests.e2e.control_plane import Answer, ControlPlane, free_ports
from tests.kaito.webhook.clients import a_webhook, a_workspace
from tests.kaito.webhook.world import NAMESPACE, Flaky, a_configuration

pytestmark = pytest.mark.real_server

COLLECTION = "/apis/kaito.sh/v1alpha1/namespaces/default/workspaces"
LONG = 40.0
PROPAGATION_SECONDS = 2.0
LOADED_REQUESTS = 200


@pytest.fixture(scope="module")
def client(server: ControlPlane) -> Iterator[KubeClient]:
    connected = connect(server.kubeconfig)
    yield connected
    connected.close()


@pytest.fixture
def port(server: ControlPlane) -> Iterator[int]:
    """Of a webhook that is configured, as a url, and not there yet; afterwards all is as before."""
    (free,) = free_ports(1)
    url = f"https://{LOOPBACK}:{free}{configuration.PATH}"
    base = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    server.request("POST", "/api/v1/namespaces", namespace)
    assert server.request("POST", base, a_configuration(clientConfig={"url": url})).code == 201
    yield free
    server.request("DELETE", f"{base}/{configuration.NAME}")
    server.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/{secret.NAME}")
    server.request("DELETE", COLLECTION)


def served(api: Any, port: int, **options: Any) -> Webhook:
    return a_webhook(api, port=port, propagation_seconds=PROPAGATION_SECONDS, poll_seconds=0.2, **options)


@contextmanager
def running(webhook: Webhook, server: ControlPlane) -> Iterator[Webhook]:
    """Until the API server asks it."""
    webhook.start()
    try:
        wait_until(lambda: not webhook.ready() and created(server, "first", dry=True).code == 201)
        yield webhook
    finally:
        webhook.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(LONG / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError(f"not within {LONG:.0f} s")


def created(server: ControlPlane, name: str, *, dry: bool = False, **changes: Any) -> Answer:
    query = {"dryRun": "All"} if dry else {}
    return server.request("POST", COLLECTION, a_workspace(name, **changes), **query)


def test_api_server_acts_on_our_answers(server: ControlPlane, client: KubeClient, port: int) -> None:
    bad = {"preset": {"name": "gpt-9"}}
    with running(served(client, port), server):
        refused = created(server, "bad", inference=bad)
        admitted = created(server, "good")
        labelled = server.request("PUT", f"{COLLECTION}/good", with_label(admitted.body))
        changed = server.request("PUT", f"{COLLECTION}/good", {**labelled.body, "inference": bad})
        reported = server.request("PUT", f"{COLLECTION}/good/status", with_status(labelled.body))
        found = client.get(CONFIGURATIONS, configuration.NAME)

    assert refused.code == 400
    assert refused.message == (
        'admission webhook "validation.workspace.kaito.sh" denied the request: '
        "validation failed: invalid value: Unsupported inference preset name gpt-9: inference.presetName"
    )
    assert (admitted.code, labelled.code, reported.code) == (201, 200, 200)
    assert changed.message.endswith("validation failed: field is immutable: inference.preset")
    assert reported.body["status"]["workerNodes"] == ["n"]
    assert found["metadata"]["ownerReferences"][0]["name"] == NAMESPACE


def test_kubectl_shows_the_published_text(server: ControlPlane, client: KubeClient, port: int) -> None:
    manifest = {**a_workspace("both"), "inference": {}}
    with running(served(client, port), server), pytest.raises(AssertionError) as refused:
        server.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    assert 'admission webhook "validation.workspace.kaito.sh" denied the request' in str(refused.value)
    assert "missing field(s): inference.Preset or Template must be specified" in str(refused.value)


def test_webhook_at_rest_writes_nothing(server: ControlPlane, client: KubeClient, port: int) -> None:
    """What the server adds to an object by itself must not look like a difference."""
    api = Flaky(client)
    with running(served(api, port), server):
        written = len(api.writes)
        threading.Event().wait(2.0)

        assert len(api.writes) == written


def test_webhook_down_refuses_and_lets_delete(server: ControlPlane, client: KubeClient, port: int) -> None:
    with running(served(client, port), server):
        assert created(server, "doomed").code == 201

    refused = created(server, "late")
    deleted = server.request("DELETE", f"{COLLECTION}/doomed")

    assert refused.code == 500
    assert "failed calling webhook" in refused.message
    assert deleted.code == 200


def test_expired_certificate_heals_by_itself(server: ControlPlane, client: KubeClient, port: int) -> None:
    """The webhook cannot reach the API server until its certificate has expired."""
    api = Flaky(client)
    terms = Terms(valid=timedelta(seconds=8), renew_before=timedelta(seconds=2), skew=timedelta(minutes=5))
    with running(served(api, port, terms=terms), server) as webhook:
        api.fault = Unavailable("cut off")
        wait_until(lambda: "expired" in webhook.ready())
        reconnect(client)
        wait_until(lambda: "expired" in created(server, "x", dry=True).message)
        api.fault = None

        wait_until(lambda: created(server, "x", dry=True).code == 201)
        assert webhook.ready() == ""


def test_rotation_under_load_refuses_nothing(server: ControlPlane, client: KubeClient, port: int) -> None:
    """New certificates every few seconds, while creates and updates go on without a pause."""
    terms = Terms(valid=timedelta(seconds=30), renew_before=timedelta(seconds=25), skew=timedelta(minutes=5))
    seen: set[str] = set()
    answers: list[Answer] = []
    with running(served(client, port, terms=terms), server):
        while len(seen) < 3 or len(answers) < LOADED_REQUESTS:
            answers.append(created(server, f"w{len(answers)}"))
            path = f"{COLLECTION}/{answers[-1].body['metadata']['name']}"
            answers.append(server.request("PUT", path, with_label(answers[-1].body)))
            seen.add(secret.read(client.get(SECRETS, secret.NAME, NAMESPACE)).pair.certificate)

    assert [answer for answer in answers if answer.code not in (200, 201)] == []
    assert len({certificates.fingerprint(each) for each in seen}) >= 3
    print(f"\n{len(answers)} requests over {len(seen) - 1} rotations, none refused", end="")


def reconnect(client: KubeClient) -> None:
    """Have the API server connect anew, as for any change of the bundle: a kept connection outlives the
    certificate that it began with."""
    found = client.get(CONFIGURATIONS, configuration.NAME)
    (entry,) = found["webhooks"]
    bundle = b64decode(entry["clientConfig"]["caBundle"]) + b"\n"
    changed = {**entry["clientConfig"], "caBundle": b64encode(bundle).decode()}
    client.update(CONFIGURATIONS, {**found, "webhooks": [{**entry, "clientConfig": changed}]})


def with_label(body: Any) -> Any:
    return {**body, "metadata": {**body["metadata"], "labels": {"seen": "yes"}}}


def with_status(body: Any) -> Any:
    return {**body, "status": {"workerNodes": ["n"]}}
