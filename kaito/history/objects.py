"""The Workspace object as the API would have shown it at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaito.history.chronicle import Chronicle
from kaito.history.sentences import whole_seconds
from statemachine import projection
from statemachine.state import Workspace

API_VERSION = "kaito.sh/v1alpha1"
PRESET = "preset "


def workspace_object(chronicle: Chronicle) -> dict[str, Any]:
    """The object that `kubectl get workspace -o json` would print, as far as the log knows it.

    The log holds what decisions depend on; labels, selectors and pod templates are not in it.
    """
    state = chronicle.state()
    found: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Workspace",
        "metadata": _metadata(chronicle, state),
        "resource": {"count": state.node_count},
        "status": {"conditions": _conditions(state)},
    }
    if state.instance_type:
        found["resource"]["instanceType"] = state.instance_type
    if state.inference.startswith(PRESET):
        found["inference"] = {"preset": {"name": state.inference.removeprefix(PRESET)}}
    if state.worker_nodes:
        found["status"]["workerNodes"] = list(state.worker_nodes)
    return found


def object_list(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several objects as `kubectl get` wraps them."""
    return {"apiVersion": "v1", "items": list(items), "kind": "List", "metadata": {"resourceVersion": ""}}


def _metadata(chronicle: Chronicle, state: Workspace) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "creationTimestamp": whole_seconds(chronicle.created_at),
        "generation": state.generation,
        "name": chronicle.name,
        "namespace": chronicle.namespace,
        "uid": chronicle.uid,
    }
    if state.deletion_at is not None:
        metadata["deletionTimestamp"] = whole_seconds(state.deletion_at)
    return metadata


def _conditions(state: Workspace) -> list[dict[str, Any]]:
    return [
        {
            "lastTransitionTime": whole_seconds(condition.since) if condition.since else None,
            "message": condition.message,
            "observedGeneration": state.generation,
            "reason": condition.reason,
            "status": str(condition.status),
            "type": kind,
        }
        for kind, condition in projection.conditions(state).items()
    ]
