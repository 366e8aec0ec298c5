"""The calls a program is made of: plain data, whose ``repr`` is Python that builds them again.

Strings that begin with ``@`` stand for what only a server can say, so each server puts in its own:

- ``@uid:Workspace/a`` is the UID last told of that object,
- ``@version:Workspace/a:-2`` the resourceVersion told of it one answer before the last,
- ``@version:-1`` the last one told of any object,
- ``@name:a`` the name of an object of the cluster in this program, ``@namespace`` the program's namespace.

What was never told is a UID that nobody has, version 1, which is always a stale one, or no version at all.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from kaito.runtime.ports import (
    DEPLOYMENTS,
    MACHINES,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
    WORKSPACES,
    Object,
    Resource,
)

RESOURCES: dict[str, Resource] = {
    each.kind: each for each in (WORKSPACES, MACHINES, PODS, NODES, SERVICES, DEPLOYMENTS, STATEFULSETS)
}
CUSTOM = ("Workspace", "Machine")


class Call(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    kind: str

    @property
    def resource(self) -> Resource:
        return RESOURCES[self.kind]

    @property
    def dry(self) -> bool:
        """Whether the call may leave no trace."""
        return bool(getattr(self, "dry_run", False))


class Create(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    """``namespace`` is that of the request, by default the program's."""

    body: Object
    namespace: str = "@namespace"
    dry_run: bool = False


class Replace(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    """PUT of what was told before, with changes.

    Attributes:
        base: Which answer about the object to start from; -1 is the last one.
        changes: Laid over it; None takes a field away.
    """

    name: str
    changes: Object
    base: int = -1
    subresource: str = ""
    dry_run: bool = False


class Patch(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    """``form`` is json, merge, strategic, apply, or a content type."""

    name: str
    patch: Any
    form: str = "merge"
    subresource: str = ""
    dry_run: bool = False


class Delete(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    name: str
    uid: str = ""
    version: str = ""
    propagation: str = ""
    dry_run: bool = False


class Get(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    name: str


class List(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    """``more`` goes on where the last list of the kind ended."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    more: bool = False
    version: str = ""


class Watch(Call, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Open until the program ends; what came is compared then."""

    labels: str = ""
    version: str = ""


Program: TypeAlias = tuple[Call, ...]


def printed(program: Program) -> str:
    """The program as Python, for `tests.differential.regressions`."""
    return "(\n" + "".join(f"    {call!r},\n" for call in program) + ")"
