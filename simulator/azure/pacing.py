"""Virtual time driven by the clock on the wall: the only place of the simulator that looks at one.

One lock guards the engine and all that it moves, for requests and ticks may come from several threads.
"""

from __future__ import annotations

import asyncio
import math
import threading
from datetime import timedelta

from kaito.runtime.ports import Clock
from simulator.engine import Engine

TICK_SECONDS = 0.02
"""How often virtual time follows the wall clock while nobody asks."""
STANDSTILL = 0.0
AS_FAST_AS_IT_CAN = math.inf


class Pacer:
    """Keeps an engine at a speed.

    Args:
        speed: Virtual seconds a second. 0 stands still, so that only `advance` moves time; infinity goes
            from notice to notice, and waits where there is none.
    """

    def __init__(self, engine: Engine, clock: Clock, speed: float = 1.0) -> None:
        self.lock = threading.RLock()
        self._engine = engine
        self._clock = clock
        self.set_speed(speed)

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Go on at another speed from here.

        Raises:
            ValueError: It is negative or no number.
        """
        if not speed >= 0:
            raise ValueError(f"a speed must be 0 or above, not {speed:g}")
        with self.lock:
            self._speed = speed
            self._from_wall = self._clock.monotonic()
            self._from_virtual = self._engine.now()

    def catch_up(self) -> None:
        """Run what is due by now."""
        with self.lock:
            if self._speed == AS_FAST_AS_IT_CAN:
                due = self._engine.peek()
            else:
                passed = (self._clock.monotonic() - self._from_wall) * self._speed
                due = self._from_virtual + timedelta(seconds=passed)
            if due is not None and due >= self._engine.now() and self._speed:
                self._engine.run(until=due)

    def advance(self, seconds: float) -> None:
        """Let so many virtual seconds pass at once."""
        with self.lock:
            self._engine.run(until=self._engine.now() + timedelta(seconds=seconds))
            self.set_speed(self._speed)

    async def follow(self) -> None:
        """Catch up again and again, until cancelled."""
        while True:
            self.catch_up()
            busy = self._speed == AS_FAST_AS_IT_CAN and self._engine.peek() is not None
            await asyncio.sleep(0 if busy else TICK_SECONDS)
