"""The wall clock behind the Clock port; the only module that reads the time of day."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
