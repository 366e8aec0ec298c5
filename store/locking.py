"""An advisory lock between processes, on a file of its own.

`flock` belongs to the open file, so two logs in one process exclude each other as two processes do, and the
kernel lets go of it when a process is killed.
"""

from __future__ import annotations

import fcntl
import os
from threading import Event

FIRST_WAIT_SECONDS = 0.0005
LONGEST_WAIT_SECONDS = 0.02
"""Between attempts; short, because the lock is held for one transaction, usually less than a millisecond."""


class FileLock:
    """An exclusive lock on ``path``, which is created; without the right to, an existing file serves."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self.path = path
        self._timeout_seconds = timeout_seconds
        self._never = Event()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def acquire(self) -> None:
        """Raises `TimeoutError` when another holder keeps the lock for too long."""
        if self.attempt():
            return
        waited, wait = 0.0, FIRST_WAIT_SECONDS
        while waited < self._timeout_seconds:
            self._never.wait(wait)
            if self.attempt():
                return
            waited += wait
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        raise TimeoutError(
            f"{self.path} is held by another process for more than {self._timeout_seconds:g} s"
        )

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)

    def attempt(self) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
