"""What `kaito simulate` does: from manifests to rows, a summary and a log."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import typer

from kaito import durations
from kaito.api.errors import InputError
from kaito.api.loading import load_documents, repeated_names
from kaito.catalogue import Catalogue, load_catalogue
from kaito.problems import Problem
from kaito.runtime.keys import STREAM_PREFIX, WorkspaceKey
from kaito.runtime.ports import Object
from kaito.runtime.settings import Settings
from kaito.runtime.translation import conditions_of
from kaito.validation import validate_create
from simulator import overrides, rows
from simulator.azure.loading import InvalidScenario
from simulator.azure.loading import load as load_azure
from simulator.azure.scenario import AzureScenario
from simulator.engine import Engine
from simulator.profile import Profile, load
from simulator.profile_errors import InvalidProfile
from simulator.replication import START, Replication, Result, Scenario, Sighting, creation_keys
from statemachine.state import ConditionType
from store.opening import MEMORY, open_log
from store.records import EventLog

OUTPUTS = ("table", "wide", "json")
EXIT_NEVER_SETTLED = 1


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `kaito simulate`, parsed."""

    files: tuple[str, ...]
    profile: str
    seed: int
    log: str
    delete_after: timedelta | None
    horizon: timedelta
    assignments: tuple[str, ...]
    azure: str
    presets: Path | None
    output: str
    watch: bool
    plot: Path | None


def run(request: Request) -> int:
    """Simulate, print, and return the exit code.

    Raises:
        Problem: The input or the log is not as it should be; nothing was simulated.
    """
    if request.output not in OUTPUTS:
        raise Problem(f"--output: expected {', '.join(OUTPUTS)}, found {request.output}")
    catalogue = load_catalogue(request.presets)
    workspaces = read_workspaces(request.files, catalogue)
    settings, profile = overrides.apply(request.assignments, Settings(), _profile(request.profile))
    engine = Engine(START)
    log = open_log(request.log, engine.now, create=True)
    try:
        scenario = Scenario(
            workspaces=workspaces,
            profile=profile,
            settings=settings,
            azure=_azure(request.azure),
            seed=_seed(request.seed, log),
            horizon=request.horizon,
            delete_after=request.delete_after,
        )
        result = _replicate(scenario, log, engine, catalogue, request)
        _report(scenario, result, request)
        if request.plot is not None:
            _plot(log, creation_keys(workspaces)[0], request.plot)
    finally:
        log.close()
    return 0 if result.settled else EXIT_NEVER_SETTLED


def read_workspaces(files: Sequence[str], catalogue: Catalogue) -> tuple[Object, ...]:
    """The Workspaces of all files, as written.

    Raises:
        InputError: Every fault of every file, and everything that admission would refuse, one line each.
    """
    documents = []
    messages: list[str] = []
    for file in files:
        try:
            documents += load_documents(file)
        except InputError as error:
            messages += error.messages
    messages += repeated_names(documents) if not messages else []
    for document in documents:
        refusals = validate_create(document.workspace, catalogue)
        messages += [f"{document.place()}: {refusal}" for refusal in refusals]
    if messages:
        raise InputError(messages)
    return tuple(document.object for document in documents)


def _profile(name: str) -> Profile:
    try:
        return load(name)
    except InvalidProfile as error:
        raise Problem(str(error)) from error


def _azure(name: str) -> AzureScenario:
    try:
        return load_azure(name)
    except (InvalidScenario, InvalidProfile) as error:
        raise Problem(f"--azure {error}") from error


def _seed(seed: int, log: EventLog) -> int | str:
    """The seed, and a number of its own where the log holds other worlds: no UID may occur in two."""
    earlier = len(log.streams(STREAM_PREFIX))
    return f"{seed}/{earlier + 1}" if earlier else seed


def _replicate(
    scenario: Scenario, log: EventLog, engine: Engine, catalogue: Catalogue, request: Request
) -> Result:
    show = request.watch and request.output != "json"
    printer = _RowPrinter(scenario, wide=request.output == "wide") if show else None
    on_sighting = printer.show if printer else None
    return Replication(scenario, log, catalogue, engine=engine, on_sighting=on_sighting).run()


