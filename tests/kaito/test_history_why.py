from __future__ import annotations

from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.history import why
from kaito.history.sentences import describe
from kaito.history.waits import BLOCKED_UNTIL, STEPS, TROUBLED_UNTIL
from statemachine import events as ev
from statemachine.limits import Limits
from statemachine.machine.events import MACHINE_EVENTS
from statemachine.state import BlockedReason, InferencePhase, InferenceReason
from store.records import StoredEvent
from tests.kaito import lives
from tests.kaito.lives import LIMITS, MACHINE, NODE, at

Events = tuple[StoredEvent, ...]

QUOTA = "Current Limit: 100, Current Usage: 96, Additional Required: 12"
WAITING: Events = lives.PROVISIONED[:3]
BLOCKED: Events = (*WAITING, lives.launch_failed(60, "QuotaExceeded", QUOTA, 660))
TIMED_OUT: Events = (
    *WAITING,
    ev.MachineWaitSlowed(at=at(241), slot=0, machine=MACHINE, elapsed_seconds=240),
    ev.MachineWaitTimedOut(at=at(901), slot=0, machine=MACHINE, elapsed_seconds=900),
)
CRASHING: Events = (
    *lives.DEPLOYED,
    ev.InferenceTroubled(
        at=at(500), reason="ContainerCrashLoopBackOff", message="pod x restarted 3 times; last exit: Error"
    ),
)
DEGRADED: Events = (
    *lives.READY,
    ev.InferenceDegraded(at=at(1000), ready=0, desired=1, reason="ReplicasNotReady", message="0 of 1 ready"),
)
NODE_LOST: Events = (*lives.READY, ev.NodeLost(at=at(1100), slot=0, node=NODE, cause="not ready"))
MACHINE_LOST: Events = (
    *lives.PROVISIONED,
    ev.MachineLost(at=at(300), slot=0, machine=MACHINE, cause="gone"),
)
TWICE_LOST: Events = (
    *MACHINE_LOST,
    lives.requested(301, attempt=2, machine="wsccc"),
    lives.made(302, machine="wsccc"),
    ev.MachineLost(at=at(310), slot=0, machine="wsccc", cause="gone"),
)

