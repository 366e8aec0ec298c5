"""The `.status` that the folded state asks for; status is written from here and nowhere else."""

from __future__ import annotations

from statemachine.observations import StatusView
from statemachine.state import Condition, ConditionStatus, ConditionType, Workspace
from statemachine.tables import FIELDS


def conditions(state: Workspace) -> dict[str, Condition]:
    """The conditions that exist, by type, in the published order."""
    found = {str(kind): getattr(state, FIELDS[kind]) for kind in ConditionType}
    return {kind: value for kind, value in found.items() if value.status is not ConditionStatus.ABSENT}


def differs(state: Workspace, written: StatusView) -> bool:
    """Whether the status on the object is not what the state asks for.

    Transition times are left out: the API keeps whole seconds, and they follow from the rest.
    """
    wanted = {kind: (c.status, c.reason, c.message) for kind, c in conditions(state).items()}
    present = {kind: (c.status, c.reason, c.message) for kind, c in written.conditions.items()}
    return (
        wanted != present
        or state.worker_nodes != written.worker_nodes
        or state.generation != written.observed_generation
    )
