"""A thread that does its part beside the test for as long as the test wants it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self


class Routine:
    """Enter it to let it run; leaving waits for it to stop.

    Args:
        name: Of the thread.
        turn: What it does each time.
        every_seconds: The pause before each turn.
    """

    def __init__(self, name: str, turn: Callable[[], object], every_seconds: float) -> None:
        self._turn = turn
        self._every_seconds = every_seconds
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self.stopped()

    def stopped(self) -> None:
        """Its thread has ended."""

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            self._turn()
