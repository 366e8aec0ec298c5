"""Callers of a webhook on loopback, and a process of it on a virtual cluster."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from random import Random
from typing import Any

import urllib3

from kaito.catalogue.catalogue import Catalogue
from kaito.clock import WallClock
from kaito.runtime.ports import KubeApi, Object
from kaito.serving import LOOPBACK
from kaito.webhook.configuration import PATH
from kaito.webhook.process import Options, Webhook, new_webhook
from tests.kaito.webhook.world import NAMESPACE

CATALOGUE = Catalogue.load()
JSON = {"Content-Type": "application/json"}


def a_workspace(name: str = "w", preset: str = "falcon-7b", **changes: Any) -> Object:
    ordinary: Object = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default"},
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon"}},
        },
        "inference": {"preset": {"name": preset, "accessMode": "public"}},
    }
    return {**ordinary, **changes}


def a_review(new: Any = None, old: Any = None, **request: Any) -> bytes:
    """As the API server sends it: an update when there is an old object."""
    return json.dumps(a_review_object(new, old, **request)).encode()


def a_review_object(new: Any = None, old: Any = None, **request: Any) -> dict[str, Any]:
    ordinary = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "operation": "CREATE" if old is None else "UPDATE",
        "namespace": "default",
        "name": "w",
        "kind": {"group": "kaito.sh", "version": "v1alpha1", "kind": "Workspace"},
        "resource": {"group": "kaito.sh", "version": "v1alpha1", "resource": "workspaces"},
        "object": new,
        "oldObject": old,
        "userInfo": {"username": "system:admin", "groups": ["system:masters"]},
        "dryRun": False,
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {**ordinary, **request},
    }


def a_client(
    port: int, authorities: Sequence[str] = (), *, version: ssl.TLSVersion | None = None
) -> urllib3.HTTPSConnectionPool:
    """One connection that is kept; the server must be vouched for by one of the authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="".join(authorities))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return urllib3.HTTPSConnectionPool(
        LOOPBACK, port, ssl_context=context, maxsize=1, retries=False, timeout=20
    )


def posted(client: urllib3.HTTPSConnectionPool, body: bytes) -> dict[str, Any]:
    answer = client.request("POST", f"{PATH}?timeout=10s", body=body, headers=JSON)
    assert answer.status == 200, answer.data
    response: dict[str, Any] = json.loads(answer.data)["response"]
    return response


def a_webhook(api: KubeApi, **options: Any) -> Webhook:
    ordinary: dict[str, Any] = {
        "service": "webhook",
        "namespace": NAMESPACE,
        "host": LOOPBACK,
        "port": 0,
        "other_names": (LOOPBACK,),
        "poll_seconds": 0.05,
        "propagation_seconds": 0.2,
    }
    return new_webhook(api, CATALOGUE, WallClock(), Options(**ordinary | options), random=Random("webhook"))
