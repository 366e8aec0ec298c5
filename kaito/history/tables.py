"""Rows of the tables that `kaito events` and `kaito status` print."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from kaito import durations
from kaito.history.chronicle import Chronicle
from kaito.history.sentences import describe, elapsed, stamp
from statemachine import projection
from statemachine.state import Condition, ConditionType, Slot, Workspace
from store.records import Record

EVENT_COLUMNS = ("POSITION", "TIME", "AGE", "TYPE", "WHAT HAPPENED")

PUBLISHED_COLUMNS = ("NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE")
"""The printer columns of the CustomResourceDefinition, as kubectl shows them."""

LIST_COLUMNS = (
    "NAMESPACE", "NAME", "INSTANCE", "MACHINEREADY", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY",
    "AGE", "STAGE",
)  # fmt: skip
CONDITION_COLUMNS = ("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE")
SLOT_COLUMNS = ("SLOT", "PHASE", "ATTEMPT", "MACHINE", "NODE", "TROUBLE")

NOTHING = "-"
"""Where there is nothing to show."""


def event_rows(chronicle: Chronicle) -> list[tuple[str, ...]]:
    start = chronicle.created_at
    return [
        (
            str(record.position),
            stamp(record.event.at),
            f"+{elapsed(max(record.event.at - start, start - start))}",
            record.type,
            describe(record.event),
        )
        for record in chronicle.merged()
    ]


def event_data(record: Record) -> dict[str, Any]:
    """The record as plain data, its event's fields under ``data``."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    found["data"] = found.pop("event")
    return found


def facts(chronicle: Chronicle, at: datetime) -> list[tuple[str, str]]:
    """What heads the status of one Workspace."""
    state = chronicle.state()
    known = chronicle.records[-1]
    found = [
        ("Workspace", chronicle.label),
        ("UID", chronicle.uid),
        ("At", f"{stamp(at)} ({elapsed(at - chronicle.created_at)} after its creation)"),
        ("Log", f"version {known.version} of the stream, position {known.position}"),
        ("Stage", str(state.stage)),
    ]
    optional = [
        ("Inference", state.inference),
        ("Nodes", ", ".join(state.worker_nodes)),
        ("Workload", state.workload),
        ("Refused", state.refused),
        ("Surplus", ", ".join(state.surplus)),
    ]
    return found + [(label, value) for label, value in optional if value]


def status_tables(chronicle: Chronicle, at: datetime) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """The published columns, the conditions and the slots, each with its headers."""
    state = chronicle.state()
    conditions = projection.conditions(state)
    published = (
        chronicle.name,
        state.instance_type,
        *[_status(state, kind) for kind in list(ConditionType)[1:4]],
        _age(chronicle, at),
    )
    return [
        (PUBLISHED_COLUMNS, [published]),
        (CONDITION_COLUMNS, [_condition_row(kind, found) for kind, found in conditions.items()]),
        (SLOT_COLUMNS, [_slot_row(slot) for slot in state.slots]),
    ]


def list_row(chronicle: Chronicle, at: datetime) -> tuple[str, ...]:
    state = chronicle.state()
    statuses = [_status(state, kind) for kind in list(ConditionType)[:4]]
    return (
        chronicle.namespace,
        chronicle.name,
        state.instance_type,
        *statuses,
        _age(chronicle, at),
        str(state.stage),
    )


def _status(state: Workspace, kind: ConditionType) -> str:
    condition = projection.conditions(state).get(kind)
    return str(condition.status) if condition else ""


def _age(chronicle: Chronicle, at: datetime) -> str:
    return durations.age(at - chronicle.created_at)


def _condition_row(kind: str, condition: Condition) -> tuple[str, ...]:
    since = stamp(condition.since) if condition.since else NOTHING
    return kind, str(condition.status), since, condition.reason, condition.message


def _slot_row(slot: Slot) -> tuple[str, ...]:
    trouble = ": ".join(text for text in (str(slot.trouble), slot.blocked, slot.detail) if text)
    return (
        str(slot.index),
        slot.phase.name.capitalize(),
        str(slot.attempt),
        slot.machine or NOTHING,
        slot.node or NOTHING,
        trouble or ("slow" if slot.slow else NOTHING),
    )
