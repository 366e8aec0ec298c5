"""A program that appends until it is killed, and a nursery that forks many of it quickly.

    python -m tests.store.appending URL

Each line on standard input starts a child: ``loop SEED`` appends for ever, ``race NAME COUNT`` appends to one
stream until it has COUNT events. The child reports on standard output: ``pid N`` first, then
``ack STREAM VERSION POSITION`` after each acknowledged append. The nursery says ``end`` when it has reaped a
child of ``loop``; children of ``race`` run side by side and are reaped at the end of input.
"""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta

from statemachine.events import InferenceProgressed
from store.errors import WrongExpectedVersion
from store.log import SqlEventLog
from store.opening import open_log
from store.records import StoredEvent

START = datetime(2024, 4, 5, tzinfo=UTC)
RACE_STREAM = "workspace/default/contended/1"


def say(line: str) -> None:
    """One write, so that lines of several children do not mix."""
    os.write(1, f"{line}\n".encode())


def an_event(writer: str, number: int) -> StoredEvent:
    return InferenceProgressed(at=START + timedelta(seconds=number), phase=writer, message=str(number))


def opened(url: str) -> SqlEventLog:
    log = open_log(url, lambda: START, create=True, timeout_seconds=60.0)
    assert isinstance(log, SqlEventLog)
    return log


def loop(url: str, seed: str) -> None:
    """Append batches of one to five events to a few streams, for ever."""
    draw = random.Random(seed)
    log = opened(url)
    number = 0
    while True:
        stream = f"machine/m{draw.randrange(3)}"
        head = log.head(stream)
        version = head.version if head else 0
        batch = [an_event(seed, number + step) for step in range(draw.randint(1, 5))]
        number += len(batch)
        answer = log.append(stream, batch, expected_version=version, command_id=f"{seed}/{number}")
        say(f"ack {stream} {answer.version} {answer.position}")


def race(url: str, name: str, count: int) -> None:
    """Append to the one stream whenever nobody was faster, until it has ``count`` events."""
    log = opened(url)
    version = 0
    while version < count:
        try:
            answer = log.append(RACE_STREAM, [an_event(name, version)], expected_version=version)
        except WrongExpectedVersion as error:
            version = error.actual
        else:
            version = answer.version
            say(f"ack {name} {answer.version} {answer.position}")
    log.close()


def start(url: str, task: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    say(f"pid {os.getpid()}")
    if task[0] == "loop":
        loop(url, task[1])
    else:
        race(url, task[1], int(task[2]))
    os._exit(0)


def main(url: str) -> None:
    children = []
    for line in sys.stdin:
        child = start(url, line.split())
        if line.startswith("loop"):
            os.waitpid(child, 0)
            say("end")
        else:
            children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        say(f"exit {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(sys.argv[1])
