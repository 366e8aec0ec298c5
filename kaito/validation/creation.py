"""The rules for a new Workspace."""

from __future__ import annotations

from kaito.api.errors import printable
from kaito.api.workspace import InferenceSpec, PresetSpec, Workspace
from kaito.catalogue.catalogue import Catalogue
from kaito.validation import names, sizing, tuning
from kaito.validation.messages import Report
from kaito.validation.template import template_findings


def check_creation(workspace: Workspace, catalogue: Catalogue, report: Report) -> None:
    """Every rule, whatever the others found."""
    known = catalogue.presets.get(workspace.preset_name)
    names.check_name(workspace.metadata, known, report)
    sizing.check_resource(workspace.resource, known, catalogue, report)
    names.check_selector(workspace.resource, gpu=workspace.needs_gpu, report=report)
    if workspace.inference is None and workspace.tuning is None:
        report.add("Either Inference or Tuning must be specified, not neither", "spec")
    if workspace.inference is not None and workspace.tuning is not None:
        report.add("Either Inference or Tuning must be specified, but not both", "spec")
    if workspace.inference is not None:
        check_inference(workspace.inference, catalogue, report)
    if workspace.tuning is not None:
        tuning.check_create(workspace.tuning, catalogue, report)


def check_inference(inference: InferenceSpec, catalogue: Catalogue, report: Report) -> None:
    if inference.preset is None and inference.template is None:
        report.missing("inference.Preset or Template must be specified")
    if inference.preset is not None and inference.template is not None:
        report.add("Preset and Template cannot be set at the same time")
    if inference.preset is not None:
        _check_preset(inference.preset, catalogue, report)
    if inference.template is not None:
        for finding in template_findings(inference.template):
            report.found(finding)


def _check_preset(preset: PresetSpec, catalogue: Catalogue, report: Report) -> None:
    known = catalogue.presets.get(preset.name)
    if known is None:
        shown = printable(preset.name)
        report.invalid(f"Unsupported inference preset name {shown}", "inference.presetName")
    elif known.access == "private" and preset.access_mode != "private":
        report.add("This preset only supports private AccessMode, AccessMode must be private to continue")
    if preset.access_mode == "private" and not preset.preset_options.image:
        report.add("When AccessMode is private, an image must be provided in PresetOptions")
