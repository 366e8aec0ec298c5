"""The rows of kubectl tables, put on the time line of the objects they show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from kaito.importing.attribution import Attributed
from kaito.importing.errors import AgesUnanchored
from kaito.importing.evidence import Evidence, Kind, OddLine, Row
from kaito.importing.lives import Life

_JUST_BEFORE = timedelta(microseconds=1)


class Placed(msgspec.Struct):
    """What the tables add: when inference was ready, instance types, the nodes of Machines."""

    evidence: list[Attributed] = []
    instance_types: dict[Life, str] = {}
    nodes: dict[str, str] = {}
    unattributed: list[OddLine] = []


def place_rows(rows: Sequence[Row], items: Sequence[Attributed]) -> Placed:
    """Find the object of each row and turn its age into a time.

    Raises:
        AgesUnanchored: None of a table's objects occurs in the logs.
    """
    placed = Placed()
    machines = {item.machine for item, _ in items if item.machine}
    lives = list(dict.fromkeys(life for _, life in items if life is not None))
    anchored: set[str] = set()
    for row in rows:
        if row.table == "machines":
            if row.name in machines:
                anchored.add(row.file)
                if row.node:
                    placed.nodes.setdefault(row.name, row.node)
            else:
                _refuse(placed, row)
        elif (life := _life_of(row, lives)) is not None:
            anchored.add(row.file)
            _place(placed, row, life)
        else:
            _refuse(placed, row)
    for row in rows:
        if row.file not in anchored:
            raise AgesUnanchored(row.file, row.line, row.name)
    return placed


def _life_of(row: Row, lives: Sequence[Life]) -> Life | None:
    """The one life of that name. An age tells nothing about which of several lives it counts in."""
    named = [life for life in lives if life.key[1] == row.name and row.namespace in ("", life.key[0])]
    return named[0] if len(named) == 1 and not named[0].adopted else None


def _refuse(placed: Placed, row: Row) -> None:
    why = f"{row.name} is not exactly one object whose creation the logs show"
    placed.unattributed.append(OddLine(row.file, row.line, row.name, why))


def _place(placed: Placed, row: Row, life: Life) -> None:
    if row.instance_type:
        placed.instance_types.setdefault(life, row.instance_type)
    if row.inference_ready != "True":
        return
    at = life.created_at + row.lower
    # A log line that shows the moment itself comes before the end of the row's interval and wins; a
    # deletion is taken after the row, because nothing becomes ready while it is deleted.
    order = at + row.precision
    if life.deletion_at is not None and life.deletion_at <= order:
        order = life.deletion_at - _JUST_BEFORE
    evidence = Evidence(order, row.file, row.line, at, Kind.INFERENCE_ROW, life.key, precision=row.precision)
    placed.evidence.append((evidence, life))
