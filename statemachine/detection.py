"""What an observation proves that the log does not hold yet.

`detect` records changes, not sightings: seeing the same picture again records nothing. It never decides; an
intent is `decision`'s. A picture comes from caches, so what it lacks is no proof: a Machine counts as gone
only by a live read, whatever else is missing is taken as missing and can be taken back.
"""

from __future__ import annotations

from datetime import datetime

from statemachine import events as ev
from statemachine.commands import (
    CreateMachine,
    CreateService,
    CreateWorkload,
    DeleteMachine,
    ReadMachine,
    RemoveFinalizer,
    UpdateWorkload,
)
from statemachine.draft import Draft
from statemachine.inference import detect_inference
from statemachine.observations import (
    ClusterView,
    CommandOutcome,
    MachineView,
    NodeView,
    Observation,
    Result,
    WorkspaceView,
)
from statemachine.state import (
    ConditionStatus,
    InferenceReason,
    NodeLossCause,
    Slot,
    SlotPhase,
    Stage,
    Trouble,
    Workspace,
)


def detect(state: Workspace, observation: Observation, now: datetime) -> tuple[ev.WorkspaceEvent, ...]:
    """The events that bring the log up to this observation.

    Settled after one round: ``detect(fold(detect(s, o), s), o) == ()``.
    """
    draft = Draft(state, now)
    match observation:
        case ClusterView():
            _detect_view(draft, observation)
        case CommandOutcome():
            _detect_outcome(draft, observation)
    return tuple(draft.events)


def _detect_view(draft: Draft, view: ClusterView) -> None:
    _detect_object(draft, view)
    match draft.state.stage:
        case Stage.LIVE:
            _detect_machines(draft, view)
            _detect_nodes(draft, view)
            _detect_waits(draft)
            _detect_verdicts(draft)
            detect_inference(draft, view)
        case Stage.DELETING | Stage.GONE:
            _detect_leftovers(draft, view.machines)


# --- the object -------------------------------------------------------------------------------------


def _detect_object(draft: Draft, view: ClusterView) -> None:
    found = view.workspace
    if found is None:
        if draft.state.stage in (Stage.LIVE, Stage.DELETING):
            draft.record(ev.WorkspaceDeleted(at=draft.now))
        return
    stage = draft.state.stage
    if stage is Stage.ABSENT:
        draft.record(_met(_first_kind(found, view), found, draft.now))
    elif view.restored and (stage is Stage.GONE or (stage is Stage.DELETING and not found.deleting)):
        draft.record(_met(ev.WorkspaceRestored, found, draft.now))
    if draft.state.stage is Stage.LIVE:
        _detect_spec(draft, found)
        if found.deleting:
            draft.record(ev.WorkspaceDeletionRequested(at=draft.now))


_Met = type[ev.WorkspaceCreated] | type[ev.WorkspaceAdopted] | type[ev.WorkspaceRestored]


def _first_kind(found: WorkspaceView, view: ClusterView) -> _Met:
    worked_on = found.has_finalizer or found.status.conditions or view.machines
    return ev.WorkspaceAdopted if worked_on else ev.WorkspaceCreated


def _met(kind: _Met, found: WorkspaceView, now: datetime) -> ev.WorkspaceEvent:
    return kind(
        at=now,
        uid=found.uid,
        namespace=found.namespace,
        name=found.name,
        generation=found.generation,
        node_count=found.node_count,
        instance_type=found.instance_type,
        inference=found.inference,
        limits=found.limits,
    )


def _detect_spec(draft: Draft, found: WorkspaceView) -> None:
    state = draft.state
    if found.limits != state.limits:
        draft.record(ev.LimitsChanged(at=draft.now, limits=found.limits))
    # A newer operator may accept what an older one refused, so a verdict that changed counts as a change.
    if found.generation > state.generation or (state.refused and found.refused != state.refused):
        draft.record(ev.SpecChanged(at=draft.now, generation=max(found.generation, state.generation)))
    if found.refused and not state.refused:
        draft.record(ev.SpecRefused(at=draft.now, generation=state.generation, message=found.refused))


# --- machines ---------------------------------------------------------------------------------------


def _detect_machines(draft: Draft, view: ClusterView) -> None:
    machines = sorted(view.machines, key=lambda machine: machine.name)
    for machine in machines:
        slot = draft.state.slot_of(machine.name)
        if slot is None:
            continue
        if machine.deleting:
            _detect_loss(draft, slot, machine)
        else:
            _detect_progress(draft, slot, machine)
    for machine in machines:  # after the losses, which may have freed a slot for one of these
        if draft.state.slot_of(machine.name) is None:
            _detect_stranger(draft, machine)


