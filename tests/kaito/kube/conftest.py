from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kaito.kube import connect
from kaito.kube.client import KubeClient
from tests.kaito.kube.loopback import Loopback

TOKEN = "canary-token-7f3a"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor a cluster of the machine that runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("KUBERNETES_", "KUBECONFIG")):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Callable[..., Path]:
    """Writes a kubeconfig for a server; with what the user and the cluster of it hold."""

    def write(url: str, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
        path = tmp_path / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
                    "users": [{"name": "u", "user": {"token": TOKEN} if user is None else user}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path

    return write


@pytest.fixture
def client(server: Loopback, kubeconfig: Callable[..., Path]) -> Iterator[KubeClient]:
    connected = connect(kubeconfig(server.url))
    yield connected
    connected.close()
