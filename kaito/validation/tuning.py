"""The rules of tuning: published ones, though no tuning is accepted yet."""

from __future__ import annotations

from kaito.api.errors import printable
from kaito.api.workspace import DataDestination, DataSource, TuningSpec
from kaito.catalogue.catalogue import Catalogue
from kaito.validation.messages import Report

METHODS = ("lora", "qlora")


def check_create(tuning: TuningSpec, catalogue: Catalogue, report: Report) -> None:
    report.add("tuning is not supported yet", "tuning")
    for field, value in (("Input", tuning.input), ("Output", tuning.output), ("Preset", tuning.preset)):
        if value is None:
            report.missing(f"tuning.{field}")
    if tuning.input is not None and _sources(tuning.input) != 1:
        report.add(
            "Exactly one of URLs, HostPath, or Image must be specified",
            *("tuning.Input.URLs", "tuning.Input.HostPath", "tuning.Input.Image"),
        )
    if tuning.output is not None and not (tuning.output.host_path or tuning.output.image):
        report.missing("tuning.Output.At least one of HostPath or Image must be specified")
    if tuning.preset is not None and tuning.preset.name not in catalogue.presets:
        shown = printable(tuning.preset.name)
        report.invalid(f"Unsupported tuning preset name {shown}", "tuning.presetName")
    if tuning.method.lower() not in METHODS:
        report.invalid(printable(tuning.method), "tuning.Method")


def _sources(source: DataSource) -> int:
    return sum(bool(value) for value in (source.urls, source.host_path, source.image))


def check_update(old: TuningSpec, new: TuningSpec, report: Report) -> None:
    if new.input is None:
        report.missing("tuning.Input")
    else:
        _check_source(old.input or DataSource(), new.input, report)
    if new.output is None:
        report.missing("tuning.Output")
    else:
        _check_destination(old.output or DataDestination(), new.output, report)
    if old.preset != new.preset:
        report.add("Preset cannot be changed", "tuning.Preset")
    if old.method.lower() != new.method.lower():
        report.add("Method cannot be changed", "tuning.Method")


def _check_source(old: DataSource, new: DataSource, report: Report) -> None:
    changed = {
        "URLs": sorted(old.urls) != sorted(new.urls),
        "HostPath": old.host_path != new.host_path,
        "Image": old.image != new.image,
        "ImagePullSecrets": sorted(old.image_pull_secrets) != sorted(new.image_pull_secrets),
    }
    if old.name != new.name:
        report.invalid("During tuning Name field cannot be changed once set", "tuning.Input.Name")
    _report_changed(changed, "tuning.Input", report)


def _check_destination(old: DataDestination, new: DataDestination, report: Report) -> None:
    changed = {
        "HostPath": old.host_path != new.host_path,
        "Image": old.image != new.image,
        "ImagePushSecret": old.image_push_secret != new.image_push_secret,
    }
    _report_changed(changed, "tuning.Output", report)


def _report_changed(changed: dict[str, bool], path: str, report: Report) -> None:
    for field, different in changed.items():
        if different:
            report.invalid(f"{field} field cannot be changed once set", f"{path}.{field}")