# The events, the seconds after the creation, and what the answer must say.
STATES: dict[str, tuple[Events, float, tuple[str, ...]]] = {
    "just created": (
        (lives.created(),),
        0.1,
        (
            "The first condition that is not True: MachineReady is Unknown since 18:30:00.000",
            "Waiting for a Machine for slot 0 to be requested",
            "  - the operator's next reconcile requests it",
        ),
    ),
    "requested": (
        lives.PROVISIONED[:2],
        0.5,
        (f"Waiting for Machine {MACHINE} in slot 0 to be created in the API",),
    ),
    "creation refused": (
        (
            *lives.PROVISIONED[:2],
            ev.MachineCreationRefused(at=at(1), slot=0, machine=MACHINE, message="denied", retry_at=at(30)),
        ),
        5,
        (
            "machineFailedCreation: denied",
            "whose creation is refused: denied",
            "the next attempt is at 18:30:30.000",
        ),
    ),
    "waiting for the machine": (
        WAITING,
        182,
        (
            "WorkspaceReady is Unknown since 18:30:00.000 (for 3m2s), workspacePending: waiting for res",
            f"Waiting for Machine {MACHINE} in slot 0 to be launched by its provider, since 18:30:01.000, "
            "for 3m1s so far. Usually it takes 4m32s (p50), at most 8m1s in 95 % of cases (p95).",
            "usable (Ready, with allocatable nvidia.com/gpu on a GPU size): MachineReady turns True",
            "  - at 18:34:01.000, after 4m, it is reported as slow (MachineProvisioningSlow)",
            "  - at 18:45:01.000 the limit of 15m turns MachineReady False (checkMachineStatusFailed)",
        ),
    ),
    "slow": (
        TIMED_OUT[:4],
        600,
        (
            "MachineProvisioningSlow: machine wsaaa is not ready after 240 s",
            "at 18:45:01.000 the limit of 15m",
        ),
    ),
    "at the limit": (WAITING, 901, ("at the next reconcile, for 18:45:01.000 is past, the limit",)),
    "operator away": (
        WAITING,
        2000,
        ("at the next reconcile, for 18:45:01.000 is past, the limit of 15m turns",),
    ),
    "timed out": (
        TIMED_OUT,
        1000,
        (
            "checkMachineStatusFailed: check machine status timed out. machine wsaaa is not ready.",
            "the limit of 15m has passed; the Machine may still become Ready, and that heals it",
        ),
    ),
    "blocked by quota": (
        BLOCKED,
        100,
        (
            f"MachineReady is False since 18:31:00.000 (for 40s), QuotaExceeded: {QUOTA}.",
            f"Waiting for Machine {MACHINE} in slot 0, blocked by QuotaExceeded: {QUOTA}, since 18:30:01.000",
            "  - the quota is raised, or cores counted against it are given back",
            "  - the next attempt is at 18:41:00.000",
        ),
    ),
    "launched": (
        lives.PROVISIONED[:4],
        255,
        (f"Machine {MACHINE} in slot 0 to become Ready: it is launched",),
    ),
    "node without GPU": (
        lives.PROVISIONED[:5],
        265,
        (
            f"Waiting for node {NODE} in slot 0 to be Ready and offer its GPUs",
            "  - the node is usable (Ready, with allocatable nvidia.com/gpu on a GPU size): Machine",
        ),
    ),
    "one of two slots": (
        lives.TWO_SLOTS[:8],
        250,
        ("Machine wsbbb in slot 1 to be launched", "MachineReady turns True"),
    ),
    "nodes ready": (lives.PROVISIONED, 272, ("Waiting for the Service and the workload to be created.",)),
    "nodes not chosen": (lives.PROVISIONED[:6], 272, ("Waiting for the choice of the worker nodes.",)),
    "deployed": (
        lives.DEPLOYED,
        280,
        (
            "The first condition that is not True: InferenceReady is Unknown",
            "Waiting for Deployment falcon to be ready, since 18:34:35.000, for 5s so far. "
            "Usually it takes 9m50s (p50), at most 20m in 95 % of cases (p95).",
            "  - at 19:04:35.000 the limit of 30m turns InferenceReady False (WorkspaceInferenceStatusF",
        ),
    ),
    "scheduling": (lives.READY[:-3], 279, ("to be ready; now for the pods to be placed on a node",)),
    "pulling": (lives.READY[:-2], 300, ("to be ready; now for the image to be pulled",)),
    "loading": (lives.READY[:-1], 800, ("to be ready; now for the model to be loaded",)),
    "crash loop": (
        CRASHING,
        600,
        (
            "ContainerCrashLoopBackOff: pod x restarted 3 times; last exit: Error.",
            "  - the container stays up; its own log says why it does not",
        ),
    ),
    "inference timed out": (
        (*lives.DEPLOYED, ev.InferenceWaitTimedOut(at=at(2075), elapsed_seconds=1800)),
        2100,
        (
            "WorkspaceInferenceStatusFailed: context deadline exceeded",
            "  - all replicas become ready after all, or the spec changes",
        ),
    ),
    "degraded": (DEGRADED, 1100, ("Waiting for Deployment falcon to be ready again: 0 of 1 ready",)),
    "ready": (
        lives.READY,
        1000,
        (
            "workspaceReady: workspace is ready.",
            "It took 16m15s from its creation.",
            "Nothing is waited for.",
        ),
    ),
    "ready at an uncertain time": (lives.IMPORTED[:10], 1100, ("It took 16m to 17m from its creation.",)),
    "node lost": (
        NODE_LOST,
        1160,
        (
            f"NodeNotReady: node {NODE} is not ready.",
            f"Waiting for node {NODE} in slot 0, which is not ready, since 18:48:20.000, for 1m so far.",
            "  - the node is usable again: MachineReady turns True",
        ),
    ),
    "somebody's node gone": (
        (
            lives.created(),
            ev.NodeAssigned(at=at(1), slot=0, node="theirs"),
            lives.usable(2, node="theirs"),
            *lives.chosen(2, ("theirs",)),
            ev.NodeLost(at=at(100), slot=0, node="theirs", cause="gone"),
        ),
        130,
        ("Waiting for node theirs in slot 0, which is gone", "next reconcile fills the slot otherwise"),
    ),
    "machine lost": (
        MACHINE_LOST,
        301,
        ("MachineLost: machine wsaaa is gone.", "Machine for slot 0 to be requested"),
    ),
    "lost again": (
        TWICE_LOST,
        312,
        ("the hold-off is over, which doubles with each attempt from 10s to 10m",),
    ),
    "spec refused": (
        (lives.created(), ev.SpecRefused(at=at(5), generation=1, message="no such preset")),
        60,
        (
            "Waiting for another spec: this one is refused and will not be tried again.",
            "  - a newer generation of the spec is accepted",
        ),
    ),
    "deleting": (
        lives.DELETING,
        2790,
        (
            f"workspaceDeleted: workspace is being deleted; waiting for 1 machine: {MACHINE}.",
            f"Waiting for Machine {MACHINE} to be gone, since 19:16:10.000, for 20s so far.",
        ),
    ),
    "released": (
        lives.DELETED[:-1],
        2834.5,
        (
            "Waiting for the object to go: no Machine is left",
            "  - our finalizer is removed, and those of others are",
        ),
    ),
    "gone": (
        lives.DELETED,
        3000,
        (
            "The Workspace is gone from the API since 19:17:15.000.",
            "Nothing of it is left.",
            "Nothing is waited for.",
        ),
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_answer_fits_the_state(name: str) -> None:
    events, seconds, expected = STATES[name]

    text = "\n".join(why.lines(why.explain(lives.chronicle(events), at(seconds))))

    for part in expected:
        assert part in text


@pytest.mark.parametrize("name", STATES)
def test_chain_starts_with_the_creation(name: str) -> None:
    events, seconds, _ = STATES[name]

    story = why.explain(lives.chronicle(events), at(seconds))

    positions = [link.position for link in story.chain]
    assert positions[0] == 1
    assert positions == sorted(set(positions))
    assert all(link.at <= at(seconds) and link.text for link in story.chain)


def positions(events: Events, seconds: float) -> list[int]:
    return [link.position for link in why.explain(lives.chronicle(events), at(seconds)).chain]


def test_chain_of_a_block_ends_with_the_failure() -> None:
    assert positions(BLOCKED, 100) == [1, 2, 3, 4]


def test_chain_of_inference_leaves_out_the_machine() -> None:
    # Creation, nodes chosen, workload created, trouble; not what the Machine went through before.
    assert positions(CRASHING, 600) == [1, 8, 10, 11]


def test_chain_after_a_loss_forgets_the_way_to_ready() -> None:
    assert positions(NODE_LOST, 1160) == [1, len(NODE_LOST)]


def test_chain_of_a_deletion_starts_anew() -> None:
    assert positions(lives.DELETING, 2790) == [1, len(lives.DELETING) - 1, len(lives.DELETING)]


def test_long_row_of_attempts_is_shortened() -> None:
    attempts = [
        lives.launch_failed(60 + index, "QuotaExceeded", f"attempt {index}", 61 + index)
        for index in range(20)
    ]

    story = why.explain(lives.chronicle((*WAITING, *attempts)), at(100))

    assert [(link.position, link.omitted) for link in story.chain[3:]] == [(4, 0), (5, 16), (22, 0), (23, 0)]
    assert "… 16 more events" in "\n".join(why.lines(story))


def test_long_chain_loses_its_middle() -> None:
    flaps: list[StoredEvent] = []
    for index in range(20):
        flaps.append(lives.launch_failed(60 + 2 * index, "Throttled", "slow down", None))
        flaps.append(ev.MachineLaunchResumed(at=at(61 + 2 * index), slot=0, machine=MACHINE))

    story = why.explain(lives.chronicle((*WAITING, *flaps)), at(200))

    assert len(story.chain) == why.MOST_LINKS
    assert sum(link.omitted for link in story.chain) + len(story.chain) == 3 + len(flaps)


def test_machine_that_outlives_its_workspace_is_named() -> None:
    chronicle = lives.chronicle(lives.IMPORTED, lives.PROVISIONER)

    during = "\n".join(why.lines(why.explain(chronicle.until(at(2790)), at(2790))))
    after = "\n".join(why.lines(why.explain(chronicle, at(3000))))

    assert f"Not known to be gone, and so perhaps still billed: Machine {MACHINE}." in during
    assert f"Waiting for Machine {MACHINE} to be gone" in during
    assert "Its last Machine was gone at 19:17:14.000, 1m4s later." in after


def test_imported_launch_is_known_from_the_machine() -> None:
    chronicle = lives.chronicle(lives.IMPORTED, lives.PROVISIONER).until(at(259))

    story = why.explain(chronicle, at(259))

    assert "become Ready: it is launched" in story.waits[0].what
    assert story.chain[-1].text == f"Provisioner: Machine {MACHINE} launched"


def test_usual_durations_are_those_of_the_limits() -> None:
    wait = why.explain(lives.chronicle(WAITING), at(100)).waits[0]

    assert (wait.usual_p50_seconds, wait.usual_p95_seconds) == (
        LIMITS.machine_usual_p50,
        LIMITS.machine_usual_p95,
    )
    assert wait.elapsed_seconds == 99


def test_only_a_vanished_node_is_given_up_at_once() -> None:
    story = why.explain(lives.chronicle(NODE_LOST), at(1160))

    assert not any("otherwise" in end for end in story.waits[0].ends)


def test_nobody_knows_how_long_a_lost_node_takes() -> None:
    wait = why.explain(lives.chronicle(NODE_LOST), at(1160)).waits[0]

    assert wait.usual_p50_seconds is None
    assert "Usually" not in wait.sentence()


def test_every_reason_has_its_way_out() -> None:
    assert set(BLOCKED_UNTIL) == set(BlockedReason)
    assert set(TROUBLED_UNTIL) == set(InferenceReason)
    assert set(STEPS) == set(InferencePhase)


@pytest.mark.parametrize("reason", list(BlockedReason))
def test_every_blocked_reason_is_explained(reason: BlockedReason) -> None:
    events = (*WAITING, lives.launch_failed(60, reason, "what the provider said", None))

    story = why.explain(lives.chronicle(events), at(100))

    assert BLOCKED_UNTIL[reason] in story.waits[0].ends
    assert f"blocked by {reason}: what the provider said" in story.waits[0].what


@pytest.mark.parametrize("reason", list(InferenceReason))
def test_every_inference_reason_is_explained(reason: InferenceReason) -> None:
    events = (*lives.DEPLOYED, ev.InferenceTroubled(at=at(500), reason=reason, message="what the pod said"))

    story = why.explain(lives.chronicle(events), at(600))

    assert TROUBLED_UNTIL[reason] in story.waits[0].ends


@given(st.sampled_from(sorted(STATES)), st.floats(0, 4000, allow_nan=False))
def test_every_instant_of_a_life_is_answered(name: str, seconds: float) -> None:
    chronicle = lives.chronicle(STATES[name][0]).until(at(seconds))

    story = why.explain(chronicle, at(seconds))

    assert story.summary
    assert story.chain
    assert why.lines(story)[0].startswith("default/falcon at 2024-04-05 ")


@pytest.mark.parametrize("type_", [*ev.WORKSPACE_EVENTS, *MACHINE_EVENTS], ids=lambda type_: type_.__name__)
def test_every_event_has_its_sentence(type_: type[StoredEvent]) -> None:
    event = example(type_)

    text = describe(event)

    assert text[0].isupper()
    assert "None" not in text


def example(type_: type[StoredEvent]) -> StoredEvent:
    """An event of this type with something in every field."""
    return type_(**{field.name: _VALUES[field.type] for field in msgspec.structs.fields(type_)})


_VALUES: dict[object, object] = {
    bool: True,
    int: 1,
    int | None: 1,
    float: 60.0,
    str: "Text",
    tuple[str, ...]: ("a", "b"),
    datetime: at(1),
    datetime | None: at(2),
    Limits: LIMITS,
}
