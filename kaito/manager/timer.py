"""Something done at intervals by one thread, never twice at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread

from kaito.manager.controller import Failed
from kaito.manager.logs import fields
from store.errors import StaleEpoch

_LOGGER = logging.getLogger(__name__)


class Timer:
    """Acts when a period has passed since the start, and since the end of each act."""

    def __init__(self, name: str, period: timedelta, act: Callable[[], None]) -> None:
        self.name = name
        self._period = period
        self._act = act
        self._stopping = Event()
        self._failed: Failed = lambda error: None
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self, failed: Failed) -> None:
        self._failed = failed
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for an act under way; whether the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(self._period.total_seconds()):
            try:
                self._act()
            except StaleEpoch as error:
                self._failed(error)
                return
            except Exception:
                _LOGGER.exception("round failed", extra=fields(timer=self.name))
