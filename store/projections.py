"""Read models of the log: computed from its rows in global order, rebuilt from zero at any time.

The checkpoint is read and written in the transaction that changes the read model. So rows may be
delivered again, but take effect once, and two processes that catch up at the same time do not disturb each
other. A projection gets rows, not events: one that reads envelopes only is not stopped by an event that this
code cannot decode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import islice

import msgspec
from sqlalchemy import Connection, Delete, Table, delete, select, update

from store import schema
from store.envelope import Row
from store.errors import LogUnavailable
from store.log import SqlEventLog
from store.memory import MemoryEventLog

PAGE = 1000
"""Rows taken in by one transaction."""


class Projection(ABC):
    """A read model: its name, its table, and what a row of the log changes in it."""

    name: str
    table: Table

    @abstractmethod
    def apply(self, connection: Connection, row: Row) -> None:
        """Take in one row, inside the transaction that moves the checkpoint."""


def rebuild(log: SqlEventLog, projection: Projection) -> int:
    """Forget the read model and compute it from position 1; returns the number of rows taken in."""
    with log.database.writing():
        connection = log.database.connection
        connection.execute(delete(projection.table))
        connection.execute(_checkpoint_of(projection))
    return catch_up(log, projection)


def catch_up(log: SqlEventLog, projection: Projection) -> int:
    """Take in what was appended since the checkpoint; returns the number of rows taken in.

    A checkpoint behind the end of the log means that the log was restored from an older copy: the read model
    tells of events that are gone, and is computed anew.
    """
    if _checkpoint(log, projection) > log.last_position():
        return rebuild(log, projection)
    taken = 0
    while page := _take_page(log, projection):
        taken += page
    return taken


def _take_page(log: SqlEventLog, projection: Projection) -> int:
    position = _checkpoint(log, projection)
    page = list(islice(log.rows(after=position), PAGE))
    if not page:
        return 0
    with log.database.writing():
        connection = log.database.connection
        if _stored_checkpoint(connection, projection) != position:
            return len(page)  # Another process took these in meanwhile; go on behind them.
        for row in page:
            projection.apply(connection, row)
        connection.execute(_checkpoint_of(projection))
        connection.execute(
            schema.checkpoints.insert().values(projection=projection.name, position=page[-1].position)
        )
    return len(page)


def _checkpoint(log: SqlEventLog, projection: Projection) -> int:
    with log.database.reading():
        return _stored_checkpoint(log.database.connection, projection)


def _stored_checkpoint(connection: Connection, projection: Projection) -> int:
    column = schema.checkpoints.c
    return (
        connection.execute(select(column.position).where(column.projection == projection.name)).scalar() or 0
    )


def _checkpoint_of(projection: Projection) -> Delete:
    return delete(schema.checkpoints).where(schema.checkpoints.c.projection == projection.name)


class WorkspaceRow(msgspec.Struct, frozen=True):
    """One Workspace stream: which object it tells of, and how far it reaches."""

    stream: str
    namespace: str
    name: str
    uid: str
    first_position: int
    last_position: int
    last_type: str
    last_at: str


class Workspaces(Projection):
    """One row for each Workspace stream, to find streams by the name of the object."""

    name = "workspaces"
    table = schema.workspaces

    def apply(self, connection: Connection, row: Row) -> None:
        found = advanced(None, row)
        if found is not None:
            self._store(connection, found)

    def _store(self, connection: Connection, row: WorkspaceRow) -> None:
        column = self.table.c
        moved = connection.execute(
            update(self.table)
            .where(column.stream == row.stream, column.last_position < row.last_position)
            .values(last_position=row.last_position, last_type=row.last_type, last_at=row.last_at)
        )
        known = (
            moved.rowcount
            or connection.execute(select(column.stream).where(column.stream == row.stream)).first()
        )
        if not known:
            connection.execute(self.table.insert().values(msgspec.structs.asdict(row)))


def advanced(former: WorkspaceRow | None, row: Row) -> WorkspaceRow | None:
    """What is known of the row's stream after it; None for a stream that is no Workspace's."""
    kind, _, rest = row.stream.partition("/")
    namespace, name, uid = (*rest.split("/"), "", "")[:3]
    if kind != "workspace" or not name:
        return None
    first = former.first_position if former else row.position
    return WorkspaceRow(row.stream, namespace, name, uid, first, row.position, row.type, row.at)


def workspace_rows(log: SqlEventLog | MemoryEventLog) -> list[WorkspaceRow]:
    """All Workspace streams in the order of their first event.

    A log that can be read and not written (a copy on a read-only disk) is projected in memory.
    """
    if isinstance(log, MemoryEventLog):
        return _folded(log.rows())
    projection = Workspaces()
    try:
        catch_up(log, projection)
    except LogUnavailable:
        return _folded(log.rows())
    with log.database.reading():
        rows = log.database.connection.execute(
            select(projection.table).order_by(projection.table.c.first_position)
        ).all()
    return [WorkspaceRow(*row) for row in rows]


def _folded(rows: Iterable[Row]) -> list[WorkspaceRow]:
    found: dict[str, WorkspaceRow] = {}
    for row in rows:
        known = advanced(found.get(row.stream), row)
        if known is not None:
            found[row.stream] = known
    return list(found.values())
