"""The history of one Workspace, told from its evidence.

A `Story` folds its own events as it goes and records changes, not sightings: what the state shows already
adds nothing. Its events depend only on lines it has met, and details that a longer log may still tell (how
many nodes, which node) hold the event back, so the history of a log is the beginning of the history of a
longer one. A line the rules of the state machine cannot follow ends the story there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from kaito.importing.attribution import announced, machine_in
from kaito.importing.evidence import Evidence, Kind
from kaito.importing.lives import Life
from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.limits import Limits
from statemachine.replay import advance
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

ORIGINAL_LIMITS = Limits(machine_slow_after=240.0, machine_timeout=240.0, inference_timeout=1800.0)
"""What ran: one wait of 240 s for a Machine, and 30 min for inference, the limit of most presets."""

DEADLINE = "context deadline exceeded"
NOT_REGISTERED = "is not registered for workspace"
READY_WAITS = frozenset({SlotPhase.CREATED, SlotPhase.LAUNCHED})


class Attested(NamedTuple):
    """An event and the line that proves it, such as ``workspace.log:85``."""

    event: ev.WorkspaceEvent
    cause: str


class Story:
    """One life of a Workspace.

    Args:
        nodes: The node of each Machine, as far as any line of the import tells it.
    """

    def __init__(self, life: Life, instance_type: str, nodes: Mapping[str, str]) -> None:
        self.life = life
        self.state = Workspace()
        self.ended = ""
        """Why the history stops before the log does; empty when it does not."""
        self._instance_type = instance_type
        self._nodes = nodes
        self._events: list[Attested] = []
        self._unnamed: int | None = None
        self._machines: dict[str, datetime] = {}
        self._workload_proven = False

    def events(self) -> list[Attested]:
        """What is certain so far: up to the first event whose details a longer log may still tell."""
        return self._events[: self._unnamed]

    def held_back(self) -> str:
        if not self._events:
            return "nothing is known yet but that it exists"
        return "" if self._unnamed is None else "the node of a ready Machine is not known yet"

    @property
    def gone(self) -> bool:
        return self.state.stage is Stage.GONE

    def end(self, why: str) -> None:
        self.ended = self.ended or why

    def take(self, item: Evidence) -> None:
        """Tell what one piece of evidence adds."""
        if self.ended:
            return
        try:
            self._take(item)
        except IllegalTransition as error:
            self.end(f"{item.cause}: {error}")

    def _take(self, item: Evidence) -> None:
        handler = _HANDLERS.get(item.kind)
        if handler is not None:
            handler(self, item)

    # --- recording ----------------------------------------------------------------------------------

    def _tell(self, event: ev.WorkspaceEvent, item: Evidence) -> None:
        if not self._events:
            self._begin(1, item)
        last = self._events[-1].event.at
        # Two goroutines may log in the other order than they acted, by microseconds.
        told = event if event.at >= last else replace(event, at=last)
        advance(self.state, (told,))
        self._events.append(Attested(told, item.cause))

    def _begin(self, node_count: int, item: Evidence) -> None:
        """Tell the beginning. A Workspace asks first for all its nodes; where it never asks, it has one."""
        if self._events:
            return
        life = self.life
        kind = ev.WorkspaceAdopted if life.adopted else ev.WorkspaceCreated
        event = kind(
            at=life.created_at, uid=life.uid, namespace=life.key[0], name=life.key[1], generation=1,
            node_count=node_count, instance_type=self._instance_type, inference="", limits=ORIGINAL_LIMITS,
        )  # fmt: skip
        advance(self.state, (event,))
        self._events.append(Attested(event, life.cause))

    # --- machines -----------------------------------------------------------------------------------

    def _condition(self, item: Evidence) -> None:
        machine = machine_in(item.text)
        if machine and item.status == "False":
            self._machine_failed(machine, item)
        elif (item.name, item.status) in _VERDICTS:
            _VERDICTS[item.name, item.status](self, item)

    def _machine_failed(self, machine: str, item: Evidence) -> None:
        slot = self._slot(machine, item)
        if slot is None or self.state.stage is not Stage.LIVE:
            return
        if "is not ready" in item.text:
            if slot.trouble is not Trouble.TIMED_OUT and slot.phase < SlotPhase.READY:
                waited = (item.at - (slot.created_at or slot.requested_at or item.at)).total_seconds()
                event = ev.MachineWaitTimedOut(
                    at=item.at, slot=slot.index, machine=machine, elapsed_seconds=max(0.0, waited)
                )
                self._tell(event, item)
        elif slot.phase in READY_WAITS:
            self._lose_machine(slot, item)

    def _slot(self, machine: str, item: Evidence) -> Slot | None:
        """The slot of this Machine; one whose creation the logs do not show is adopted into a free slot."""
        if machine in self._machines:
            self._prove(machine, item)
            return self.state.slot_of(machine)
        self._begin(1, item)
        free = next((slot for slot in self.state.slots if slot.phase is SlotPhase.FREE), None)
        if free is None:
            return None
        self._machines[machine] = item.at
        self._tell(ev.MachineAdopted(at=item.at, slot=free.index, machine=machine), item)
        return self.state.slot_of(machine)

    def _announced(self, item: Evidence) -> None:
        """The controller misses ``count`` nodes: the slots that had one have lost it."""
        count = announced(item)
        if not count:
            return
        self._begin(count, item)
        for slot in self.state.slots:
            if slot.phase in READY_WAITS:
                self._lose_machine(slot, item)
        having = [slot for slot in self.state.slots if slot.phase >= SlotPhase.READY]
        kept = self.state.node_count - count
        if len(having) <= kept:
            return
        if kept > 0:
            self.end(f"{item.cause}: {count} of {len(having)} nodes are lost, and nothing says which")
            return
        for slot in having:
            self._lose_node(slot, item)

    def _lose_machine(self, slot: Slot, item: Evidence) -> None:
        event = ev.MachineLost(at=item.at, slot=slot.index, machine=slot.machine, cause=NodeLossCause.GONE)
        self._tell(event, item)

    def _lose_node(self, slot: Slot, item: Evidence) -> None:
        """The node no longer qualifies: gone, being deleted or not ready; the log does not say which."""
        if slot.phase is SlotPhase.USABLE:
            lost = ev.NodeLost(at=item.at, slot=slot.index, node=slot.node, cause=NodeLossCause.NOT_READY)
            self._tell(lost, item)
        self._tell(ev.NodeReleased(at=item.at, slot=slot.index, node=slot.node), item)

    def _machine_creation(self, item: Evidence) -> None:
        if item.machine in self._machines:
            return
        self._begin(1, item)
        slot = self._vacancy(item)
        if slot is None:
            self.end(f"{item.cause}: Machine {item.machine} is one more than the Workspace has nodes")
            return
        self._machines[item.machine] = item.at
        event = ev.MachineRequested(
            at=item.at, slot=slot.index, attempt=slot.attempt + 1, machine=item.machine
        )
        self._tell(event, item)

    def _vacancy(self, item: Evidence) -> Slot | None:
        """A slot whose Machine the API refused comes first: its next attempt has another name."""
        slots = self.state.slots
        asked = next((slot for slot in slots if slot.phase is SlotPhase.REQUESTED), None)
        if asked is None:
            return next((slot for slot in slots if slot.phase is SlotPhase.FREE), None)
        if asked.trouble is not Trouble.CREATION_REFUSED:
            taken = "There exists a machine with the same name, retry with a different name"
            self._refuse(asked, taken, item)
        return self.state.slots[asked.index]

    def _refuse(self, slot: Slot, message: str, item: Evidence) -> None:
        event = ev.MachineCreationRefused(at=item.at, slot=slot.index, machine=slot.machine, message=message)
        self._tell(event, item)

    def _creation_failed(self, item: Evidence) -> None:
        slots = self.state.slots
        asked = next((slot for slot in slots if slot.phase is SlotPhase.REQUESTED), None)
        if item.reason == "machineFailedCreation" and asked is not None:
            self._refuse(asked, item.text, item)

    def _machine_checked(self, item: Evidence) -> None:
        self._prove(item.machine, item)

    def _prove(self, machine: str, item: Evidence) -> None:
        """The Machine exists: the controller reads it back before it waits. It posted it when it said so."""
        slot = self.state.slot_of(machine)
        if slot is None or slot.phase is not SlotPhase.REQUESTED:
            return
        event = ev.MachineCreated(at=self._machines[machine], slot=slot.index, machine=machine)
        self._tell(event, item)

    def _machine_launched(self, item: Evidence) -> None:
        self._prove(item.machine, item)
        slot = self.state.slot_of(item.machine)
        if slot is not None and slot.phase is SlotPhase.CREATED and self.state.stage is Stage.LIVE:
            event = ev.MachineLaunched(at=item.at, slot=slot.index, machine=item.machine)
            self._tell(event, item)

    def _machine_ready(self, item: Evidence) -> None:
        slot = self._slot(item.machine, item)
        if slot is not None and slot.phase in READY_WAITS and self.state.stage is Stage.LIVE:
            self._become_ready(slot, item)

    def _become_ready(self, slot: Slot, item: Evidence) -> None:
        node = self._nodes.get(slot.machine, "")
        if not node and self._unnamed is None:
            self._unnamed = len(self._events)
        event = ev.MachineBecameReady(at=item.at, slot=slot.index, machine=slot.machine, node=node)
        self._tell(event, item)

    def _nodes_ready(self, item: Evidence) -> None:
        """The verdict over all nodes. After it no line will name the nodes any more."""
        self._begin(1, item)
        if self.state.machine_ready.status is ConditionStatus.TRUE or self.state.stage is not Stage.LIVE:
            return
        for slot in self.state.slots:
            self._use(slot, item)
        self._unnamed = None
        self._tell(ev.NodePluginsInstalled(at=item.at, nodes=self._node_names()), item)

    def _use(self, slot: Slot, item: Evidence) -> None:
        if slot.machine and slot.trouble is not Trouble.CREATION_REFUSED:
            self._prove(slot.machine, item)
        slot = self.state.slots[slot.index]
        if slot.phase in READY_WAITS:
            self._become_ready(slot, item)
        slot = self.state.slots[slot.index]
        if slot.phase is SlotPhase.READY:
            self._tell(ev.NodeBecameUsable(at=item.at, slot=slot.index, node=slot.node), item)

    def _node_names(self) -> tuple[str, ...]:
        return tuple(sorted(slot.node for slot in self.state.slots if slot.node))

    def _nodes_chosen(self, item: Evidence) -> None:
        self._nodes_ready(item)
        nodes, state = self._node_names(), self.state
        chosen = state.resource_ready.status is ConditionStatus.TRUE and nodes == state.worker_nodes
        if not chosen and state.stage is Stage.LIVE:
            self._tell(ev.WorkerNodesChosen(at=item.at, nodes=nodes), item)

    # --- inference ----------------------------------------------------------------------------------

    def _service_created(self, item: Evidence) -> None:
        if not self.state.service and self.state.stage in (Stage.ABSENT, Stage.LIVE):
            self._tell(ev.ServiceCreated(at=item.at, name=item.name), item)

    def _workload_created(self, item: Evidence) -> None:
        """Template mode says this on every pass; only with a Service is it a workload made again."""
        state = self.state
        if state.workload:
            if not (state.service and self._workload_proven):
                return
            self._tell(ev.WorkloadLost(at=item.at, kind=item.text, name=item.name), item)
        self._workload_proven = False
        self._tell(ev.WorkloadCreated(at=item.at, kind=item.text, name=item.name), item)

    def _workload_seen(self, item: Evidence) -> None:
        """The pass reached inference, so nodes and resources passed before it."""
        self._workload_proven = True
        self._nodes_chosen(item)

    def _inference_ready(self, item: Evidence) -> None:
        self._begin(1, item)
        self._workload_proven = True
        state = self.state
        if state.stage is not Stage.LIVE or state.inference_ready.status is ConditionStatus.TRUE:
            return
        latest = self._events[-1].event.at
        at = max(item.at, latest)
        precision = max(timedelta(0), item.at + item.precision - at)
        count = state.node_count
        event = ev.InferenceBecameReady(
            at=at, ready=count, desired=count, precision_seconds=precision.total_seconds()
        )
        self._tell(event, item)

    def _inference_failed(self, item: Evidence) -> None:
        self._begin(1, item)
        state = self.state
        if state.stage is not Stage.LIVE:
            return
        status = state.inference_ready.status
        if status is ConditionStatus.TRUE:
            event: ev.WorkspaceEvent = ev.InferenceDegraded(
                at=item.at,
                ready=0,
                desired=state.node_count,
                reason=InferenceReason.FAILED,
                message=item.text,
            )
        elif item.text == DEADLINE and status is ConditionStatus.UNKNOWN:
            since = state.workload_at or self.life.created_at
            waited = (item.at - since).total_seconds()
            event = ev.InferenceWaitTimedOut(at=item.at, elapsed_seconds=max(0.0, waited))
        elif item.text != state.inference_ready.message:
            event = ev.InferenceTroubled(at=item.at, reason=InferenceReason.FAILED, message=item.text)
        else:
            return
        self._tell(event, item)

    def _reconcile_failed(self, item: Evidence) -> None:
        if machine := machine_in(item.text):
            self._machine_failed(machine, item)
        elif NOT_REGISTERED in item.text and item.text != self.state.refused:
            self._tell(ev.SpecRefused(at=item.at, generation=1, message=item.text), item)

    # --- deletion -----------------------------------------------------------------------------------

    def _deletion(self, item: Evidence) -> None:
        self._begin(1, item)
        if self.state.stage is Stage.LIVE:
            self._tell(ev.WorkspaceDeletionRequested(at=item.at), item)

    def _collection(self, item: Evidence) -> None:
        self._deletion(item)
        told = {e.event.machine for e in self._events if isinstance(e.event, ev.MachineDeletionRequested)}
        for machine in self._machines:
            if machine not in told:
                self._tell(ev.MachineDeletionRequested(at=item.at, machine=machine), item)

    def _release(self, item: Evidence) -> None:
        """The published operator removes every finalizer at once, so the object goes with ours."""
        self._collection(item)
        self._tell(ev.WorkspaceReleased(at=item.at), item)
        self._tell(ev.WorkspaceDeleted(at=item.at), item)

    def _machine_deleted(self, item: Evidence) -> None:
        if item.machine in self.state.deleting:
            self._tell(ev.MachineDeleted(at=item.at, machine=item.machine), item)


_VERDICTS = {
    ("MachineReady", "Unknown"): Story._announced,
    ("MachineReady", "False"): Story._creation_failed,
    ("MachineReady", "True"): Story._nodes_ready,
    ("ResourceReady", "True"): Story._nodes_chosen,
    ("InferenceReady", "True"): Story._inference_ready,
    ("InferenceReady", "False"): Story._inference_failed,
    ("WorkspaceReady", "True"): Story._inference_ready,
    ("WorkspaceDeleting", "True"): Story._deletion,
}
_HANDLERS = {
    Kind.CONDITION: Story._condition,
    Kind.NODE_LIST: Story._nodes_chosen,
    Kind.SERVICE_CREATED: Story._service_created,
    Kind.WORKLOAD_CREATED: Story._workload_created,
    Kind.WORKLOAD_SEEN: Story._workload_seen,
    Kind.WORKLOAD_READY: Story._inference_ready,
    Kind.INFERENCE_ROW: Story._inference_ready,
    Kind.RECONCILE_FAILED: Story._reconcile_failed,
    Kind.DELETION: Story._deletion,
    Kind.COLLECTION: Story._collection,
    Kind.RELEASE: Story._release,
    Kind.MACHINE_CREATION: Story._machine_creation,
    Kind.MACHINE_CHECK: Story._machine_checked,
    Kind.MACHINE_READY: Story._machine_ready,
    Kind.LAUNCH: Story._machine_launched,
    Kind.MACHINE_DELETED: Story._machine_deleted,
}
