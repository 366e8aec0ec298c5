"""Nothing is leaked and nothing is bought twice, whatever fails: seeded worlds, and the checker itself.

The default suite runs a sample. The campaign, marked so, runs two thousand seeds of its own and asserts that
every family of faults has fired: a fault that never happens proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from simulator.chaos import Verdict, run_one
from simulator.faults import ANSWERS, CRASHES, LOG_FAMILIES, Port
from statemachine.state import BlockedReason

SAMPLE = 60
CAMPAIGN = 2000
CHUNK = 500
"""Seeds of one test of the campaign: enough for every fault to fire, and four of them for the processors."""

PORT_FAULTS = [
    *(f"{port}: {family}" for port in (Port.API, Port.CLOUD) for family in (*CRASHES, *ANSWERS)),
    *(f"{Port.LOG}: {family}" for family in LOG_FAMILIES),
]
INTERFERENCE = [
    f"interference: {act}"
    for act in (
        "stall_watches",
        "cut_watches",
        "forget_history",
        "kill",
        "drop_quota",
        "run_out",
        "delete_pool",
        "evict",
        "delete_node",
        "delete_machine",
        "strip_finalizer",
        "claim_foreign_name",
    )
]
FAILED_LAUNCHES = [f"PoolCreationFailed: {reason}" for reason in BlockedReason]
SEEN = [
    f"seen: {event}"
    for event in (
        "PoolFound",
        "PoolOperationEnded",
        "PoolCreationTimedOut",
        "PoolVanished",
        "NodesDuplicated",
        "NodeRegistrationTimedOut",
        "MachineRemovalRequested",
        "MachineVanished",
    )
]
OTHERS = ["recreated under the same name", "terminal verdict", "deletion: by script", "launch: hangs"]


def judge(seeds: Sequence[int]) -> Counter[str]:
    """Run the seeds; no law may be broken. What fired, all together."""
    fired: Counter[str] = Counter()
    broken: list[Verdict] = []
    for seed in seeds:
        verdict = run_one(seed)
        fired += verdict.fired
        broken += [verdict] * bool(verdict.violations)
    assert not broken, "\n".join(map(str, broken))
    return fired


def test_sample_of_worlds_conserves_pools() -> None:
    fired = judge(range(SAMPLE))

    assert [name for name in [*PORT_FAULTS, *INTERFERENCE, *FAILED_LAUNCHES] if not fired[name]] == []


def test_same_seed_gives_the_same_log() -> None:
    first, second = run_one(7), run_one(7)

    assert first == second
    assert first.events > 20


def test_other_seed_gives_another_log() -> None:
    assert run_one(7).digest != run_one(8).digest


def test_verdict_prints_the_line_that_repeats_it() -> None:
    assert run_one(7).repeat == "python -m simulator.chaos 7"


@pytest.mark.campaign
@pytest.mark.parametrize("first", range(10_000, 10_000 + CAMPAIGN, CHUNK))
def test_campaign_conserves_pools(first: int) -> None:
    fired = judge(range(first, first + CHUNK))

    families = [*PORT_FAULTS, *INTERFERENCE, *FAILED_LAUNCHES, *SEEN, *OTHERS]
    print(f"seeds {first}–{first + CHUNK - 1}:", dict(sorted(fired.items())))
    assert [name for name in families if not fired[name]] == []
