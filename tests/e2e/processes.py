"""A verb of `kaito` as a process of its own, with its log lines, its probes and its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from kaito.clock import WallClock
from tests.e2e.usage import Usage, is_stopped, usage_of
from tests.e2e.waiting import until

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_KEPT = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV")
"""Of our own environment; the rest would be an accident."""


class Ending(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and how long that took."""

    code: int
    seconds: float


class KaitoProcess:
    """Enter it to start it; whatever happens, it has ended when the block is left.

    Args:
        arguments: The verb and its flags.
        folder: Its working directory; its standard error goes to a file there. The process may be started
            again in the same folder, and the file goes on.
        environment: Its variables, beside a few that every program needs.
        probe_port: Where it serves ``/readyz``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        probe_port: int = 0,
    ) -> None:
        self.arguments = tuple(arguments)
        self.probe_port = probe_port
        self.stderr = folder / "stderr.log"
        self._folder = folder
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._environment = {**kept, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> KaitoProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # --- its life

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._started.pid

    def start(self) -> None:
        assert not self.running, f"{self} runs already"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kaito", *self.arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    def kill(self) -> None:
        """SIGKILL, also to one that is frozen; nothing if it has ended."""
        # Of this one alone: another thread may see that it has ended, and start it anew, before we are done.
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def terminate(self, seconds: float = STOP_SECONDS) -> Ending:
        """SIGTERM, and wait for the end.

        Raises:
            AssertionError: It did not end in time.
        """
        begun = WallClock().monotonic()
        self._started.terminate()
        code = self.ended(seconds)
        return Ending(code, WallClock().monotonic() - begun)

    def ended(self, seconds: float) -> int:
        """Wait for it to end by itself; the exit code."""
        try:
            return self._started.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} did not end within {seconds:g} s:\n{self.tail()}") from None

    def freeze(self) -> None:
        """SIGSTOP: it stands still when this returns, and its connections stay open."""
        self._started.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(self.pid), what=f"{self} is stopped")

    def thaw(self) -> None:
        self._started.send_signal(signal.SIGCONT)

    # --- what it says

    def probe(self, path: str = "/readyz") -> int:
        """The code of the answer; 0 without one."""
        return self.get(path)[0]

    def get(self, path: str) -> tuple[int, str]:
        """Code and text that it serves on its probe port; 0 without an answer."""
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", self.probe_port, timeout=5)) as connection,
        ):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        return 0, ""

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait for 200 on ``/readyz``; one that ends is not waited for."""
        until(lambda: self._alive() and self.probe() == 200, seconds, lambda: f"{self} ready\n{self.tail()}")

    def wait_for_line(self, message: str, seconds: float = READY_SECONDS, mark: int = 0) -> dict[str, Any]:
        """Wait for a log line with this message, beyond the first ``mark`` lines."""

        def found() -> dict[str, Any] | None:
            self._alive()
            told = self.lines()[mark:]
            return next((line for line in told if message in str(line.get("message", ""))), None)

        line = until(found, seconds, lambda: f"{message!r} of {self}\n{self.tail()}")
        assert line is not None
        return line

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines in order; a line that is not JSON is told as ``message`` alone."""
        if not self.stderr.exists():
            return []
        return [_line(text) for text in self.stderr.read_text(errors="replace").splitlines() if text.strip()]

    def tail(self) -> str:
        """The last that it said."""
        return self.stderr.read_text(errors="replace")[-3000:] if self.stderr.exists() else ""

    # --- what it takes

    def usage(self) -> Usage:
        return usage_of(self.pid)

    def __str__(self) -> str:
        return f"kaito {self.arguments[0]}"

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self} was never started"
        return self._process

    def _alive(self) -> bool:
        code = self._started.poll()
        assert code is None, f"{self} ended with {code}:\n{self.tail()}"
        return True


def _line(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {"message": text}
    return found if isinstance(found, dict) else {"message": text}
