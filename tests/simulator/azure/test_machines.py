"""Virtual machines: what they are called, what they cost, how they are evicted, and the Nodes they become."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kaito.runtime.pools import PoolState
from kaito.runtime.ports import NODES, Object, Resource
from simulator.azure.arm import VirtualArm
from simulator.azure.joining import GONE_AFTER_SECONDS, NOT_READY_AFTER_SECONDS, NodeJoiner, taint_of
from simulator.azure.loading import from_section
from simulator.azure.scripts import Fail
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.nodes import GpuPlugin, NodeLife, allocatable_gpus
from simulator.process import Surroundings, condition
from simulator.randomness import Generators
from tests.simulator.azure.clouds import CREATE_SECONDS, LATENCIES, START, Cloud, a_spec

NODE_WAIT_SECONDS = 14.0
LABELS = {
    "kaito.sh/workspace": "falcon",
    "kaito.sh/machine-type": "gpu",
    "karpenter.sh/provisioner-name": "default",
}


class Bed:
    """A virtual cluster whose nodes come from a virtual ARM, and the processes that make them usable."""

    def __init__(self, section: dict[str, Any] | None = None) -> None:
        self.engine = Engine(START)
        self.history: list[str] = []
        self.cluster = Cluster(self.engine.now, 1, admit=[self._record])
        latencies, generators = LATENCIES, Generators(1)
        self.arm = VirtualArm(self.engine, generators, latencies, from_section(section or {}))
        surroundings = Surroundings(self.cluster, self.engine, latencies, generators)
        NodeJoiner(surroundings, self.arm.service)
        NodeLife(surroundings)
        GpuPlugin(surroundings)

    def _record(self, operation: str, resource: Resource, new: Object | None, old: Object | None) -> None:
        self.history.append(f"{operation} {resource.kind}")

    def create(self, name: str = "ws1", **fields: Any) -> None:
        self.arm.begin_create(a_spec(name, **{"labels": LABELS, **fields}))

    def nodes(self) -> list[Object]:
        return self.cluster.list(NODES).items

    def ready(self) -> list[str]:
        """The status of the condition Ready of each node."""
        return [condition(node, "Ready")["status"] for node in self.nodes()]  # type: ignore[index]

    def until(self, seconds: float) -> None:
        self.engine.run(until=START + timedelta(seconds=seconds))

    def after(self, seconds: float) -> None:
        self.engine.run(until=self.engine.now() + timedelta(seconds=seconds))


# --- machines -------------------------------------------------------------------------------------------


def test_machine_begins_with_success() -> None:
    cloud = Cloud()

    cloud.created()

    (vm,) = cloud.arm.vms
    assert (vm.pool, vm.size, vm.gpus, vm.tags) == (
        "ws1",
        "Standard_NC12s_v3",
        2,
        {"kaito.sh_machine": "ws1"},
    )
    assert vm.began_at == START + timedelta(seconds=CREATE_SECONDS)
    assert vm.ended_at is None


def test_machine_costs_until_its_pool_is_gone() -> None:
    cloud = Cloud()
    cloud.created()
    cloud.advance(1000)
    cloud.arm.begin_delete("ws1")
    cloud.engine.run()
    (vm,) = cloud.arm.vms
    assert vm.ended_at is not None
    deleting = (vm.ended_at - START).total_seconds() - CREATE_SECONDS - 1000

    cloud.advance(5000)

    assert deleting > 20
    assert cloud.arm.gpu_seconds() == pytest.approx(2 * (1000 + deleting))
    assert cloud.arm.gpu_seconds(START + timedelta(seconds=CREATE_SECONDS + 10)) == pytest.approx(20)


def test_machine_of_failed_bootstrap_costs_too() -> None:
    cloud = Cloud()
    cloud.arm.fail(Fail(after_seconds=60, machine_stays=True), "put")
    cloud.create()

    cloud.advance(160)

    assert cloud.arm.gpu_seconds() == pytest.approx(200)


def test_name_and_id_tell_the_index() -> None:
    cloud = Cloud({"failures": {"index_above_zero": 1}})

    for number in range(20):
        cloud.create(f"ws{number}")
    cloud.advance(CREATE_SECONDS)

    assert all(vm.index > 0 for vm in cloud.arm.vms)
    assert all(vm.provider_id.endswith(f"{vm.scale_set}/virtualMachines/{vm.index}") for vm in cloud.arm.vms)
    assert all(int(vm.node_name[-6:], 36) == vm.index for vm in cloud.arm.vms)
    assert any(vm.index > 9 for vm in cloud.arm.vms)


@pytest.mark.parametrize(
    ("spelling", "group"), [("lower", "mc_kaito_kaito_eastus"), ("upper", "MC_KAITO_KAITO_EASTUS")]
)
def test_provider_id_has_the_node_group(spelling: str, group: str) -> None:
    cloud = Cloud({"cluster": {"resource_id_case": spelling}})

    cloud.created()

    assert f"/resourceGroups/{group}/providers/Microsoft.Compute/" in cloud.arm.vms[0].provider_id


# --- spot -----------------------------------------------------------------------------------------------


def spot_cloud(**spot: Any) -> Cloud:
    cloud = Cloud({"spot": spot})
    for number in range(20):
        cloud.put(f"ws{number}", scaleSetPriority="Spot")
    cloud.created("regular")
    return cloud


def test_evicted_machine_goes_after_the_notice() -> None:
    cloud = spot_cloud(together=0)
    told: list[str] = []
    cloud.service.machines.on_notice = lambda pool, vm: told.append(f"notice {pool.name}")
    cloud.service.machines.on_vm_gone = lambda pool, vm, why: told.append(f"{why} {vm.pool}")
    at = cloud.engine.now()

    cloud.arm.evict("ws3")
    cloud.advance(29)
    before = list(told)
    cloud.advance(1)

    assert before == ["notice ws3"]
    assert told == ["notice ws3", "evicted ws3"]
    assert [vm.ended_at for vm in cloud.arm.vms if vm.pool == "ws3"] == [at + timedelta(seconds=30)]
    assert cloud.arm.get("ws3").state == PoolState.SUCCEEDED


def test_eviction_takes_others_of_its_size() -> None:
    cloud = spot_cloud(together=0.9)

    cloud.arm.evict("ws0")
    cloud.advance(180 + 30)

    gone = {vm.pool for vm in cloud.arm.vms if vm.ended_at}
    assert 13 <= len(gone) <= 20
    assert "regular" not in gone


def test_spot_machines_are_evicted_by_and_by() -> None:
    cloud = spot_cloud(evictions_per_hour=0.5, together=0)

    cloud.advance(3600)

    gone = [vm for vm in cloud.arm.vms if vm.ended_at]
    assert 3 <= len(gone) <= 14
    assert all(vm.spot for vm in gone)


def test_ended_faults_evict_nobody() -> None:
    cloud = spot_cloud(evictions_per_hour=5, together=1)

    cloud.arm.end_faults()
    cloud.advance(36_000)

    assert not any(vm.ended_at for vm in cloud.arm.vms)


# --- nodes ----------------------------------------------------------------------------------------------


def test_node_joins_ready_and_with_gpus() -> None:
    bed = Bed()
    bed.create(taints=("sku=gpu:NoSchedule",), zones=("2",))

    bed.until(CREATE_SECONDS + NODE_WAIT_SECONDS - 0.001)
    before = bed.nodes()
    bed.after(5)

    (node,), (vm,) = bed.nodes(), bed.arm.vms
    assert before == []
    assert (node["metadata"]["name"], node["spec"]["providerID"]) == (vm.node_name, vm.provider_id)
    labels = node["metadata"]["labels"]
    assert {**labels, **LABELS, "agentpool": "ws1", "kubernetes.azure.com/agentpool": "ws1"} == labels
    assert labels["topology.kubernetes.io/zone"] == "eastus-2"
    assert labels["node.kubernetes.io/instance-type"] == "Standard_NC12s_v3"
    assert node["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    assert bed.ready() == ["True"]
    assert allocatable_gpus(node) == 2
    assert "CREATE Node" in bed.history


def test_deleted_pool_takes_its_node_along() -> None:
    bed = Bed()
    bed.create()
    bed.after(300)
    bed.arm.begin_delete("ws1")

    bed.after(600)

    assert bed.nodes() == []


def test_evicted_node_falls_silent_first() -> None:
    bed = Bed()
    bed.create()
    bed.after(300)

    bed.arm.evict("ws1")
    bed.after(30 + NOT_READY_AFTER_SECONDS - 1)
    while_running = bed.ready()
    bed.after(2)
    silent = bed.ready()
    bed.after(GONE_AFTER_SECONDS)

    assert (while_running, silent) == (["True"], ["Unknown"])
    assert bed.nodes() == []


def test_failed_bootstrap_joins_nothing() -> None:
    bed = Bed({"failures": {"bootstrap": 1}})
    bed.create()

    bed.after(3600)

    assert (len(bed.arm.vms), bed.nodes()) == (1, [])


def test_node_may_never_join() -> None:
    bed = Bed({"failures": {"node_never": 1}})
    bed.create()

    bed.after(86_400)

    assert bed.arm.get("ws1").state == PoolState.SUCCEEDED
    assert bed.nodes() == []


def test_node_may_join_late() -> None:
    late = {"distribution": "fixed", "value": 1000, "unit": "seconds", "source": "test", "mark": "assumed"}
    bed = Bed({"failures": {"node_late": 1, "node_late_by": late}})
    bed.create()

    bed.until(CREATE_SECONDS + NODE_WAIT_SECONDS + 999)
    before = len(bed.nodes())
    bed.after(2)

    assert (before, len(bed.nodes())) == (0, 1)


def test_node_may_join_twice() -> None:
    bed = Bed({"failures": {"node_twice": 1}})
    bed.create()

    bed.after(300)

    first, second = bed.nodes()
    assert first["metadata"]["labels"]["agentpool"] == second["metadata"]["labels"]["agentpool"]
    assert first["spec"]["providerID"] != second["spec"]["providerID"]
    bed.arm.begin_delete("ws1")
    bed.after(600)
    assert bed.nodes() == []


def test_node_of_a_machine_gone_before_never_joins() -> None:
    bed = Bed({"failures": {"node_late": 1, "node_twice": 1}})
    bed.create()
    bed.after(CREATE_SECONDS)
    bed.arm.begin_delete("ws1")

    bed.after(3600)

    assert "CREATE Node" not in bed.history


def test_ended_faults_let_nodes_join_in_time() -> None:
    bed = Bed({"failures": {"node_never": 1, "node_late": 1, "node_twice": 1, "index_above_zero": 1}})
    bed.arm.end_faults()
    bed.create()

    bed.after(CREATE_SECONDS + NODE_WAIT_SECONDS + 1)

    assert len(bed.nodes()) == 1
    assert bed.arm.vms[0].index == 0


@pytest.mark.parametrize(
    ("text", "taint"),
    [
        ("sku=gpu:NoSchedule", {"key": "sku", "value": "gpu", "effect": "NoSchedule"}),
        ("alone:NoExecute", {"key": "alone", "effect": "NoExecute"}),
        ("a.b/c=d:PreferNoSchedule", {"key": "a.b/c", "value": "d", "effect": "PreferNoSchedule"}),
    ],
)
def test_taint_is_read_from_its_text(text: str, taint: Object) -> None:
    assert taint_of(text) == taint
