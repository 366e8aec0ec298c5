"""The verdict on each manifest: what admission would answer, what else is to be said, and the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from kaito.api.reading import read_strict
from kaito.api.workspace import Workspace
from kaito.catalogue import Catalogue
from kaito.offline.manifests import Manifest
from kaito.offline.plans import Plan, plan
from kaito.offline.remarks import Remark, remarks
from kaito.validation import reconcile_refusal, validate_create, validate_update

Key: TypeAlias = tuple[str, str]
"""Namespace and name."""

CREATE, UPDATE = "create", "update"


@dataclass(frozen=True)
class Verdict:
    """``plan`` is None when nothing would be provisioned."""

    manifest: Manifest
    operation: str
    refusals: tuple[str, ...]
    warnings: tuple[Remark, ...]
    plan: Plan | None

    def allowed(self, *, strict: bool = False) -> bool:
        return not self.refusals and not (strict and self.warnings)

    def to_dict(self, *, strict: bool = False) -> dict[str, Any]:
        allowed = self.allowed(strict=strict)
        return {
            "file": self.manifest.source,
            "line": self.manifest.line_of(),
            "namespace": self.manifest.namespace,
            "name": self.manifest.name,
            "operation": self.operation,
            "allowed": allowed,
            "refusals": list(self.refusals),
            "warnings": [str(warning) for warning in self.warnings],
            "plan": self.plan.to_dict() if self.plan is not None and allowed else None,
        }


def key_of(manifest: Manifest) -> Key:
    return manifest.namespace, manifest.name


def judge(
    manifests: Iterable[Manifest], catalogue: Catalogue, old: Mapping[Key, Manifest] | None = None
) -> Iterator[Verdict]:
    """The verdicts in order; what is not among the old ones is judged as new."""
    before = old or {}
    seen: dict[Key, Manifest] = {}
    for manifest in manifests:
        key = key_of(manifest)
        first = seen.setdefault(key, manifest)
        repeated = () if first is manifest or not manifest.name else (_repeated(first),)
        yield _verdict(manifest, catalogue, before.get(key), repeated)


def field_of(message: str) -> str:
    """The first path that a message of admission names; empty without one."""
    return message.rpartition(": ")[2].split(", ")[0]


def _repeated(first: Manifest) -> Remark:
    text = f"the same Workspace stands at {first.place()}, the later one would change it"
    return Remark("metadata.name", text)


def _verdict(
    manifest: Manifest, catalogue: Catalogue, old: Manifest | None, known: tuple[Remark, ...]
) -> Verdict:
    obj = manifest.object
    if old is None:
        operation, refusals = CREATE, validate_create(obj, catalogue)
    else:
        operation, refusals = UPDATE, validate_update(old.object, obj, catalogue)
    workspace = read_strict(Workspace, obj)[0]
    if refusals or workspace is None:
        return Verdict(manifest, operation, tuple(refusals), known, None)
    said = [*known, *remarks(workspace, catalogue, obj)]
    # An update is not sized again, as published; the reconciler would find out all the same.
    if operation == UPDATE and (why := reconcile_refusal(workspace, catalogue)):
        return Verdict(
            manifest, operation, (), (*said, Remark("object", f"it cannot be served: {why}")), None
        )
    return Verdict(manifest, operation, (), tuple(said), plan(workspace, catalogue))
