"""Read models: the same from zero, in steps, and however often they are asked."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Table

from store import projections, schema
from store.codec import Codec
from store.envelope import Row
from store.errors import LogUnavailable
from store.log import SqlEventLog
from store.memory import MemoryEventLog
from store.opening import open_log
from store.projections import Projection, WorkspaceRow, Workspaces, catch_up, rebuild, workspace_rows
from tests.store.samples import OTHER, STREAM, SteppingClock, a_change, some_changes

AnyLog = SqlEventLog | MemoryEventLog


def fill(log: AnyLog) -> None:
    log.append(STREAM, some_changes(2), expected_version=0)
    log.append(OTHER, some_changes(1), expected_version=0)
    log.append("workspace/blue/x/1", some_changes(1), expected_version=0)
    log.append(STREAM, some_changes(1, 3), expected_version=2)


def test_workspaces_are_found_by_name(log: AnyLog) -> None:
    fill(log)

    rows = workspace_rows(log)

    assert rows == [
        WorkspaceRow(
            STREAM,
            "default",
            "workspace-falcon-7b-instruct",
            "4f2a",
            1,
            5,
            "SpecChanged",
            "2024-04-05T18:29:55.123456Z",
        ),
        WorkspaceRow(
            "workspace/blue/x/1", "blue", "x", "1", 4, 4, "SpecChanged", "2024-04-05T18:29:53.123456Z"
        ),
    ]


def test_asking_twice_answers_alike(log: AnyLog) -> None:
    fill(log)

    assert workspace_rows(log) == workspace_rows(log)


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_steps_and_rebuild_agree(sql_log: SqlEventLog, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(projections, "PAGE", page)
    for version in range(4):
        sql_log.append(STREAM, [a_change(version)], expected_version=version)
        assert catch_up(sql_log, Workspaces()) == 1
    in_steps = workspace_rows(sql_log)

    assert rebuild(sql_log, Workspaces()) == 4

    assert workspace_rows(sql_log) == in_steps


class Counting(Projection):
    """Counts deliveries in the table of the workspaces, and fails when told to."""

    name = "counting"
    table: Table = schema.workspaces

    def __init__(self) -> None:
        self.fails_at = 0
        self.delivered: list[int] = []

    def apply(self, connection: Connection, row: Row) -> None:
        Workspaces().apply(connection, row)
        self.delivered.append(row.position)
        if row.position == self.fails_at:
            raise RuntimeError("the projection stumbles")


def test_failed_page_leaves_no_trace(sql_log: SqlEventLog) -> None:
    fill(sql_log)
    projection = Counting()
    projection.fails_at = 4

    with pytest.raises(RuntimeError):
        catch_up(sql_log, projection)
    with sql_log.database.reading() as cursor:
        rows = cursor.execute("SELECT count(*) FROM workspaces").fetchone()
    projection.fails_at = 0
    catch_up(sql_log, projection)

    assert rows == (0,)
    assert projection.delivered == [1, 2, 3, 4, 1, 2, 3, 4, 5]


def test_each_row_takes_effect_once(sql_log: SqlEventLog) -> None:
    fill(sql_log)
    projection = Counting()

    assert [catch_up(sql_log, projection), catch_up(sql_log, projection)] == [5, 0]

    assert projection.delivered == [1, 2, 3, 4, 5]


def test_read_model_of_a_restored_log_is_rebuilt(sql_log: SqlEventLog) -> None:
    """The log was restored from a copy that is older than the read model."""
    fill(sql_log)
    workspace_rows(sql_log)
    with sql_log.database.writing() as cursor:
        cursor.execute("DELETE FROM events WHERE position > 3")

    assert [row.stream for row in workspace_rows(sql_log)] == [STREAM]


def test_poison_event_hides_no_stream(url: str, sql_log: SqlEventLog) -> None:
    fill(sql_log)

    with open_log(url, SteppingClock(), create=False, codec=Codec()) as ignorant:
        assert len(workspace_rows(ignorant)) == 2


def test_read_only_log_is_projected_in_memory(url: str, sql_log: SqlEventLog) -> None:
    fill(sql_log)
    read_only = url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"

    with open_log(read_only, SteppingClock(), create=False) as log:
        assert isinstance(log, SqlEventLog)
        with pytest.raises(LogUnavailable, match="read-only"):
            catch_up(log, Workspaces())

        assert [row.name for row in workspace_rows(log)] == ["workspace-falcon-7b-instruct", "x"]
