"""The questions others ask: may this Workspace be created, may it be changed, can it be served.

The answers are lists of one-line messages, all of them at once and in a stable order. Nothing here raises,
whatever JSON it is given: a controller and a webhook live on these answers.
"""

from __future__ import annotations

from typing import Any

from kaito.api.errors import Finding, InvalidObject
from kaito.api.reading import identity_findings, read_lenient, read_strict
from kaito.api.workspace import API_VERSION, KIND, Workspace
from kaito.catalogue.catalogue import Catalogue
from kaito.validation.annotations import check_annotations
from kaito.validation.change import check_change
from kaito.validation.creation import check_creation
from kaito.validation.messages import Report

_SAID_BY_RULES = ("apiVersion", "kind", "tuning.input", "tuning.output")
"""Absences that do not matter in a request, whose path names the kind, or that a rule tells better."""


def validate_create(workspace: Workspace | Any, catalogue: Catalogue) -> list[str]:
    """Why this object may not be created, with the CRD's defaults taken as applied; empty if it may.

    Args:
        workspace: A Workspace, or any JSON value that claims to be one.
        catalogue: The models and instance types to judge by.
    """
    report = Report()
    found = _read(workspace, report)
    if found is not None:
        check_creation(found, catalogue, report)
        check_annotations(found.metadata.annotations, {}, report)
    return report.lines()


def validate_update(old: Workspace | Any, new: Workspace | Any, catalogue: Catalogue) -> list[str]:
    """Why the first object may not be changed into the second; empty if it may.

    An object that is being deleted may change in any way: what matters then is that finalizers can go.
    """
    report = Report()
    before, after = _read_stored(old, report), _read(new, report)
    if after is not None and after.metadata.deletion_timestamp is not None:
        return []
    if before is not None and after is not None:
        try:
            check_change(before, after, report)
            check_annotations(after.metadata.annotations, before.metadata.annotations, report)
        except RecursionError:
            report.add("expected two objects that can be compared, found too many levels", "object")
    return report.lines()


def reconcile_refusal(workspace: Workspace, catalogue: Catalogue) -> str:
    """Why a stored Workspace cannot be served, on one line; empty if it can.

    Admission may have been away, may have judged by another catalogue or by older rules, so all is judged
    again.
    """
    name = workspace.preset_name
    if workspace.preset is not None and name not in catalogue.presets:
        whose = f"{workspace.namespace}/{workspace.name}"
        return f"The preset model name {name} is not registered for workspace {whose}"
    report = Report()
    for problem in workspace.problems:
        report.found(problem)
    check_creation(workspace, catalogue, report)
    return "; ".join(line.removesuffix(": ") for line in report.lines())


def _read(obj: Workspace | Any, report: Report) -> Workspace | None:
    if isinstance(obj, Workspace):
        return obj
    workspace, findings = read_strict(Workspace, _lifted(obj))
    if _has_spec(obj):
        findings.append(Finding("spec", Workspace.MISPLACED["spec"], "spec"))
    for finding in identity_findings(obj, API_VERSION, KIND) + findings:
        if not _is_said_elsewhere(finding, readable=workspace is not None):
            report.found(finding)
    return workspace


def _has_spec(obj: Any) -> bool:
    return isinstance(obj, dict) and isinstance(obj.get("spec"), dict)


def _lifted(obj: Any) -> Any:
    """With what stands under ``spec`` at the top, so that its faults are told along with its place."""
    if not _has_spec(obj):
        return obj
    return {**obj["spec"], **{key: value for key, value in obj.items() if key != "spec"}}


def _is_said_elsewhere(finding: Finding, *, readable: bool) -> bool:
    """Unknown metadata is let pass: a newer API server may send what this code has not heard of."""
    if readable and finding.field.startswith("metadata."):
        return True
    return finding.field in _SAID_BY_RULES and finding.found == "nothing"


def _read_stored(obj: Workspace | Any, report: Report) -> Workspace | None:
    if isinstance(obj, Workspace):
        return obj
    try:
        return read_lenient(Workspace, obj)[0]
    except InvalidObject:
        report.add("expected the stored Workspace, found no mapping", "old object")
        return None
