"""The Workspace, ``kaito.sh/v1alpha1``, as users write it and clusters store it.

All defaults are the CRD's; there is no defaulting webhook. An omitted ``resource`` gets none of its nested
defaults, just as the API server does not reach into a parent that is not there.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from kaito.api.errors import Finding, InvalidObject
from kaito.api.meta import ApiModel, Condition, Count, LabelSelector, ObjectMeta, SelectorNotFlat, Text
from kaito.api.reading import identity_findings, read_lenient, read_strict

API_VERSION = "kaito.sh/v1alpha1"
KIND = "Workspace"
DEFAULT_INSTANCE_TYPE = "Standard_NC12s_v3"
LOAD_BALANCER_ANNOTATION = "kaito.sh/enablelb"
"""Only the exact value ``True`` counts."""

_GPU_MARK = "Standard_N"


class ResourceSpec(ApiModel):
    """The nodes a Workspace wants."""

    REQUIRED = ("labelSelector",)
    CRD_DEFAULTS = ("count", "instance_type")

    count: Count = Field(1, description="Number of nodes, and of replicas of the workload.")
    instance_type: Text = Field(DEFAULT_INSTANCE_TYPE, description="Virtual machine size of new nodes.")
    label_selector: LabelSelector = Field(
        LabelSelector(), description="Labels that nodes must have to be used, and that new nodes are given."
    )
    preferred_nodes: tuple[Text, ...] = Field(
        (), description="Names of nodes to choose first among those that qualify."
    )

    def selector(self) -> dict[str, str]:
        """The labels a node must have; empty, and so choosing none, when the selector is no plain map."""
        try:
            return self.label_selector.flattened()
        except SelectorNotFlat:
            return {}


_ABSENT_RESOURCE = ResourceSpec.model_validate({"instanceType": "", "labelSelector": {}})


class PresetOptions(ApiModel):
    """The user's own image of a model."""

    image: Text = Field("", description="Image to run instead of the published one.")
    image_pull_secrets: tuple[Text, ...] = Field(
        (), description="Names of Secrets in the same namespace that allow to pull the image."
    )


class PresetSpec(ApiModel):
    """A model of the catalogue."""

    REQUIRED = ("name",)
    CRD_DEFAULTS = ("access_mode",)

    name: Text = Field("", description="Name of the model in the catalogue, case sensitive.")
    access_mode: Literal["public", "private"] = Field(
        "public", description="Whether the image is the published one (public) or the user's own (private)."
    )
    preset_options: PresetOptions = Field(
        PresetOptions(), description="The user's image and its pull secrets, for private access."
    )


class DataSource(ApiModel):
    """Where data come from; one of urls, hostPath and image."""

    name: Text = Field("", description="Name of the source, unique in its list.")
    urls: tuple[Text, ...] = Field((), description="Addresses to download from.")
    host_path: Text = Field("", description="Directory of the node that holds the data.")
    image: Text = Field("", description="Image that holds the data in its directory data.")
    image_pull_secrets: tuple[Text, ...] = Field((), description="Names of Secrets to pull that image.")


class DataDestination(ApiModel):
    """Where results go; at least one of hostPath and image."""

    host_path: Text = Field("", description="Directory of the node to write to.")
    image: Text = Field("", description="Image to build and push.")
    image_push_secret: Text = Field("", description="Name of the Secret to push that image.")


class AdapterSpec(ApiModel):
    """An adapter of a model; accepted and without effect for now."""

    source: DataSource | None = Field(None, description="Where the adapter's weights come from.")
    strength: Text | None = Field(None, description="Multiplier from 0 to 1, written as a string.")


class InferenceSpec(ApiModel):
    """What is to be served: exactly one of preset and template."""

    preset: PresetSpec | None = Field(None, description="A model of the catalogue.")
    template: dict[Text, Any] | None = Field(None, description="A pod template of the user's own.")
    adapters: tuple[AdapterSpec, ...] = Field(
        (), description="Adapters to apply to the model; without effect for now."
    )


class TuningSpec(ApiModel):
    """What is to be tuned; accepted by the CRD, refused by admission for now."""

    REQUIRED = ("input", "output")

    preset: PresetSpec | None = Field(None, description="A model of the catalogue.")
    method: Text = Field("", description="lora or qlora, in any letter case.")
    config: Text = Field("", description="Name of a ConfigMap with the tuning's settings.")
    input: DataSource | None = Field(None, description="The training data.")
    output: DataDestination | None = Field(None, description="Where the adapter is written.")


class WorkspaceStatus(ApiModel):
    """Written by the operator."""

    worker_nodes: tuple[Text, ...] = Field((), description="Names of the nodes in use, sorted.")
    conditions: tuple[Condition, ...] = Field((), description="How far the Workspace is, and why.")


class Workspace(ApiModel):
    """A model to serve and the GPU nodes to serve it on."""

    REQUIRED = ("apiVersion", "kind")
    MISPLACED: ClassVar = {"spec": "resource, inference and tuning at the top level"}

    api_version: Text = API_VERSION
    kind: Text = KIND
    metadata: ObjectMeta = ObjectMeta()
    resource: ResourceSpec = Field(_ABSENT_RESOURCE, description="The nodes the Workspace wants.")
    inference: InferenceSpec | None = Field(None, description="What is to be served.")
    tuning: TuningSpec | None = Field(None, description="What is to be tuned.")
    status: Annotated[WorkspaceStatus, Field(description="Written by the operator.")] = WorkspaceStatus()

    _problems: tuple[Finding, ...] = PrivateAttr(())

    @classmethod
    def from_cluster(cls, obj: dict[str, Any]) -> Workspace:
        """Read a stored object; fields of a wrong type are left out and kept in `problems`.

        Raises:
            InvalidObject: It is not a mapping.
        """
        workspace, findings = read_lenient(cls, obj)
        workspace._problems = tuple(findings)
        return workspace

    @classmethod
    def from_user(cls, obj: dict[str, Any]) -> Workspace:
        """Read what a user wrote, with the CRD's defaults.

        Raises:
            InvalidObject: Every unknown, missing or ill-typed field.
        """
        workspace, findings = read_strict(cls, obj)
        findings += identity_findings(obj, API_VERSION, KIND)
        if workspace is None or findings:
            raise InvalidObject(findings)
        return workspace

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What of a stored object could not be read."""
        return self._problems

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace or "default"

    @property
    def preset(self) -> PresetSpec | None:
        return self.inference.preset if self.inference else None

    @property
    def preset_name(self) -> str:
        """The model to serve, empty without one."""
        return self.preset.name if self.preset else ""

    @property
    def template(self) -> dict[str, Any] | None:
        return self.inference.template if self.inference else None

    @property
    def needs_gpu(self) -> bool:
        """Whether the nodes must offer GPUs: the published test, the instance type contains Standard_N."""
        return _GPU_MARK in self.resource.instance_type
