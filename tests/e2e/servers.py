"""One program that serves on a port: started, stopped, killed, frozen and started again as it was."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

STOP_SECONDS = 20.0


class Server:
    """A process of ours, ended by its own id and by nothing else.

    Args:
        command: The program and its flags, the same at every start.
        log: Where its output goes; every start adds to it.
    """

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self.command = tuple(command)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None, "never started"
        return self._process.pid

    def start(self) -> None:
        assert not self.running, f"{self.command[0]} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it in order; one that does not listen to SIGTERM in time is killed."""
        if self._process is None:
            return
        # A frozen process would never hear of it.
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        if not self.ends_within(seconds):
            self.kill()

    def kill(self) -> None:
        """End it as a power failure does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it stand still, its connections open, until `thaw`."""
        assert self._process is not None, "never started"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None, "never started"
        self._process.send_signal(signal.SIGCONT)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        assert self._process is not None, "never started"
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def tail(self) -> str:
        """The last that it said."""
        return self.log.read_text(errors="replace")[-2000:]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports
