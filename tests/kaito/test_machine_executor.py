"""The live reads before irreversible acts, and the collector's rounds, on a virtual cluster and cloud."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kaito.runtime.cache import Replaced
from kaito.runtime.machines.collector import Collector
from kaito.runtime.machines.executor import MachineExecutor
from kaito.runtime.machines.keys import FINALIZER
from kaito.runtime.pools import CREATED_TAG, OWNER_TAG, OWNER_UID_TAG, PoolUnanswered
from kaito.runtime.ports import MACHINES, NODES, PODDISRUPTIONBUDGETS, PODS, Object, Throttled
from kaito.runtime.settings import Settings
from kaito.runtime.targets import Target
from simulator import profile
from simulator.azure.arm import VirtualArm
from simulator.cluster import Cluster
from simulator.engine import Engine
from simulator.operator import Provisioner
from simulator.randomness import Generators
from simulator.replication import START
from statemachine.machine import commands as cmd
from statemachine.machine.observations import MachineObservation, MachineOutcome, PoolState
from statemachine.observations import Result
from store.memory import MemoryEventLog

NAME = "ws000000001"
SIZE = "Standard_NC12s_v3"


class Bench:
    def __init__(self) -> None:
        self.engine = Engine(START)
        self.cluster = Cluster(self.engine.now)
        self.arm = VirtualArm(self.engine, Generators(1), profile.load("reference-run"))
        self.executor = MachineExecutor(self.cluster, self.arm, self.engine)
        self.told: list[tuple[str, MachineObservation]] = []
        self.collector = Collector(self.cluster, self.arm, self._tell, self.engine)

    def _tell(self, name: str, told: MachineObservation) -> None:
        self.told.append((name, told))

    def machine(self, name: str = NAME, **metadata: Any) -> Object:
        body = {
            "apiVersion": "karpenter.sh/v1alpha5",
            "kind": "Machine",
            "metadata": {
                "name": name,
                "labels": {"kaito.sh/workspace": "w", "kaito.sh/workspacenamespace": "default"},
                "finalizers": [FINALIZER],
                **metadata,
            },
            "spec": {
                "machineTemplateRef": {"name": name},
                "requirements": [],
                "resources": {},
                "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            },
        }
        return self.cluster.create(MACHINES, body)

    def target(self, machine: Object) -> Target:
        return Target(MACHINES, machine["metadata"]["name"], machine["metadata"]["uid"], machine)

    def submit(self, machine: Object) -> MachineOutcome:
        uid = machine["metadata"]["uid"]
        command = cmd.SubmitPool(attempt=1, uid=uid, vm_size=SIZE, os_disk_gb=50)
        outcome = self.executor.execute(command, self.target(machine))
        assert outcome is not None
        return outcome

    def execute(self, command: cmd.MachineCommand, machine: Object) -> MachineOutcome | None:
        return self.executor.execute(command, self.target(machine))

    def pools(self) -> list[str]:
        return [pool.name for pool in self.arm.list() if pool.owner]

    def pass_time(self, **span: float) -> None:
        self.engine.run(until=self.engine.now() + timedelta(**span))


def test_pool_bears_tags_labels_and_taints() -> None:
    bench = Bench()
    machine = bench.machine()

    outcome = bench.submit(machine)

    pool = bench.arm.get(NAME)
    assert outcome.result is Result.DONE
    assert outcome.operation is not None
    assert (pool.tags[OWNER_TAG], pool.tags[OWNER_UID_TAG]) == (NAME, machine["metadata"]["uid"])
    assert pool.tags[CREATED_TAG].startswith("2024-04-05T18:29:58")
    assert pool.labels["kaito.sh/workspace"] == "w"
    assert pool.labels["kaito.sh/machine-type"] == "gpu"
    assert pool.labels["karpenter.sh/provisioner-name"] == "default"
    assert pool.vm_size == SIZE


def test_own_writes_are_seen_before_the_caches_show_them() -> None:
    """The informers never start, so that nothing but the write itself can tell the cache."""
    bench = Bench()
    machine = bench.machine(finalizers=[])
    log = MemoryEventLog(bench.engine.now)
    provisioner = Provisioner(bench.cluster, bench.engine, log, bench.arm, Settings(), Generators(1))
    for resource, store in provisioner.caches.items():
        page = bench.cluster.list(resource)
        store.apply(Replaced(tuple(page.items), page.resource_version))

    provisioner.reconcile(NAME)

    written = bench.cluster.get(MACHINES, NAME)
    assert written["metadata"]["finalizers"] == [FINALIZER]
    assert written["metadata"]["resourceVersion"] != machine["metadata"]["resourceVersion"]
    assert provisioner.caches[MACHINES].get(NAME) == written


def test_no_pool_for_a_machine_on_its_way_out() -> None:
    bench = Bench()
    machine = bench.machine()
    bench.cluster.delete(MACHINES, NAME)

    outcome = bench.submit(machine)

    assert (outcome.result, bench.pools()) == (Result.NOT_FOUND, [])


def test_no_pool_without_our_finalizer() -> None:
    bench = Bench()
    machine = bench.machine(finalizers=[])

    outcome = bench.submit(machine)

    assert (outcome.result, bench.pools()) == (Result.NOT_FOUND, [])


def test_foreign_pool_of_the_name_is_told_not_touched() -> None:
    bench = Bench()
    machine = bench.machine()
    bench.arm.add_pool(NAME, vm_size="Standard_D4s_v5")
    before = bench.arm.get(NAME)

    submitted = bench.submit(machine)
    deleted = bench.execute(cmd.DeletePool(), machine)

    assert deleted is not None
    assert submitted.pool is not None
    assert (submitted.result, deleted.result) == (Result.REFUSED, Result.REFUSED)
    assert submitted.pool.owner == ""
    assert bench.arm.get(NAME) == before
    assert {call.verb for call in bench.arm.journal} == {"get"}


def test_own_pool_is_never_put_twice() -> None:
    bench = Bench()
    machine = bench.machine()
    bench.submit(machine)

    again = bench.submit(machine)

    assert again.result is Result.REFUSED
    assert again.pool is not None
    assert again.pool.state is PoolState.CREATING
    assert [call.verb for call in bench.arm.journal].count("put") == 1


def test_finalizer_stays_while_the_pool_may_exist() -> None:
    bench = Bench()
    machine = bench.machine()
    bench.submit(machine)

    outcome = bench.execute(cmd.RemoveFinalizer(), machine)

    assert outcome is not None
    assert outcome.result is Result.REFUSED
    assert bench.cluster.get(MACHINES, NAME)["metadata"]["finalizers"] == [FINALIZER]


def test_finalizer_goes_with_the_last_pool() -> None:
    bench = Bench()
    machine = bench.machine(finalizers=[FINALIZER, "example.com/audit"])

    outcome = bench.execute(cmd.RemoveFinalizer(), machine)

    assert outcome is not None
    assert outcome.result is Result.DONE
    assert bench.cluster.get(MACHINES, NAME)["metadata"]["finalizers"] == ["example.com/audit"]


def test_ended_deletion_is_read_with_its_pool() -> None:
    bench = Bench()
    machine = bench.machine()
    bench.submit(machine)
    bench.pass_time(minutes=10)
    deletion = bench.execute(cmd.DeletePool(), machine)
    assert deletion is not None
    assert deletion.operation is not None
    bench.pass_time(minutes=10)

    outcome = bench.execute(cmd.ReadOperation(url=deletion.operation.url), machine)

    assert outcome is not None
    assert outcome.result is Result.NOT_FOUND


def test_blocked_eviction_names_the_budget() -> None:
    bench = Bench()
    machine = bench.machine()
    pod = {
        "metadata": {"name": "p", "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    uid = bench.cluster.create(PODS, pod, "default")["metadata"]["uid"]
    bench.cluster.patch(PODS, "p", {"status": pod["status"]}, "default", subresource="status")
    budget = {
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    bench.cluster.create(PODDISRUPTIONBUDGETS, budget, "default")
    counts = {"observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": 1, "expectedPods": 1}
    status = {"status": {**counts, "disruptionsAllowed": 0}}
    bench.cluster.patch(PODDISRUPTIONBUDGETS, "web", status, "default", subresource="status")

    outcome = bench.execute(cmd.EvictPod(namespace="default", name="p", uid=uid), machine)

    assert outcome is not None
    assert outcome.result is Result.REFUSED
    assert "web" in outcome.message


@pytest.mark.parametrize(
    "command", [cmd.RegisterNode(node="n"), cmd.CordonNode(node="n"), cmd.DeleteNode(node="n")]
)
def test_vanished_node_is_an_answer(command: cmd.MachineCommand) -> None:
    bench = Bench()

    assert bench.execute(command, bench.machine()) is None


# --- the collector ----------------------------------------------------------------------------------


def _orphan(bench: Bench) -> None:
    """A pool with our tag whose Machine was made to go without it."""
    machine = bench.machine()
    bench.submit(machine)
    bench.pass_time(minutes=10)
    bench.cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": []}})
    bench.cluster.delete(MACHINES, NAME)


def _rounds(bench: Bench, count: int) -> list[str]:
    deleted: list[str] = []
    for _ in range(count):
        bench.pass_time(minutes=2)
        deleted += bench.collector.collect().pools
    return deleted


def test_orphan_pool_goes_after_two_looks() -> None:
    bench = Bench()
    _orphan(bench)

    first, second = _rounds(bench, 1), _rounds(bench, 1)

    assert (first, second) == ([], [NAME])
    bench.pass_time(minutes=5)
    assert bench.pools() == []


def test_pool_that_lost_our_tag_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    _orphan(bench)
    untagged = replace(bench.arm.get(NAME), tags={})
    monkeypatch.setattr(bench.arm, "get", lambda name: untagged)

    assert _rounds(bench, 4) == []
    assert bench.pools() == [NAME]


def test_failed_list_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    _orphan(bench)

    def throttled(*args: Any, **kwargs: Any) -> Any:
        raise Throttled("too many requests")

    monkeypatch.setattr(bench.cluster, "list", throttled)

    assert _rounds(bench, 5) == []
    assert bench.pools() == [NAME]


def test_unanswered_cloud_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    _orphan(bench)

    def silent() -> Any:
        raise PoolUnanswered("no answer")

    monkeypatch.setattr(bench.arm, "list", silent)
    bench.pass_time(minutes=2)

    assert bench.collector.collect().failures == ("agent pools: no answer",)


def test_machine_back_in_time_keeps_its_pool() -> None:
    bench = Bench()
    _orphan(bench)
    _rounds(bench, 1)
    bench.machine()

    assert _rounds(bench, 3) == []
    assert bench.pools() == [NAME]


def test_foreign_pools_are_never_collected() -> None:
    bench = Bench()
    bench.arm.add_pool("wsffffffff", vm_size=SIZE)

    assert _rounds(bench, 40) == []


def test_vanished_pool_is_told_to_its_machine() -> None:
    bench = Bench()
    bench.machine()
    launched = {"conditions": [{"type": "MachineLaunched", "status": "True"}]}
    bench.cluster.patch(MACHINES, NAME, {"status": launched}, subresource="status")

    _rounds(bench, 5)

    name, told = bench.told[0]
    assert name == NAME
    assert isinstance(told, MachineOutcome)
    assert told.result is Result.NOT_FOUND


def test_stray_node_is_freed_and_deleted() -> None:
    bench = Bench()
    labels = {"kaito.sh/workspace": "w", "kubernetes.azure.com/agentpool": "wsgone"}
    metadata = {"name": "aks-wsgone", "labels": labels, "finalizers": [FINALIZER]}
    bench.cluster.create(NODES, {"metadata": metadata})

    _rounds(bench, 5)

    assert bench.cluster.list(NODES).items == []
