"""What a PUT may ask for, and what each fault of it is answered with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.azure.refusals import Refusal
from simulator.azure.requests import read
from tests.simulator.azure.clouds import SIZE


def body(**properties: Any) -> dict[str, Any]:
    return {"properties": {"vmSize": SIZE, **properties}}


def refusal(name: str, document: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(name, document)
    return caught.value


@pytest.mark.parametrize("name", ["a", "ws0123456789", "z9"])
def test_fitting_names_are_taken(name: str) -> None:
    assert read(name, body()).vm_size == SIZE


@pytest.mark.parametrize("name", ["", "1ws", "ws-1", "Ws1", "ws01234567890", "ws1\n", "wä"])
def test_other_names_are_refused(name: str) -> None:
    found = refusal(name, body())

    assert (found.status, found.complaint.code) == (400, "InvalidParameter")
    assert "agentPool.name" in found.complaint.message


@pytest.mark.parametrize("disk", [0, 30, 64, 2048])
def test_disks_in_range_are_taken(disk: int) -> None:
    assert read("ws1", body(osDiskSizeGB=disk)).os_disk_gb == disk


@pytest.mark.parametrize("disk", [-2147483648, -1, 1, 29, 2049])
def test_disks_out_of_range_are_refused(disk: int) -> None:
    assert "osDiskSizeGB" in refusal("ws1", body(osDiskSizeGB=disk)).complaint.message


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"vmSize": ""}, "InvalidParameter"),
        ({"vmSize": "NC12"}, "InvalidParameter"),
        ({"vmSize": 7}, "InvalidParameter"),
        ({"count": -1}, "InvalidParameter"),
        ({"count": 1001}, "InvalidParameter"),
        ({"count": "1"}, "InvalidRequestContent"),
        ({"count": True}, "InvalidRequestContent"),
        ({"osDiskSizeGB": 2**31 + 1}, "InvalidRequestContent"),
        ({"mode": "Master"}, "InvalidParameter"),
        ({"type": "AvailabilitySet"}, "InvalidParameter"),
        ({"osType": "Windows"}, "InvalidParameter"),
        ({"nodeLabels": {"-a": "b"}}, "InvalidParameter"),
        ({"nodeLabels": {"a": "b" * 64}}, "InvalidParameter"),
        ({"nodeLabels": {"kubernetes.azure.com/x": "y"}}, "InvalidParameter"),
        ({"nodeLabels": {"a": 1}}, "InvalidRequestContent"),
        ({"nodeLabels": ["a"]}, "InvalidRequestContent"),
        ({"nodeTaints": ["sku=gpu"]}, "InvalidParameter"),
        ({"nodeTaints": ["sku=gpu:Sometimes"]}, "InvalidParameter"),
        ({"nodeTaints": "sku=gpu:NoSchedule"}, "InvalidRequestContent"),
        ({"tags": {"kaito.sh/machine": "x"}}, "InvalidTagNameCharacters"),
        ({"tags": {"": "x"}}, "InvalidTagNameCharacters"),
        ({"tags": {"a": "b" * 257}}, "InvalidTagValue"),
        ({"tags": {f"t{n}": "x" for n in range(51)}}, "InvalidParameter"),
        ({"availabilityZones": ["4"]}, "InvalidParameter"),
        ({"scaleSetPriority": "Cheap"}, "InvalidParameter"),
    ],
)
def test_each_fault_is_named(properties: dict[str, Any], code: str) -> None:
    found = refusal("ws1", body(**properties))

    assert (found.status, found.complaint.code) == (400, code)


def test_spot_pool_is_marked_by_the_service() -> None:
    asked = read("ws1", body(scaleSetPriority="Spot", nodeTaints=["sku=gpu:NoSchedule"]))

    assert asked.spot
    assert asked.labels == {"kubernetes.azure.com/scalesetpriority": "spot"}
    assert asked.taints == ("sku=gpu:NoSchedule", "kubernetes.azure.com/scalesetpriority=spot:NoSchedule")


def test_spot_pool_is_read_back_unchanged() -> None:
    once = read("ws1", body(scaleSetPriority="Spot"))

    again = read(
        "ws1",
        body(scaleSetPriority="Spot", nodeLabels=dict(once.labels), nodeTaints=list(once.taints)),
    )

    assert again == once


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("vmSize", "count", "osDiskSizeGB", "mode", "nodeLabels", "nodeTaints", "tags", "availabilityZones")


@given(
    name=st.text(max_size=14),
    document=JSON | st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from(FIELDS), JSON)}),
)
def test_bodies_are_read_or_refused(name: str, document: Any) -> None:
    try:
        status = 200 if read(name, document).vm_size else 0
    except Refusal as found:
        status = found.status

    assert status in (200, 400)
