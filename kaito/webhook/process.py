"""The webhook as one thing that a process starts and stops; every replica runs it, leader or not."""

from __future__ import annotations

import logging
from datetime import datetime
from random import Random
from threading import Event, Thread

import msgspec

from kaito.catalogue.catalogue import Catalogue
from kaito.manager.logs import fields
from kaito.runtime.backoff import ItemBackoff
from kaito.runtime.ports import ApiError, Clock, KubeApi
from kaito.webhook.application import Application, Observer
from kaito.webhook.certificates import Terms
from kaito.webhook.keeper import Keeper
from kaito.webhook.rotation import Rules
from kaito.webhook.server import Certificate, WebhookServer

_LOGGER = logging.getLogger(__name__)

STOP_SECONDS = 5.0

RETRY_BASE_SECONDS, RETRY_CAP_SECONDS = 1.0, 30.0
_KEY = "certificate"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says, and what a test makes shorter.

    Attributes:
        service: Name of the Service, ``WEBHOOK_SERVICE``.
        namespace: ``SYSTEM_NAMESPACE``.
        host: Addresses to listen on; empty for all.
        port: ``WEBHOOK_PORT``; 0 takes a free one.
        tls_min_version: ``WEBHOOK_TLS_MIN_VERSION``, ``1.2`` or ``1.3``.
        other_names: Further DNS names and IP addresses, for a configuration that holds a url.
        poll_seconds: How often Secret and configuration are looked at.
        propagation_seconds: How long after a change of the configuration an API server may not know it.
    """

    service: str
    namespace: str
    host: str = ""
    port: int = 9443
    tls_min_version: str = "1.2"
    cluster_domain: str = "cluster.local"
    other_names: tuple[str, ...] = ()
    terms: Terms = Terms()
    poll_seconds: float = 10.0
    propagation_seconds: float = 30.0

    @property
    def names(self) -> frozenset[str]:
        """The names by which the Service is called, the published ones and the others."""
        local = f"{self.service}.{self.namespace}"
        called = (self.service, local, f"{local}.svc", f"{local}.svc.{self.cluster_domain}")
        return frozenset((*called, *self.other_names))


def new_webhook(
    api: KubeApi,
    catalogue: Catalogue,
    clock: Clock,
    options: Options,
    *,
    random: Random,
    observe: Observer | None = None,
) -> Webhook:
    """Everything wired, the port held, nothing served yet.

    Args:
        random: Of the jitter of retries.
        observe: Told of each answered review: operation, allowed, code, seconds.

    Raises:
        OSError: The port is taken, or may not be used; the message names it.
        KeyError: The TLS version is not one of `kaito.webhook.server.TLS_VERSIONS`.
    """
    certificate = Certificate(options.tls_min_version)
    rules = Rules(names=options.names, terms=options.terms, propagation_seconds=options.propagation_seconds)
    keeper = Keeper(api, clock, options.namespace, rules, certificate.install)
    application = Application(catalogue, clock, observe)
    server = WebhookServer(application, certificate, host=options.host, port=options.port)
    return Webhook(keeper, server, clock, options.poll_seconds, random)


class Webhook:
    """Serves, and keeps what it serves trusted."""

    def __init__(
        self, keeper: Keeper, server: WebhookServer, clock: Clock, poll_seconds: float, random: Random
    ) -> None:
        self._keeper = keeper
        self._server = server
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._random = random
        self._backoff = ItemBackoff(RETRY_BASE_SECONDS, RETRY_CAP_SECONDS)
        self._stopping = Event()
        self._trouble = ""
        self._thread = Thread(target=self._run, name="webhook-certificate", daemon=True)

    name = "webhook"

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def certificate_expires_at(self) -> datetime | None:
        """When the certificate that is served ends to be valid; None while there is none."""
        return self._keeper.expires_at()

    def start(self) -> None:
        """Serve, and begin to keep the certificate; waits for neither certificate nor configuration.

        Raises:
            RuntimeError: The server did not come up; the log says why.
        """
        self._server.start()
        _LOGGER.info("webhook serves", extra=fields(port=self.port))
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """End both, requests under way first; whether they have ended in time."""
        timeout_seconds = STOP_SECONDS if timeout_seconds is None else timeout_seconds
        self._stopping.set()
        deadline = self._clock.monotonic() + timeout_seconds
        ended = self._server.stop(timeout_seconds)
        if self._thread.ident is not None:
            self._thread.join(max(deadline - self._clock.monotonic(), 0.0))
        return ended and not self._thread.is_alive()

    def ready(self) -> str:
        """Why the API server cannot ask us, empty if it can."""
        if self._stopping.is_set() or not self._server.serving:
            return "the webhook does not serve"
        trouble = self._keeper.trouble()
        return f"{trouble}; {self._trouble}" if trouble and self._trouble else trouble

    def _run(self) -> None:
        seconds = self._round()
        while not self._stopping.wait(seconds):
            seconds = self._round()

    def _round(self) -> float:
        """One round; seconds until the next."""
        try:
            wait = self._keeper.round()
        except ApiError as error:
            return self._failed(error.message)
        except Exception as error:
            _LOGGER.exception("round failed", extra=fields(timer=self._thread.name))
            return self._failed(f"{type(error).__name__}: {error}")
        if self._trouble:
            _LOGGER.info("certificate: calls succeed again")
        self._trouble = ""
        self._backoff.forget(_KEY)
        return self._poll_seconds if wait is None else min(wait, self._poll_seconds)

    def _failed(self, why: str) -> float:
        """Each trouble is told once; the readiness check repeats it."""
        if why != self._trouble:
            _LOGGER.warning("certificate: a call failed", extra=fields(error=why))
        self._trouble = why
        delay = self._backoff.when(_KEY, self._clock.monotonic())
        return min(delay * (1.0 + self._random.random()), RETRY_CAP_SECONDS)
