"""`kaito validate`: what admission would answer to manifests, and what they would be given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kaito.api.errors import InputError
from kaito.api.loading import STANDARD_INPUT
from kaito.catalogue import Catalogue
from kaito.commands import output
from kaito.commands.options import Output, TableOrJson
from kaito.offline import manifests
from kaito.offline.manifests import Manifest
from kaito.offline.plans import Plan
from kaito.offline.verdicts import Key, Verdict, field_of, judge, key_of
from kaito.problems import Problem

NO = 1
"""The exit code when something is refused."""

HEADERS = ("WORKSPACE", "VERDICT", "NODES", "INSTANCE", "GPUS", "GPU-MEMORY", "DISK", "WORKLOAD", "IMAGE")
NOTHING = "-"


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests; - is standard input.")],
    old: Annotated[
        str,
        typer.Option(
            "--old", metavar="FILE", help="What is stored now: pairs by name are judged as changes."
        ),
    ] = "",
    form: Annotated[TableOrJson, typer.Option("--output", "-o", help="How to print.")] = TableOrJson.TABLE,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what would be warned of.")] = False,
    presets: Annotated[
        Path | None, typer.Option("--presets", metavar="DIR", help="Your own presets, one file each.")
    ] = None,
) -> None:
    """Say whether manifests would be admitted, and what they would be given."""
    if [*files, old].count(STANDARD_INPUT) > 1:
        raise Problem(f"FILE: expected {STANDARD_INPUT} once, found it again")
    catalogue = Catalogue.load(presets)
    found, skipped = _split(files)
    verdicts = list(judge(found, catalogue, _stored(old) if old else {}))
    if form is TableOrJson.JSON:
        _print_json(verdicts, skipped, strict=strict)
    else:
        _print_table(verdicts, skipped, strict=strict)
    if not all(verdict.allowed(strict=strict) for verdict in verdicts):
        raise typer.Exit(NO)


def _split(files: Sequence[str]) -> tuple[list[Manifest], list[Manifest]]:
    """Workspaces and other objects of all files; there must be at least one Workspace."""
    loaded, messages = [], []
    for path in files:
        try:
            loaded += manifests.load(path)
        except InputError as error:
            messages += error.messages
    found = [manifest for manifest in loaded if manifest.is_workspace]
    if messages:
        raise InputError(messages)
    if not found:
        named = ", ".join("standard input" if path == STANDARD_INPUT else path for path in files)
        raise InputError([f"{named}: expected a Workspace, found none"])
    return found, [manifest for manifest in loaded if not manifest.is_workspace]


def _stored(path: str) -> dict[Key, Manifest]:
    found = [manifest for manifest in manifests.load(path) if manifest.is_workspace]
    if not found:
        raise InputError([f"{path}: expected a Workspace, found none"])
    return {key_of(manifest): manifest for manifest in found}


def _print_json(verdicts: Sequence[Verdict], skipped: Sequence[Manifest], *, strict: bool) -> None:
    answer = {
        "allowed": all(verdict.allowed(strict=strict) for verdict in verdicts),
        "workspaces": [verdict.to_dict(strict=strict) for verdict in verdicts],
        "skipped": [
            {"file": each.source, "line": each.line_of(), "kind": each.kind, "name": each.name}
            for each in skipped
        ],
    }
    output.data(answer, Output.JSON)


def _print_table(verdicts: Sequence[Verdict], skipped: Sequence[Manifest], *, strict: bool) -> None:
    output.table(HEADERS, [_row(verdict, strict=strict) for verdict in verdicts])
    remarks = [line for verdict in verdicts for line in _lines(verdict)]
    if remarks:
        output.line()
    for line in remarks:
        output.line(line)
    for each in skipped:
        output.note(f"{each.place()}: skipped {each.kind} {each.name}, only Workspaces are judged")


def _row(verdict: Verdict, *, strict: bool) -> tuple[str, ...]:
    allowed = verdict.allowed(strict=strict)
    given = _cells(verdict.plan) if allowed and verdict.plan is not None else (NOTHING,) * 7
    return (verdict.manifest.title, "allowed" if allowed else "refused", *given)


def _cells(plan: Plan) -> tuple[str, ...]:
    disk = NOTHING if plan.disk_gib is None else f"{plan.disk_gib} GiB"
    return (
        str(plan.nodes),
        plan.instance_type,
        _share(plan.gpus_needed, plan.gpus_offered),
        _share(plan.memory_needed_gib, plan.memory_offered_gib, " GiB"),
        disk,
        plan.workload,
        ", ".join(plan.images),
    )


def _share(needed: int | None, offered: int | None, unit: str = "") -> str:
    """``14 of 32 GiB``; a question mark where nobody knows."""
    if needed is None and not offered:
        return NOTHING
    return f"{'?' if needed is None else needed} of {'?' if offered is None else offered}{unit}"


def _lines(verdict: Verdict) -> list[str]:
    manifest = verdict.manifest
    refusals = [f"{manifest.place(field_of(text))}: {text.removesuffix(': ')}" for text in verdict.refusals]
    warnings = [f"{manifest.place(remark.field)}: warning: {remark}" for remark in verdict.warnings]
    return refusals + warnings
