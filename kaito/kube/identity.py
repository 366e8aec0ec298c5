"""Who we are to the API server at this moment; credentials are rotated under a running process.

A token that is about to expire is read again by the loader that found it. What the loader cannot know, a
file replaced before its time or another certification authority, shows as a refusal, and then the whole
configuration is read again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import urllib3

from kaito.kube.access import Access, InvalidKubeconfig

RENEWAL_SECONDS = 10.0
"""The configuration is read again this often at most: a refusal may be meant, and plugins are slow."""

_log = logging.getLogger(__name__)


class Identity:
    """The pool to send through, and the Authorization header to send; never changed."""

    __slots__ = ("authorization", "pool", "server")

    def __init__(self, server: str, pool: urllib3.PoolManager, authorization: str) -> None:
        self.server = server
        self.pool = pool
        self.authorization = authorization

    def __repr__(self) -> str:
        return f"Identity({self.server!r})"

    def redacted(self, raw: bytes) -> bytes:
        """Without the credential: a proxy may send back the request that it complains of."""
        secret = self.authorization.partition(" ")[2].encode()
        return raw.replace(secret, b"[redacted]") if secret else raw


class Identities:
    """The one in force; safe to use from many threads.

    Args:
        load: Reads the configuration.
        monotonic: Seconds from an arbitrary start.

    Raises:
        InvalidKubeconfig: The configuration cannot be read or used.
    """

    def __init__(self, load: Callable[[], Access], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._renewed: float | None = None
        self._complaint = ""
        self._access = load()
        self._certificates = self._access.certificates()
        self._identity = Identity(self._access.server, self._access.new_pool(), self._access.authorization())

    @property
    def server(self) -> str:
        return self._access.server

    def current(self) -> Identity:
        with self._lock:
            try:
                self._put(self._access.authorization())
            except InvalidKubeconfig as error:
                # Between two states of the file; the old token is good for a while yet.
                self._complain(str(error))
            return self._identity

    def renewed(self, refused: Identity) -> Identity | None:
        """Another identity to try after a refusal; None when there is no other."""
        with self._lock:
            if self._identity is not refused:
                return self._identity
            now = self._monotonic()
            if self._renewed is not None and now - self._renewed < RENEWAL_SECONDS:
                return None
            self._renewed = now
            try:
                self._read_again()
            except InvalidKubeconfig as error:
                self._complain(str(error))
            return None if self._identity is refused else self._identity

    def _read_again(self) -> None:
        access = self._load()
        certificates, authorization = access.certificates(), access.authorization()
        changed = certificates != self._certificates or access.server != self._access.server
        pool = access.new_pool() if changed else self._identity.pool
        if changed:
            # Requests and watches under way keep their connections.
            self._identity.pool.clear()
        self._access, self._certificates = access, certificates
        if changed or authorization != self._identity.authorization:
            self._identity = Identity(access.server, pool, authorization)

    def _complain(self, message: str) -> None:
        """Once, for this is asked before every request."""
        if message != self._complaint:
            _log.warning("credentials kept: %s", message)
        self._complaint = message

    def _put(self, authorization: str) -> None:
        self._complaint = ""
        if authorization != self._identity.authorization:
            self._identity = Identity(self._access.server, self._identity.pool, authorization)
