"""Options that several verbs share, and the opening of the log they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kaito.clock import WallClock
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


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[SqlEventLog | MemoryEventLog]:
    """The log, closed afterwards; one that is not there is made only with ``create``."""
    with open_log(url, WallClock().now, create=create) as log:
        yield log
