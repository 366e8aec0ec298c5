"""Evictions: the one verb whose body has changed its version.

Servers before 1.22 know the Eviction of policy/v1beta1 alone. They refuse the other one before they look at
the pod, so the first eviction finds out which it is.
"""

from __future__ import annotations

from collections.abc import Callable

from kaito.kube import paths
from kaito.runtime.ports import PODS, BadRequest, Object

VERSION, OLD_VERSION = "policy/v1", "policy/v1beta1"
_OTHER = {VERSION: OLD_VERSION, OLD_VERSION: VERSION}

_UNKNOWN = 'no kind "Eviction" is registered'
"""What a server says of a version that it does not know."""


class Evictions:
    """Evicts with a version that the server knows.

    Args:
        post: Sends a body to a path.
    """

    def __init__(self, post: Callable[[str, Object], object]) -> None:
        self._post = post
        self._version = VERSION

    def evict(self, name: str, namespace: str, uid: str) -> None:
        path = paths.item(PODS, name, namespace, "eviction")
        body = _eviction(name, namespace or paths.DEFAULT_NAMESPACE, uid)
        version = self._version
        try:
            self._post(path, {"apiVersion": version, **body})
        except BadRequest as refusal:
            if _UNKNOWN not in refusal.message:
                raise
            # Either way round: the server may be upgraded while we run.
            self._version = _OTHER[version]
            self._post(path, {"apiVersion": _OTHER[version], **body})


def _eviction(name: str, namespace: str, uid: str) -> Object:
    body: Object = {"kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    if uid:
        body["deleteOptions"] = {"preconditions": {"uid": uid}}
    return body
