"""Annotations that the operator reads. A wrong one never stops a Workspace: it is told when it is written."""

from __future__ import annotations

from collections.abc import Mapping

from kaito import durations
from kaito.api.errors import printable
from kaito.runtime.keys import MACHINE_TIMEOUT_ANNOTATION
from kaito.validation.messages import Report


def check_annotations(new: Mapping[str, str], old: Mapping[str, str], report: Report) -> None:
    """The machine timeout, where it is new or changed, is a duration above zero."""
    text = new.get(MACHINE_TIMEOUT_ANNOTATION)
    if text is None or text == old.get(MACHINE_TIMEOUT_ANNOTATION):
        return
    try:
        positive = durations.parse(text).total_seconds() > 0
    except ValueError:
        positive = False
    if not positive:
        where = f"metadata.annotations.{MACHINE_TIMEOUT_ANNOTATION}"
        report.invalid(f"{printable(text)}, expected {durations.EXPECTED}, above 0s", where)
