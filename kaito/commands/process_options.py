"""Options that the two processes share."""

from __future__ import annotations

from typing import Annotated

import typer

from kaito.manager.logs import LogFormat


def setting(flag: str, metavar: str, text: str) -> typer.models.OptionInfo:
    """An option that is checked together with the environment, and not by Typer."""
    option: typer.models.OptionInfo = typer.Option(flag, metavar=metavar, help=text, show_default=False)
    return option


LeaseName = Annotated[str, setting("--leader-elect-resource-name", "NAME", "Of the Lease.")]
LeaseNamespace = Annotated[
    str, setting("--leader-elect-resource-namespace", "NAMESPACE", "Of the Lease; $SYSTEM_NAMESPACE.")
]
LeaseDuration = Annotated[
    str, setting("--leader-elect-lease-duration", "DURATION", "Before others take over; 15s.")
]
RenewDeadline = Annotated[
    str, setting("--leader-elect-renew-deadline", "DURATION", "Before the leader gives up; 10s.")
]
RetryPeriod = Annotated[str, setting("--leader-elect-retry-period", "DURATION", "Between attempts; 2s.")]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Instead of $KUBECONFIG or the pod's account."),
]
KubeContext = Annotated[str | None, typer.Option("--context", metavar="NAME", help="Of the kubeconfig.")]
LogLines = Annotated[
    LogFormat, typer.Option("--log-format", help="Of the lines on stderr; auto is text on a terminal.")
]
