"""What a process holds and has used, as /proc tells it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """At one moment. ``descriptors`` counts the sockets in."""

    rss_bytes: int
    threads: int
    descriptors: int
    sockets: int
    cpu_seconds: float


def usage_of(pid: int) -> Usage:
    """Raises FileNotFoundError when there is no such process."""
    home = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
    targets = [_target(link) for link in (home / "fd").iterdir()]
    # What follows the name, which is in parentheses and may hold blanks.
    numbers = (home / "stat").read_text().rpartition(")")[2].split()
    return Usage(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(status["Threads"]),
        descriptors=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        cpu_seconds=(int(numbers[11]) + int(numbers[12])) / _TICKS,
    )


def _target(link: Path) -> str:
    """Empty for a descriptor that was closed meanwhile."""
    with suppress(FileNotFoundError):
        return os.readlink(link)
    return ""
