"""Parts of the contract of the Kubernetes API: where it is tested, and small objects."""

from __future__ import annotations

from typing import Any

import msgspec

from kaito.runtime.ports import PODDISRUPTIONBUDGETS, WORKSPACES, KubeApi, Object, Resource
from simulator.cluster import Cluster
from tests.simulator.virtual import SetClock

FINALIZER = "kaito.sh/contract"
OTHER_UID = "00000000-0000-0000-0000-000000000000"
OTHER_INFERENCE = {"preset": {"name": "falcon-40b", "accessMode": "public"}}


class Served(msgspec.Struct, frozen=True):
    """An API to test, and a namespace in it that nobody else uses.

    ``budgets`` is the resource of disruption budgets, whose version depends on the server's age.
    """

    api: KubeApi
    namespace: str
    budgets: Resource = PODDISRUPTIONBUDGETS

    def create(self, name: str = "w", **metadata: Any) -> Object:
        return self.api.create(WORKSPACES, a_workspace(name, **metadata), self.namespace)

    def get(self, name: str = "w") -> Object:
        return self.api.get(WORKSPACES, name, self.namespace)

    def patch(self, patch: Any, **options: Any) -> Object:
        return self.api.patch(WORKSPACES, "w", patch, self.namespace, **options)

    def delete(self, **options: Any) -> Object:
        return self.api.delete(WORKSPACES, "w", self.namespace, **options)

    def names(self, **selectors: Any) -> list[str]:
        page = self.api.list(WORKSPACES, self.namespace, **selectors)
        return [item["metadata"]["name"] for item in page.items]


def a_workspace(name: str = "w", **metadata: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, **metadata},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def a_condition(status: str) -> Object:
    return {
        "type": "MachineReady",
        "status": status,
        "reason": "R",
        "message": "waiting for nodes",
        "lastTransitionTime": "2024-04-05T18:29:58Z",
    }


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


def changed(obj: Object, **metadata: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], **metadata}}


def virtual() -> Served:
    return Served(Cluster(SetClock(), 7), "contract")
