"""Machines and nodes in the history of one Workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kaito.importing.attribution import announced
from kaito.importing.evidence import Evidence
from kaito.importing.lives import Life
from kaito.importing.recording import Recorder
from statemachine import events as ev
from statemachine.state import ConditionStatus, NodeLossCause, Slot, SlotPhase, Stage, Trouble

AWAITED = frozenset({SlotPhase.CREATED, SlotPhase.LAUNCHED})
NAME_TAKEN = "There exists a machine with the same name, retry with a different name"


class Unclear(Exception):
    """The line leaves open what happened; the history ends before it."""


class Provisioning(Recorder):
    """The slots of one Workspace.

    Args:
        nodes: The node of each Machine, as far as any line of the import tells it.
    """

    def __init__(self, life: Life, instance_type: str, nodes: Mapping[str, str]) -> None:
        super().__init__(life, instance_type)
        self.machines: dict[str, datetime] = {}
        """Every Machine of this Workspace so far, by name, and when it was asked for."""
        self.unnamed: int | None = None
        """The first event that lacks the name of a node, as long as a later line may give it."""
        self._nodes = nodes

    def machine_failed(self, machine: str, item: Evidence) -> None:
        slot = self._slot(machine, item) if self.active else None
        if slot is None:
            return
        if "is not ready" in item.text:
            if slot.trouble is not Trouble.TIMED_OUT and slot.phase < SlotPhase.READY:
                waited = (item.at - (slot.created_at or slot.requested_at or item.at)).total_seconds()
                event = ev.MachineWaitTimedOut(
                    at=item.at, slot=slot.index, machine=machine, elapsed_seconds=max(0.0, waited)
                )
                self.tell(event, item)
        elif slot.phase in AWAITED:
            self._lose_machine(slot, item)

    def _slot(self, machine: str, item: Evidence) -> Slot | None:
        """The slot of this Machine; one whose creation the logs do not show is adopted into a free slot."""
        if machine in self.machines:
            self._prove(machine, item)
            return self.state.slot_of(machine)
        self.begin()
        free = next((slot for slot in self.state.slots if slot.phase is SlotPhase.FREE), None)
        if free is None:
            return None
        self.machines[machine] = item.at
        self.tell(ev.MachineAdopted(at=item.at, slot=free.index, machine=machine), item)
        return self.state.slot_of(machine)

    def announced_nodes(self, item: Evidence) -> None:
        """The controller misses ``count`` nodes: the slots that had one have lost it."""
        count = announced(item)
        if not count:
            return
        self.begin(count)
        for slot in self.state.slots:
            if slot.phase in AWAITED:
                self._lose_machine(slot, item)
        having = [slot for slot in self.state.slots if slot.phase >= SlotPhase.READY]
        kept = self.state.node_count - count
        if len(having) <= kept:
            return
        if kept > 0:
            raise Unclear(f"{item.cause}: {count} of {len(having)} nodes are lost, and nothing says which")
        for slot in having:
            self._lose_node(slot, item)

    def _lose_machine(self, slot: Slot, item: Evidence) -> None:
        event = ev.MachineLost(at=item.at, slot=slot.index, machine=slot.machine, cause=NodeLossCause.GONE)
        self.tell(event, item)

    def _lose_node(self, slot: Slot, item: Evidence) -> None:
        """The node no longer qualifies: gone, being deleted or not ready; the log does not say which."""
        if slot.phase is SlotPhase.USABLE:
            lost = ev.NodeLost(at=item.at, slot=slot.index, node=slot.node, cause=NodeLossCause.NOT_READY)
            self.tell(lost, item)
        self.tell(ev.NodeReleased(at=item.at, slot=slot.index, node=slot.node), item)

    def machine_creation(self, item: Evidence) -> None:
        if item.machine in self.machines:
            return
        self.begin()
        slot = self._vacancy(item)
        if slot is None:
            raise Unclear(f"{item.cause}: Machine {item.machine} is one more than the Workspace has nodes")
        self.machines[item.machine] = item.at
        event = ev.MachineRequested(
            at=item.at, slot=slot.index, attempt=slot.attempt + 1, machine=item.machine
        )
        self.tell(event, item)

    def _vacancy(self, item: Evidence) -> Slot | None:
        """A slot whose Machine the API refused comes first: its next attempt has another name."""
        slots = self.state.slots
        asked = next((slot for slot in slots if slot.phase is SlotPhase.REQUESTED), None)
        if asked is None:
            return next((slot for slot in slots if slot.phase is SlotPhase.FREE), None)
        if asked.trouble is not Trouble.CREATION_REFUSED:
            self._refuse(asked, NAME_TAKEN, item)
        return self.state.slots[asked.index]

    def _refuse(self, slot: Slot, message: str, item: Evidence) -> None:
        event = ev.MachineCreationRefused(at=item.at, slot=slot.index, machine=slot.machine, message=message)
        self.tell(event, item)

    def creation_failed(self, item: Evidence) -> None:
        slots = self.state.slots
        asked = next((slot for slot in slots if slot.phase is SlotPhase.REQUESTED), None)
        if item.reason == "machineFailedCreation" and asked is not None:
            self._refuse(asked, item.text, item)

    def machine_checked(self, item: Evidence) -> None:
        self._prove(item.machine, item)

    def _prove(self, machine: str, item: Evidence) -> None:
        """The Machine exists: the controller reads it back before it waits. It posted it when it said so."""
        slot = self.state.slot_of(machine)
        if slot is None or slot.phase is not SlotPhase.REQUESTED:
            return
        event = ev.MachineCreated(at=self.machines[machine], slot=slot.index, machine=machine)
        self.tell(event, item)

    def machine_launched(self, item: Evidence) -> None:
        self._prove(item.machine, item)
        slot = self.state.slot_of(item.machine)
        if slot is not None and slot.phase is SlotPhase.CREATED and self.state.stage is Stage.LIVE:
            event = ev.MachineLaunched(at=item.at, slot=slot.index, machine=item.machine)
            self.tell(event, item)

    def machine_ready(self, item: Evidence) -> None:
        slot = self._slot(item.machine, item) if self.active else None
        if slot is not None and slot.phase in AWAITED:
            self._become_ready(slot, item)

    def _become_ready(self, slot: Slot, item: Evidence) -> None:
        node = self._nodes.get(slot.machine, "")
        if not node and self.unnamed is None:
            self.unnamed = len(self.told)
        event = ev.MachineBecameReady(at=item.at, slot=slot.index, machine=slot.machine, node=node)
        self.tell(event, item)

    def nodes_ready(self, item: Evidence) -> None:
        """The verdict over all nodes. After it no line will name the nodes any more."""
        self.begin()
        if self.state.machine_ready.status is ConditionStatus.TRUE or self.state.stage is not Stage.LIVE:
            return
        for slot in self.state.slots:
            self._use(slot, item)
        self.unnamed = None
        self.tell(ev.NodePluginsInstalled(at=item.at, nodes=self._node_names()), item)

    def _use(self, slot: Slot, item: Evidence) -> None:
        if slot.machine and slot.trouble is not Trouble.CREATION_REFUSED:
            self._prove(slot.machine, item)
        slot = self.state.slots[slot.index]
        if slot.phase in AWAITED:
            self._become_ready(slot, item)
        slot = self.state.slots[slot.index]
        if slot.phase is SlotPhase.READY:
            self.tell(ev.NodeBecameUsable(at=item.at, slot=slot.index, node=slot.node), item)

    def _node_names(self) -> tuple[str, ...]:
        return tuple(sorted(slot.node for slot in self.state.slots if slot.node))

    def nodes_chosen(self, item: Evidence) -> None:
        self.nodes_ready(item)
        nodes, state = self._node_names(), self.state
        chosen = state.resource_ready.status is ConditionStatus.TRUE and nodes == state.worker_nodes
        if not chosen and state.stage is Stage.LIVE:
            self.tell(ev.WorkerNodesChosen(at=item.at, nodes=nodes), item)
