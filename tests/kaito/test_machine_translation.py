"""What the provisioner reads out of Machines, nodes, pods and pools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.machines.translation import (
    disk_gb,
    machine_node,
    machine_object,
    node_pod,
    pool_reading,
)
from kaito.runtime.pools import CREATED_TAG, OWNER_TAG, OWNER_UID_TAG, Pool, PoolState
from statemachine.machine.limits import MachineLimits

NOW = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("storage", "asked"),
    [
        ("0", 0),
        ("", 0),
        ("nonsense", 0),
        ("-5Gi", 0),
        ("50Gi", 50),
        ("158Gi", 158),
        ("100Gi", 100),
        ("400", 400),
        ("1Gi", 30),
        ("30G", 30),
        ("50.2Gi", 51),
        ("5Ti", 2048),
        ("107374182400", 100),
    ],
)
def test_disk_is_whole_gib_within_bounds(storage: str, asked: int) -> None:
    assert disk_gb(storage) == asked


@given(st.text(max_size=20))
def test_disk_of_any_text_is_allowed(storage: str) -> None:
    assert disk_gb(storage) == 0 or 30 <= disk_gb(storage) <= 2048


def _machine(name: str = "ws000000001", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "creationTimestamp": "2024-04-05T18:29:58Z"}
    return {"metadata": metadata, "spec": spec}


def _requirement(*sizes: str) -> dict[str, Any]:
    return {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(sizes)}


def test_first_size_in_the_users_order() -> None:
    machine = _machine(requirements=[_requirement("Standard_NC6s_v3", "Standard_NC12s_v3")])

    assert machine_object(machine, MachineLimits()).vm_size == "Standard_NC6s_v3"


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (_machine(), "machine spec has no requirement for instance type"),
        (_machine("has-hyphen", requirements=[_requirement("x")]), "no agent pool may be named has-hyphen"),
        (_machine("ws00000000012", requirements=[_requirement("x")]), "no agent pool may be named"),
        (_machine("Capital", requirements=[_requirement("x")]), "no agent pool may be named Capital"),
    ],
)
def test_impossible_machine_is_refused(machine: dict[str, Any], said: str) -> None:
    assert said in machine_object(machine, MachineLimits()).refused


def test_requests_leave_storage_and_zero_out() -> None:
    requests = {"storage": "50Gi", "nvidia.com/gpu": "1", "cpu": "0"}
    machine = _machine(requirements=[_requirement("x")], resources={"requests": requests})

    found = machine_object(machine, MachineLimits())

    assert (found.requests, found.os_disk_gb, found.refused) == (("nvidia.com/gpu",), 50, "")


def test_empty_objects_are_read() -> None:
    assert machine_object({"metadata": {"name": "ws1"}}, MachineLimits()).uid == ""
    assert machine_node({"metadata": {"name": "n"}}, "u").ready is False


@pytest.mark.parametrize(
    ("pod", "stays"),
    [
        ({}, False),
        ({"owner": "DaemonSet"}, True),
        ({"owner": "Node"}, True),
        ({"owner": "ReplicaSet"}, False),
        ({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]}, True),
        ({"tolerations": [{"operator": "Exists"}]}, True),
        ({"tolerations": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]}, False),
    ],
)
def test_pods_that_a_drain_leaves(pod: dict[str, Any], stays: bool) -> None:
    owners = [{"kind": pod["owner"]}] if "owner" in pod else []
    object_ = {
        "metadata": {"name": "p", "namespace": "default", "ownerReferences": owners},
        "spec": {"nodeName": "n", "tolerations": pod.get("tolerations", [])},
    }

    found = node_pod(object_)

    assert found is not None
    assert found.stays is stays


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_ended_pod_is_none(phase: str) -> None:
    assert node_pod({"metadata": {"name": "p"}, "status": {"phase": phase}}) is None


@pytest.mark.parametrize(
    ("created", "read"),
    [
        ("2024-04-05T18:00:00+00:00", NOW - timedelta(minutes=30)),
        ("2024-04-05T19:00:00+00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_unreadable_or_future_age_is_unknown(created: str, read: datetime | None) -> None:
    tags = {OWNER_TAG: "ws1", OWNER_UID_TAG: "u", CREATED_TAG: created}

    found = pool_reading(Pool(name="ws1", state=PoolState.SUCCEEDED, tags=tags), NOW)

    assert (found.owner, found.owner_uid, found.created_at) == ("ws1", "u", read)
