"""The reference run, imported: the story that its own logs tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from kaito.importing.appending import append_histories
from kaito.importing.errors import AgesUnanchored, HistoryContradicted
from kaito.importing.importer import ImportResult, read_logs
from kaito.importing.telling import Attested
from statemachine import events as ev
from statemachine.machine import events as mev
from statemachine.replay import fold
from statemachine.state import ConditionStatus, Stage, Workspace
from store.errors import LogUnavailable
from store.memory import MemoryEventLog
from store.records import Appended

RUN = Path(__file__).parents[1] / "data" / "reference-run"
LOGS = (RUN / "workspace.log", RUN / "gpu-provisioner.log")
TABLES = (RUN / "kubectl-get-workspace-w.txt", RUN / "kubectl-get-machines-w.txt")
MACHINE = "wsb42f9cb5f"
NODE = "aks-wsb42f9cb5f-41071934-vmss000000"
NAME = "workspace-falcon-7b-instruct"


def a_log() -> MemoryEventLog:
    return MemoryEventLog(lambda: datetime(2024, 5, 1, tzinfo=UTC))


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2024-04-05T{clock}+00:00")


def workspace_history(result: ImportResult) -> tuple[Attested, ...]:
    (stream,) = [stream for stream in result.histories if stream.startswith("workspace/")]
    return result.histories[stream]


def state_at(result: ImportResult, clock: str) -> Workspace:
    return fold(event for event, _ in workspace_history(result) if event.at <= at(clock))


def instant(result: ImportResult, kind: type) -> datetime:
    (found,) = [e.at for history in result.histories.values() for e, _ in history if isinstance(e, kind)]
    return found


@pytest.fixture(scope="module")
def logs() -> ImportResult:
    return read_logs(LOGS, partial=False)


@pytest.fixture(scope="module")
def everything() -> ImportResult:
    return read_logs([*LOGS, *TABLES], partial=False)


def test_every_line_is_understood(everything: ImportResult) -> None:
    assert (everything.lines, everything.understood) == (149, 149)
    assert everything.not_understood_count == 0
    assert everything.unattributed == ()
    assert everything.notes == ()


def test_workspace_history_names_its_lines(everything: ImportResult) -> None:
    told = [(type(event).__name__, cause) for event, cause in workspace_history(everything)]

    assert told == [
        ("WorkspaceCreated", "workspace.log:33"),
        ("MachineRequested", "workspace.log:44"),
        ("MachineCreated", "workspace.log:45"),
        ("MachineWaitTimedOut", "workspace.log:46"),
        ("MachineLaunched", "gpu-provisioner.log:34"),
        ("MachineBecameReady", "workspace.log:67"),
        ("NodeBecameUsable", "workspace.log:69"),
        ("NodePluginsInstalled", "workspace.log:69"),
        ("WorkerNodesChosen", "workspace.log:73"),
        ("ServiceCreated", "workspace.log:81"),
        ("WorkloadCreated", "workspace.log:82"),
        ("InferenceBecameReady", "kubectl-get-workspace-w.txt:9"),
        ("WorkspaceDeletionRequested", "workspace.log:86"),
        ("MachineDeletionRequested", "workspace.log:87"),
        ("WorkspaceDeleted", "workspace.log:91"),
        ("MachineDeleted", "gpu-provisioner.log:44"),
    ]


def test_machine_history_names_its_lines(everything: ImportResult) -> None:
    told = [(type(event).__name__, cause) for event, cause in everything.histories[f"machine/{MACHINE}"]]

    assert told == [
        ("PoolCreationRequested", "gpu-provisioner.log:33"),
        ("MachineLaunchCompleted", "gpu-provisioner.log:34"),
        ("PoolDeletionRequested", "gpu-provisioner.log:39"),
        ("NodeRemoved", "gpu-provisioner.log:42"),
        ("MachineRemoved", "gpu-provisioner.log:44"),
    ]


def test_creation_holds_only_what_is_proven(logs: ImportResult) -> None:
    created = workspace_history(logs)[0].event

    assert isinstance(created, ev.WorkspaceCreated)
    assert (created.namespace, created.name, created.node_count) == ("default", NAME, 1)
    assert (created.instance_type, created.inference) == ("", "")
    assert (created.limits.machine_timeout, created.limits.inference_timeout) == (240.0, 1800.0)
    assert created.uid.startswith("imported-")
    assert len(created.uid) == len("imported-") + 12


def test_phases_last_as_published(logs: ImportResult) -> None:
    created, launched = instant(logs, ev.MachineCreated), instant(logs, mev.MachineLaunchCompleted)
    ready, deleting = instant(logs, ev.MachineBecameReady), instant(logs, ev.WorkspaceDeletionRequested)

    assert (launched - created).total_seconds() == pytest.approx(257.6, abs=0.05)
    assert (launched - instant(logs, mev.PoolCreationRequested)).total_seconds() == pytest.approx(257.55)
    assert (ready - launched).total_seconds() == pytest.approx(0.7, abs=0.05)
    assert (instant(logs, mev.MachineRemoved) - deleting).total_seconds() == pytest.approx(63.9, abs=0.05)


def test_conditions_follow_the_published_story(everything: ImportResult) -> None:
    waiting, failed = state_at(everything, "18:33:00"), state_at(everything, "18:34:10")
    ready, serving = state_at(everything, "18:34:30"), state_at(everything, "18:47:00")

    assert (waiting.machine_ready.status, waiting.machine_ready.reason) == ("Unknown", "CreateMachinePending")
    assert waiting.machine_ready.message == "creating 1 machines"
    assert (failed.machine_ready.status, failed.machine_ready.reason) == ("False", "checkMachineStatusFailed")
    assert failed.machine_ready.message == f"check machine status timed out. machine {MACHINE} is not ready"
    assert failed.workspace_ready.status == "False"
    assert (ready.machine_ready.status, ready.resource_ready.status) == ("True", "True")
    assert ready.worker_nodes == (NODE,)
    assert (serving.inference_ready.status, serving.workspace_ready.status) == ("True", "True")


def test_workspace_is_gone_before_its_machine(everything: ImportResult) -> None:
    gone, later = state_at(everything, "19:16:30"), state_at(everything, "19:17:14")

    assert (gone.stage, gone.deleting) == (Stage.GONE, (MACHINE,))
    assert later.deleting == ()


def test_table_proves_inference_to_the_minute(everything: ImportResult) -> None:
    created = instant(everything, ev.WorkspaceCreated)
    (ready,) = [e for e, _ in workspace_history(everything) if isinstance(e, ev.InferenceBecameReady)]

    assert ready.at == created + timedelta(seconds=960)
    assert (ready.ready, ready.desired, ready.precision_seconds) == (1, 1, 60.0)


def test_table_gives_the_instance_type(everything: ImportResult) -> None:
    assert state_at(everything, "18:30:00").instance_type == "Standard_NC12s_v3"


def test_without_table_first_sighting_counts(logs: ImportResult) -> None:
    (ready,) = [e for e, _ in workspace_history(logs) if isinstance(e, ev.InferenceBecameReady)]

    assert (ready.at, ready.precision_seconds) == (at("19:15:17.795958"), 0.0)
    assert state_at(logs, "19:00:00").inference_ready.status is ConditionStatus.UNKNOWN


def test_order_of_files_means_nothing() -> None:
    files = [*LOGS, *TABLES]
    expected = read_logs(files, partial=False)

    assert all(read_logs(order, partial=False) == expected for order in permutations(files))


def test_second_import_adds_nothing(everything: ImportResult) -> None:
    log = a_log()

    first, second = append_histories(log, everything), append_histories(log, everything)

    assert (first.added, second.added) == (21, 0)
    assert len(log.read_all()) == 21


def test_appended_events_keep_cause_and_order(everything: ImportResult) -> None:
    log = a_log()

    append_histories(log, everything)

    records = log.read_all()
    assert [record.event.at for record in records] == sorted(record.event.at for record in records)
    assert records[0].cause == "workspace.log:33"
    for stream, history in everything.histories.items():
        assert [(r.event, r.cause) for r in log.read(stream)] == list(history)


@pytest.mark.parametrize(
    "files",
    [LOGS[:1], LOGS[1:], LOGS, (*LOGS[:1], TABLES[0]), (LOGS[1], TABLES[1])],
    ids=lambda files: "+".join(path.stem for path in files),
)
def test_part_of_the_files_adds_nothing(files: tuple[Path, ...], everything: ImportResult) -> None:
    log = a_log()
    append_histories(log, everything)

    summary = append_histories(log, read_logs(files, partial=False))

    assert summary.added == 0


@pytest.mark.parametrize("order", [LOGS, LOGS[::-1]])
def test_logs_may_come_one_by_one(order: tuple[Path, ...], logs: ImportResult) -> None:
    log = a_log()
    for path in order:
        append_histories(log, read_logs([path], partial=False))

    again = append_histories(log, logs)

    tail = [record.event for stream in again.streams for record in log.read(stream.stream)[stream.known :]]
    assert [type(event) for event in tail] == [ev.MachineDeleted]
    assert again.added == 1


def test_longer_log_adds_only_the_tail(tmp_path: Path) -> None:
    lines = LOGS[0].read_bytes().splitlines(keepends=True)
    growing = tmp_path / "workspace.log"
    log = a_log()
    added = []
    for count in range(33, len(lines) + 1):
        growing.write_bytes(b"".join(lines[:count]))
        added.append(append_histories(log, read_logs([growing], partial=False)).added)

    whole = append_histories(log, read_logs(LOGS[:1], partial=False))

    assert sum(added) == 14
    assert max(added) == 2
    assert whole.added == 0


class FailingLog(MemoryEventLog):
    """Refuses every append after the first ``allowed``."""

    allowed = 5

    def append(self, *args: Any, **kwargs: Any) -> Appended:
        if self.allowed == 0:
            raise LogUnavailable("the disk is full")
        self.allowed -= 1
        return super().append(*args, **kwargs)


def test_interrupted_import_is_completed_by_repeating(logs: ImportResult) -> None:
    log = FailingLog(lambda: datetime(2024, 5, 1, tzinfo=UTC))
    with pytest.raises(LogUnavailable):
        append_histories(log, logs)
    log.allowed = 1000

    summary = append_histories(log, logs)

    assert 0 < summary.added < 21
    assert {s: [r.event for r in log.read(s)] for s in logs.histories} == {
        stream: [event for event, _ in history] for stream, history in logs.histories.items()
    }


def test_stream_that_went_on_otherwise_is_refused(logs: ImportResult) -> None:
    (stream,) = [stream for stream in logs.histories if stream.startswith("workspace/")]
    before = [event for event, _ in logs.histories[stream]][:3]
    log = a_log()
    log.append(stream, [*before, ev.WorkspaceDeleted(at=at("18:30:00"))], expected_version=0)

    with pytest.raises(HistoryContradicted, match="event 4 is WorkspaceDeleted"):
        append_histories(log, logs)

    assert len(log.read_all()) == 4


def test_poisoned_stream_takes_no_more(logs: ImportResult) -> None:
    (stream,) = [stream for stream in logs.histories if stream.startswith("workspace/")]
    created = workspace_history(logs)[0].event
    poison = ev.MachineLaunched(at=at("18:30:00"), slot=0, machine=MACHINE)
    log = a_log()
    log.append(stream, [created, poison], expected_version=0)

    with pytest.raises(HistoryContradicted, match="does not allow"):
        append_histories(log, logs)


def test_contradiction_names_stream_and_event(tmp_path: Path, logs: ImportResult) -> None:
    log = a_log()
    append_histories(log, logs)
    other = tmp_path / "workspace.log"
    other.write_text(LOGS[0].read_text().replace("18:34:17.231382", "18:34:17.000000"))

    with pytest.raises(HistoryContradicted) as refused:
        append_histories(log, read_logs([other], partial=False))

    text = str(refused.value)
    assert f"workspace/default/{NAME}/imported-" in text
    assert "event 6 is MachineBecameReady at 2024-04-05 18:34:17.231382" in text
    assert "workspace.log:67 proves MachineBecameReady at 2024-04-05 18:34:17.000000" in text
    assert len(log.read_all()) == 21


def test_table_after_the_logs_is_refused(logs: ImportResult, everything: ImportResult) -> None:
    log = a_log()
    append_histories(log, logs)

    with pytest.raises(HistoryContradicted, match="event 1 is WorkspaceCreated"):
        append_histories(log, everything)

    assert len(log.read_all()) == 21


@pytest.mark.parametrize(
    ("table", "line", "name"), [(TABLES[0], 2, NAME), (TABLES[1], 2, MACHINE)], ids=["workspace", "machines"]
)
def test_table_alone_is_refused(table: Path, line: int, name: str) -> None:
    with pytest.raises(AgesUnanchored) as refused:
        read_logs([table], partial=False)

    assert str(refused.value).startswith(f"{table.name}:{line}: ages count from the creation of {name}")


def test_same_file_twice_counts_once() -> None:
    assert read_logs([*LOGS, *LOGS], partial=False) == read_logs(LOGS, partial=False)
