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
    """Keeps pods away from a node unless they tolerate it."""

    REQUIRED = ("key", "effect")

    key: Text = Field("", description="Key that a toleration names.")
    value: Text = Field("", description="Value that belongs to the key.")
    effect: Text = Field("", description="NoSchedule, PreferNoSchedule or NoExecute.")
    time_added: Time | None = Field(None, description="When a NoExecute taint was put on the node.")


class NodeSelectorRequirement(ApiModel):
    """What one label of the node must be."""

    REQUIRED = ("key", "operator")

    key: Text = Field(description="Label of the node.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label's value relates to values."
    )
    values: tuple[Text, ...] = Field(
        (), description="At least one for In and NotIn, one whole number for Gt and Lt, else none."
    )


class ResourceRequests(ApiModel):
    """What the node must offer."""

    requests: dict[Text, Quantity] = Field(
        default_factory=dict, description="Only storage has an effect: the OS disk."
    )


class KubeletConfiguration(ApiModel):
    """Accepted and without effect: the Azure provider does not pass it on."""

    cluster_dns: tuple[Text, ...] = Field(
        (), alias="clusterDNS", description="Addresses of the cluster's name servers."
    )
    container_runtime: Text = Field("", description="Runtime that starts the containers.")
    max_pods: Annotated[Count, Field(ge=0)] | None = Field(
        None, description="Pods that the node takes at most."
    )
    pods_per_core: Annotated[Count, Field(ge=0)] | None = Field(
        None, description="Pods that the node takes at most for each of its cores."
    )
    system_reserved: dict[Text, Quantity] = Field(
        default_factory=dict, description="Resources kept for the operating system."
    )
    kube_reserved: dict[Text, Quantity] = Field(
        default_factory=dict, description="Resources kept for Kubernetes itself."
    )
    eviction_hard: dict[Text, Text] = Field(
        default_factory=dict, description="Thresholds at which pods are evicted at once, by signal."
    )
    eviction_soft: dict[Text, Text] = Field(
        default_factory=dict, description="Thresholds at which pods are evicted with notice, by signal."
    )
    eviction_soft_grace_period: dict[Text, Text] = Field(
        default_factory=dict, description="How long a soft threshold may be crossed, by signal."
    )
    eviction_max_pod_grace_period: Count | None = Field(
        None, description="Seconds that an evicted pod has to end, at most."
    )
    image_gc_high_threshold_percent: Percent | None = Field(
        None,
        alias="imageGCHighThresholdPercent",
        description="Disk usage above which images are removed.",
    )
    image_gc_low_threshold_percent: Percent | None = Field(
        None,
        alias="imageGCLowThresholdPercent",
        description="Disk usage below which no image is removed.",
    )
    cpu_cfs_quota: Flag | None = Field(
        None, alias="cpuCFSQuota", description="Whether CPU limits are enforced."
    )


class MachineTemplateRef(ApiModel):
    """A provider's template; nobody looks it up, so it need not exist."""

    REQUIRED = ("name",)

    kind: Text = Field("", description="Kind of the template.")
    name: Text = Field("", description="Name of the template.")
    api_version: Text = Field("", description="API version of the template.")


class MachineSpec(ApiModel):
    """The node that is wanted."""

    taints: tuple[Taint, ...] = Field((), description="Taints of the node.")
    startup_taints: tuple[Taint, ...] = Field((), description="Taints that somebody removes when ready.")
    requirements: tuple[NodeSelectorRequirement, ...] = Field((), description="What the node must be.")
    resources: ResourceRequests = Field(ResourceRequests(), description="What the node must offer.")
    kubelet: KubeletConfiguration | None = Field(
        None, description="Settings of the node's kubelet; accepted and without effect on Azure."
    )
    machine_template_ref: MachineTemplateRef | None = Field(
        None, description="A provider's template; nobody looks it up, so it need not exist."
    )


class MachineCondition(ApiModel):
    """Unlike a ``metav1.Condition``: it has a severity, and its time moves when any of its fields does."""

    REQUIRED = ("type", "status")

    type: Text = Field(
        description="MachineLaunched, MachineRegistered, MachineInitialized, or Ready when all three hold."
    )
    status: Text = Field(description="True, False or Unknown.")
    severity: Text = Field("", description="Empty for an error; Warning and Info do not make Ready False.")
    last_transition_time: Text = Field("", description="When any field of the condition last changed.")
    reason: Text = Field("", description="Why, in one word for programs.")
    message: Text = Field("", description="Why, in a sentence for people.")


class MachineStatus(ApiModel):
    """How far the node is."""

    node_name: Text = Field("", description="Name of the node, once it has registered.")
    provider_id: Text = Field("", alias="providerID", description="The virtual machine, as Azure names it.")
    capacity: dict[Text, Quantity] = Field(default_factory=dict, description="What the node has in all.")
    allocatable: dict[Text, Quantity] = Field(
        default_factory=dict, description="What of it pods may ask for."
    )
    conditions: tuple[MachineCondition, ...] = Field((), description="How far the Machine is, and why.")


class Machine(ApiModel):
    """One node that the provisioner is to obtain; made by the operator, not by people."""

    REQUIRED = ("apiVersion", "kind")

    api_version: Text = API_VERSION
    kind: Text = KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: MachineSpec = Field(MachineSpec(), description="The node that is wanted.")
    status: MachineStatus = Field(MachineStatus(), description="How far the node is; the provisioner's.")

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
