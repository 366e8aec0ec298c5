"""`/metrics` as Prometheus asks for it, and the page that documents every one of them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from kaito.clock import WallClock
from kaito.kube.transport import Exchange
from kaito.manager.controller import Controller
from kaito.runtime.pools import Pool, PoolUnanswered
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.workqueue import Outcome
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry, Telemetry
from store.memory import MemoryEventLog
from tests.kaito import lives
from tests.kaito.live import LiveCluster
from tests.kaito.telemetry.serving import Served
from tests.kaito.telemetry.worlds import World

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
DONE = Reconciled(Outcome.SUCCESS)
LIBRARY = ("python_", "process_")


def used() -> list[Telemetry]:
    """Both processes after a run, with everything in them that has labels."""
    world = World(1).run()
    for telemetry in (world.operator, world.provisioner):
        use(telemetry)
    world.operator.admission.judged("CREATE", True, 200, 0.1)
    with suppress(PoolUnanswered):
        world.provisioner.pools.measured(NoCloud(), "machine", WallClock()).list()
    return [world.operator, world.provisioner]


def use(telemetry: OperatorTelemetry | ProvisionerTelemetry) -> None:
    """What both processes do."""
    telemetry.leases.leads("kaito", True)
    telemetry.requests.exchanged(Exchange("GET", 200, 0.1, 0, 10, repeated=True))
    controller = Controller("machine", {}, lambda *_: [], lambda key: DONE, WallClock())
    telemetry.controllers.watch(controller)
    controller.durations.worked(0.1)
    telemetry.recorder(LiveCluster(), "test")


class NoCloud:
    def list(self) -> list[Pool]:
        raise PoolUnanswered("nobody there")


def test_page_is_what_prometheus_reads() -> None:
    telemetry = OperatorTelemetry(WallClock())
    telemetry.observed(MemoryEventLog(lambda: lives.START)).append(
        lives.STREAM, lives.READY, expected_version=0
    )

    with Served(telemetry.metrics_application()) as served:
        plain, modern = served.get("/metrics"), served.get("/metrics", {"Accept": OPEN_METRICS})

    families = {family.name: family for family in text_string_to_metric_families(plain.text)}
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert families["kaito_workspace_condition"].type == "gauge"
    assert "process_resident_memory_bytes" in families
    assert modern.content_type.startswith("application/openmetrics-text")
    assert "kaito_log_position" in {family.name for family in open_metrics(modern.text)}
    assert "_created" not in plain.text + modern.text


def test_each_process_has_a_registry_of_its_own() -> None:
    first, second = OperatorTelemetry(WallClock()), OperatorTelemetry(WallClock())

    first.observed(MemoryEventLog(lambda: lives.START)).append(lives.STREAM, lives.READY, expected_version=0)

    assert first.registry.get_sample_value("kaito_log_append_seconds_count") == 1
    assert second.registry.get_sample_value("kaito_log_append_seconds_count") == 0


def test_no_name_becomes_a_label() -> None:
    samples = [sample for each in used() for metric in each.registry.collect() for sample in metric.samples]

    values = {value for sample in samples for value in sample.labels.values()}
    assert len(samples) > 300
    assert not [value for value in values if re.search(r"\bw\d\b|^ws[0-9a-f]{9}|[0-9a-f]{8}-", value)]


def labels_of(metric: Metric) -> set[str]:
    return {label for sample in metric.samples for label in sample.labels} - {"le"}


@pytest.fixture(scope="module")
def documented() -> dict[str, set[str]]:
    """Every metric of the page's tables, with its labels."""
    rows = re.findall(r"^\| `([a-z_]+)` \|([^|]*)\|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: set(re.findall(r"`([a-z_]+)`", labels)) for name, labels in rows}


def test_page_documents_every_metric_and_no_other(documented: dict[str, set[str]]) -> None:
    exported: dict[str, set[str]] = {}
    for telemetry in used():
        for metric in telemetry.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            if not name.startswith(LIBRARY):
                exported.setdefault(name, set()).update(labels_of(metric))

    assert documented == exported