def _detect_stranger(draft: Draft, machine: MachineView) -> None:
    """A Machine of this Workspace that no slot holds fills a free slot, so that no new one is bought.

    One that fills none may still run, and cost, until its provider is done with it, so it is remembered.
    """
    free = [slot.index for slot in draft.state.slots if slot.phase is SlotPhase.FREE]
    slot = free[0] if free and not machine.deleting else None
    if slot is not None or machine.name not in draft.state.surplus:
        adopted = ev.MachineAdopted(at=draft.now, slot=slot, machine=machine.name, uid=machine.uid)
        draft.record(adopted)
    if slot is not None:
        _detect_progress(draft, draft.state.slots[slot], machine)


def _detect_loss(draft: Draft, slot: Slot, machine: MachineView) -> None:
    """A slot's Machine is being deleted, unless that one only bore the same name.

    A name is used again when a create was never answered and its Machine is gone meanwhile. An old picture
    of that earlier one must not cost the present one its slot, so a UID decides; where none is known yet,
    the answer to the create tells it.
    """
    if slot.phase is SlotPhase.REQUESTED or machine.uid != (slot.machine_uid or machine.uid):
        return
    cause = NodeLossCause.DELETING
    draft.record(ev.MachineLost(at=draft.now, slot=slot.index, machine=slot.machine, cause=cause))


def _detect_progress(draft: Draft, slot: Slot, machine: MachineView) -> None:
    at, index, name = draft.now, slot.index, machine.name
    if slot.phase is SlotPhase.REQUESTED:
        slot = draft.record_in(index, ev.MachineCreated(at=at, slot=index, machine=name, uid=machine.uid))
    if slot.phase >= SlotPhase.READY:
        return
    slot = _detect_failure(draft, slot, machine)
    if slot.phase is SlotPhase.CREATED and machine.launched:
        slot = draft.record_in(index, ev.MachineLaunched(at=at, slot=index, machine=name))
    if machine.ready and machine.node:
        draft.record(ev.MachineBecameReady(at=at, slot=index, machine=name, node=machine.node))


def _detect_failure(draft: Draft, slot: Slot, machine: MachineView) -> Slot:
    failure, known = machine.failure, slot.trouble is Trouble.LAUNCH_FAILED
    if failure is None:
        if not known:
            return slot
        resumed = ev.MachineLaunchResumed(at=draft.now, slot=slot.index, machine=slot.machine)
        return draft.record_in(slot.index, resumed)
    if known and (slot.blocked, slot.detail, slot.retry_at) == (
        failure.reason,
        failure.message,
        failure.retry_at,
    ):
        return slot
    failed = ev.MachineLaunchFailed(
        at=draft.now,
        slot=slot.index,
        machine=slot.machine,
        reason=failure.reason,
        message=failure.message,
        retry_at=failure.retry_at,
    )
    return draft.record_in(slot.index, failed)


def _detect_leftovers(draft: Draft, machines: tuple[MachineView, ...]) -> None:
    # A live read outranks the picture: what it found gone is not adopted from an older picture again.
    gone = set(draft.state.gone)
    _adopt(draft, tuple(machine for machine in machines if machine.name not in gone))


def _adopt(draft: Draft, machines: tuple[MachineView, ...]) -> None:
    known = set(draft.state.machines())
    for machine in sorted(machines, key=lambda machine: machine.name):
        if machine.name not in known:
            adopted = ev.MachineAdopted(at=draft.now, slot=None, machine=machine.name, uid=machine.uid)
            draft.record(adopted)


# --- nodes ------------------------------------------------------------------------------------------


def unusable(node: NodeView | None, needs_gpu: bool) -> NodeLossCause | None:
    """Why a node cannot serve its slot now; None when it can."""
    if node is None:
        return NodeLossCause.GONE
    if node.deleting:
        return NodeLossCause.DELETING
    if not node.ready:
        return NodeLossCause.NOT_READY
    return NodeLossCause.NO_GPU if needs_gpu and node.gpus < 1 else None


def _detect_nodes(draft: Draft, view: ClusterView) -> None:
    nodes = {node.name: node for node in view.nodes}
    machines = {machine.name: machine for machine in view.machines}
    needs_gpu = view.workspace is not None and view.workspace.needs_gpu
    for slot in draft.state.slots:
        if slot.phase < SlotPhase.READY:
            continue
        cause = unusable(nodes.get(slot.node), needs_gpu)
        if cause is not None:
            slot = _detect_lost_node(draft, slot, cause, machines.get(slot.machine))
            cause = unusable(nodes.get(slot.node), needs_gpu)
        if cause is None and slot.phase is SlotPhase.READY:
            draft.record(ev.NodeBecameUsable(at=draft.now, slot=slot.index, node=slot.node))


