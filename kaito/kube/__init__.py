"""The real API server behind the ports `KubeApi` and `WatchApi`.

The `kubernetes` client reads the configuration and makes the connections (TLS, proxies, exec plugins, token
files); requests go through its urllib3 pool and answers are decoded straight into plain dicts. Its generated
models are never touched: they cost ten to a hundred times as much as the decoding itself.

Nothing of it is imported before `connect` is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaito.kube.client import KubeClient
    from kaito.kube.transport import Exchanged

__all__ = ["connect"]


def connect(
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    *,
    user_agent: str = "kaito",
    workers: int = 4,
    read_seconds: float | None = None,
    exchanged: Exchanged | None = None,
) -> KubeClient:
    """A client of the cluster that the configuration names; no request is made yet.

    Args:
        kubeconfig: Without it ``$KUBECONFIG`` is read, else the service account of the pod, else
            ``~/.kube/config``.
        context: Of the kubeconfig; the current one by default.
        user_agent: The program's name in the server's audit log and, by its first part, its field manager.
        workers: How many threads make calls; so many connections are kept open.
        read_seconds: How long an answer may take, where it has to come sooner than usual.
        exchanged: Told of every request, for metrics.

    Raises:
        InvalidKubeconfig: The configuration cannot be read or used; one line that says why.
    """
    from kaito.kube.access import access_loader
    from kaito.kube.client import KubeClient
    from kaito.kube.identity import Identities
    from kaito.kube.transport import READ_SECONDS, Transport

    load = access_loader(kubeconfig, context, workers)
    transport = Transport(
        Identities(load), user_agent, read_seconds=read_seconds or READ_SECONDS, exchanged=exchanged
    )
    return KubeClient(transport)
