"""The stand-in provider: a Machine's launch, failure, registration and end, on virtual time."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from kaito.runtime.ports import DEPLOYMENTS, MACHINES, NODES, PODS, STATEFULSETS, Object
from simulator import profile
from simulator.instance_types import GPUS
from simulator.provisioner import Failure
from tests.simulator.worlds import TestBed, a_machine, a_workload

NAME = "ws000000001"
LAUNCHED_AT = 257.575
READY_AT = LAUNCHED_AT + 0.698
QUOTA = Failure(code="QuotaExceeded", message="Operation results in exceeding quota limits of Core.")


@pytest.fixture
def bed() -> TestBed:
    return TestBed()


def launched(bed: TestBed, **fields: Any) -> TestBed:
    """A Machine that has become Ready."""
    bed.cluster.create(MACHINES, a_machine(**fields))
    bed.run_until(lambda: bed.is_ready(MACHINES, NAME))
    return bed


def statuses(machine: Object) -> dict[str, str]:
    return {each["type"]: each["status"] for each in machine.get("status", {}).get("conditions", ())}


# --- launch


def test_finalizer_comes_with_the_create_call(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())

    bed.until(0.024)
    before = bed.machine()["metadata"].get("finalizers")
    bed.until(0.025)

    assert before is None
    assert bed.machine()["metadata"]["finalizers"] == ["karpenter.sh/termination"]


def test_other_finalizers_are_kept(bed: TestBed) -> None:
    machine = a_machine()
    machine["metadata"]["finalizers"] = ["example.com/mine"]
    bed.cluster.create(MACHINES, machine)

    bed.until(1)

    assert bed.machine()["metadata"]["finalizers"] == ["example.com/mine", "karpenter.sh/termination"]


def test_no_condition_until_the_launch_ends(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())

    bed.until(LAUNCHED_AT - 0.001)

    assert "conditions" not in bed.machine().get("status", {})
    assert bed.all(NODES) == []


def test_launched_and_ready_are_two_rows(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())

    bed.until(LAUNCHED_AT)
    first = bed.machine()
    bed.until(READY_AT - 0.001)
    unchanged = bed.machine()
    bed.until(READY_AT)
    second = bed.machine()

    assert statuses(first) == {"MachineLaunched": "True", "Ready": "Unknown"}
    assert "nodeName" not in first["status"]
    assert unchanged == first
    assert statuses(second) == {
        "MachineInitialized": "True",
        "MachineLaunched": "True",
        "MachineRegistered": "True",
        "Ready": "True",
    }
    assert second["status"]["nodeName"] == bed.node()["metadata"]["name"]


def test_conditions_carry_their_times(bed: TestBed) -> None:
    launched(bed)

    assert bed.condition(bed.machine(), "MachineLaunched")["lastTransitionTime"] == "2024-04-05T18:34:16Z"
    assert bed.condition(bed.machine(), "Ready")["lastTransitionTime"] == "2024-04-05T18:34:17Z"


def test_names_are_those_of_aks(bed: TestBed) -> None:
    launched(bed)

    machine, node = bed.machine(), bed.node()
    found = re.fullmatch(rf"aks-{NAME}-(\d{{8}})-vmss000000", node["metadata"]["name"])
    assert found
    assert machine["status"]["providerID"] == node["spec"]["providerID"]
    assert re.fullmatch(
        r"azure:///subscriptions/[0-]+/resourceGroups/mc_\w+/providers/Microsoft.Compute"
        rf"/virtualMachineScaleSets/aks-{NAME}-{found[1]}-vmss/virtualMachines/0",
        machine["status"]["providerID"],
    )
    assert machine["metadata"]["annotations"]["karpenter.sh/linked"] == machine["status"]["providerID"]


def test_node_carries_labels_and_taints(bed: TestBed) -> None:
    launched(bed)

    node, machine = bed.node(), bed.machine()
    expected = {
        "apps": "falcon-7b",
        "kaito.sh/workspace": "w",
        "kaito.sh/workspacenamespace": "default",
        "kaito.sh/machine-type": "gpu",
        "karpenter.sh/provisioner-name": "default",
        "karpenter.sh/registered": "true",
        "karpenter.sh/initialized": "true",
        "node.kubernetes.io/instance-type": "Standard_NC12s_v3",
        "agentpool": NAME,
        "kubernetes.azure.com/agentpool": NAME,
    }
    assert expected.items() <= node["metadata"]["labels"].items()
    assert node["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    assert node["metadata"]["finalizers"] == ["karpenter.sh/termination"]
    (owner,) = node["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Machine", NAME, machine["metadata"]["uid"])


def test_machine_labels_win_on_the_node(bed: TestBed) -> None:
    launched(bed, labels={"kaito.sh/workspace": "w", "karpenter.sh/provisioner-name": "other"})

    assert bed.node()["metadata"]["labels"]["karpenter.sh/provisioner-name"] == "other"


@pytest.mark.parametrize("labels", [{}, {"karpenter.sh/provisioner-name": "default"}])
def test_machines_of_others_are_left_alone(bed: TestBed, labels: dict[str, str]) -> None:
    created = bed.cluster.create(MACHINES, a_machine(labels=labels))

    bed.engine.run()

    assert bed.machine() == created


def test_size_without_gpu_takes_the_cpu_time(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine(instance_type="Standard_D4s_v3"))

    when = bed.run_until(lambda: bed.all(NODES) != [])
    bed.engine.run()

    assert when == pytest.approx(0.025 + 3.55 + 90 + 14)
    assert bed.node()["metadata"]["labels"]["kaito.sh/machine-type"] == "cpu"
    assert bed.node()["status"]["capacity"] == {"cpu": "4", "pods": "110"}


def test_polling_decides_when_the_end_is_seen(bed: TestBed) -> None:
    quick = profile.load("reference-run").with_values({"machine.poll_interval_seconds": 1})
    bed = TestBed(quick)
    bed.cluster.create(MACHINES, a_machine())

    when = bed.run_until(lambda: bed.all(NODES) != [])

    assert when == pytest.approx(0.025 + 3.55 + 225 + 14)


def test_machines_launch_side_by_side(bed: TestBed) -> None:
    for number in range(3):
        bed.cluster.create(MACHINES, a_machine(f"ws00000000{number}"))

    bed.until(READY_AT)

    assert all(bed.is_ready(MACHINES, f"ws00000000{number}") for number in range(3))
    assert len({node["metadata"]["name"] for node in bed.all(NODES)}) == 3


# --- the GPU plugin


def test_gpus_appear_after_the_plugin_delay(bed: TestBed) -> None:
    launched(bed)

    before = bed.gpus()
    when = bed.run_until(lambda: bed.gpus() > 0)

    assert before == 0
    assert when == pytest.approx(READY_AT + 1.017)
    assert bed.node()["status"]["capacity"]["nvidia.com/gpu"] == "2"
    assert bed.node()["status"]["capacity"]["cpu"] == "12"


@pytest.mark.parametrize("instance_type", sorted(GPUS))
def test_every_gpu_size_offers_its_gpus(instance_type: str) -> None:
    bed = TestBed()
    bed.cluster.create(MACHINES, a_machine(instance_type=instance_type))

    bed.engine.run()

    assert bed.gpus() == GPUS[instance_type] > 0


@pytest.mark.parametrize("missing", ["kaito.sh/machine-type", "karpenter.sh/provisioner-name"])
def test_plugin_runs_only_where_selected(bed: TestBed, missing: str) -> None:
    launched(bed)
    bed.cluster.patch(NODES, bed.node()["metadata"]["name"], {"metadata": {"labels": {missing: None}}})

    bed.engine.run()

    assert bed.gpus() == 0


# --- failure


def test_failure_shows_as_launch_failed() -> None:
    bed = TestBed(failures=lambda machine, attempt: QUOTA)
    bed.cluster.create(MACHINES, a_machine())

    when = bed.run_until(lambda: bed.machine().get("status") not in (None, {}))

    assert when == pytest.approx(0.025 + 3.55)
    machine = bed.machine()
    launch = bed.condition(machine, "MachineLaunched")
    assert (launch["status"], launch["reason"]) == ("False", "LaunchFailed")
    assert launch["message"] == "QuotaExceeded: Operation results in exceeding quota limits of Core."
    for later in ("MachineRegistered", "MachineInitialized", "Ready"):
        told = bed.condition(machine, later)
        assert (told["status"], told["reason"]) == ("False", "MachineNotLaunched")
        assert told["message"] == "Machine is not launched"


def test_long_provider_text_is_cut() -> None:
    wordy = Failure(code="AllocationFailed", message="x" * 2000)
    bed = TestBed(failures=lambda machine, attempt: wordy)
    bed.cluster.create(MACHINES, a_machine())

    bed.until(60)

    assert len(bed.condition(bed.machine(), "MachineLaunched")["message"]) == 800


def test_attempts_back_off_to_a_minute() -> None:
    asked: list[float] = []
    beds: list[TestBed] = []

    def failing(machine: Object, attempt: int) -> Failure:
        asked.append(beds[0].seconds())
        assert attempt == len(asked)
        return QUOTA

    beds.append(TestBed(failures=failing))
    beds[0].cluster.create(MACHINES, a_machine())
    beds[0].until(400)

    gaps = [round(later - earlier - 3.55, 3) for earlier, later in itertools.pairwise(asked)]
    assert gaps[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failure_may_set_its_own_retry() -> None:
    throttled = Failure(code="Throttled", message="later", delay_seconds=5, retry_seconds=100)
    bed = TestBed(failures=lambda machine, attempt: throttled if attempt == 1 else None)
    bed.cluster.create(MACHINES, a_machine())

    when = bed.run_until(lambda: bed.all(NODES) != [])

    assert when == pytest.approx(0.025 + 3.55 + 5 + 100 + 3.55 + 240 + 14)


def test_failure_heals_without_a_touch() -> None:
    bed = TestBed(failures=lambda machine, attempt: QUOTA if attempt < 3 else None)
    launched(bed)

    bed.engine.run()

    assert set(statuses(bed.machine()).values()) == {"True"}
    assert all("message" not in each for each in bed.machine()["status"]["conditions"])
    assert bed.gpus() == 2


def test_launch_after_failure_opens_later_steps() -> None:
    bed = TestBed(failures=lambda machine, attempt: QUOTA if attempt < 2 else None)
    bed.cluster.create(MACHINES, a_machine())

    bed.run_until(lambda: bed.all(NODES) != [])

    assert statuses(bed.machine()) == {"MachineLaunched": "True", "Ready": "Unknown"}


def test_repeated_failure_keeps_its_time() -> None:
    """Only Ready moves: it is set False for the launch and then for the steps that need it."""
    bed = TestBed(failures=lambda machine, attempt: QUOTA)
    bed.cluster.create(MACHINES, a_machine())
    bed.until(30)
    before = bed.machine()

    bed.until(300)

    for type_ in ("MachineLaunched", "MachineRegistered", "MachineInitialized"):
        assert bed.condition(bed.machine(), type_) == bed.condition(before, type_)


# --- the end


def with_workload(bed: TestBed) -> TestBed:
    launched(bed)
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.run_until(lambda: bed.ready_replicas() == 1)
    return bed


def test_machine_goes_as_in_the_reference_run(bed: TestBed) -> None:
    with_workload(bed)
    begun, node = bed.seconds(), bed.node()["metadata"]["name"]
    bed.cluster.delete(MACHINES, NAME)

    drained = bed.run_until(lambda: all(pod["spec"].get("nodeName") != node for pod in bed.all(PODS)))
    node_gone = bed.run_until(lambda: bed.all(NODES) == [])
    gone = bed.run_until(lambda: bed.find(MACHINES, NAME) is None)

    assert drained - begun == pytest.approx(30)
    assert node_gone - begun == pytest.approx(30.463 + 32.604)
    assert gone - begun == pytest.approx(63.917)


def test_leaving_node_is_cordoned_at_once(bed: TestBed) -> None:
    with_workload(bed)
    bed.cluster.delete(MACHINES, NAME)

    bed.until(bed.seconds())

    node = bed.node()
    assert node["spec"]["unschedulable"] is True
    assert "deletionTimestamp" in node["metadata"]
    exclusion = "node.kubernetes.io/exclude-from-external-load-balancers"
    assert node["metadata"]["labels"][exclusion] == "karpenter"


def test_idle_node_drains_without_grace(bed: TestBed) -> None:
    launched(bed)
    begun = bed.seconds()
    bed.cluster.delete(MACHINES, NAME)

    gone = bed.run_until(lambda: bed.find(MACHINES, NAME) is None)

    assert gone - begun == pytest.approx(63.917 - 30)


def test_namesake_of_an_evicted_pod_is_spared(bed: TestBed) -> None:
    launched(bed)
    bed.cluster.create(STATEFULSETS, a_workload())
    bed.run_until(lambda: bed.ready_replicas(STATEFULSETS) == 1)
    bed.cluster.delete(MACHINES, NAME)
    bed.until(bed.seconds() + 10)
    bed.cluster.delete(PODS, "w-0", grace_period_seconds=0)
    bed.until(bed.seconds() + 1)
    namesake = bed.pod()["metadata"]["uid"]

    bed.engine.run()

    assert bed.pod()["metadata"]["uid"] == namesake


def test_pod_that_pulls_needs_no_grace(bed: TestBed) -> None:
    launched(bed)
    bed.cluster.create(DEPLOYMENTS, a_workload())
    bed.run_until(lambda: any(pod["spec"].get("nodeName") for pod in bed.all(PODS)))
    begun = bed.seconds()
    bed.cluster.delete(MACHINES, NAME)

    gone = bed.run_until(lambda: bed.find(MACHINES, NAME) is None)

    assert gone - begun == pytest.approx(63.917 - 30)


def test_delete_while_launching_waits_for_its_end(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())
    bed.until(100)
    bed.cluster.delete(MACHINES, NAME)

    node_seen = bed.run_until(lambda: any(" CREATE Node " in line for line in bed.history))
    gone = bed.run_until(lambda: bed.find(MACHINES, NAME) is None)
    bed.engine.run()

    assert node_seen == pytest.approx(LAUNCHED_AT)
    assert gone == pytest.approx(LAUNCHED_AT + 32.604)
    assert bed.all(NODES) == []


def test_delete_between_attempts_begins_at_once() -> None:
    bed = TestBed(failures=lambda machine, attempt: QUOTA)
    bed.cluster.create(MACHINES, a_machine())
    bed.until(200)
    begun = bed.seconds()
    bed.cluster.delete(MACHINES, NAME)

    gone = bed.run_until(lambda: bed.find(MACHINES, NAME) is None)
    bed.engine.run()

    assert gone - begun <= 3.55 + 32.604
    assert bed.engine.peek() is None


def test_delete_before_the_create_call_leaves_nothing(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())
    bed.until(0.01)
    bed.cluster.delete(MACHINES, NAME)

    bed.engine.run()

    assert bed.all(MACHINES) == bed.all(NODES) == []


def test_same_name_again_is_another_machine(bed: TestBed) -> None:
    bed.cluster.create(MACHINES, a_machine())
    bed.until(0.01)
    bed.cluster.delete(MACHINES, NAME)
    bed.cluster.create(MACHINES, a_machine())

    bed.engine.run()

    assert bed.is_ready(MACHINES, NAME)
    assert len(bed.all(NODES)) == 1


def test_foreign_finalizer_holds_the_machine(bed: TestBed) -> None:
    launched(bed)
    finalizers = [*bed.machine()["metadata"]["finalizers"], "example.com/mine"]
    bed.cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": finalizers}})
    bed.cluster.delete(MACHINES, NAME)

    bed.engine.run()

    assert bed.machine()["metadata"]["finalizers"] == ["example.com/mine"]
    assert bed.all(NODES) == []


def test_deleted_node_takes_its_machine_along(bed: TestBed) -> None:
    launched(bed)
    bed.cluster.delete(NODES, bed.node()["metadata"]["name"])

    bed.engine.run()

    assert bed.all(MACHINES) == bed.all(NODES) == []


def test_vanished_node_does_not_block_the_end(bed: TestBed) -> None:
    launched(bed)
    node = bed.node()["metadata"]["name"]
    bed.cluster.patch(NODES, node, {"metadata": {"finalizers": []}})
    bed.cluster.delete(NODES, node)
    bed.engine.run()

    bed.cluster.delete(MACHINES, NAME)
    bed.engine.run()

    assert bed.all(MACHINES) == bed.all(NODES) == []
