"""The switches of a proxy: what happens to which of its calls, before or after the server has seen them.

A rule is asked in the thread of the connection, so that whatever it does has happened before the call goes
on; the other connections are not held up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Lock
from typing import TypeAlias

from tests.e2e.journal import Call, Match, everything
from tests.e2e.wire import an_answer


class When(Enum):
    """Before the request reaches the server; after its answer is there and before the client has it."""

    BEFORE = "before"
    AFTER = "after"


BEFORE, AFTER = When.BEFORE, When.AFTER


class Drop(Enum):
    """The verdict that the connection is reset instead of going on."""

    DROP = "drop"


DROP = Drop.DROP

Verdict: TypeAlias = bytes | Drop | None
"""An answer to give instead, `DROP`, or None to go on."""

Action: TypeAlias = Callable[[Call], Verdict]


@dataclass(eq=False)
class Rule:
    """What is done to some calls.

    Attributes:
        skip: So many matching calls go on as if it were not there.
        times: For so many after these; None for all.
        seen: Matching calls so far.
        fired: Those that it was done to.
    """

    when: When
    match: Match
    action: Action
    skip: int = 0
    times: int | None = None
    seen: int = 0
    fired: list[Call] = field(default_factory=list)

    def takes(self, when: When, call: Call) -> bool:
        if when != self.when or not self.match(call):
            return False
        self.seen += 1
        over = self.times is not None and len(self.fired) >= self.times
        if over or self.seen <= self.skip:
            return False
        self.fired.append(call)
        return True


class Rules:
    """The rules in force, asked in the order in which they were made; the first verdict counts."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = Lock()
        self._released = Event()

    def do(
        self,
        when: When,
        action: Action,
        match: Match = everything,
        *,
        nth: int = 1,
        times: int | None = 1,
    ) -> Rule:
        """Call the function at the n-th matching call, and at so many in all."""
        return self._add(Rule(when, match, action, skip=nth - 1, times=times))

    def kill(
        self, when: When, kill: Callable[[], object], match: Match = everything, *, nth: int = 1
    ) -> Rule:
        """At the n-th matching call kill its client: it has asked in vain, or will never have the answer."""

        def killed(call: Call) -> Verdict:
            kill()
            return DROP

        return self.do(when, killed, match, nth=nth)

    def refuse(
        self,
        code: int,
        match: Match = everything,
        *,
        retry_after: float | None = None,
        body: bytes | None = None,
        times: int | None = None,
        nth: int = 1,
    ) -> Rule:
        """Answer in the server's place, who never sees the call."""
        headers = [("Content-Type", "application/json")]
        headers += [] if retry_after is None else [("Retry-After", f"{retry_after:g}")]
        answer = an_answer(code, _status(code) if body is None else body, headers)
        return self.do(BEFORE, lambda call: answer, match, nth=nth, times=times)

    def drop(self, when: When, match: Match = everything, *, nth: int = 1, times: int | None = None) -> Rule:
        """Reset the connection: nothing is known of the outcome."""
        return self.do(when, lambda call: DROP, match, nth=nth, times=times)

    def delay(
        self, seconds: float, match: Match = everything, *, when: When = BEFORE, times: int | None = None
    ) -> Rule:
        """Hold the call, until it is time or all are released."""

        def held(call: Call) -> Verdict:
            self._released.wait(seconds)
            return None

        return self.do(when, held, match, times=times)

    def black_hole(self, match: Match = everything, *, when: When = BEFORE, times: int | None = None) -> Rule:
        """Never answer; when all are released the connection is reset."""

        def swallowed(call: Call) -> Verdict:
            self._released.wait()
            return DROP

        return self.do(when, swallowed, match, times=times)

    def forget(self, rule: Rule) -> None:
        """Take the rule away; calls that it holds stay held."""
        with self._lock:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Take all away, and release the calls that are held."""
        with self._lock:
            self._rules.clear()
            released, self._released = self._released, Event()
        released.set()

    def verdict(self, when: When, call: Call) -> Verdict:
        with self._lock:
            taking = [rule for rule in self._rules if rule.takes(when, call)]
        for rule in taking:
            if (found := rule.action(call)) is not None:
                return found
        return None

    def _add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule


def _status(code: int) -> bytes:
    """As the API server refuses."""
    reasons = {409: "Conflict", 429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout"}
    told = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": f"refused with {code} by the proxy",
        "reason": reasons.get(code, "InternalError"),
        "code": code,
    }
    return json.dumps(told).encode()
