"""Who a process is: in leases, in the log, and in the jitter of its retries."""

from __future__ import annotations

import os
import socket

from kaito.runtime.ports import Clock


def new_identity(clock: Clock) -> str:
    """Another one at every start: a pod that restarts keeps its name, and its process the number 1."""
    return f"{socket.gethostname()}_{os.getpid()}_{clock.now():%Y%m%dT%H%M%S.%f}"
