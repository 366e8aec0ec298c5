"""The rules for changing a Workspace. Sizing and preset names are not looked at again, as published."""

from __future__ import annotations

from kaito.api.meta import SelectorNotFlat
from kaito.api.workspace import InferenceSpec, ResourceSpec, Workspace
from kaito.validation import tuning
from kaito.validation.messages import Report
from kaito.validation.template import template_findings


def check_change(old: Workspace, new: Workspace, report: Report) -> None:
    _check_resource(old.resource, new.resource, report)
    if (old.inference is None) != (new.inference is None):
        report.add("Inference field cannot be toggled once set", "spec.inference")
    if (old.tuning is None) != (new.tuning is None):
        report.add("Tuning field cannot be toggled once set", "spec.tuning")
    if old.inference is not None and new.inference is not None:
        _check_inference(old.inference, new.inference, report)
    if old.tuning is not None and new.tuning is not None:
        tuning.check_update(old.tuning, new.tuning, report)


def _check_resource(old: ResourceSpec, new: ResourceSpec, report: Report) -> None:
    if old.count != new.count:
        report.immutable("resource.count")
    if old.instance_type != new.instance_type:
        report.immutable("resource.instanceType")
    try:
        changed = old.label_selector.flattened() != new.label_selector.flattened()
    except SelectorNotFlat:
        report.add("Only allow matchLabels or 'IN' matchExpression", "resource.labelSelector")
        return
    if changed:
        report.immutable("resource.labelSelector")


def _check_inference(old: InferenceSpec, new: InferenceSpec, report: Report) -> None:
    if old.preset != new.preset:
        report.immutable("inference.preset")
    if (old.template is None) != (new.template is None):
        report.add("field cannot be unset/set if it was set/unset", "inference.template")
    if new.template is not None and new.template != old.template:
        for finding in template_findings(new.template):
            report.found(finding)
