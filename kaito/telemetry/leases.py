"""The metrics of leader election, with the names of client-go."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LeaseMetrics:
    """Told by the elector."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._status = Gauge(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 "
            "indicates master. 'name' is the string used to identify the lease. Please make sure to "
            "group by name.",
            ["name"],
            registry=registry,
        )
        self._slow = Counter(
            "leader_election_slowpath_total",
            "Total number of slow path exercised in renewing leader leases. 'name' is the string used to "
            "identify the lease. Please make sure to group by name.",
            ["name"],
            registry=registry,
        )

    def leads(self, name: str, leading: bool) -> None:
        """Whether this process holds the lease of this name; to be said once at the start, too."""
        self._status.labels(name).set(int(leading))
        self._slow.labels(name)

    def read_before_renewal(self, name: str) -> None:
        """A renewal did not get along with the lease as last seen, and had to read it."""
        self._slow.labels(name).inc()
