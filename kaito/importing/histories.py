"""The history of one Workspace, told from its evidence.

A `Story` folds its own events as it goes and records changes, not sightings: what the state shows already
adds nothing. Its events depend only on lines it has met, and details that a longer log may still tell (how
many nodes, which node) hold the event back, so the history of a log is the beginning of the history of a
longer one. A line the rules of the state machine cannot follow ends the story there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from kaito.importing.attribution import machine_in
from kaito.importing.evidence import Evidence, Kind
from kaito.importing.lives import Life
from kaito.importing.provisioning import Provisioning, Unclear
from kaito.importing.recording import Attested
from statemachine import events as ev
from statemachine.errors import IllegalTransition
from statemachine.state import ConditionStatus, InferenceReason, Stage

DEADLINE = "context deadline exceeded"
NOT_REGISTERED = "is not registered for workspace"


class Story(Provisioning):
    """One life of a Workspace, from its beginning to its end or to the end of the logs."""

    def __init__(self, life: Life, instance_type: str, nodes: Mapping[str, str]) -> None:
        super().__init__(life, instance_type, nodes)
        self.ended = ""
        """Why the history stops before the logs do; empty when it does not."""
        self._workload_proven = False

    def events(self) -> list[Attested]:
        """What is certain so far: up to the first event whose details a longer log may still tell."""
        return self.told[: self.unnamed]

    def held_back(self) -> str:
        if not self.told:
            return "nothing is known yet but that it exists"
        return "" if self.unnamed is None else "the node of a ready Machine is not known yet"

    @property
    def gone(self) -> bool:
        return self.state.stage is Stage.GONE

    def end(self, why: str) -> None:
        self.ended = self.ended or why

    def take(self, item: Evidence) -> None:
        """Tell what one piece of evidence adds."""
        handler = _HANDLERS.get(item.kind)
        if handler is None or self.ended:
            return
        try:
            handler(self, item)
        except Unclear as unclear:
            self.end(str(unclear))
        except IllegalTransition as error:
            self.end(f"{item.cause}: {error}")

    def _condition(self, item: Evidence) -> None:
        machine = machine_in(item.text)
        if machine and item.status == "False":
            self.machine_failed(machine, item)
        elif (item.name, item.status) in _VERDICTS:
            _VERDICTS[item.name, item.status](self, item)

    # --- inference ----------------------------------------------------------------------------------

    def _service_created(self, item: Evidence) -> None:
        if not self.state.service and self.active:
            self.tell(ev.ServiceCreated(at=item.at, name=item.name), item)

    def _workload_created(self, item: Evidence) -> None:
        """Template mode says this on every pass; only with a Service is it a workload made again."""
        state = self.state
        if not self.active:
            return
        if state.workload:
            if not (state.service and self._workload_proven):
                return
            self.tell(ev.WorkloadLost(at=item.at, kind=item.text, name=item.name), item)
        self._workload_proven = False
        self.tell(ev.WorkloadCreated(at=item.at, kind=item.text, name=item.name), item)

    def _workload_seen(self, item: Evidence) -> None:
        """The pass reached inference, so nodes and resources passed before it."""
        self._workload_proven = True
        self.nodes_chosen(item)

    def _inference_ready(self, item: Evidence) -> None:
        self.begin()
        self._workload_proven = True
        state = self.state
        if state.stage is not Stage.LIVE or state.inference_ready.status is ConditionStatus.TRUE:
            return
        latest = self.told[-1].event.at
        at = max(item.at, latest)
        precision = max(timedelta(0), item.at + item.precision - at)
        count = state.node_count
        event = ev.InferenceBecameReady(
            at=at, ready=count, desired=count, precision_seconds=precision.total_seconds()
        )
        self.tell(event, item)

    def _inference_failed(self, item: Evidence) -> None:
        self.begin()
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
        self.tell(event, item)

    def _reconcile_failed(self, item: Evidence) -> None:
        if machine := machine_in(item.text):
            self.machine_failed(machine, item)
        elif NOT_REGISTERED in item.text and item.text != self.state.refused:
            self.tell(ev.SpecRefused(at=item.at, generation=1, message=item.text), item)

    # --- deletion -----------------------------------------------------------------------------------

    def _deletion(self, item: Evidence) -> None:
        self.begin()
        if self.state.stage is Stage.LIVE:
            self.tell(ev.WorkspaceDeletionRequested(at=item.at), item)

    def _collection(self, item: Evidence) -> None:
        self._deletion(item)
        told = {e.event.machine for e in self.told if isinstance(e.event, ev.MachineDeletionRequested)}
        for machine in self.machines:
            if machine not in told:
                self.tell(ev.MachineDeletionRequested(at=item.at, machine=machine), item)

    def _release(self, item: Evidence) -> None:
        """The published operator removes every finalizer at once, so the object goes with ours.

        It does so while the Machines still terminate; `WorkspaceReleased` would say that none is left.
        """
        self._collection(item)
        self.tell(ev.WorkspaceDeleted(at=item.at), item)

    def _machine_deleted(self, item: Evidence) -> None:
        if item.machine in self.state.deleting:
            self.tell(ev.MachineDeleted(at=item.at, machine=item.machine), item)


_VERDICTS = {
    ("MachineReady", "Unknown"): Story.announced_nodes,
    ("MachineReady", "False"): Story.creation_failed,
    ("MachineReady", "True"): Story.nodes_ready,
    ("ResourceReady", "True"): Story.nodes_chosen,
    ("InferenceReady", "True"): Story._inference_ready,
    ("InferenceReady", "False"): Story._inference_failed,
    ("WorkspaceReady", "True"): Story._inference_ready,
    ("WorkspaceDeleting", "True"): Story._deletion,
}
_HANDLERS = {
    Kind.CONDITION: Story._condition,
    Kind.NODE_LIST: Story.nodes_chosen,
    Kind.SERVICE_CREATED: Story._service_created,
    Kind.WORKLOAD_CREATED: Story._workload_created,
    Kind.WORKLOAD_SEEN: Story._workload_seen,
    Kind.WORKLOAD_READY: Story._inference_ready,
    Kind.INFERENCE_ROW: Story._inference_ready,
    Kind.RECONCILE_FAILED: Story._reconcile_failed,
    Kind.DELETION: Story._deletion,
    Kind.COLLECTION: Story._collection,
    Kind.RELEASE: Story._release,
    Kind.MACHINE_CREATION: Story.machine_creation,
    Kind.MACHINE_CHECK: Story.machine_checked,
    Kind.MACHINE_READY: Story.machine_ready,
    Kind.LAUNCH: Story.machine_launched,
    Kind.MACHINE_DELETED: Story._machine_deleted,
}
