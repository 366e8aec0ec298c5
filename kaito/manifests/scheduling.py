"""Where the pods of a Workspace may run: node affinity and tolerations, merged with a user's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from kaito.api.workspace import Workspace
from kaito.manifests.names import Object
from kaito.runtime.keys import INSTANCE_TYPE_LABEL

TOLERATIONS = (
    {"key": "gpu", "operator": "Equal", "value": "", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def tolerations(own: Sequence[Object] = ()) -> list[Object]:
    """The user's tolerations followed by those of ours that are not among them."""
    kept = [dict(toleration) for toleration in own]
    return kept + [dict(ours) for ours in TOLERATIONS if ours not in kept]


def affinity(workspace: Workspace, worker_nodes: Sequence[str] = (), own: Object | None = None) -> Object:
    """The user's affinity, narrowed to the nodes of the Workspace.

    Node selector terms are alternatives, so each of the user's is joined with each of ours: a pod runs only
    where both agree. Without ``worker_nodes`` any node of the right labels and instance type will do.
    """
    merged = copy.deepcopy(own) if own else {}
    node_affinity = merged.get("nodeAffinity") or {}
    theirs = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    terms = [_joined(term, ours) for term in theirs for ours in _terms(workspace, worker_nodes)]
    merged["nodeAffinity"] = node_affinity | {_REQUIRED: {"nodeSelectorTerms": terms}}
    return merged


def _terms(workspace: Workspace, worker_nodes: Sequence[str]) -> list[Object]:
    """Our alternatives: one, or one a node, since a field selector takes a single node name."""
    labels = workspace.resource.selector()
    if workspace.resource.instance_type:
        labels.setdefault(INSTANCE_TYPE_LABEL, workspace.resource.instance_type)
    expressions = [{"key": key, "operator": "In", "values": [labels[key]]} for key in sorted(labels)]
    if not worker_nodes:
        return [{"matchExpressions": expressions}]
    return [
        {
            "matchExpressions": expressions,
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}],
        }
        for node in sorted(set(worker_nodes))
    ]


def _joined(theirs: Object, ours: Object) -> Object:
    """One term that demands what both demand."""
    joined = copy.deepcopy(theirs)
    for part, demands in ours.items():
        joined[part] = [*(joined.get(part) or ()), *copy.deepcopy(demands)]
    return joined
