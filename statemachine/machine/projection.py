"""The `.status` of the Machine that the folded state asks for; it is written from here and nowhere else."""

from __future__ import annotations

from statemachine.machine.commands import WriteStatus
from statemachine.machine.observations import MachineObject, MachineStatusView
from statemachine.machine.state import Machine, MachineConditionType
from statemachine.machine.tables import FIELDS
from statemachine.state import Condition, ConditionStatus


def conditions(state: Machine) -> dict[str, Condition]:
    """The conditions that exist, by type, sorted by type as published."""
    found = {str(kind): getattr(state, FIELDS[kind]) for kind in MachineConditionType}
    present = {kind: value for kind, value in found.items() if value.status is not ConditionStatus.ABSENT}
    return dict(sorted(present.items()))


def status(state: Machine) -> MachineStatusView:
    """The whole of what we own; node and provider id never come later than Ready."""
    return MachineStatusView(
        conditions=conditions(state),
        node=state.node,
        provider_id=state.provider_id,
        capacity=state.capacity,
        allocatable=state.allocatable,
    )


def differs(state: Machine, written: MachineStatusView) -> bool:
    """Whether the status on the object is not what the state asks for.

    Transition times are left out: the API keeps whole seconds, and they follow from the rest.
    """
    return _content(status(state)) != _content(written)


def status_command(state: Machine, found: MachineObject) -> list[WriteStatus]:
    """What brings the status on the object up to the state; empty when it is so already."""
    if not differs(state, found.status):
        return []
    wanted = status(state)
    return [
        WriteStatus(
            conditions=wanted.conditions,
            node=wanted.node,
            provider_id=wanted.provider_id,
            capacity=wanted.capacity,
            allocatable=wanted.allocatable,
        )
    ]


def _content(view: MachineStatusView) -> tuple[object, ...]:
    said = {kind: (c.status, c.reason, c.message) for kind, c in view.conditions.items()}
    return (said, view.node, view.provider_id, view.capacity, view.allocatable)
