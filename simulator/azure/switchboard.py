"""Which call and which operation fails now: the scripts in their order, and the chances of single calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from simulator.azure.scenario import Calls
from simulator.azure.scripts import (
    Fail,
    Fault,
    Garbage,
    Hang,
    Lose,
    OperationFault,
    Refuse,
    Reset,
    Script,
    Take,
    Verb,
)
from simulator.randomness import Generators


class _Armed:
    """A script and how often it can still act."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._skip = script.skip
        self._left = script.times

    @property
    def spent(self) -> bool:
        return self._left == 0

    def fits(self, verb: Verb, pool: str, now: float) -> bool:
        script = self.script
        late = script.until_seconds is not None and now >= script.until_seconds
        return (
            script.verb in (verb, "any")
            and script.from_seconds <= now
            and not late
            and not self.spent
            and fnmatchcase(pool, script.pool)
        )

    def act(self) -> bool:
        """Count one fitting call; whether the fault strikes it."""
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True


class Switchboard:
    """Asked once for each call and once for each operation that begins.

    The first script that strikes decides; those behind it do not count the call.
    """

    def __init__(
        self, script: Sequence[Script], calls: Calls, generators: Generators, seconds: Callable[[], float]
    ) -> None:
        self._armed = [_Armed(each) for each in script]
        self._calls = calls
        self._generators = generators
        self._seconds = seconds
        self._by_chance = True

    def add(self, script: Script) -> None:
        self._armed.append(_Armed(script))

    def clear(self) -> None:
        """Forget every script; the chances stay."""
        self._armed.clear()

    def end(self) -> None:
        """Nothing fails any more, neither by script nor by chance."""
        self.clear()
        self._by_chance = False

    def scripts(self) -> list[Script]:
        """Those that can still strike."""
        return [each.script for each in self._armed if not each.spent]

    def on_call(self, verb: Verb, pool: str) -> Refuse | Reset | Garbage | None:
        struck = self._struck(verb, pool, (Refuse, Reset, Garbage))
        if isinstance(struck, Refuse | Reset | Garbage):
            return struck
        return self._drawn() if self._by_chance else None

    def on_operation(self, verb: Verb, pool: str) -> OperationFault | None:
        struck = self._struck(verb, pool, (Fail, Hang, Lose, Take))
        return struck if isinstance(struck, Fail | Hang | Lose | Take) else None

    def _struck(self, verb: Verb, pool: str, kinds: tuple[type, ...]) -> Fault | None:
        now = self._seconds()
        for each in self._armed:
            if isinstance(each.script.fault, kinds) and each.fits(verb, pool, now) and each.act():
                return each.script.fault
        return None

    def _drawn(self) -> Refuse | Reset | Garbage | None:
        random, calls = self._generators.generator, self._calls
        faults = (
            (calls.error, "error", Refuse()),
            (calls.reset_before, "reset_before", Reset(done=False)),
            (calls.reset_after, "reset_after", Reset(done=True)),
            (calls.garbage, "garbage", Garbage()),
        )
        found = [fault for chance, name, fault in faults if chance.happens(random(f"azure.calls.{name}"))]
        return found[0] if found else None
