"""`/metrics` as an ASGI application."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_CREATED = "_created"


class _WithoutCreated(Collector):
    """The registry without the library's own series on when each counter was made: nobody asked for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [each for each in metric.samples if each.name != metric.name + _CREATED]
            yield metric


def metrics_application(registry: CollectorRegistry) -> Starlette:
    """Answers in the format that Prometheus asks for, in a thread of its own."""
    collected = _WithoutCreated(registry)

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(collected), headers={"Content-Type": content_type})

    return Starlette(routes=[Route("/metrics", metrics)])
