"""The SQL of the log, written in SQLAlchemy Core and compiled once for the dialect.

The compiled text runs on the driver's own cursor: passing through SQLAlchemy's result handling costs more
than these statements themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Engine,
    bindparam,
    func,
    insert,
    select,
    tuple_,
    update,
)

from store import schema


class Statement:
    """A Core statement compiled for a dialect.

    Args:
        names: The bound parameters, in the order in which callers give their values.
    """

    def __init__(self, element: ClauseElement, engine: Engine, *names: str) -> None:
        compiled: Any = element.compile(dialect=engine.dialect)
        self.sql: str = compiled.string
        self._names = names
        places: list[str] | None = compiled.positiontup
        self._as_given = places == list(names)
        self._named = places is None
        self._constants: dict[str, object] = {
            name: value for name, value in compiled.params.items() if name not in names
        }
        self._template = [self._constants.get(name) for name in places or ()]
        self._slots = [(place, names.index(name)) for place, name in enumerate(places or ()) if name in names]

    def run(self, cursor: Any, values: Sequence[object] = ()) -> None:
        cursor.execute(self.sql, values if self._as_given else self._arranged(values))

    def run_many(self, cursor: Any, rows: Sequence[Sequence[object]]) -> None:
        cursor.executemany(self.sql, rows if self._as_given else [self._arranged(row) for row in rows])

    def _arranged(self, values: Sequence[object]) -> Any:
        """The values as the driver wants them: by name, or once for each place in the text."""
        if self._named:
            return dict(zip(self._names, values, strict=True)) | self._constants
        arguments = self._template.copy()
        for place, source in self._slots:
            arguments[place] = values[source]
        return arguments


class Statements:
    """Every statement of `SqlEventLog`, for one engine."""

    def __init__(self, engine: Engine) -> None:
        events, fences = schema.events.c, schema.fences.c
        stream: BindParameter[str] = bindparam("stream")
        after: BindParameter[int] = bindparam("after")
        until: BindParameter[int] = bindparam("until")
        of_stream = events.stream == stream
        columns = [column.name for column in schema.events.columns]

        highest = select(fences.epoch).where(fences.name == bindparam("family")).scalar_subquery()
        end = select(func.max(schema.events.alias("log").c.position)).scalar_subquery()
        self.last_position = Statement(select(end), engine)
        self.totals = Statement(select(end, highest), engine, "family")
        """Last position of the log and highest epoch of a family."""
        self.tip = Statement(
            select(end, highest, events.version, events.hash)
            .where(of_stream)
            .order_by(events.version.desc())
            .limit(1),
            engine,
            "family",
            "stream",
        )
        """The same, with last version and hash of a stream; no row where the stream has none."""

        self.add = Statement(
            insert(schema.events).values({name: bindparam(name) for name in columns}), engine, *columns
        )
        self.raise_epoch = Statement(
            update(schema.fences).where(fences.name == bindparam("fence")).values(epoch=bindparam("epoch")),
            engine,
            "epoch",
            "fence",
        )
        self.first_epoch = Statement(
            insert(schema.fences).values(name=bindparam("name"), epoch=bindparam("epoch")),
            engine,
            "epoch",
            "name",
        )
        self.identities = Statement(
            select(events.event_id, events.position)
            .where(of_stream, events.version > after, events.version <= until)
            .order_by(events.version),
            engine,
            "stream",
            "after",
            "until",
        )

        tail = (of_stream, events.version > after)
        self.stream_rows = Statement(
            select(schema.events).where(*tail).order_by(events.version), engine, "stream", "after"
        )
        self.stream_data = Statement(
            select(events.type, events.schema_version, events.data).where(*tail).order_by(events.version),
            engine,
            "stream",
            "after",
        )
        last: BindParameter[str] = bindparam("last")
        end_of: BindParameter[str] = bindparam("end")
        self.histories = Statement(
            select(events.stream, events.version, events.type, events.schema_version, events.data)
            .where(tuple_(events.stream, events.version) > tuple_(last, after), events.stream < end_of)
            .order_by(events.stream, events.version)
            .limit(bindparam("limit")),
            engine,
            "last",
            "after",
            "end",
            "limit",
        )
        """Stream by stream, from behind one version of one stream up to a name."""
        self.all_rows = Statement(
            select(schema.events)
            .where(events.position > after)
            .order_by(events.position)
            .limit(bindparam("limit")),
            engine,
            "after",
            "limit",
        )

        self.head = Statement(
            select(events.stream, events.version, events.position, events.hash)
            .where(of_stream)
            .order_by(events.version.desc())
            .limit(1),
            engine,
            "stream",
        )
        ends = (
            select(
                events.stream,
                func.min(events.position).label("first"),
                func.max(events.version).label("last"),
            )
            .where(events.stream >= bindparam("prefix"), events.stream < bindparam("end"))
            .group_by(events.stream)
            .subquery()
        )
        self.heads = Statement(
            select(events.stream, events.version, events.position, events.hash)
            .join(ends, (ends.c.stream == events.stream) & (ends.c.last == events.version))
            .order_by(ends.c.first),
            engine,
            "prefix",
            "end",
        )
        self.fences = Statement(select(fences.name, fences.epoch), engine)
        self.epochs = Statement(select(events.stream, func.max(events.epoch)).group_by(events.stream), engine)
        """The highest epoch that has written to each stream."""
