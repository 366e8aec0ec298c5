"""The provisioner's process against a live cluster: the same reconciler, driven by threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from kaito.clock import WallClock
from kaito.provisioner.process import FRESH_SECONDS, Options, Told, new_manager, report
from kaito.runtime.machines.collector import Collected
from kaito.runtime.machines.keys import FINALIZER
from kaito.runtime.ports import MACHINES, NODES, Unavailable
from kaito.runtime.reconciler import Reconciled
from kaito.runtime.settings import Settings
from kaito.runtime.workqueue import Outcome
from statemachine.machine.commands import ReadPool
from statemachine.machine.limits import MachineLimits
from statemachine.machine.observations import MachineObservation, MachineOutcome
from statemachine.observations import Result
from store.memory import MemoryEventLog
from tests.kaito.live import LiveCluster, Running, ScriptedPools, a_machine, node_of, until

NAME = "ws000000001"
QUICK = Settings(provisioning=MachineLimits(poll_after=0.05))


class Bench:
    """One cluster, one cloud, one log, and the processes that were started on them."""

    def __init__(self) -> None:
        self.cluster = LiveCluster()
        self.pools = ScriptedPools(self.cluster)
        self.log = MemoryEventLog(WallClock().now)
        self._started: list[Running] = []

    def start(self, *, dry_run: bool = False, workers: int = 4) -> Running:
        number = len(self._started)
        options = Options(identity=f"test-{number}", workers=workers, dry_run=dry_run, settings=QUICK)
        manager = new_manager(self.cluster, self.pools, self.log, WallClock(), options)
        self._started.append(Running(manager))
        return self._started[-1]

    def close(self) -> None:
        self.pools.gate.set()
        for running in self._started:
            running.stop()

    def is_ready(self, name: str = NAME) -> bool:
        return self.cluster.condition(name) == "True"

    def is_gone(self, name: str = NAME) -> bool:
        return self.cluster.find(MACHINES, name) is None

    def event_types(self, name: str = NAME) -> list[str]:
        return [record.type for record in self.log.read(f"machine/{name}")]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_machine_gets_pool_and_becomes_ready(bench: Bench) -> None:
    bench.start()
    bench.cluster.create(MACHINES, a_machine())

    until(bench.is_ready)

    assert bench.pools.calls == [("create", NAME)]
    assert bench.cluster.find(NODES, node_of(NAME))["metadata"]["labels"]["karpenter.sh/registered"] == "true"


def test_deleted_machine_takes_pool_and_node(bench: Bench) -> None:
    bench.start()
    bench.cluster.create(MACHINES, a_machine())
    until(bench.is_ready)

    bench.cluster.delete(MACHINES, NAME)
    until(bench.is_gone)

    assert bench.pools.calls == [("create", NAME), ("delete", NAME)]
    assert bench.pools.list() == []
    until(lambda: bench.cluster.find(NODES, node_of(NAME)) is None)


def test_many_machines_get_one_pool_each(bench: Bench) -> None:
    names = [f"ws{number:09}" for number in range(1, 21)]
    bench.start()

    for name in names:
        bench.cluster.create(MACHINES, a_machine(name))
    until(lambda: all(map(bench.is_ready, names)))

    assert sorted(bench.pools.calls) == [("create", name) for name in names]


def test_pool_of_what_vanished_is_left_to_the_collector(bench: Bench) -> None:
    bench.cluster.create(MACHINES, a_machine())
    first = bench.start()
    until(bench.is_ready)
    assert first.stop() == 0

    bench.cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": []}})
    bench.cluster.delete(MACHINES, NAME)
    second = bench.start()
    until(lambda: "MachineVanished" in bench.event_types())
    assert second.stop() == 0

    assert bench.pools.calls == [("create", NAME)]
    assert [pool.name for pool in bench.pools.list()] == [NAME]


def test_next_process_goes_on_from_log(bench: Bench) -> None:
    bench.cluster.create(MACHINES, a_machine())
    first = bench.start()
    until(bench.is_ready)
    assert first.stop() == 0

    bench.cluster.delete(MACHINES, NAME)
    bench.start()
    until(bench.is_gone)

    assert bench.pools.calls == [("create", NAME), ("delete", NAME)]
    assert bench.event_types().count("PoolCreationRequested") == 1


def test_machine_that_went_unwatched_is_finished(bench: Bench) -> None:
    bench.cluster.create(MACHINES, a_machine())
    first = bench.start()
    until(bench.is_ready)
    first.stop()
    bench.cluster.patch(MACHINES, NAME, {"metadata": {"finalizers": None}})
    bench.cluster.delete(MACHINES, NAME)
    assert bench.is_gone()
    bench.pools.begin_delete(NAME)  # as the collector does
    until(lambda: not bench.pools.list())

    bench.start()
    until(lambda: "PoolRemoved" in bench.event_types())

    assert bench.pools.calls == [("create", NAME), ("delete", NAME)]


def test_stop_lets_call_under_way_end(bench: Bench) -> None:
    bench.pools.gate.clear()
    running = bench.start()
    bench.cluster.create(MACHINES, a_machine())
    assert bench.pools.waiting.wait(30)

    running.manager.stop()
    until(lambda: bench.cluster.open_watches() == 0)  # the stop is under way
    bench.pools.gate.set()

    assert running.ended() == 0
    assert bench.pools.calls == [("create", NAME)]
    assert bench.event_types()[-1] == "PoolCreationSubmitted"


def test_stop_that_takes_too_long_is_a_failure(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pools.gate.clear()
    running = bench.start()
    monkeypatch.setattr(running.manager, "_stop_seconds", 0.05)
    bench.cluster.create(MACHINES, a_machine())
    assert bench.pools.waiting.wait(30)

    code = running.stop()
    bench.pools.gate.set()

    assert code == 1
    assert not running.manager.drained
    (line,) = [record for record in caplog.records if record.message == "stopped in the middle"]
    assert line.kaito_fields == {"in_work": [f"machine {NAME}"]}
    until(lambda: bench.pools.calls)


def test_stopped_process_leaves_no_watch_open(bench: Bench) -> None:
    running = bench.start()
    until(lambda: bench.cluster.open_watches() == 3)

    running.stop()

    assert bench.cluster.open_watches() == 0


def test_newer_leader_ends_process_with_1(bench: Bench) -> None:
    bench.log.append("machine/other", [], expected_version=0, epoch=0)
    bench.start()
    bench.cluster.create(MACHINES, a_machine("ws000000002"))
    until(lambda: bench.is_ready("ws000000002"))
    events = [record.event for record in bench.log.read("machine/ws000000002")][:1]
    bench.log.append("machine/ws000000009", events, expected_version=0, epoch=7)

    bench.cluster.create(MACHINES, a_machine())

    assert bench._started[0].ended() == 1
    assert ("create", NAME) not in bench.pools.calls


def test_decisions_are_told_with_log_position(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")
    running = bench.start()
    bench.cluster.create(MACHINES, a_machine())
    until(bench.is_ready)
    running.stop()

    told = [record.kaito_fields for record in caplog.records if record.message == "decided"]

    heads = {(line["stream"], line["version"]): line["position"] for line in told}
    appends = {(record.stream, record.version): record.position for record in bench.log.read_all()}
    assert heads.items() <= appends.items()
    assert ",".join(line["events"] for line in told).split(",") == bench.event_types()


# --- the dry run ------------------------------------------------------------------------------------


def dry_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("would ")]


def test_dry_run_of_creation_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")
    bench.cluster.create(MACHINES, a_machine())
    before, version = list(bench.cluster.writes), bench.cluster.cluster.resource_version

    running = bench.start(dry_run=True)
    until(lambda: "would create the agent pool of the Machine" in dry_lines(caplog))
    assert running.stop() == 0

    assert bench.cluster.writes == before
    assert bench.cluster.cluster.resource_version == version
    assert bench.pools.calls == []
    assert "would add the finalizer to the Machine" in dry_lines(caplog)


def test_dry_run_of_deletion_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")
    bench.cluster.create(MACHINES, a_machine())
    first = bench.start()
    until(bench.is_ready)
    first.stop()
    bench.cluster.delete(MACHINES, NAME)
    before = list(bench.cluster.writes)

    running = bench.start(dry_run=True)
    until(lambda: "would cordon its node" in dry_lines(caplog))
    running.stop()

    assert bench.cluster.writes == before
    assert bench.pools.calls == [("create", NAME)]
    assert FINALIZER in bench.cluster.find(MACHINES, NAME)["metadata"]["finalizers"]


def test_dry_run_finds_pool_that_exists(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without a history, a running Machine must not read as one whose pool is to be made."""
    caplog.set_level(logging.INFO, "kaito")
    bench.cluster.create(MACHINES, a_machine())
    first = bench.start()
    until(bench.is_ready)
    first.stop()
    bench.log = MemoryEventLog(WallClock().now)

    running = bench.start(dry_run=True)
    until(lambda: "MachineLaunchCompleted" in bench.event_types())
    running.stop()

    assert not [line for line in dry_lines(caplog) if "create" in line]


