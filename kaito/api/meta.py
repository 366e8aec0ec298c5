"""What every Kubernetes object has: metadata, owners, conditions, label selectors.

The models keep fields they do not know (``extra="allow"``), so an object read from a cluster goes back as it
came. `kaito.api.reading` decides whether unknown fields and missing ones are faults.
A null counts as absent, as the API server treats it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator
from pydantic.alias_generators import to_camel

Text: TypeAlias = Annotated[str, Strict()]
Whole: TypeAlias = Annotated[int, Strict(), Field(ge=-(2**63), lt=2**63)]
Natural: TypeAlias = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Count: TypeAlias = Annotated[int, Strict(), Field(ge=-(2**31), lt=2**31)]
Flag: TypeAlias = Annotated[bool, Strict()]


def _timestamp(value: Any) -> Any:
    """Take RFC 3339 text or a datetime; pydantic alone would also take a number of seconds."""
    if not isinstance(value, str | datetime):
        raise ValueError("not a time")
    return value


Time: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_timestamp)]


class ApiModel(BaseModel):
    """Base of all API types: immutable, nothing coerced.

    Made from camelCase JSON alone, in Python with ``model_validate``: were snake_case names read too, an
    object could bring one field twice.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True)

    REQUIRED: ClassVar[tuple[str, ...]] = ()
    """Aliases that the CRD requires inside this object; the models are more patient."""

    MISPLACED: ClassVar[dict[str, str]] = {}
    """Fields that other kinds have here, each with what is expected instead."""

    CRD_DEFAULTS: ClassVar[tuple[str, ...]] = ()
    """Fields whose default is the API server's: they belong to the stored object even when not written."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data

    def model_post_init(self, context: Any, /) -> None:
        self.__pydantic_fields_set__.update(self.CRD_DEFAULTS)

    def to_dict(self) -> dict[str, Any]:
        """The object as the API writes it: what was given plus the CRD's defaults, without nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


class OwnerReference(ApiModel):
    REQUIRED = ("apiVersion", "kind", "name", "uid")

    api_version: Text = ""
    kind: Text = ""
    name: Text = ""
    uid: Text = ""
    controller: Flag = False
    block_owner_deletion: Flag = False


class ObjectMeta(ApiModel):
    name: Text = ""
    generate_name: Text = ""
    namespace: Text = ""
    uid: Text = ""
    resource_version: Text = ""
    generation: Whole = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: Whole | None = None
    labels: dict[Text, Text] = {}
    annotations: dict[Text, Text] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[Text, ...] = ()
    managed_fields: tuple[dict[Text, Any], ...] = ()
    self_link: Text = ""


class Condition(ApiModel):
    """A ``metav1.Condition``."""

    REQUIRED = ("type", "status", "reason", "message", "lastTransitionTime")

    type: Text = Field(max_length=316, description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Text = Field("", max_length=1024, description="Why, in one word for programs.")
    message: Text = Field("", max_length=32768, description="Why, in a sentence for people.")
    last_transition_time: Time | None = Field(None, description="When the status last changed.")
    observed_generation: Natural = Field(
        0, description="The metadata.generation that the condition speaks of."
    )


class LabelSelectorRequirement(ApiModel):
    """What one label must be."""

    REQUIRED = ("key", "operator")

    key: Text = Field(description="The label.")
    operator: Text = Field(description="In is the only one that new nodes can be given.")
    values: tuple[Text, ...] = Field((), description="Exactly one value.")


class LabelSelector(ApiModel):
    """Labels that must all be there."""

    match_labels: dict[Text, Text] = Field({}, description="Labels and the value of each.")
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(
        (), description="More labels, as expressions; only In with a single value is accepted."
    )

    def flattened(self) -> dict[str, str]:
        """The selector as one map: ``matchLabels`` and the ``In`` expressions with a single value.

        Raises:
            SelectorNotFlat: An expression says something that a map cannot; the text is the published one.
        """
        labels = dict(self.match_labels)
        for requirement in self.match_expressions:
            value = _single_value(requirement)
            if labels.setdefault(requirement.key, value) != value:
                raise SelectorNotFlat(f'key "{requirement.key}" is required to have two different values')
        return labels


class SelectorNotFlat(ValueError):
    """A label selector that is not a conjunction of ``key = value``."""


def _single_value(requirement: LabelSelectorRequirement) -> str:
    impossible = "cannot be converted into the old label selector format"
    if requirement.operator in ("NotIn", "Exists", "DoesNotExist"):
        raise SelectorNotFlat(f'operator "{requirement.operator}" {impossible}')
    if requirement.operator != "In":
        raise SelectorNotFlat(f'"{requirement.operator}" is not a valid selector operator')
    if len(requirement.values) != 1:
        raise SelectorNotFlat(f'operator "In" without a single value {impossible}')
    return requirement.values[0]
