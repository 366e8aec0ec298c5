"""One frozen picture per reconcile, from the informer caches; it reads and never asks the API server."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kaito import durations, manifests
from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.runtime import translation
from kaito.runtime.cache import ObjectStore
from kaito.runtime.keys import (
    FINALIZER,
    MACHINE_TIMEOUT_ANNOTATION,
    WorkspaceKey,
    belongs_to,
    machine_labels,
)
from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    Object,
    Resource,
)
from kaito.runtime.settings import Settings
from kaito.runtime.targets import Target
from kaito.validation import reconcile_refusal
from statemachine.observations import ClusterView, NodeView, PodView, ServiceView, WorkloadView, WorkspaceView
from statemachine.state import Workspace as State

CACHED = (WORKSPACES, MACHINES, NODES, PODS, SERVICES, DEPLOYMENTS, STATEFULSETS)
"""The kinds a driver must keep a cache of."""

TEMPLATE_TIMEOUT_SECONDS = 600.0
"""How long a template's workload may take to become ready: the published constant."""


class Observer:
    """Pictures of Workspaces; the catalogue and the settings go into what a picture says is wanted."""

    def __init__(
        self, caches: Mapping[Resource, ObjectStore], catalogue: Catalogue, settings: Settings
    ) -> None:
        self._caches = caches
        self._catalogue = catalogue
        self._settings = settings
        # Translating the spec costs more than the rest of a picture, and it seldom changes.
        self._translated: dict[WorkspaceKey, tuple[Object, Workspace, WorkspaceView]] = {}

    def current(self, key: WorkspaceKey) -> Object | None:
        """The Workspace object of this name, as cached."""
        found = self._caches[WORKSPACES].get(key.name, key.namespace)
        if found is None:
            self._translated.pop(key, None)
        return found

    def learn(self, target: Target) -> None:
        """Let the next picture hold what was written to the object of a reconcile."""
        if target.object is not None:
            self._caches[target.resource].learn(target.object)

    def observe(self, key: WorkspaceKey, uid: str, state: State) -> ClusterView:
        """The picture of one life of this name; without a Workspace when another life has the name now."""
        machines = [
            translation.machine_view(machine)
            for machine in self._caches[MACHINES].select(machine_labels(key))
            if belongs_to(machine, uid)
        ]
        object_ = self.current(key)
        if object_ is None or object_["metadata"].get("uid") != uid:
            return ClusterView(machines=tuple(machines))
        workspace, view = self._translate(key, object_)
        return ClusterView(
            workspace=view,
            machines=tuple(machines),
            nodes=self._nodes(workspace, state),
            service=self._service(key, uid),
            workload=self._workload(key, uid, view.workload_kind),
            pods=self._pods(key),
        )

    def _translate(self, key: WorkspaceKey, object_: Object) -> tuple[Workspace, WorkspaceView]:
        known = self._translated.get(key)
        if known is not None and known[0] is object_:
            return known[1:]
        if known is not None and _same_spec(known[0], object_):
            workspace, view = known[1], _refresh(known[2], object_)
        else:
            workspace = Workspace.from_cluster(object_)
            view = _refresh(self._view(key, workspace), object_)
        self._translated[key] = (object_, workspace, view)
        return workspace, view

    def _view(self, key: WorkspaceKey, workspace: Workspace) -> WorkspaceView:
        preset_name = workspace.preset_name
        preset = self._catalogue.presets.get(preset_name) if preset_name else None
        return WorkspaceView(
            uid=workspace.metadata.uid or "",
            namespace=key.namespace,
            name=key.name,
            node_count=max(workspace.resource.count, 0),
            instance_type=workspace.resource.instance_type,
            needs_gpu=workspace.needs_gpu,
            preferred_nodes=tuple(workspace.resource.preferred_nodes),
            inference=f"preset {preset_name}" if preset_name else "template",
            workload_kind=manifests.workload_kind(workspace, preset),
            wants_service=manifests.wants_service(workspace),
            rolls_out=workspace.template is not None,
            limits=self._settings.limits(
                preset.readiness_timeout_seconds if preset else TEMPLATE_TIMEOUT_SECONDS,
                _own_timeout(workspace),
            ),
            refused=reconcile_refusal(workspace, self._catalogue),
        )

    def _nodes(self, workspace: Workspace, state: State) -> tuple[NodeView, ...]:
        selector = workspace.resource.selector()
        if not selector:
            return ()
        return tuple(translation.node_view(node) for node in self._caches[NODES].select(selector))

    def _service(self, key: WorkspaceKey, uid: str) -> ServiceView | None:
        found = self._caches[SERVICES].get(key.name, key.namespace)
        return translation.service_view(found, uid) if found else None

    def _workload(self, key: WorkspaceKey, uid: str, kind: str) -> WorkloadView | None:
        resource = STATEFULSETS if kind == "StatefulSet" else DEPLOYMENTS
        found = self._caches[resource].get(key.name, key.namespace)
        return translation.workload_view(found, kind, uid) if found else None

    def _pods(self, key: WorkspaceKey) -> tuple[PodView, ...]:
        pods = self._caches[PODS].select({"kaito.sh/workspace": key.name}, key.namespace)
        return tuple(translation.pod_view(pod) for pod in pods if not translation.is_deleting(pod))


def _same_spec(old: Object, new: Object) -> bool:
    a, b = old["metadata"], new["metadata"]
    return (a.get("uid"), a.get("generation"), a.get("annotations")) == (
        b.get("uid"),
        b.get("generation"),
        b.get("annotations"),
    )


def _refresh(view: WorkspaceView, object_: Object) -> WorkspaceView:
    """The view with what changes without the spec: generation, deletion, finalizers, status."""
    metadata = object_["metadata"]
    return msgspec.structs.replace(
        view,
        generation=int(metadata.get("generation") or 1),
        deleting=translation.is_deleting(object_),
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
        status=translation.status_view(object_),
    )


def _own_timeout(workspace: Workspace) -> float | None:
    """The machine timeout, in seconds, that an annotation asks for; None without a readable one."""
    text = (workspace.metadata.annotations or {}).get(MACHINE_TIMEOUT_ANNOTATION)
    try:
        return durations.parse(text).total_seconds() if text else None
    except ValueError:
        return None
