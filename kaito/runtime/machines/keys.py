"""Names that tie Machines, agent pools and nodes together; the published ones, spelled as published."""

from __future__ import annotations

from kaito.runtime.keys import MACHINE_TYPE_LABEL, NAME_LABEL, POOL_LABEL

__all__ = ["MACHINE_TYPE_LABEL", "NAME_LABEL", "POOL_LABEL"]

FINALIZER = "karpenter.sh/termination"
"""On the Machine and on its Node."""

PROVISIONER_LABEL = "karpenter.sh/provisioner-name"
PROVISIONER = "default"
REGISTERED_LABEL = "karpenter.sh/registered"
INITIALIZED_LABEL = "karpenter.sh/initialized"
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
CRITICAL_CLASSES = frozenset(("system-cluster-critical", "system-node-critical"))


STREAM_PREFIX = "machine/"


def stream_of(machine: str) -> str:
    """The stream of all lives of a Machine's name: names are derived, so the next life is the same intent."""
    return f"{STREAM_PREFIX}{machine}"
