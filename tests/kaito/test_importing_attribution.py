"""Whose Machine a line speaks of, when several Workspaces are provisioned at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.importing.importer import ImportResult, read_logs
from statemachine import events as ev
from tests.kaito.original import Given, log_of, merge, node_of


def imported(text: str) -> ImportResult:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workspace.log"
        path.write_text(text)
        return read_logs([path], partial=False)


def history(result: ImportResult, workspace: Given) -> list[ev.WorkspaceEvent]:
    prefix = f"workspace/{workspace.key}/"
    found = [told for stream, told in result.histories.items() if stream.startswith(prefix)]
    return [event for told in found for event, _ in told]


def machines_of(result: ImportResult, workspace: Given) -> dict[str, str]:
    """The ready Machines of a Workspace and their nodes."""
    events = history(result, workspace)
    return {event.machine: event.node for event in events if isinstance(event, ev.MachineBecameReady)}


def kinds(result: ImportResult, workspace: Given) -> list[str]:
    return [type(event).__name__ for event in history(result, workspace)]


ALONE = [
    "WorkspaceCreated",
    "MachineRequested",
    "MachineCreated",
    "MachineBecameReady",
    "NodeBecameUsable",
    "NodePluginsInstalled",
    "WorkerNodesChosen",
    "ServiceCreated",
    "WorkloadCreated",
    "InferenceBecameReady",
]


def test_workspaces_one_after_the_other() -> None:
    first = Given("first", (("ws000000001", 100),))
    second = Given("second", (("ws000000002", 100),), after=2000)

    result = imported(merge([log_of(first), log_of(second)]))

    assert machines_of(result, first) == {"ws000000001": node_of("ws000000001")}
    assert machines_of(result, second) == {"ws000000002": node_of("ws000000002")}
    assert kinds(result, first) == kinds(result, second) == ALONE
    assert (result.unattributed, result.notes) == ((), ())


def test_timeout_text_names_both_owners() -> None:
    first = Given("first", (("ws000000001", 300),))
    second = Given("second", (("ws000000002", 310),), after=0.02)

    result = imported(merge([log_of(first), log_of(second)]))

    assert list(machines_of(result, first)) == ["ws000000001"]
    assert list(machines_of(result, second)) == ["ws000000002"]
    assert "MachineWaitTimedOut" in kinds(result, first)
    assert result.unattributed == ()


def test_one_named_owner_leaves_the_other() -> None:
    first = Given("first", (("ws000000001", 200),))
    second = Given("second", (("ws000000002", 310),), after=0.02)

    result = imported(merge([log_of(first), log_of(second)]))

    assert list(machines_of(result, first)) == ["ws000000001"]
    assert list(machines_of(result, second)) == ["ws000000002"]


def test_success_before_readiness_excludes_an_owner() -> None:
    first = Given("first", (("ws000000001", 100),))
    second = Given("second", (("ws000000002", 150),), after=0.02)

    result = imported(merge([log_of(first), log_of(second)]))

    assert list(machines_of(result, first)) == ["ws000000001"]
    assert list(machines_of(result, second)) == ["ws000000002"]
    assert result.unattributed == ()


def test_ambiguous_machines_are_reported_not_guessed() -> None:
    first = Given("first", (("ws000000001", 100),))
    second = Given("second", (("ws000000002", 100),), after=0.0005)

    result = imported(merge([log_of(first), log_of(second)]))

    assert kinds(result, first) == kinds(result, second) == ["WorkspaceCreated"]
    whys = {odd.why for odd in result.unattributed if odd.excerpt == "CreateMachine"}
    assert whys == {
        f"Machine {machine} may be of default/first or default/second"
        for machine in ("ws000000001", "ws000000002")
    }
    assert len(result.notes) == 2
    assert all("may be of" in note.why for note in result.notes)


def test_announcement_yet_to_come_owns_nothing() -> None:
    first = Given("first", (("ws000000001", 100),))
    second = Given("second", (("ws000000002", 100.5),), after=0.006)

    result = imported(merge([log_of(first), log_of(second)]))

    requested = [e.machine for e in history(result, first) if isinstance(e, ev.MachineRequested)]
    assert requested == ["ws000000001"]


def test_namespaces_tell_workspaces_apart() -> None:
    first = Given("same", (("ws000000001", 100),), namespace="one")
    second = Given("same", (("ws000000002", 100),), namespace="two", after=0.002)

    result = imported(merge([log_of(first), log_of(second)]))

    assert list(machines_of(result, first)) == ["ws000000001"]
    assert list(machines_of(result, second)) == ["ws000000002"]


def test_machines_of_one_workspace_fill_slots_in_order() -> None:
    two = Given("two", (("ws000000001", 100), ("ws000000002", 300)))

    result = imported(merge([log_of(two)]))

    requested = [e for e in history(result, two) if isinstance(e, ev.MachineRequested)]
    assert [(e.slot, e.attempt, e.machine) for e in requested] == [
        (0, 1, "ws000000001"),
        (1, 1, "ws000000002"),
    ]
    (chosen,) = [e for e in history(result, two) if isinstance(e, ev.WorkerNodesChosen)]
    assert chosen.nodes == (node_of("ws000000001"), node_of("ws000000002"))
    (created,) = [e for e in history(result, two) if isinstance(e, ev.WorkspaceCreated)]
    assert created.node_count == 2


def test_recreated_workspace_is_another_stream() -> None:
    first = Given("same", (("ws000000001", 100),), deleted_after=60)
    second = Given("same", (("ws000000002", 100),), after=5000)

    result = imported(merge([log_of(first), log_of(second)]))

    streams = sorted(result.histories, key=lambda stream: result.histories[stream][0].event.at)
    assert len(set(streams)) == 2
    assert [type(result.histories[s][-1].event).__name__ for s in streams] == [
        "WorkspaceDeleted",
        "InferenceBecameReady",
    ]


@st.composite
def runs(draw: st.DrawFn) -> list[Given]:
    """One to four Workspaces whose machine waits overlap."""
    count = draw(st.integers(1, 4))
    seconds = st.sampled_from((60.0, 60.001, 100.0, 239.0, 245.0, 300.0, 490.0))
    close = st.sampled_from((0.0, 0.0005, 0.001, 0.0015, 0.009, 1.0))
    return [
        Given(
            f"w{index}",
            tuple((f"ws{index:04x}{slot:05x}", draw(seconds)) for slot in range(draw(st.integers(1, 2)))),
            namespace=draw(st.sampled_from(("default", "other"))),
            after=draw(close | st.floats(0, 400)),
            inference=draw(st.sampled_from((5.0, 700.0))),
            deleted_after=draw(st.none() | st.just(30.0)),
        )
        for index in range(count)
    ]


@settings(max_examples=60)
@given(runs())
def test_no_machine_is_given_to_a_stranger(workspaces: list[Given]) -> None:
    result = imported(merge(log_of(workspace) for workspace in workspaces))

    ended = {note.stream.split("/")[2] for note in result.notes}
    for workspace in workspaces:
        own = [machine for machine, _ in workspace.machines]
        requested = [e.machine for e in history(result, workspace) if isinstance(e, ev.MachineRequested)]
        assert requested == own[: len(requested)]
        if workspace.name not in ended:
            assert machines_of(result, workspace) == {machine: node_of(machine) for machine in own}
            assert "InferenceBecameReady" in kinds(result, workspace)
    if not ended:
        assert result.unattributed == ()


@settings(max_examples=25)
@given(runs(), st.data())
def test_history_of_a_log_begins_that_of_a_longer(workspaces: list[Given], data: st.DataObject) -> None:
    lines = merge(log_of(workspace) for workspace in workspaces).splitlines(keepends=True)
    cut = data.draw(st.integers(1, len(lines)), label="cut")

    shorter, longer = imported("".join(lines[:cut])), imported("".join(lines))

    for stream, told in shorter.histories.items():
        assert longer.histories[stream][: len(told)] == told
