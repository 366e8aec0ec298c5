"""What the virtual API server knows of each kind: one row a kind, and the schema of those that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from kaito.runtime.ports import (
    DEPLOYMENTS,
    LEASES,
    MACHINES,
    NODES,
    PODDISRUPTIONBUDGETS,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    Object,
    Resource,
)
from simulator import names
from simulator.budget_schema import BudgetSchema
from simulator.schemas import StructuralSchema


class Schema(Protocol):
    """The schema of a kind. Objects are shared: each method returns a new one or the one it was given."""

    def prune(self, obj: Object) -> Object:
        """Without the fields the schema does not know."""
        ...

    def default(self, obj: Object) -> Object:
        """With the schema's defaults where a field is missing."""
        ...

    def validate(self, new: Object, old: Object | None) -> Sequence[str]:
        """The causes to refuse the object, each ``path: what is wrong``; ``old`` is None on create."""
        ...


class OpenSchema:
    """Takes every object as it is."""

    def prune(self, obj: Object) -> Object:
        return obj

    def default(self, obj: Object) -> Object:
        return obj

    def validate(self, new: Object, old: Object | None) -> Sequence[str]:
        return ()


class Kind(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The facts of one kind; a row is equal to itself alone, so it can key a cache.

    Attributes:
        custom: Defined by a CRD: a PUT must carry a resourceVersion.
        versioned: Built in, and a PUT must carry a resourceVersion all the same.
        status: Has the status subresource.
        generation: Counts changes of its content; several core kinds do not.
        annotations_count: A change of its annotations is one of its generation, too.
        graceful: Runs on a node, so that a deleted object stays until it has ended there.
        created_status: The status on create; None means that the client's own is kept.
        fields: Field selectors beside metadata.name and metadata.namespace, as dotted paths.
    """

    resource: Resource
    custom: bool = False
    versioned: bool = False
    status: bool = True
    generation: bool = True
    annotations_count: bool = False
    graceful: bool = False
    created_status: Object | None = {}
    fields: tuple[str, ...] = ()
    name_rule: Callable[[str], tuple[str, ...]] = names.subdomain
    schema: Schema = OpenSchema()


def _schema_of(resource: Resource) -> Schema:
    """The schema of our CRD; the models it comes from are not loaded before it is used."""

    def load() -> Mapping[str, Any]:
        from kaito.crds.definitions import schema_of

        return schema_of(resource.kind)

    return StructuralSchema(load)


KINDS: tuple[Kind, ...] = (
    Kind(resource=WORKSPACES, custom=True, schema=_schema_of(WORKSPACES)),
    Kind(resource=MACHINES, custom=True, schema=_schema_of(MACHINES)),
    # A kubelet registers its node with the status in the same request.
    Kind(resource=NODES, generation=False, created_status=None, fields=("spec.unschedulable",)),
    Kind(
        resource=PODS,
        generation=False,
        graceful=True,
        created_status={"phase": "Pending"},
        fields=("spec.nodeName", "status.phase"),
    ),
    Kind(resource=SERVICES, versioned=True, generation=False, name_rule=names.service_name),
    Kind(resource=DEPLOYMENTS, annotations_count=True),
    Kind(resource=STATEFULSETS),
    Kind(resource=LEASES, status=False, generation=False),
    Kind(resource=PODDISRUPTIONBUDGETS, schema=BudgetSchema()),
)