class _RowPrinter:
    """Prints each sighting as it happens; a Workspace that is gone shows its last state, as kubectl does."""

    def __init__(self, scenario: Scenario, *, wide: bool) -> None:
        keys = creation_keys(scenario.workspaces)
        instances = [str(body.get("resource", {}).get("instanceType", "")) for body in scenario.workspaces]
        self._wide = wide
        self._last: dict[WorkspaceKey, Object] = {}
        self._layout = rows.Layout([key.name for key in keys], instances, wide=wide)
        typer.echo(self._layout.header)

    def show(self, sighting: Sighting) -> None:
        object_ = sighting.object or self._last[sighting.key]
        self._last[sighting.key] = object_
        typer.echo(self._layout.line(rows.cells(sighting, object_, wide=self._wide)))


# --- the summary ------------------------------------------------------------------------------------


def summarise(scenario: Scenario, result: Result) -> dict[str, Any]:
    """The run in figures; ages in seconds since each Workspace's creation."""
    return {
        "profile": scenario.profile.name,
        "seed": scenario.seed,
        "settled": result.settled,
        "virtual_seconds": (result.ended_at - scenario.start).total_seconds(),
        "reconciles": result.reconciles,
        "errors": list(result.errors),
        "workspaces": [
            _workspace_summary(key, [s for s in result.sightings if s.key == key])
            for key in creation_keys(scenario.workspaces)
        ],
    }


def _workspace_summary(key: WorkspaceKey, sightings: list[Sighting]) -> dict[str, Any]:
    changes = [change for kind in ConditionType for change in _changes(str(kind), sightings)]
    gone = next((s.age.total_seconds() for s in sightings if s.object is None), None)
    return {
        "namespace": key.namespace,
        "name": key.name,
        "conditions": changes,
        "deleted_after_seconds": gone,
    }


def _changes(kind: str, sightings: list[Sighting]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for sighting in sightings:
        condition = conditions_of(sighting.object or {}).get(kind)
        if condition and (not found or found[-1]["status"] != condition["status"]):
            change = {name: condition[name] for name in ("type", "status", "reason", "message")}
            found.append({"after_seconds": sighting.age.total_seconds(), **change})
    return found


def _report(scenario: Scenario, result: Result, request: Request) -> None:
    summary = summarise(scenario, result)
    if request.output == "json":
        typer.echo(json.dumps(summary, indent=2))
        return
    typer.echo("")
    for workspace in summary["workspaces"]:
        _print_workspace(workspace)
    for error in summary["errors"]:
        typer.echo(f"  reconcile error: {error}")
    if not result.settled:
        typer.echo(f"The run ended at its horizon of {durations.rounded(scenario.horizon)}, not settled.")
    _print_next_steps(request, summary["workspaces"][0]["name"])


def _print_workspace(summary: dict[str, Any]) -> None:
    typer.echo(f"{summary['namespace']}/{summary['name']}")
    for change in sorted(summary["conditions"], key=lambda change: change["after_seconds"]):
        age = durations.rounded(timedelta(seconds=change["after_seconds"]))
        typer.echo(f"  {age:>8}  {change['type']:<17} {change['status']:<8} {change['reason']}")
    if summary["deleted_after_seconds"] is not None:
        age = durations.rounded(timedelta(seconds=summary["deleted_after_seconds"]))
        typer.echo(f"  {age:>8}  gone")


def _print_next_steps(request: Request, name: str) -> None:
    if request.log in MEMORY:
        typer.echo("\nThe log was in memory; --log sqlite:///FILE keeps it.")
        return
    option = "" if request.log == "sqlite:///kaito.db" else f" --log {request.log}"
    typer.echo(f"\nThe log is {request.log}. Ask it:")
    for verb in ("why", "timeline", "status", "events"):
        typer.echo(f"  {program()} {verb} {name}{option}")


def program() -> str:
    """How to call this program again: by name where the shell finds it, else by the path it was called by."""
    called = sys.argv[0]
    if Path(called).name != "kaito" or shutil.which("kaito") == called:
        return "kaito"
    return os.path.relpath(called) if Path(called).is_absolute() else called


def _plot(log: EventLog, key: WorkspaceKey, path: Path) -> None:
    from kaito.commands import timeline

    timeline.draw(log, key, path)
