"""The metrics of the Kubernetes client, with the names, labels and buckets of client-go."""

from __future__ import annotations

from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram

from kaito.kube.transport import Exchange

SECONDS_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
SIZE_BUCKETS = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)

NO_ANSWER = "<error>"
"""The code where no answer came."""

_VERB = ("verb", "host")


class RequestMetrics:
    """Give `exchanged` to `kaito.kube.connect`, then tell which server it found with `of`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._host = ""
        self._requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ["code", "method", "host"],
            registry=registry,
        )
        self._retries = Counter(
            "rest_client_request_retries_total",
            "Number of request retries, partitioned by status code, verb, and host.",
            ["code", "verb", "host"],
            registry=registry,
        )
        self._seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Request latency in seconds. Broken down by verb, and host.",
            _VERB,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._sent = Histogram(
            "rest_client_request_size_bytes",
            "Request size in bytes. Broken down by verb and host.",
            _VERB,
            buckets=SIZE_BUCKETS,
            registry=registry,
        )
        self._received = Histogram(
            "rest_client_response_size_bytes",
            "Response size in bytes. Broken down by verb and host.",
            _VERB,
            buckets=SIZE_BUCKETS,
            registry=registry,
        )

    def of(self, server: str) -> None:
        """The URL of the API server, whose host is the label."""
        self._host = urlsplit(server).netloc.rpartition("@")[2]

    def exchanged(self, exchange: Exchange) -> None:
        code = str(exchange.code) if exchange.code else NO_ANSWER
        method, host = exchange.method, self._host
        self._requests.labels(code, method, host).inc()
        self._seconds.labels(method, host).observe(exchange.seconds)
        self._sent.labels(method, host).observe(exchange.sent)
        if exchange.received is not None:
            self._received.labels(method, host).observe(exchange.received)
        if exchange.repeated:
            self._retries.labels(code, method, host).inc()
