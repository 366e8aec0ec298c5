"""What every call passes before the service hears of it, and what may happen to its answer.

In this order: the scripts, an outage, the token buckets, the call itself. Every call is noted in a journal,
also one whose answer is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from simulator.azure import refusals
from simulator.azure.intervals import Alternation
from simulator.azure.refusals import Complaint, Dropped, Garbled, Refusal
from simulator.azure.scenario import Outages
from simulator.azure.scripts import Garbage, Refuse, Reset, Verb
from simulator.azure.switchboard import Switchboard
from simulator.azure.throttling import Throttle
from simulator.engine import Engine
from simulator.randomness import Generators

T = TypeVar("T")

JOURNAL_LENGTH = 200_000
"""Calls that are remembered; a server that runs for weeks must not grow."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``status`` is what the service answered, 0 where it was not reached or the answer was lost.

    ``done`` says whether the call had its effect.
    """

    at: datetime
    verb: Verb
    pool: str
    status: int
    code: str
    done: bool


class Gate:
    def __init__(
        self,
        engine: Engine,
        switchboard: Switchboard,
        throttle: Throttle,
        outages: Outages,
        generators: Generators,
    ) -> None:
        self.journal: deque[Call] = deque(maxlen=JOURNAL_LENGTH)
        self._engine = engine
        self._switchboard = switchboard
        self._throttle = throttle
        self._windows = list(outages.windows)
        spells = outages.spells
        random = generators.generator("azure.outage")
        self._process = Alternation(spells, random) if spells is not None else None

    def end_outages(self) -> None:
        self._windows.clear()
        self._process = None

    def call(self, verb: Verb, pool: str, effect: Callable[[], T]) -> T:
        """Let the call through to its effect, or not.

        Raises:
            Refusal: It is refused, here or by the service.
            Dropped: The connection is reset; the effect may have happened.
            Garbled: Something unreadable is answered; the effect may have happened.
        """
        fault = self._switchboard.on_call(verb, pool)
        if fault is None or (not isinstance(fault, Refuse) and fault.done):
            try:
                answer = self._admitted(verb, effect)
            except Refusal as refusal:
                self._note(verb, pool, refusal.status, refusal.complaint.code)
                if fault is None:
                    raise
            else:
                self._note(verb, pool, 200 if fault is None else 0, "", done=True)
                if fault is None:
                    return answer
        else:
            self._note(verb, pool, fault.status if isinstance(fault, Refuse) else 0, _code(fault))
        raise _raised(fault)

    def _admitted(self, verb: Verb, effect: Callable[[], T]) -> T:
        now = self._engine.monotonic()
        drawn = self._process is not None and self._process.is_bad(now)
        if drawn or any(window.holds(now) for window in self._windows):
            raise refusals.outage()
        self._throttle.admit(verb)
        return effect()

    def _note(self, verb: Verb, pool: str, status: int, code: str, *, done: bool = False) -> None:
        at = self._engine.now()
        self.journal.append(Call(at=at, verb=verb, pool=pool, status=status, code=code, done=done))


def _code(fault: Refuse | Reset | Garbage) -> str:
    return fault.code if isinstance(fault, Refuse) else ""


def _raised(fault: Refuse | Reset | Garbage) -> Exception:
    match fault:
        case Refuse():
            complaint = Complaint(fault.code, fault.message, fault.details)
            retry_after = fault.retry_after_seconds
            return Refusal(fault.status, complaint, flat=fault.flat, retry_after_seconds=retry_after)
        case Reset():
            return Dropped("the connection was reset")
        case Garbage():
            return Garbled(fault.status, fault.body)
