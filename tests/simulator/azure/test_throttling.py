"""Token buckets: how many calls pass, when the next one does, and what the refused ones are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.pools import PoolRefused
from simulator.azure.scenario import BucketSize
from simulator.azure.throttling import Bucket
from statemachine.state import BlockedReason
from tests.simulator.azure.clouds import Cloud

HUGE = {"burst": 10**6}


def throttled(**buckets: Any) -> Cloud:
    return Cloud({"throttling": {"enabled": True, **buckets}, "pool_limit": 1000})


def test_twenty_puts_pass_and_one_a_minute() -> None:
    cloud = throttled()
    for number in range(20):
        cloud.create(f"ws{number}")

    first = cloud.fault("more")
    cloud.advance(59)
    second = cloud.fault("more")
    cloud.advance(1)
    cloud.create("more")

    assert (first.code, first.retry_after_seconds) == ("Throttled", 60)
    assert second.retry_after_seconds == 1
    assert cloud.fault("evenmore").retry_after_seconds == 60


def test_lists_refill_by_the_second() -> None:
    cloud = throttled(arm_reads=HUGE)
    for _ in range(500):
        cloud.arm.list()

    with pytest.raises(PoolRefused) as caught:
        cloud.arm.list()
    cloud.advance(3)

    assert (caught.value.fault.code, caught.value.fault.retry_after_seconds) == ("Throttled", 1)
    for _ in range(3):
        cloud.arm.list()
    with pytest.raises(PoolRefused):
        cloud.arm.list()


@pytest.mark.parametrize(("bucket", "burst"), [("arm_reads", 250), ("arm_writes", 200), ("arm_deletes", 200)])
def test_arm_counts_by_kind_of_call(bucket: str, burst: int) -> None:
    cloud = throttled(put_pools=HUGE)
    calls = {
        "arm_reads": lambda n: cloud.arm.get("nodepool1"),
        "arm_writes": lambda n: cloud.create(f"ws{n}"),
        "arm_deletes": lambda n: cloud.arm.begin_delete(f"gone{n}"),
    }
    if bucket == "arm_deletes":
        for number in range(burst + 1):
            cloud.arm.add_pool(f"gone{number}")
    for number in range(burst):
        calls[bucket](number)

    with pytest.raises(PoolRefused) as caught:
        calls[bucket](burst)

    assert caught.value.fault.code == "SubscriptionRequestsThrottled"
    assert caught.value.fault.reason == BlockedReason.THROTTLED


def test_throttled_create_leaves_nothing() -> None:
    cloud = throttled(put_pools={"burst": 1})
    cloud.create("ws1")

    cloud.fault("ws2")

    assert "ws2" not in cloud.service.pools


def test_retry_after_can_be_withheld() -> None:
    cloud = throttled(put_pools={"burst": 1}, tells_retry_after=False)
    cloud.create("ws1")

    assert cloud.fault("ws2").retry_after_seconds is None


def test_nothing_is_counted_when_off() -> None:
    cloud = Cloud()

    for number in range(50):
        cloud.create(f"ws{number}")

    assert len(cloud.service.pools) == 51


@given(
    burst=st.integers(1, 30),
    per_second=st.floats(0.01, 30),
    gaps=st.lists(st.floats(0, 100), min_size=1, max_size=60),
)
def test_bucket_never_gives_more_than_it_got(burst: int, per_second: float, gaps: list[float]) -> None:
    clock = [0.0]
    bucket = Bucket(
        BucketSize(burst=burst, per_second=per_second, source="test", mark="assumed"), lambda: clock[0]
    )
    passed = 0

    for gap in gaps:
        clock[0] += gap
        passed += bucket.take() is None

    assert passed <= burst + per_second * clock[0] + 1e-6


@given(burst=st.integers(1, 5), per_second=st.floats(0.01, 30))
def test_told_wait_is_long_enough(burst: int, per_second: float) -> None:
    clock = [0.0]
    bucket = Bucket(
        BucketSize(burst=burst, per_second=per_second, source="test", mark="assumed"), lambda: clock[0]
    )
    while (wait := bucket.take()) is None:
        pass

    clock[0] += wait

    assert bucket.take() is None
