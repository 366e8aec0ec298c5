"""The Machine, ``karpenter.sh/v1alpha5``, cluster-scoped: one node that the provisioner is to obtain."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from kaito.api.errors import InvalidObject
from kaito.api.meta import ApiModel, Count, Flag, ObjectMeta, Text, Time
from kaito.api.reading import identity_findings, read_lenient, read_strict

API_VERSION = "karpenter.sh/v1alpha5"
KIND = "Machine"

Quantity: TypeAlias = Text | Annotated[int, Field(strict=True)]
"""A Kubernetes quantity: ``50Gi``; a bare number is valid too."""

Percent: TypeAlias = Annotated[Count, Field(ge=0, le=100)]


class Taint(ApiModel):
    REQUIRED = ("key", "effect")

    key: Text = ""
    value: Text = ""
    effect: Text = ""
    time_added: Time | None = None


class NodeSelectorRequirement(ApiModel):
    REQUIRED = ("key", "operator")

    key: Text
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[Text, ...] = ()


class ResourceRequests(ApiModel):
    requests: dict[Text, Quantity] = Field(
        default_factory=dict, description="Only storage has an effect: the OS disk."
    )


class KubeletConfiguration(ApiModel):
    """Accepted and without effect: the Azure provider does not pass it on."""

    cluster_dns: tuple[Text, ...] = Field((), alias="clusterDNS")
    container_runtime: Text = ""
    max_pods: Annotated[Count, Field(ge=0)] | None = None
    pods_per_core: Annotated[Count, Field(ge=0)] | None = None
    system_reserved: dict[Text, Quantity] = Field(default_factory=dict)
    kube_reserved: dict[Text, Quantity] = Field(default_factory=dict)
    eviction_hard: dict[Text, Text] = Field(default_factory=dict)
    eviction_soft: dict[Text, Text] = Field(default_factory=dict)
    eviction_soft_grace_period: dict[Text, Text] = Field(default_factory=dict)
    eviction_max_pod_grace_period: Count | None = None
    image_gc_high_threshold_percent: Percent | None = Field(None, alias="imageGCHighThresholdPercent")
    image_gc_low_threshold_percent: Percent | None = Field(None, alias="imageGCLowThresholdPercent")
    cpu_cfs_quota: Flag | None = Field(None, alias="cpuCFSQuota")


class MachineTemplateRef(ApiModel):
    REQUIRED = ("name",)

    kind: Text = ""
    name: Text = ""
    api_version: Text = ""


class MachineSpec(ApiModel):
    taints: tuple[Taint, ...] = Field((), description="Taints of the node.")
    startup_taints: tuple[Taint, ...] = Field((), description="Taints that somebody removes when ready.")
    requirements: tuple[NodeSelectorRequirement, ...] = Field((), description="What the node must be.")
    resources: ResourceRequests = ResourceRequests()
    kubelet: KubeletConfiguration | None = None
    machine_template_ref: MachineTemplateRef | None = None


class MachineCondition(ApiModel):
    """Unlike a ``metav1.Condition``: it has a severity, and its time moves when any of its fields does."""

    REQUIRED = ("type", "status")

    type: Text
    status: Text
    severity: Text = ""
    last_transition_time: Text = ""
    reason: Text = ""
    message: Text = ""


class MachineStatus(ApiModel):
    node_name: Text = ""
    provider_id: Text = Field("", alias="providerID")
    capacity: dict[Text, Quantity] = Field(default_factory=dict)
    allocatable: dict[Text, Quantity] = Field(default_factory=dict)
    conditions: tuple[MachineCondition, ...] = ()


class Machine(ApiModel):
    REQUIRED = ("apiVersion", "kind")

    api_version: Text = API_VERSION
    kind: Text = KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: MachineSpec = MachineSpec()
    status: MachineStatus = MachineStatus()

    @classmethod
    def from_cluster(cls, obj: dict[str, Any]) -> Machine:
        """Read a stored object; unknown fields are kept, fields of a wrong type left out.

        Raises:
            InvalidObject: It is not a mapping.
        """
        return read_lenient(cls, obj)[0]

    @classmethod
    def from_user(cls, obj: dict[str, Any]) -> Machine:
        """Read what a user wrote.

        Raises:
            InvalidObject: Every unknown, missing or ill-typed field.
        """
        machine, findings = read_strict(cls, obj)
        findings += identity_findings(obj, API_VERSION, KIND)
        if machine is None or findings:
            raise InvalidObject(findings)
        return machine

    def instance_type(self) -> str:
        """The size asked for, empty when the requirements leave it open."""
        for requirement in self.spec.requirements:
            if requirement.key == "node.kubernetes.io/instance-type" and len(requirement.values) == 1:
                return requirement.values[0]
        return ""
