"""The agent pools with a stopwatch: the published metrics of calls to the cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from kaito.runtime.pools import AgentPools, Operation, Pool, PoolError, PoolNotFound, PoolRefused, PoolSpec
from kaito.runtime.ports import Clock
from kaito.telemetry.controllers import RECONCILE_BUCKETS
from statemachine.state import BlockedReason

PROVIDER = "azure"
CREATE, GET, LIST, DELETE, OPERATION = "Create", "Get", "List", "Delete", "Operation"

NOT_FOUND, UNANSWERED, REFUSED = "PoolNotFound", "PoolUnanswered", "PoolRefused"

T = TypeVar("T")


class PoolMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "karpenter_cloudprovider_duration_seconds",
            "Duration of cloud provider method calls. Labeled by the controller, method name and provider.",
            ["controller", "method", "provider"],
            buckets=RECONCILE_BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "karpenter_cloudprovider_errors_total",
            "Total number of errors returned from CloudProvider calls.",
            ["controller", "method", "provider", "error"],
            registry=registry,
        )

    def measured(self, pools: AgentPools, controller: str, clock: Clock) -> MeasuredPools:
        """The pools as this controller is to be given them."""
        return MeasuredPools(pools, controller, clock, self)


class MeasuredPools(AgentPools):
    """Any agent pools; each call is timed, and what it raises is counted."""

    def __init__(self, pools: AgentPools, controller: str, clock: Clock, metrics: PoolMetrics) -> None:
        self._pools = pools
        self._controller = controller
        self._clock = clock
        self._metrics = metrics

    def begin_create(self, spec: PoolSpec) -> Operation:
        return self._measured(CREATE, lambda: self._pools.begin_create(spec))

    def get(self, name: str) -> Pool:
        return self._measured(GET, lambda: self._pools.get(name))

    def list(self) -> list[Pool]:
        return self._measured(LIST, self._pools.list)

    def begin_delete(self, name: str) -> Operation:
        return self._measured(DELETE, lambda: self._pools.begin_delete(name))

    def operation(self, url: str) -> Operation:
        return self._measured(OPERATION, lambda: self._pools.operation(url))

    def _measured(self, method: str, call: Callable[[], T]) -> T:
        labels = (self._controller, method, PROVIDER)
        start = self._clock.monotonic()
        try:
            return call()
        except PoolError as error:
            self._metrics.errors.labels(*labels, error_label(error)).inc()
            raise
        finally:
            self._metrics.seconds.labels(*labels).observe(self._clock.monotonic() - start)


def error_label(error: PoolError) -> str:
    """One of a closed set: the class of a refusal, or what kind of error it is."""
    if isinstance(error, PoolRefused):
        reason = error.fault.reason
        return BlockedReason(reason).value if reason in set(BlockedReason) else REFUSED
    return NOT_FOUND if isinstance(error, PoolNotFound) else UNANSWERED
