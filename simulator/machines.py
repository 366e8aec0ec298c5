"""What the provisioner reads out of a Machine and its Node, and the names it gives."""

from __future__ import annotations

from kaito.runtime.ports import Object
from simulator.instance_types import has_gpu
from simulator.nodes import INSTANCE_TYPE, MACHINE_TYPE, PROVISIONER, joining_node
from simulator.process import labels

FINALIZER = "karpenter.sh/termination"
WORKSPACE = "kaito.sh/workspace"
LINKED = "karpenter.sh/linked"
AGENT_POOL = "kubernetes.azure.com/agentpool"

_CLUSTER = "mc_kaito_kaito_eastus"
_SCALE_SETS = (
    f"azure:///subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/{_CLUSTER}"
    "/providers/Microsoft.Compute/virtualMachineScaleSets/"
)


def scale_set_name(machine: str, suffix: int) -> str:
    """The scale set of a Machine's pool: AKS puts eight digits of its own behind the pool's name."""
    return f"aks-{machine}-{suffix:08d}-vmss"


def provider_id(scale_set: str) -> str:
    """The identifier of the only virtual machine of the scale set."""
    return f"{_SCALE_SETS}{scale_set}/virtualMachines/0"


def node_name(machine: Object) -> str:
    """The node of the Machine's virtual machine, empty before the launch."""
    linked = str((machine.get("status") or {}).get("providerID", ""))
    scale_set = linked.removeprefix(_SCALE_SETS).partition("/")[0]
    return f"{scale_set}000000" if scale_set else ""


def machine_name(node: Object) -> str:
    """The Machine of a Workspace's node, which bears the name of the pool; empty for other nodes."""
    return labels(node).get(AGENT_POOL, "") if WORKSPACE in labels(node) else ""


def instance_type(machine: Object) -> str:
    """The first size that the requirements allow."""
    for requirement in machine["spec"].get("requirements") or ():
        if requirement["key"] == INSTANCE_TYPE and requirement.get("values"):
            return str(requirement["values"][0])
    return ""


def machine_type(machine: Object) -> str:
    return "gpu" if has_gpu(instance_type(machine)) else "cpu"


def conditions_of(machine: Object) -> list[Object]:
    return list((machine.get("status") or {}).get("conditions") or ())


def claimed(obj: Object) -> bool:
    """Whether the provisioner's finalizer is on the object."""
    return FINALIZER in obj["metadata"].get("finalizers", ())


def finalizers_with_ours(obj: Object) -> list[str]:
    return [*finalizers_without_ours(obj), FINALIZER]


def finalizers_without_ours(obj: Object) -> list[str]:
    return [each for each in obj["metadata"].get("finalizers", ()) if each != FINALIZER]


def node_of(machine: Object, *, linked: str, at: str) -> Object:
    """The Node that joins for this Machine; its labels and taints are those of the pool."""
    pool = machine["metadata"]["name"]
    scale_set = linked.removeprefix(_SCALE_SETS).partition("/")[0]
    return joining_node(
        f"{scale_set}000000",
        instance_type=instance_type(machine),
        labels={
            PROVISIONER: "default",
            **labels(machine),
            MACHINE_TYPE: machine_type(machine),
            "agentpool": pool,
            AGENT_POOL: pool,
            "kubernetes.azure.com/cluster": _CLUSTER,
        },
        taints=list(machine["spec"].get("taints") or ()),
        provider_id=linked,
        at=at,
    )
