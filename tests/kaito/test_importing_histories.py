"""What becomes of less lucky Workspaces: refused, lost, timed out, known only from the middle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kaito.importing.importer import ImportResult, read_logs
from statemachine import events as ev
from statemachine.events import WorkspaceEvent
from statemachine.replay import fold
from tests.kaito.original import START, Given, Line, condition, klog, log_of, merge, node_of, reconciler_error

M1, M2 = "ws000000001", "ws000000002"
ONE = Given("w", ((M1, 100),))
LATER = START + timedelta(hours=1)


def imported(folder: Path, *logs: Sequence[Line], table: str = "") -> ImportResult:
    path = folder / "workspace.log"
    path.write_text(merge([list(log) for log in logs]))
    rows = folder / "rows.txt"
    rows.write_text(table)
    return read_logs([path, rows] if table else [path], partial=False, year=2024)


def history(result: ImportResult) -> list[WorkspaceEvent]:
    (told,) = [told for stream, told in result.histories.items() if stream.startswith("workspace/")]
    return [event for event, _ in told]


def kinds(result: ImportResult) -> list[str]:
    return [type(event).__name__ for event in history(result)]


def last(result: ImportResult, count: int) -> list[WorkspaceEvent]:
    return history(result)[-count:]


def announcing(at: datetime, count: int = 1) -> list[Line]:
    return [
        klog(at, "Reconciling", workspace=ONE.key),
        klog(at, "no current nodes match the workspace resource spec", workspace=ONE.key),
        condition(at, ONE, "MachineReady", "Unknown", "CreateMachinePending", f"creating {count} machines"),
    ]


def creating(at: datetime, machine: str) -> list[Line]:
    return [
        klog(at, "CreateMachine", machine=f"default/{machine}"),
        klog(at + timedelta(seconds=1), "CheckMachineStatus", machine=machine),
    ]


def before_inference() -> list[Line]:
    """The run of one Workspace up to the created Deployment."""
    return log_of(ONE)[:-3]


def inference(at: datetime, status: str, message: str) -> Line:
    return condition(at, ONE, "InferenceReady", status, "WorkspaceInferenceStatus", message)


def test_inference_deadline_is_a_timeout(tmp_path: Path) -> None:
    lines = before_inference()
    created = lines[-1][0]
    late = inference(created + timedelta(seconds=1801), "False", "context deadline exceeded")

    result = imported(tmp_path, [*lines, late])

    (event,) = last(result, 1)
    assert event == ev.InferenceWaitTimedOut(at=late[0], elapsed_seconds=1801.0)


def test_inference_error_is_trouble_with_its_text(tmp_path: Path) -> None:
    lines = before_inference()
    failed = [inference(LATER + timedelta(seconds=s), "False", "admission denied") for s in range(2)]

    result = imported(tmp_path, [*lines, *failed])

    (event,) = last(result, 1)
    assert event == ev.InferenceTroubled(
        at=LATER, reason="WorkspaceInferenceStatusFailed", message="admission denied"
    )


def test_inference_lost_after_ready_is_degraded(tmp_path: Path) -> None:
    lines = [
        inference(LATER, "False", "context deadline exceeded"),
        inference(LATER + timedelta(hours=1), "True", "Inference has been deployed successfully"),
    ]

    result = imported(tmp_path, [*log_of(ONE), *lines])

    assert [type(event) for event in last(result, 2)] == [ev.InferenceDegraded, ev.InferenceBecameReady]
    assert fold(history(result)).workspace_ready.status == "True"


def test_lost_node_is_replaced_in_its_slot(tmp_path: Path) -> None:
    at = LATER + timedelta(seconds=10)

    result = imported(tmp_path, [*log_of(ONE), *announcing(LATER), *creating(at, M2)])

    assert last(result, 4) == [
        ev.NodeLost(at=LATER, slot=0, node=node_of(M1), cause="not ready"),
        ev.NodeReleased(at=LATER, slot=0, node=node_of(M1)),
        ev.MachineRequested(at=at, slot=0, attempt=2, machine=M2),
        ev.MachineCreated(at=at, slot=0, machine=M2),
    ]


def test_one_of_two_lost_nodes_ends_the_history(tmp_path: Path) -> None:
    two = Given("w", ((M1, 100), (M2, 100)))

    result = imported(tmp_path, [*log_of(two), *announcing(LATER)])

    assert kinds(result)[-1] == "InferenceBecameReady"
    (note,) = result.notes
    assert "1 of 2 nodes are lost, and nothing says which" in note.why


def test_vanished_machine_is_replaced(tmp_path: Path) -> None:
    at = START + timedelta(minutes=10)
    gone = condition(
        at,
        ONE,
        "WorkspaceReady",
        "False",
        "workspaceFailed",
        r"machines.karpenter.sh \"ws000000001\" not found",
    )
    lines = [*log_of(ONE)[:7], gone, *announcing(LATER), *creating(LATER, M2)]

    result = imported(tmp_path, lines)

    assert kinds(result)[:3] == ["WorkspaceCreated", "MachineRequested", "MachineCreated"]
    assert [type(event) for event in last(result, 3)] == [
        ev.MachineLost,
        ev.MachineRequested,
        ev.MachineCreated,
    ]


def test_refused_creation_keeps_its_text(tmp_path: Path) -> None:
    at = START + timedelta(seconds=5)
    refusal = condition(at, ONE, "MachineReady", "False", "machineFailedCreation", "the server said no")

    result = imported(tmp_path, [*log_of(ONE)[:6], refusal])

    (event,) = last(result, 1)
    assert event == ev.MachineCreationRefused(at=at, slot=0, machine=M1, message="the server said no")
    assert fold(history(result)).machine_ready.message == "the server said no"


def test_unknown_preset_is_refused_once(tmp_path: Path) -> None:
    text = "The preset model name x is not registered for workspace default/w"
    lines = [
        line
        for second in (1, 2)
        for line in reconciler_error(START + timedelta(seconds=second), "default", "w", text)
    ]

    result = imported(tmp_path, [*log_of(ONE)[:2], *lines])

    assert kinds(result) == ["WorkspaceCreated", "SpecRefused"]


def test_log_from_the_middle_adopts(tmp_path: Path) -> None:
    lines = [
        klog(START, "Reconciling", workspace=ONE.key),
        klog(START, "An inference workload already exists for workspace", workspace=ONE.key),
        klog(START + timedelta(seconds=1), "deployment status is ready", deployment="w"),
    ]

    result = imported(tmp_path, lines)

    assert kinds(result) == [
        "WorkspaceAdopted",
        "NodePluginsInstalled",
        "WorkerNodesChosen",
        "InferenceBecameReady",
    ]
    assert fold(history(result)).workspace_ready.status == "True"


def test_timeout_in_the_middle_adopts_the_machine(tmp_path: Path) -> None:
    text = f"check machine status timed out. machine {M1} is not ready"
    lines = [
        klog(START, "Reconciling", workspace=ONE.key),
        condition(START, ONE, "MachineReady", "False", "checkMachineStatusFailed", text),
    ]

    result = imported(tmp_path, lines)

    assert kinds(result) == ["WorkspaceAdopted", "MachineAdopted", "MachineWaitTimedOut"]


def test_machine_without_owner_is_reported(tmp_path: Path) -> None:
    stray = klog(LATER, "machine status is ready", machine="ws999999999")

    result = imported(tmp_path, [*log_of(ONE), stray])

    (odd,) = result.unattributed
    assert (odd.excerpt, odd.why) == ("machine status is ready", "no line says whose Machine ws999999999 is")


def test_known_only_by_name_is_held_back(tmp_path: Path) -> None:
    result = imported(tmp_path, log_of(ONE)[:2])

    assert result.histories == {}
    assert [note.why for note in result.notes] == ["nothing is known yet but that it exists"]


def test_workload_made_again_after_it_was_seen(tmp_path: Path) -> None:
    again = klog(LATER, "CreateDeployment", deployment=ONE.key)

    result = imported(tmp_path, [*log_of(ONE), again])

    assert [type(event) for event in last(result, 2)] == [ev.WorkloadLost, ev.WorkloadCreated]


def test_template_mode_repeats_without_effect(tmp_path: Path) -> None:
    lines = [line for line in log_of(ONE) if "CreateService" not in line[1]]
    again = klog(LATER, "CreateDeployment", deployment=ONE.key)

    result = imported(tmp_path, [*lines, again])

    assert kinds(result)[-1] == "InferenceBecameReady"


def test_deletion_while_waiting_asks_for_every_machine(tmp_path: Path) -> None:
    lines = [
        klog(LATER, message, workspace=ONE.key) for message in ("deleteWorkspace", "garbageCollectWorkspace")
    ]

    result = imported(tmp_path, [*log_of(ONE)[:7], *lines, *lines])

    assert last(result, 2) == [
        ev.WorkspaceDeletionRequested(at=LATER),
        ev.MachineDeletionRequested(at=LATER, machine=M1),
    ]


def test_stale_lines_after_release_begin_nothing(tmp_path: Path) -> None:
    deleted = Given("w", ((M1, 100),), deleted_after=60)
    stale = [klog(LATER, message, workspace=ONE.key) for message in ("Reconciling", "deleteWorkspace")]

    result = imported(tmp_path, [*log_of(deleted), *stale])

    assert kinds(result)[-1] == "WorkspaceDeleted"
    assert len(result.histories) == 1


# --- tables -----------------------------------------------------------------------------------------

HEADER = "NAMESPACE   NAME   INSTANCE            RESOURCEREADY   INFERENCEREADY   WORKSPACEREADY   AGE\n"


def row(age: str, namespace: str = "default", name: str = "w", ready: str = "True") -> str:
    cells = (namespace.ljust(12), name.ljust(7), "Standard_NC12s_v3".ljust(20), "".ljust(16), ready.ljust(17))
    return "".join(cells) + "".ljust(17) + age + "\n"


def ready_event(result: ImportResult) -> ev.InferenceBecameReady:
    (event,) = [event for event in history(result) if isinstance(event, ev.InferenceBecameReady)]
    return event


def test_exact_line_within_the_minute_wins(tmp_path: Path) -> None:
    # The log shows readiness some 802 s after creation, the table 780 s to 840 s.
    result = imported(tmp_path, log_of(ONE), table=HEADER + row("13m"))

    assert ready_event(result).precision_seconds == 0.0
    assert history(result)[0] == fold_start(result, "Standard_NC12s_v3")


def fold_start(result: ImportResult, instance_type: str) -> WorkspaceEvent:
    first = history(result)[0]
    assert isinstance(first, ev.WorkspaceCreated)
    assert first.instance_type == instance_type
    return first


def test_row_before_a_deletion_counts_until_it(tmp_path: Path) -> None:
    lines = before_inference()
    deletion = klog(START + timedelta(seconds=800), "deleteWorkspace", workspace=ONE.key)

    result = imported(tmp_path, [*lines, deletion], table=HEADER + row("13m"))

    assert ready_event(result).at == START + timedelta(seconds=780)
    assert kinds(result)[-1] == "WorkspaceDeletionRequested"


@pytest.mark.parametrize("extra", [row("13m", namespace="other"), row("13m", name="x")])
def test_row_of_a_stranger_is_reported(tmp_path: Path, extra: str) -> None:
    result = imported(tmp_path, log_of(ONE), table=HEADER + row("51s", ready="") + extra)

    (odd,) = result.unattributed
    assert (odd.file, odd.line) == ("rows.txt", 3)


def test_repeated_rows_and_headers_add_nothing(tmp_path: Path) -> None:
    table = HEADER + row("13m") + HEADER + row("14m") + row("2h", ready="False")

    result = imported(tmp_path, before_inference(), table=table)

    assert ready_event(result).at == START + timedelta(seconds=780)
