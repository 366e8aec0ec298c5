"""The fold: what events make of a Workspace, and what they may not do."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.limits import Limits
from statemachine.replay import advance, apply, fold
from statemachine.state import ConditionStatus, SlotPhase, Stage, Trouble, Workspace
from tests.builders import (
    a_creation,
    a_deletion,
    a_history,
    a_machine_name,
    a_provisioning,
    a_request,
    a_serving,
    a_workspace,
    at,
)
from tests.statemachine.story import said

HISTORIES = {
    "one node": a_history(),
    "four nodes": a_history(4),
    "slow": a_history(launch_seconds=600),
    "deleted": a_history(2, deleted=True),
}
every_history = pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())


def test_published_life_ends_ready() -> None:
    workspace = fold(a_history())

    assert said(workspace.machine_ready) == (
        "True",
        "installNodePluginsSuccess",
        "machines plugins have been installed successfully",
    )
    assert said(workspace.resource_ready) == (
        "True",
        "workspaceResourceStatusSuccess",
        "workspace resource is ready",
    )
    assert said(workspace.inference_ready) == (
        "True",
        "WorkspaceInferenceStatusSuccess",
        "Inference has been deployed successfully",
    )
    assert said(workspace.workspace_ready) == ("True", "workspaceReady", "workspace is ready")


def test_no_condition_was_ever_false() -> None:
    workspace, seen = Workspace(), set()

    for event in a_history():
        workspace = apply(workspace, event)
        seen |= {c.status for c in (workspace.machine_ready, workspace.workspace_ready)}

    assert ConditionStatus.FALSE not in seen


@every_history
def test_fold_equals_apply_by_apply(history: list[ev.WorkspaceEvent]) -> None:
    workspace = Workspace()

    for event in history:
        workspace = apply(workspace, event)

    assert workspace == fold(history)


@given(data=st.data(), history=st.sampled_from(list(HISTORIES.values())))
def test_fold_resumes_from_any_snapshot(data: st.DataObject, history: list[ev.WorkspaceEvent]) -> None:
    cut = data.draw(st.integers(0, len(history)))

    snapshot = fold(history[:cut])
    stored = msgspec.json.decode(msgspec.json.encode(snapshot), type=Workspace)

    assert fold(history[cut:], stored) == fold(history)


@every_history
def test_fold_leaves_its_start_alone(history: list[ev.WorkspaceEvent]) -> None:
    start = fold(history[:5])
    before = msgspec.json.encode(start)

    fold(history[5:], start)

    assert msgspec.json.encode(start) == before


def test_advance_changes_its_own_workspace() -> None:
    workspace = Workspace()

    advance(workspace, a_history())

    assert workspace == fold(a_history())


def test_nothing_folds_to_the_empty_workspace() -> None:
    assert fold([]) == Workspace()


# --- what a fold refuses ----------------------------------------------------------------------------


def test_event_before_creation_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="MachineRequested is not possible for Stage in state Absent"):
        fold([a_request()])


def test_second_creation_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="WorkspaceCreated is not possible for Stage in state Live"):
        fold([a_creation(), a_creation()])


def test_slot_beyond_the_count_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="slot 1 in state missing"):
        fold([a_creation(), a_request(slot=1)])


def test_negative_slot_is_illegal() -> None:
    with pytest.raises(IllegalTransition, match="slot -1 in state missing"):
        fold([a_creation(), a_request(slot=-1)])


def test_attempt_must_grow() -> None:
    lost = ev.MachineLost(at=at(9), slot=0, machine=a_machine_name(), cause="gone")
    created = ev.MachineCreated(at=at(1), slot=0, machine=a_machine_name())

    with pytest.raises(IllegalTransition, match="slot 0 in state attempt 1"):
        fold([a_creation(), a_request(), created, lost, a_request()])


def test_verdict_twice_is_illegal() -> None:
    installed = ev.NodePluginsInstalled(at=at(300), nodes=("node-0",))

    with pytest.raises(IllegalTransition) as caught:
        fold([a_creation(), *a_provisioning(), installed])

    assert (caught.value.subject, caught.value.state) == ("machine_ready", "True")


def test_unknown_event_type_is_illegal() -> None:
    class Foreign(ev.Event, frozen=True):
        pass

    with pytest.raises(IllegalTransition, match="Foreign is not possible for Stage in state Live"):
        fold([a_creation(), Foreign(at=at(1))])  # type: ignore[list-item]


def test_illegal_event_changes_nothing() -> None:
    workspace = a_workspace(a_provisioning())
    before = msgspec.json.encode(workspace)

    with pytest.raises(IllegalTransition):
        apply(workspace, a_creation())

    assert msgspec.json.encode(workspace) == before


# --- slots ------------------------------------------------------------------------------------------


def test_slot_keeps_the_times_of_its_way() -> None:
    (slot,) = fold([a_creation(), *a_provisioning(launch_seconds=258)]).slots

    assert (slot.phase, slot.attempt, slot.node) == (SlotPhase.USABLE, 1, "node-0")
    assert (slot.requested_at, slot.created_at, slot.launched_at, slot.ready_at) == (
        at(0),
        at(0),
        at(258),
        at(259),
    )


def test_lost_machine_frees_its_slot_alone() -> None:
    lost = ev.MachineLost(at=at(500), slot=2, machine=a_machine_name(2), cause="gone")
    before = a_workspace(a_provisioning(4), node_count=4)

    after = apply(before, lost)

    assert [slot.phase for slot in after.slots] == [SlotPhase(5), SlotPhase(5), SlotPhase(0), SlotPhase(5)]
    assert (after.slots[2].attempt, after.slots[2].lost_at, after.slots[2].machine) == (1, at(500), "")
    assert [a is b for a, b in zip(before.slots, after.slots, strict=True)] == [True, True, False, True]


def test_timeout_lasts_until_the_node_is_usable() -> None:
    machine = a_machine_name()
    way = [
        a_request(),
        ev.MachineCreated(at=at(1), slot=0, machine=machine),
        ev.MachineWaitTimedOut(at=at(900), slot=0, machine=machine, elapsed_seconds=900),
        ev.MachineBecameReady(at=at(950), slot=0, machine=machine, node="node-0"),
    ]

    waiting = a_workspace(way)
    usable = apply(waiting, ev.NodeBecameUsable(at=at(951), slot=0, node="node-0"))

    assert waiting.slots[0].trouble is Trouble.TIMED_OUT
    assert usable.slots[0].trouble is Trouble.NONE


def test_repeated_loss_keeps_its_beginning() -> None:
    lost = [
        ev.NodeLost(at=at(500), slot=0, node="node-0", cause="not ready"),
        ev.NodeLost(at=at(600), slot=0, node="node-0", cause="gone"),
    ]

    (slot,) = a_workspace([*a_provisioning(), *lost]).slots

    assert (slot.lost_at, slot.detail) == (at(500), "gone")


def test_machine_knows_its_slot() -> None:
    workspace = a_workspace(a_provisioning(2), node_count=2)

    assert workspace.slot_of(a_machine_name(1)) == workspace.slots[1]
    assert workspace.slot_of("another") is None
    assert workspace.slot_of("") is None


def test_waiting_counts_slots_without_usable_node() -> None:
    usable = [event for event in a_provisioning(3) if getattr(event, "slot", None) != 1]
    verdicts = ("NodePluginsInstalled", "WorkerNodesChosen")
    way = [event for event in usable if type(event).__name__ not in verdicts]

    assert a_workspace(way, node_count=3).waiting == 1


# --- deletion and the rest --------------------------------------------------------------------------


def test_deleted_life_leaves_no_machine() -> None:
    workspace = fold(a_history(2, deleted=True))

    assert workspace.stage is Stage.GONE
    assert workspace.machines() == workspace.deleting == ()
    assert workspace.gone == tuple(sorted((a_machine_name(0), a_machine_name(1))))


def test_deletion_says_what_is_left() -> None:
    names = sorted((a_machine_name(0), a_machine_name(1)))
    way = a_deletion(names)[:3]

    workspace = a_workspace([*a_provisioning(2), *way], node_count=2)
    later = apply(workspace, ev.MachineDeleted(at=at(3064), machine=names[0]))

    assert workspace.workspace_deleting.message == (
        f"workspace is being deleted; waiting for 2 machines: {names[0]}, {names[1]}"
    )
    assert (
        later.workspace_deleting.message == f"workspace is being deleted; waiting for 1 machine: {names[1]}"
    )


def test_deletion_freezes_the_other_conditions() -> None:
    ready = fold(a_history())

    deleting = fold(a_deletion(), ready)

    assert deleting.workspace_ready == ready.workspace_ready
    assert deleting.machine_ready == ready.machine_ready


def test_machine_found_after_release_takes_it_back() -> None:
    way = [*a_provisioning(), *a_deletion()[:-1]]

    released = a_workspace(way)
    found = apply(released, ev.MachineAdopted(at=at(3070), slot=None, machine=a_machine_name()))

    assert (released.released, found.released) == (True, False)
    assert (found.machines(), found.gone) == ((a_machine_name(),), ())


def test_new_spec_clears_the_refusal() -> None:
    refused = ev.SpecRefused(at=at(1), generation=1, message="preset unknown")

    workspace = a_workspace([refused, ev.SpecChanged(at=at(2), generation=2)])

    assert (workspace.refused, workspace.generation) == ("", 2)
    assert workspace.inference_ready.status is ConditionStatus.UNKNOWN


def test_changed_limits_are_kept() -> None:
    limits = Limits(machine_timeout=240)

    assert a_workspace([ev.LimitsChanged(at=at(1), limits=limits)]).limits == limits


def test_lost_workload_forgets_its_way() -> None:
    lost = ev.WorkloadLost(at=at(2000), kind="Deployment", name="w")

    workspace = a_workspace([*a_provisioning(), *a_serving(), lost])

    assert (workspace.workload, workspace.workload_at, workspace.inference_phase) == ("", None, "")
    assert workspace.workspace_ready.message == "waiting for inference"


def test_failed_inference_is_the_verdict_of_all() -> None:
    troubled = ev.InferenceTroubled(at=at(500), reason="ContainerOOMKilled", message="pod p restarted once")

    workspace = a_workspace([*a_provisioning(), *a_serving()[:-1], troubled])

    assert said(workspace.workspace_ready) == ("False", "workspaceFailed", "pod p restarted once")
