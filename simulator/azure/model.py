"""Agent pools and their virtual machines, as the simulated cloud keeps and describes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from kaito.runtime.pools import PoolState
from simulator import instance_types
from simulator.azure.refusals import Complaint
from simulator.azure.requests import Requested
from simulator.azure.scenario import ClusterIdentity
from simulator.azure.sizes import cores_of

Document: TypeAlias = dict[str, Any]
Oddity = Literal["", "no-properties", "odd-state"]

_TELLS_ERRORS_SINCE = "2025-01-01"
"""The first API version whose pools carry ``status.provisioningError``; assumed, only "newer" is known."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DISK_BY_CORES = ((7, 128), (15, 256), (63, 512))
_LARGEST_DISK_GB = 1024


@dataclass(slots=True, eq=False)
class Vm:
    """One virtual machine. It costs money from ``began_at`` to ``ended_at``, whoever wants it."""

    home: AgentPool = field(repr=False)
    size: str
    index: int
    zone: str
    spot: bool
    scale_set: str
    provider_id: str
    tags: dict[str, str]
    began_at: datetime
    joins: bool = True
    """Whether it becomes a node at all; after a failed bootstrap it does not."""
    ended_at: datetime | None = None

    @property
    def pool(self) -> str:
        return self.home.name

    @property
    def node_name(self) -> str:
        """AKS numbers the nodes of a scale set with six digits to the base of 36."""
        return f"{self.scale_set}{_base36(self.index)}"

    @property
    def gpus(self) -> int:
        return instance_types.gpus(self.size)

    def gpu_seconds(self, until: datetime) -> float:
        """GPU-seconds billed up to a time."""
        end = until if self.ended_at is None else min(until, self.ended_at)
        return self.gpus * max(0.0, (end - self.began_at).total_seconds())


@dataclass(slots=True, eq=False)
class AgentPool:
    """One pool. ``operation`` is the id of the last operation on it, ``busy`` whether that goes on."""

    name: str
    asked: Requested
    state: PoolState
    etag: str
    scale_set: str = ""
    operation: str = ""
    busy: bool = False
    error: Complaint | None = None
    cores_held: int = 0
    vms: list[Vm] = field(default_factory=list)
    oddity: Oddity = ""

    def hold_cores(self) -> None:
        self.cores_held = cores_of(self.asked.vm_size, self.asked.count)


class Names:
    """The ids of a cluster's resources, in the spelling that the scenario asks for."""

    def __init__(self, cluster: ClusterIdentity) -> None:
        self.cluster = cluster
        self._groups = "resourcegroups" if cluster.resource_id_case == "lower" else "resourceGroups"

    def pool_id(self, pool: str) -> str:
        at = self.cluster
        found = (
            f"/subscriptions/{at.subscription}/{self._groups}/{at.resource_group}/providers"
            f"/Microsoft.ContainerService/managedClusters/{at.name}/agentPools/{pool}"
        )
        return found.upper() if at.resource_id_case == "upper" else found

    def operation_path(self, operation: str, kind: str = "operations") -> str:
        at = self.cluster
        return (
            f"/subscriptions/{at.subscription}/providers/Microsoft.ContainerService/locations/{at.location}"
            f"/{kind}/{operation}?api-version=2016-03-30"
        )

    def provider_id(self, scale_set: str, index: int) -> str:
        at = self.cluster
        group = at.node_resource_group
        group = group.upper() if at.resource_id_case == "upper" else group.lower()
        return (
            f"azure:///subscriptions/{at.subscription}/resourceGroups/{group}/providers/Microsoft.Compute"
            f"/virtualMachineScaleSets/{scale_set}/virtualMachines/{index}"
        )


def document_of(pool: AgentPool, pool_id: str, api_version: str) -> Document:
    """The pool as the REST API returns it."""
    resource: Document = {
        "id": pool_id,
        "name": pool.name,
        "type": "Microsoft.ContainerService/managedClusters/agentPools",
    }
    if pool.oddity == "no-properties":
        return resource | {"properties": None}
    return resource | {"properties": _properties(pool, api_version)}


def _properties(pool: AgentPool, api_version: str) -> Document:
    asked = pool.asked
    found: Document = {
        "count": asked.count,
        "vmSize": asked.vm_size,
        "osDiskSizeGB": asked.os_disk_gb or default_disk_gb(asked.vm_size),
        "osDiskType": "Managed",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "kubeletDiskType": "OS",
        "maxPods": 110,
        "type": "VirtualMachineScaleSets",
        "mode": asked.mode,
        "enableAutoScaling": False,
        "enableNodePublicIP": False,
        "powerState": {"code": "Running"},
        "provisioningState": "Reticulating" if pool.oddity == "odd-state" else str(pool.state),
        "eTag": pool.etag,
    }
    lists = {"nodeTaints": asked.taints, "availabilityZones": asked.zones}
    found |= {key: list(value) for key, value in lists.items() if value}
    found |= {
        key: dict(value) for key, value in (("nodeLabels", asked.labels), ("tags", asked.tags)) if value
    }
    if asked.spot:
        found |= {"scaleSetPriority": "Spot", "scaleSetEvictionPolicy": "Delete", "spotMaxPrice": -1}
    if pool.error is not None and api_version >= _TELLS_ERRORS_SINCE:
        found["status"] = {"provisioningError": pool.error.document()}
    return found


def default_disk_gb(size: str) -> int:
    """What AKS gives where 0 is asked for, by the number of cores."""
    cores = cores_of(size)
    return next((disk for most, disk in _DISK_BY_CORES if cores <= most), _LARGEST_DISK_GB)


def _base36(index: int) -> str:
    digits = ""
    while index:
        index, digit = divmod(index, 36)
        digits = _DIGITS[digit] + digits
    return digits.rjust(6, "0")
