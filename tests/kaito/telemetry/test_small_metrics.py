"""Calls to the cloud, the lease and the webhook: counted under their published names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.runtime.pools import (
    Operation,
    Pool,
    PoolError,
    PoolFault,
    PoolNotFound,
    PoolRefused,
    PoolSpec,
    PoolState,
    PoolUnanswered,
)
from kaito.telemetry.pools import MeasuredPools, error_label
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry
from statemachine.state import BlockedReason
from store.errors import LogUnavailable
from store.memory import MemoryEventLog
from tests.kaito import lives

POOL = Pool(name="ws1", state=PoolState.SUCCEEDED)
SPEC = PoolSpec(name="ws1", vm_size="Standard_NC12s_v3", labels={})
CONTROLLER = "machine.lifecycle"


def refused(reason: Any) -> PoolRefused:
    return PoolRefused(PoolFault(reason=reason, code="C", message="m"))


class Pools:
    """A cloud that answers everything, or raises one error."""

    def __init__(self, error: PoolError | None = None) -> None:
        self.error = error

    def _answer(self, answer: Any) -> Any:
        if self.error is not None:
            raise self.error
        return answer

    def begin_create(self, spec: PoolSpec) -> Operation:
        return self._answer(Operation(url="/create"))

    def get(self, name: str) -> Pool:
        return self._answer(POOL)

    def list(self) -> list[Pool]:
        return self._answer([POOL])

    def begin_delete(self, name: str) -> Operation:
        return self._answer(Operation(url="/delete"))

    def operation(self, url: str) -> Operation:
        return self._answer(Operation(url=url))


def measured(error: PoolError | None = None) -> tuple[MeasuredPools, ProvisionerTelemetry]:
    telemetry = ProvisionerTelemetry(WallClock())
    return telemetry.pools.measured(Pools(error), CONTROLLER, WallClock()), telemetry


def test_every_call_is_timed_under_its_method() -> None:
    pools, telemetry = measured()

    answers = [
        pools.begin_create(SPEC),
        pools.get("ws1"),
        pools.list(),
        pools.begin_delete("ws1"),
        pools.operation("/o"),
    ]

    assert answers == [Operation(url="/create"), POOL, [POOL], Operation(url="/delete"), Operation(url="/o")]
    for method in ("Create", "Get", "List", "Delete", "Operation"):
        labels = {"controller": CONTROLLER, "method": method, "provider": "azure"}
        name = "karpenter_cloudprovider_duration_seconds_count"
        assert telemetry.registry.get_sample_value(name, labels) == 1


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (refused(BlockedReason.QUOTA_EXCEEDED), "QuotaExceeded"),
        (refused("an unknown class"), "PoolRefused"),
        (PoolNotFound("ws1"), "PoolNotFound"),
        (PoolUnanswered("no answer"), "PoolUnanswered"),
    ],
)
def test_refused_call_is_counted_by_its_class(error: PoolError, label: str) -> None:
    pools, telemetry = measured(error)

    with pytest.raises(type(error)):
        pools.begin_create(SPEC)

    labels = {"controller": CONTROLLER, "method": "Create", "provider": "azure", "error": label}
    assert error_label(error) == label
    assert telemetry.registry.get_sample_value("karpenter_cloudprovider_errors_total", labels) == 1


def test_lease_shows_who_leads() -> None:
    telemetry = OperatorTelemetry(WallClock())
    labels = {"name": "ef60f9b0.io"}

    telemetry.leases.leads("ef60f9b0.io", False)
    before = telemetry.registry.get_sample_value("leader_election_master_status", labels)
    telemetry.leases.leads("ef60f9b0.io", True)
    telemetry.leases.read_before_renewal("ef60f9b0.io")

    assert before == 0
    assert telemetry.registry.get_sample_value("leader_election_master_status", labels) == 1
    assert telemetry.registry.get_sample_value("leader_election_slowpath_total", labels) == 1


def test_process_begins_with_what_the_log_holds() -> None:
    log = MemoryEventLog(lambda: lives.START)
    telemetry = OperatorTelemetry(WallClock())
    lives.write(log, lives.READY)

    telemetry.seed(log)

    value = telemetry.registry.get_sample_value
    assert value("kaito_workspace_condition", {"type": "WorkspaceReady", "status": "True"}) == 1


def test_log_that_cannot_be_read_stops_no_process(caplog: pytest.LogCaptureFixture) -> None:
    class Unreadable(MemoryEventLog):
        def histories(self, prefix: str = "") -> Any:
            raise LogUnavailable("the disk is gone")

    telemetry = OperatorTelemetry(WallClock())

    telemetry.seed(Unreadable(lambda: lives.START))

    assert "metrics begin without the log" in caplog.text


def test_verdicts_are_counted_with_bounded_labels() -> None:
    telemetry = OperatorTelemetry(WallClock())

    telemetry.admission.judged("CREATE", True, 200, 0.001)
    telemetry.admission.judged("something else", False, 400, 0.001)
    telemetry.admission.follow(lambda: datetime(2024, 4, 12, tzinfo=UTC))

    value = telemetry.registry.get_sample_value
    assert value("kaito_admission_total", {"operation": "CREATE", "allowed": "true", "code": "200"}) == 1
    assert value("kaito_admission_total", {"operation": "other", "allowed": "false", "code": "400"}) == 1
    assert value("kaito_admission_seconds_count") == 2
    assert value("kaito_webhook_certificate_expiry_timestamp_seconds") == 1712880000
