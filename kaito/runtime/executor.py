"""One API call a command, plus the live read that an irreversible one needs.

AlreadyExists and NotFound are answers. A refusal that a repeat would not change becomes an outcome for the
log; everything else (conflict, throttling, a lost answer) is raised, and the reconcile is simply repeated:
every command may be issued twice.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from kaito import manifests
from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.runtime import translation
from kaito.runtime.keys import (
    ACCELERATOR_LABEL,
    FINALIZER,
    GENERATION_ANNOTATION,
    WorkspaceKey,
    belongs_to,
    key_by_labels,
    machine_labels,
)
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    AlreadyExists,
    BadRequest,
    Clock,
    Forbidden,
    Invalid,
    KubeApi,
    NotFound,
    Object,
    Resource,
)
from kaito.runtime.settings import Settings
from kaito.runtime.targets import Target
from statemachine import commands as cmd
from statemachine.observations import CommandOutcome, Result
from statemachine.state import Condition

REFUSED_RETRY = timedelta(minutes=1)
"""When a creation that the API refused is tried again: quota or policy may have changed meanwhile."""

_REFUSALS = (Invalid, Forbidden, BadRequest)


class WorkspaceTarget(Target):
    """The Workspace that a reconcile's commands are about."""

    def __init__(self, key: WorkspaceKey, uid: str, object_: Object | None) -> None:
        super().__init__(WORKSPACES, key.name, uid, object_, key.namespace)
        self.key = key


