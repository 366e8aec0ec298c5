"""With the terms of election that are shipped, a process that was killed leads again within half a minute."""

from __future__ import annotations

import pytest

from tests.e2e.dooms import Doom, Kind, Point
from tests.e2e.lifecycles import Lifecycles
from tests.e2e.real_world import RealWorld
from tests.e2e.rules import AFTER, BEFORE, When

pytestmark = pytest.mark.real_server

READY_SECONDS = 30.0

MACHINES = "/apis/karpenter.sh/v1alpha5/machines"
POOL = "Microsoft.ContainerService/managedClusters/kaito/agentPools/…"


@pytest.mark.parametrize(
    ("when", "operator", "provisioner"),
    [
        (BEFORE, Kind("POST", MACHINES), Kind("PUT", POOL)),
        (AFTER, Kind("POST", MACHINES), Kind("PUT", POOL)),
        (AFTER, Kind("DELETE", f"{MACHINES}/…"), Kind("DELETE", POOL)),
    ],
    ids=["before-what-costs", "after-what-costs", "after-the-end-began"],
)
def test_killed_process_is_ready_again_in_time(
    world: RealWorld, when: When, operator: Kind, provisioner: Kind
) -> None:
    lives = Lifecycles(world)

    with (
        Doom(lives.operator, when, Point(operator, 1)) as first,
        Doom(lives.provisioner, when, Point(provisioner, 1)) as second,
    ):
        life = lives.live()

    print(f"ready again after {[f'{seconds:.1f} s' for seconds in lives.back_seconds]}")
    assert None not in (first.struck, second.struck)
    assert len(lives.back_seconds) == 2
    assert max(lives.back_seconds) <= READY_SECONDS
    assert life.puts == life.machines
    assert len(life.machines) == 1