def _detect_lost_node(draft: Draft, slot: Slot, cause: NodeLossCause, machine: MachineView | None) -> Slot:
    """The slot after the loss of its node, and after its Machine came back with another, as a repair does."""
    if _is_news(slot, cause):
        slot = draft.record_in(
            slot.index, ev.NodeLost(at=draft.now, slot=slot.index, node=slot.node, cause=cause)
        )
    if machine is None or machine.deleting or not machine.ready or machine.node in ("", slot.node):
        return slot
    return draft.record_in(
        slot.index,
        ev.MachineBecameReady(at=draft.now, slot=slot.index, machine=machine.name, node=machine.node),
    )


def _is_news(slot: Slot, cause: NodeLossCause) -> bool:
    lost_before = slot.trouble is Trouble.NODE_LOST and slot.detail != cause
    return slot.phase is SlotPhase.USABLE or lost_before


# --- timers and verdicts ----------------------------------------------------------------------------


def waiting_since(slot: Slot) -> datetime | None:
    """When the wait for this slot's Machine began; None when it waits for none."""
    waits = slot.machine and slot.phase is not SlotPhase.USABLE and slot.trouble is not Trouble.NODE_LOST
    return (slot.created_at or slot.requested_at) if waits else None


def _detect_waits(draft: Draft) -> None:
    limits = draft.state.limits
    for slot in draft.state.slots:
        since = waiting_since(slot)
        if since is None:
            continue
        elapsed = (draft.now - since).total_seconds()
        if elapsed >= limits.machine_timeout:
            # A failure that is known by name says more than that time has passed.
            if slot.trouble is Trouble.NONE:
                draft.record(
                    ev.MachineWaitTimedOut(
                        at=draft.now, slot=slot.index, machine=slot.machine, elapsed_seconds=elapsed
                    )
                )
        elif elapsed >= limits.machine_slow_after and not slot.slow:
            draft.record(
                ev.MachineWaitSlowed(
                    at=draft.now, slot=slot.index, machine=slot.machine, elapsed_seconds=elapsed
                )
            )


def _detect_verdicts(draft: Draft) -> None:
    state = draft.state
    usable = [slot for slot in state.slots if slot.phase is SlotPhase.USABLE]
    if state.slots and len(usable) == len(state.slots):
        nodes = tuple(sorted(slot.node for slot in usable))
        if state.machine_ready.status is not ConditionStatus.TRUE:
            draft.record(ev.NodePluginsInstalled(at=draft.now, nodes=nodes))
        if state.resource_ready.status is not ConditionStatus.TRUE or state.worker_nodes != nodes:
            draft.record(ev.WorkerNodesChosen(at=draft.now, nodes=nodes))
    else:
        draft.record_resumption()


# --- outcomes of commands ---------------------------------------------------------------------------


def _detect_outcome(draft: Draft, outcome: CommandOutcome) -> None:
    match outcome.command:
        case CreateMachine():
            _detect_creation(draft, outcome.command, outcome)
        case ReadMachine() | DeleteMachine() as command:
            if outcome.result is Result.NOT_FOUND:
                _detect_gone(draft, command.machine)
        case RemoveFinalizer():
            _adopt(draft, outcome.remaining)
        case CreateService() | CreateWorkload() | UpdateWorkload():
            if outcome.result is Result.REFUSED and draft.state.stage is Stage.LIVE:
                draft.record_trouble(InferenceReason.FAILED, outcome.message)
        case _:
            pass


def _detect_creation(draft: Draft, command: CreateMachine, outcome: CommandOutcome) -> None:
    slot = draft.state.slot_of(command.machine)
    if slot is None or slot.phase is not SlotPhase.REQUESTED or draft.state.stage is not Stage.LIVE:
        return
    if outcome.result is Result.DONE:
        draft.record(ev.MachineCreated(at=draft.now, slot=slot.index, machine=slot.machine, uid=outcome.uid))
    elif outcome.result is Result.REFUSED:
        refused = ev.MachineCreationRefused(
            at=draft.now,
            slot=slot.index,
            machine=slot.machine,
            message=outcome.message,
            retry_at=outcome.retry_at,
        )
        known = slot.trouble is Trouble.CREATION_REFUSED
        if not known or (slot.detail, slot.retry_at) != (outcome.message, outcome.retry_at):
            draft.record(refused)


def _detect_gone(draft: Draft, machine: str) -> None:
    state = draft.state
    slot = state.slot_of(machine)
    if state.stage is not Stage.LIVE:
        if machine in state.machines() or machine in state.deleting:
            draft.record(ev.MachineDeleted(at=draft.now, machine=machine))
    elif slot is not None and slot.phase is not SlotPhase.REQUESTED:
        lost = ev.MachineLost(at=draft.now, slot=slot.index, machine=machine, cause=NodeLossCause.GONE)
        draft.record(lost)
        draft.record_resumption()