# --- the collector's word ---------------------------------------------------------------------------


class Clock(WallClock):
    at = 0.0

    def monotonic(self) -> float:
        return self.at


WORD = MachineOutcome(command=ReadPool(), result=Result.NOT_FOUND)


@pytest.fixture
def stepped() -> list[tuple[str, MachineObservation | None]]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(stepped: list[tuple[str, MachineObservation | None]], clock: Clock) -> Told:
    def run(name: str, observation: MachineObservation | None) -> Reconciled:
        stepped.append((name, observation))
        return Reconciled(Outcome.SUCCESS)

    return Told(run, clock)


def test_word_of_collector_waits_for_worker(told: Told, stepped: list[object]) -> None:
    woken: list[str] = []
    told.wake = woken.append

    told.tell("ws1", WORD)
    assert (woken, stepped) == (["ws1"], [])
    told.step("ws1")
    told.step("ws1")

    assert stepped == [("ws1", WORD), ("ws1", None)]


def test_word_too_old_is_dropped(told: Told, stepped: list[object], clock: Clock) -> None:
    told.tell("ws1", WORD)
    clock.at = FRESH_SECONDS + 1

    told.step("ws1")

    assert stepped == [("ws1", None)]


def test_round_that_did_nothing_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaito")

    report(Collected())
    report(Collected(pools=("ws1",), failures=("nodes: gone",)))

    assert [record.kaito_fields for record in caplog.records] == [
        {"error": "nodes: gone"},
        {"pools": ["ws1"]},
    ]


def test_throttled_writes_are_repeated(bench: Bench) -> None:
    bench.cluster.failing["patch"] = [Unavailable("busy"), Unavailable("busy")]
    bench.start()
    bench.cluster.create(MACHINES, a_machine())

    until(bench.is_ready)

    assert bench.pools.calls == [("create", NAME)]
