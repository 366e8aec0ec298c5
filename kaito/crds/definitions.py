"""The CRDs as objects, their YAML, and the files that hold them: names, printer columns and subresources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from kaito.api.machine import Machine
from kaito.api.meta import ApiModel
from kaito.api.workspace import Workspace
from kaito.crds.schemas import Schema, root_schema

WIDTH = 110
"""Columns of the YAML."""


@dataclass(frozen=True)
class Column:
    """What ``kubectl get`` prints of an object; with ``wide`` only ``-o wide`` does."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def to_dict(self) -> dict[str, Any]:
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return column | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True)
class Definition:
    """One kind: how it is addressed and printed, and the model that its schema comes from."""

    model: type[ApiModel]
    group: str
    version: str
    plural: str
    scope: str
    categories: tuple[str, ...]
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        return self.model.__name__

    @property
    def name(self) -> str:
        return f"{self.plural}.{self.group}"

    @property
    def file_name(self) -> str:
        return f"{self.group}_{self.plural}.yaml"

    @property
    def aliases(self) -> tuple[str, ...]:
        """Every name by which a person may ask for it, in lower case."""
        return (self.name, self.plural, self.kind.lower(), *self.short_names)

    def to_dict(self) -> dict[str, Any]:
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "names": self._names(),
                "scope": self.scope,
                "versions": [self._version()],
            },
        }

    def to_yaml(self) -> str:
        """The same text for the same models, always."""
        text: str = yaml.dump(
            self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH
        )
        return text

    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = {
            "kind": self.kind,
            "listKind": f"{self.kind}List",
            "plural": self.plural,
            "singular": self.kind.lower(),
            "categories": list(self.categories),
        }
        return names | ({"shortNames": list(self.short_names)} if self.short_names else {})

    def _version(self) -> dict[str, Any]:
        return {
            "name": self.version,
            "served": True,
            "storage": True,
            "additionalPrinterColumns": [column.to_dict() for column in self.columns],
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": root_schema(self.model)},
        }


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out instead of an anchor and aliases, which not every reader takes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _condition(type_: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")]'


WORKSPACES = Definition(
    model=Workspace,
    group="kaito.sh",
    version="v1alpha1",
    plural="workspaces",
    scope="Namespaced",
    categories=("workspace",),
    short_names=("wk", "wks"),
    columns=(
        Column("Instance", ".resource.instanceType"),
        Column("ResourceReady", f"{_condition('ResourceReady')}.status"),
        Column("InferenceReady", f"{_condition('InferenceReady')}.status"),
        Column("WorkspaceReady", f"{_condition('WorkspaceReady')}.status"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("MachineReady", f"{_condition('MachineReady')}.status", wide=True),
        Column("Phase", f"{_condition('WorkspaceReady')}.reason", wide=True),
        Column("Wanted", ".resource.count", "integer", wide=True),
        Column("Nodes", ".status.workerNodes", wide=True),
        # Of several results the server prints the first, and the conditions stand in the order of a life:
        # so this is the reason of the first one that is not fulfilled.
        Column("Reason", '.status.conditions[?(@.status!="True")].reason', wide=True),
    ),
)

MACHINES = Definition(
    model=Machine,
    group="karpenter.sh",
    version="v1alpha5",
    plural="machines",
    scope="Cluster",
    categories=("karpenter",),
    short_names=(),
    columns=(
        Column("Type", r".metadata.labels.node\.kubernetes\.io/instance-type"),
        Column("Zone", r".metadata.labels.karpenter\.k8s\.azure/zone"),
        Column("Node", ".status.nodeName"),
        Column("Ready", f"{_condition('Ready')}.status"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Capacity", r".metadata.labels.karpenter\.sh/capacity-type", wide=True),
        Column("Provisioner", r".metadata.labels.karpenter\.sh/provisioner-name", wide=True),
        Column("Template", ".spec.machineTemplateRef.name", wide=True),
    ),
)

DEFINITIONS = (WORKSPACES, MACHINES)


@cache
def schema_of(kind: str) -> Schema:
    """The schema of a kind, ``Workspace`` or ``Machine``; shared, so it must not be changed."""
    (definition,) = (each for each in DEFINITIONS if each.kind == kind)
    return root_schema(definition.model)
