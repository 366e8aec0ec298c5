"""The metrics of the admission webhook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""The API server waits 10 s for a webhook unless told otherwise."""

OPERATIONS = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))
OTHER = "other"


class AdmissionMetrics:
    """Told by the webhook."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "kaito_admission_total",
            "Requests to the admission webhook, by operation, verdict and HTTP code.",
            ["operation", "allowed", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "kaito_admission_seconds",
            "How long the webhook took for a verdict.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._expiry = Gauge(
            "kaito_webhook_certificate_expiry_timestamp_seconds",
            "When the serving certificate of the webhook expires, in Unix time; 0 without a certificate.",
            registry=registry,
        )

    def judged(self, operation: str, allowed: bool, code: int, seconds: float) -> None:
        """One request was answered.

        Args:
            operation: As the request has it; what the API does not know is counted as ``other``.
            code: Of the verdict in the answer, or of the HTTP answer where there is no verdict.
        """
        known = operation if operation in OPERATIONS else OTHER
        self._total.labels(known, "true" if allowed else "false", str(code)).inc()
        self._seconds.observe(seconds)

    def follow(self, expires_at: Callable[[], datetime | None]) -> None:
        """Whoever serves says, whenever it is asked, when its certificate ends to be valid."""

        def stamp() -> float:
            at = expires_at()
            return 0.0 if at is None else at.timestamp()

        self._expiry.set_function(stamp)
