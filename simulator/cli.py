"""`kaito simulate`: manifests in virtual time, with the operator that ships."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_LOG = "sqlite:///kaito.db"


def simulate(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Manifests of Workspaces; - is standard input.")],
    profile: Annotated[str, typer.Option(metavar="NAME|FILE", help="Latencies: reference-run, aks-gpu, or a YAML file.")] = "aks-gpu",
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 1,
    log: Annotated[str, typer.Option(envvar="KAITO_LOG_URL", metavar="URL", help="Where the events go.")] = DEFAULT_LOG,
    delete_after: Annotated[str | None, typer.Option(metavar="DURATION", help="Delete each Workspace at this age.")] = None,
    horizon: Annotated[str, typer.Option(metavar="DURATION", help="Virtual time after which a run ends that never settles.")] = "2h",
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="operator.machine_timeout=4m, profile.machine.operation=300s, …; may be repeated.")] = None,
    azure: Annotated[str, typer.Option(metavar="NAME|FILE", help="What fails in the cloud: calm, aks, or a YAML file.")] = "calm",
    presets: Annotated[Path | None, typer.Option(metavar="DIR", help="More presets, one YAML file each.")] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Print the rows of `kubectl get workspace -w`.")] = True,
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|wide|json", help="Form of the output.")] = "table",
    plot: Annotated[Path | None, typer.Option(metavar="F.png|F.svg", help="Draw the timeline of the (first) Workspace.")] = None,
) -> None:  # fmt: skip
    """Run manifests in virtual time."""
    from simulator import simulation

    request = simulation.Request(
        files=tuple(files),
        profile=profile,
        seed=seed,
        log=log,
        delete_after=_duration("--delete-after", delete_after),
        horizon=_duration("--horizon", horizon) or timedelta(hours=2),
        assignments=tuple(assignments or ()),
        azure=azure,
        presets=presets,
        output=output,
        watch=watch,
        plot=plot,
    )
    raise typer.Exit(simulation.run(request))


def _duration(option: str, text: str | None) -> timedelta | None:
    from kaito import durations
    from kaito.problems import Problem

    try:
        return durations.parse(text) if text is not None else None
    except ValueError as error:
        raise Problem(f"{option}: {error}") from error
