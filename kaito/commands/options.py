"""Options that several verbs share, and the opening of the log they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kaito.clock import WallClock
from kaito.manager.logs import LogFormat
from store.opening import open_log

if TYPE_CHECKING:
    from store.log import SqlEventLog
    from store.memory import MemoryEventLog

DEFAULT_LOG = "sqlite:///kaito.db"


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class TableOrJson(StrEnum):
    TABLE = "table"
    JSON = "json"


class TextOrJson(StrEnum):
    TEXT = "text"
    JSON = "json"


LogUrl = Annotated[
    str,
    typer.Option(
        "--log",
        envvar="KAITO_LOG_URL",
        show_envvar=True,
        metavar="URL",
        help="The event log: an SQLAlchemy URL of SQLite or PostgreSQL.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The Workspace: name or namespace/name.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Where to look; all when absent.")
]
Uid = Annotated[str, typer.Option("--uid", metavar="UID", help="Another life of this name than the newest.")]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="2024-04-05T18:34:10Z, 18:34:10, 4m18s after the creation, or now. Without it: "
        "now while the log is being written, else its end.",
    ),
]


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


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[SqlEventLog | MemoryEventLog]:
    """The log, closed afterwards; one that is not there is made only with ``create``."""
    with open_log(url, WallClock().now, create=create) as log:
        yield log
