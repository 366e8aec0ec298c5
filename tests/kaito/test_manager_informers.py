"""Informers in threads: they follow the server through cuts, expiry and silence, and end when told to."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.manager.informers import Informers
from kaito.manager.manager import Manager
from kaito.runtime import reflector
from kaito.runtime.backoff import ReflectorBackoff
from kaito.runtime.ports import MACHINES, NODES, ApiError, Forbidden, Gone, Object, Resource, Unavailable
from tests.kaito.live import DEADLINE_SECONDS, LiveCluster, Running, a_machine, until


class Bench:
    """Informers on a live cluster, and the changes they told of."""

    def __init__(self) -> None:
        self.cluster = LiveCluster()
        self.informers = Informers(self.cluster, (MACHINES, NODES), WallClock(), "test")
        self.seen: list[str] = []
        self.synced = 0
        self.informers.add_handler(self._note)

    def _note(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        verb = "added" if old is None else "removed" if new is None else "changed"
        self.seen.append(f"{verb} {(new or old or {})['metadata']['name']}")

    def start(self) -> None:
        self.informers.start(self._progressed)
        until(lambda: self.informers.synced and self.cluster.open_watches() == 2)

    def _progressed(self) -> None:
        self.synced += 1

    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.informers.caches[MACHINES].objects()]

    def create(self, name: str) -> None:
        self.cluster.create(MACHINES, a_machine(name))

    def lists(self) -> int:
        """Complete lists of Machines so far."""
        return self.informers._informers[0].reflector.lists

    def watches(self) -> int:
        return len(self.cluster.watched.get(MACHINES, ()))

    def close(self) -> None:
        self.informers.stop()
        assert self.informers.join(DEADLINE_SECONDS, WallClock())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    quick = partial(ReflectorBackoff, base_seconds=0.01, cap_seconds=0.05)
    monkeypatch.setattr(reflector, "ReflectorBackoff", quick)
    bench = Bench()
    yield bench
    bench.close()


def test_cache_follows_cluster(bench: Bench) -> None:
    bench.create("ws1")
    bench.start()

    bench.create("ws2")
    bench.cluster.delete(MACHINES, "ws1")

    until(lambda: bench.names() == ["ws2"])
    assert bench.seen == ["added ws1", "added ws2", "removed ws1"]
    assert bench.synced == 2


def test_cut_watch_goes_on_without_list(bench: Bench) -> None:
    bench.start()
    bench.create("ws1")
    until(lambda: bench.names() == ["ws1"])

    bench.cluster.cut(MACHINES)
    bench.create("ws2")

    until(lambda: bench.names() == ["ws1", "ws2"])
    assert bench.lists() == 1
    assert bench.seen == ["added ws1", "added ws2"]


@pytest.mark.parametrize("during", ["watch", "opening"])
def test_gone_leads_to_list_with_tombstones(bench: Bench, during: str) -> None:
    bench.create("ws1")
    bench.start()

    with bench.cluster.changed:  # nobody reads while the history is lost
        bench.cluster.delete(MACHINES, "ws1")
        bench.create("ws2")
        if during == "opening":
            bench.cluster.failing["open_watch"] = [Gone("too old")]
            bench.cluster.cut(MACHINES)
        else:
            bench.cluster.cut(MACHINES, error=Gone("too old"))

    until(lambda: bench.names() == ["ws2"])
    assert bench.lists() == 2
    assert bench.seen == ["added ws1", "removed ws1", "added ws2"]


def test_restored_backup_is_followed_and_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.create("ws1")
    backup = copy.deepcopy(bench.cluster.cluster)
    bench.start()
    bench.create("ws2")
    bench.cluster.delete(MACHINES, "ws1")
    until(lambda: bench.names() == ["ws2"])

    with bench.cluster.changed:
        former, bench.cluster.cluster = bench.cluster.cluster, backup
        for watch in former.watches(MACHINES):
            watch.cut(error=Gone("too old"))
        bench.cluster.changed.notify_all()

    until(lambda: bench.names() == ["ws1"])
    (line,) = [each for each in caplog.records if "went backwards" in each.message]
    assert line.levelno == logging.WARNING
    assert line.__dict__["kaito_fields"]["resource"] == "machines"


def test_silent_watch_is_opened_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "SILENCE_SECONDS", 0.2)
    bench.start()

    bench.cluster.stall(MACHINES)
    bench.create("ws1")

    until(lambda: bench.names() == ["ws1"])
    until(lambda: bench.watches() > 1)


def test_two_silent_watches_lead_to_list(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "SILENCE_SECONDS", 0.05)

    bench.informers.start(lambda: None)

    until(lambda: bench.lists() > 1)
    assert bench.watches() > 1


def test_refused_lists_are_repeated(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.create("ws1")
    bench.cluster.failing["list"] = [Unavailable("starting"), Forbidden("not yet"), OSError("reset")]

    bench.start()

    assert bench.names() == ["ws1"]
    told = [record.kaito_fields["error"] for record in caplog.records]
    assert sorted(told) == ["Forbidden: not yet", "OSError: reset", "Unavailable: starting"]


def test_broken_read_is_repeated_from_last_version(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    bench.create("ws1")
    until(lambda: bench.names() == ["ws1"])
    real = bench.cluster.open_watch

    def broken(*arguments: Any, **options: Any) -> Any:
        stream = real(*arguments, **options)
        monkeypatch.setattr(bench.cluster, "open_watch", real)

        def read(timeout_seconds: float) -> None:
            raise ApiError("connection reset")

        stream.read = read
        return stream

    monkeypatch.setattr(bench.cluster, "open_watch", broken)
    bench.cluster.cut(MACHINES)
    bench.create("ws2")

    until(lambda: bench.names() == ["ws1", "ws2"])
    assert bench.lists() == 1


def test_defect_of_client_does_not_end_informer(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaito.manager.informers.DEFECT_PAUSE_SECONDS", 0.01)
    bench.create("ws1")
    bench.cluster.failing["list"] = [TypeError("defect")]

    bench.start()

    assert bench.names() == ["ws1"]
    assert caplog.records[0].message == "informer failed"


def test_defect_of_handler_hides_no_other_change(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def odd(resource: Resource, old: Object | None, new: Object | None) -> None:
        if new is not None and new["metadata"]["name"] == "ws1":
            raise KeyError("spec")

    bench.informers.add_handler(odd)
    bench.start()

    bench.create("ws1")
    bench.create("ws2")

    until(lambda: bench.seen == ["added ws1", "added ws2"])
    (line,) = caplog.records
    assert (line.message, line.kaito_fields["name"]) == ("change could not be mapped", "ws1")
    assert bench.lists() == 1


def test_stop_ends_read_that_waits(bench: Bench) -> None:
    bench.start()

    bench.informers.stop()

    assert bench.informers.join(DEADLINE_SECONDS, WallClock())
    assert bench.cluster.open_watches() == 0


def test_caches_that_do_not_sync_end_process(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")
    bench.cluster.failing["list"] = [Forbidden("machines is forbidden") for _ in range(1000)]
    manager = Manager(bench.informers, [], [], WallClock(), sync_seconds=0.2)

    code = Running(manager).ended()

    assert code == 1
    (line,) = [record for record in caplog.records if record.message == "stopped"]
    assert "machines: Forbidden: machines is forbidden" in line.kaito_fields["why"]


def test_stop_before_sync_is_graceful(bench: Bench) -> None:
    bench.cluster.failing["list"] = [Unavailable("starting") for _ in range(10_000)]
    running = Running(Manager(bench.informers, [], [], WallClock()))

    assert running.stop() == 0
