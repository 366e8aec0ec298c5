"""What is told of a process that grows, and of one that does not."""

from __future__ import annotations

import pytest

from tests.e2e.growth import MEBIBYTE, Sample, Samples
from tests.e2e.test_soak import is_bounded
from tests.e2e.usage import Usage


def samples(minutes: int, *, mebibytes_a_minute: float = 0.0, sockets_a_minute: float = 0.0) -> Samples:
    """Six a minute; half of the memory at the end of the first minute, as a process warms up."""
    taken = []
    for number in range(1, minutes * 6 + 1):
        at = number / 6
        usage = Usage(
            rss_bytes=int((min(at, 1.0) * 50 + 50 + mebibytes_a_minute * at) * MEBIBYTE),
            threads=20,
            descriptors=30 + int(sockets_a_minute * at),
            sockets=20 + int(sockets_a_minute * at),
            cpu_seconds=at,
        )
        taken.append(Sample(at * 60, usage))
    return Samples(taken)


def test_warm_up_is_no_growth() -> None:
    steady = samples(30)

    assert steady.slope() == pytest.approx(0.0, abs=1e-6)
    assert is_bounded(steady)
    assert steady.gained("sockets") == 0


def test_leak_of_memory_is_told() -> None:
    leaking = samples(30, mebibytes_a_minute=1.0)

    assert leaking.slope() == pytest.approx(1.0, rel=1e-3)
    assert not is_bounded(leaking)


def test_leak_of_sockets_is_told() -> None:
    leaking = samples(30, sockets_a_minute=1.0)

    assert leaking.gained("sockets") == leaking.gained("descriptors") >= 10
    assert leaking.gained("threads") == 0