class Executor:
    def __init__(self, api: KubeApi, catalogue: Catalogue, settings: Settings, clock: Clock) -> None:
        self._api = api
        self._catalogue = catalogue
        self._settings = settings
        self._clock = clock

    def execute(self, command: cmd.Command, target: WorkspaceTarget) -> CommandOutcome | None:
        """Carry out one command; None when there is nothing to tell the core.

        Raises:
            ApiError: The call may be repeated; whether it took effect may be unknown.
        """
        match command:
            case cmd.AddFinalizer():
                target.hold(self._api, FINALIZER)
            case cmd.WriteStatus():
                self._write_status(command, target)
            case cmd.CreateMachine():
                return self._create_machine(command, target)
            case cmd.ReadMachine():
                return self._read_machine(command, target)
            case cmd.DeleteMachine():
                return self._delete_machine(command)
            case cmd.LabelNode():
                self._label_node(command)
            case cmd.CreateService():
                return self._create_service(command, target)
            case cmd.CreateWorkload():
                return self._create_workload(command, target)
            case cmd.UpdateWorkload():
                return self._update_workload(command, target)
            case cmd.RemoveFinalizer():
                return self._remove_finalizer(command, target)
        return None

    # --- the Workspace itself -----------------------------------------------------------------------

    def _write_status(self, command: cmd.WriteStatus, target: WorkspaceTarget) -> None:
        ours = [
            _condition_json(kind, condition, command.observed_generation)
            for kind, condition in command.conditions.items()
        ]

        def change(found: Object) -> Object:
            others = [
                dict(condition)
                for kind, condition in translation.conditions_of(found).items()
                if kind not in translation.OWN_CONDITIONS
            ]
            return {"status": {"conditions": ours + others, "workerNodes": list(command.worker_nodes)}}

        target.patch(self._api, change, "status")

    def _remove_finalizer(self, command: cmd.RemoveFinalizer, target: WorkspaceTarget) -> CommandOutcome:
        found = self._api.list(MACHINES, label_selector=_selector(machine_labels(target.key)))
        remaining = tuple(
            translation.machine_view(machine) for machine in found.items if belongs_to(machine, target.uid)
        )
        if remaining:
            return CommandOutcome(command=command, result=Result.REFUSED, remaining=remaining)
        try:
            target.release(self._api, FINALIZER)
        except NotFound:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        return CommandOutcome(command=command, result=Result.DONE)

    def _parent(self, target: WorkspaceTarget) -> Workspace | None:
        """A live read of the Workspace; None unless it is this life, alive and held by our finalizer."""
        try:
            found = self._api.get(WORKSPACES, target.key.name, target.key.namespace)
        except NotFound:
            return None
        metadata = found["metadata"]
        alive = metadata.get("uid") == target.uid and not translation.is_deleting(found)
        held = FINALIZER in (metadata.get("finalizers") or ())
        return Workspace.from_cluster(found) if alive and held else None

    # --- machines and nodes -------------------------------------------------------------------------

    def _create_machine(self, command: cmd.CreateMachine, target: WorkspaceTarget) -> CommandOutcome:
        parent = self._parent(target)
        if parent is None:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        body = manifests.machine(parent, self._preset(parent), name=command.machine)
        try:
            made = self._api.create(MACHINES, body)
        except AlreadyExists:
            return self._adopt_machine(command, target)
        except _REFUSALS as refusal:
            return self._refused(command, refusal.message)
        return CommandOutcome(command=command, result=Result.DONE, uid=made["metadata"]["uid"])

    def _adopt_machine(self, command: cmd.CreateMachine, target: WorkspaceTarget) -> CommandOutcome:
        """The name is taken: by an earlier, unanswered create of ours, or by a stranger."""
        found = self._api.get(MACHINES, command.machine)
        if key_by_labels(found) == target.key and belongs_to(found, target.uid):
            return CommandOutcome(command=command, result=Result.DONE, uid=found["metadata"]["uid"])
        return self._refused(command, f"machine {command.machine} exists and belongs to somebody else")

    def _read_machine(self, command: cmd.ReadMachine, target: WorkspaceTarget) -> CommandOutcome:
        try:
            found = self._api.get(MACHINES, command.machine)
        except NotFound:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        ours = key_by_labels(found) == target.key and belongs_to(found, target.uid)
        result = Result.DONE if ours else Result.NOT_FOUND
        return CommandOutcome(command=command, result=result, uid=found["metadata"]["uid"])

    def _delete_machine(self, command: cmd.DeleteMachine) -> CommandOutcome | None:
        try:
            self._api.delete(MACHINES, command.machine, uid=command.uid)
        except NotFound:
            return CommandOutcome(command=command, result=Result.NOT_FOUND)
        return None

    def _label_node(self, command: cmd.LabelNode) -> None:
        patch = {"metadata": {"labels": {ACCELERATOR_LABEL: "nvidia"}}}
        with contextlib.suppress(NotFound):  # the next picture shows that it is gone
            self._api.patch(NODES, command.node, patch)

    # --- serving ------------------------------------------------------------------------------------

    def _create_service(self, command: cmd.CreateService, target: WorkspaceTarget) -> CommandOutcome | None:
        workspace = self._workspace(target)
        preset = self._preset(workspace)
        bodies = [manifests.service(workspace, preset)]
        if preset is not None and preset.distributed:
            # First, because the main Service's existence says that this step is over.
            bodies.insert(0, manifests.headless_service(workspace))
        for body in bodies:
            outcome = self._create(SERVICES, body, command, target)
            if outcome is not None:
                return outcome
        return None

    def _create_workload(self, command: cmd.CreateWorkload, target: WorkspaceTarget) -> CommandOutcome | None:
        return self._create(_resource(command.kind), self._workload(target), command, target)

    def _update_workload(self, command: cmd.UpdateWorkload, target: WorkspaceTarget) -> CommandOutcome | None:
        """Replace the pod template of the live workload: what the user took out of it goes, too."""
        resource, wanted = _resource(command.kind), self._workload(target)
        live = self._api.get(resource, command.name, target.key.namespace)
        if not translation.is_controlled_by(live, target.uid):
            return None  # somebody else's by now; the next picture shows it
        annotations = {**(live["metadata"].get("annotations") or {}), **wanted["metadata"]["annotations"]}
        body = {
            **live,
            "metadata": {**live["metadata"], "annotations": annotations},
            "spec": {**live["spec"], "template": wanted["spec"]["template"]},
        }
        try:
            self._api.update(resource, body)
        except _REFUSALS as refusal:
            return self._refused(command, refusal.message)
        return None

    def _workload(self, target: WorkspaceTarget) -> Object:
        """The workload as wanted, marked with the generation of the spec it was rendered from."""
        workspace = self._workspace(target)
        body = manifests.workload(workspace, self._preset(workspace), registry=self._settings.preset_registry)
        generation = str(target.metadata.get("generation", 1))
        body["metadata"]["annotations"] = {GENERATION_ANNOTATION: generation}
        return body

    def _create(
        self, resource: Any, body: Object, command: cmd.Command, target: WorkspaceTarget
    ) -> CommandOutcome | None:
        try:
            self._api.create(resource, body, target.key.namespace)
        except AlreadyExists:
            return None  # whose it is, the next picture shows
        except _REFUSALS as refusal:
            return self._refused(command, refusal.message)
        return None

    def _workspace(self, target: WorkspaceTarget) -> Workspace:
        if target.object is None:
            raise NotFound(f'workspaces.kaito.sh "{target.key.name}" not found')
        return Workspace.from_cluster(target.object)

    def _preset(self, workspace: Workspace) -> Any:
        return self._catalogue.presets.get(workspace.preset_name) if workspace.preset_name else None

    def _refused(self, command: cmd.Command, message: str) -> CommandOutcome:
        return CommandOutcome(
            command=command,
            result=Result.REFUSED,
            message=message,
            retry_at=self._clock.now() + REFUSED_RETRY,
        )


def _resource(kind: str) -> Resource:
    return STATEFULSETS if kind == "StatefulSet" else DEPLOYMENTS


def _selector(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _condition_json(kind: str, condition: Condition, generation: int) -> Object:
    since = condition.since
    return {
        "type": kind,
        "status": str(condition.status),
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else None,
        "observedGeneration": generation,
    }
