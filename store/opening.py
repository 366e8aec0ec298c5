"""From a log URL to an open log.

SQLAlchemy is imported when a database is opened, not with this module: a command that opens no log must not
wait for it. Whatever cannot be opened raises `LogUnavailable` with one line, and leaves no file behind.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from store.codec import EVENTS, Codec
from store.memory import MemoryEventLog

if TYPE_CHECKING:
    from store.log import SqlEventLog

MEMORY = ("memory:", "memory://", "sqlite://", "sqlite:///:memory:")
"""The URLs of a log that lives as long as the process."""

TIMEOUT_SECONDS = 10.0
"""How long a writer waits for other writers before it gives up."""


def open_log(
    url: str,
    now: Callable[[], datetime],
    *,
    create: bool,
    synchronous: str = "FULL",
    timeout_seconds: float = TIMEOUT_SECONDS,
    codec: Codec = EVENTS,
) -> SqlEventLog | MemoryEventLog:
    """Open the log behind a URL.

    Args:
        url: Any SQLAlchemy URL of SQLite or PostgreSQL, or ``memory:``. On SQLite, ``?synchronous=NORMAL`` in
            the URL goes before the argument.
        now: Gives ``recorded_at``, aware and UTC.
        create: Whether a log that is not there may be made. Without it, no file appears.
        synchronous: ``FULL``: an acknowledged append survives power loss. ``NORMAL``: the last ones may not,
            while the log stays consistent; several times faster. A killed process loses nothing in either.

    Raises:
        LogUnavailable: The log is not there or cannot be opened.
        SchemaTooOld: The log is to be migrated first.
        SchemaTooNew: A newer release wrote the log; nothing was touched.
    """
    if url in MEMORY:
        return MemoryEventLog(now, codec)
    from store.connecting import connect, require_schema
    from store.log import SqlEventLog

    database = connect(url, create=create, synchronous=synchronous, timeout_seconds=timeout_seconds)
    try:
        require_schema(database, create=create)
        return SqlEventLog(database, now, codec)
    except BaseException:
        database.close()
        raise
