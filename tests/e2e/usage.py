"""What a process holds and has used, as /proc tells it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """At one moment.

    Attributes:
        descriptors: The sockets among them.
        dead_sockets: Those that are closed on both sides, or were never connected, and are held all the same:
            the kernel lists them nowhere.
    """

    rss_bytes: int
    threads: int
    descriptors: int
    sockets: int
    cpu_seconds: float
    dead_sockets: int = 0


def usage_of(pid: int) -> Usage:
    """Raises FileNotFoundError when there is no such process."""
    home = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
    targets = [_target(link) for link in (home / "fd").iterdir()]
    sockets = [target for target in targets if target.startswith("socket:")]
    listed = _listed_sockets(home)
    # What follows the name, which is in parentheses and may hold blanks.
    numbers = (home / "stat").read_text().rpartition(")")[2].split()
    return Usage(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(status["Threads"]),
        descriptors=len(targets),
        sockets=len(sockets),
        dead_sockets=sum(socket not in listed for socket in sockets),
        cpu_seconds=(int(numbers[11]) + int(numbers[12])) / _TICKS,
    )


def is_stopped(pid: int) -> bool:
    """Whether every thread of it stands still, as a signal made it."""
    states = ((task / "stat").read_text().rpartition(")")[2].split()[0] for task in _tasks(pid))
    return all(state == "T" for state in states)


def _tasks(pid: int) -> list[Path]:
    return list((Path("/proc") / str(pid) / "task").iterdir())


def _listed_sockets(home: Path) -> set[str]:
    """Those of the whole machine, as the links of descriptors name them."""
    inodes: set[str] = set()
    for table, column in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("unix", 6), ("netlink", 9)):
        with suppress(FileNotFoundError):
            lines = (home / "net" / table).read_text().splitlines()[1:]
            inodes.update(line.split()[column] for line in lines)
    return {f"socket:[{inode}]" for inode in inodes}


def _target(link: Path) -> str:
    """Empty for a descriptor that was closed meanwhile."""
    with suppress(FileNotFoundError):
        return os.readlink(link)
    return ""
