"""Waiting for what other processes do: with a deadline, and never oftener than twenty times a second."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from kaito.clock import WallClock

STEP_SECONDS = 0.05

_T = TypeVar("_T")


def until(condition: Callable[[], _T], seconds: float = 30.0, what: object = "") -> _T:
    """Wait until the condition holds, and return what it found.

    Args:
        what: What is waited for, in the words of a failure; a callable is asked when it comes to that.

    Raises:
        AssertionError: It did not hold in time.
    """
    clock, tick = WallClock(), Event()
    deadline = clock.monotonic() + seconds
    while not (found := condition()):
        if clock.monotonic() > deadline:
            told = what() if callable(what) else what or condition
            raise AssertionError(f"not within {seconds:g} s: {told}")
        tick.wait(STEP_SECONDS)
    return found


def holds(condition: Callable[[], object], seconds: float, what: object = "") -> None:
    """Watch that the condition holds for so long.

    Raises:
        AssertionError: It did not.
    """
    clock, tick = WallClock(), Event()
    deadline = clock.monotonic() + seconds
    while clock.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"held no longer: {what() if callable(what) else what or condition}")
        tick.wait(STEP_SECONDS)
