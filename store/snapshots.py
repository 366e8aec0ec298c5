"""Folded states kept beside the log, so that long streams need not be folded from their beginning.

A snapshot is a cache and nothing more: it may be discarded at any time, and one that does not fit the log or
the code is passed over. It fits when it was written by code with the same fingerprint, and when the event at
its version is still the one it was folded from.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Delete, Select, delete, select

from statemachine.state import Workspace
from store import schema
from store.log import SqlEventLog


class Snapshot(msgspec.Struct, frozen=True):
    """The fold of the first ``version`` events of a stream."""

    version: int
    state: Workspace


def fingerprint(fold: str = "") -> str:
    """What must be equal for a stored state to be of use: the shape of the state, and the ``fold`` named."""
    shape = msgspec.json.encode(msgspec.json.schema(Workspace), order="deterministic")
    return sha256(shape + b"\n" + fold.encode()).hexdigest()


class Snapshots:
    """The snapshots of one log, at most one a stream.

    Args:
        fold: A text that changes whenever folding the same events may give another state. The caller, who
            owns the fold, knows it; the shape of the state is covered without it.
    """

    def __init__(self, log: SqlEventLog, fold: str = "") -> None:
        self._database = log.database
        self._fingerprint = fingerprint(fold)

    def save(self, stream: str, version: int, state: Workspace) -> bool:
        """Keep ``state`` for ``version`` of the stream; False when the stream has no such version."""
        with self._database.writing():
            connection = self._database.connection
            anchor = connection.execute(_anchor(stream, version)).scalar()
            if anchor is None:
                return False
            connection.execute(_of(stream))
            connection.execute(
                schema.snapshots.insert().values(
                    stream=stream,
                    version=version,
                    hash=anchor,
                    fingerprint=self._fingerprint,
                    state=msgspec.json.encode(state).decode(),
                )
            )
        return True

    def load(self, stream: str) -> Snapshot | None:
        """The snapshot of the stream, None when there is none that fits the log and the code."""
        table = schema.snapshots
        with self._database.reading():
            connection = self._database.connection
            row = connection.execute(select(table).where(table.c.stream == stream)).one_or_none()
            anchor = None if row is None else connection.execute(_anchor(stream, row.version)).scalar()
        if row is None or row.fingerprint != self._fingerprint or row.hash != anchor:
            return None
        try:
            return Snapshot(row.version, msgspec.json.decode(row.state, type=Workspace))
        except msgspec.DecodeError:
            return None

    def discard(self, stream: str = "") -> None:
        """Forget the snapshot of one stream, or all."""
        with self._database.writing():
            self._database.connection.execute(_of(stream) if stream else delete(schema.snapshots))


def _anchor(stream: str, version: int) -> Select[Any]:
    events = schema.events.c
    return select(events.hash).where(events.stream == stream, events.version == version)


def _of(stream: str) -> Delete:
    return delete(schema.snapshots).where(schema.snapshots.c.stream == stream)
