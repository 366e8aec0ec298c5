"""What a process that starts finds in the log: stories that it has to end, though their object is gone."""

from __future__ import annotations

from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.ports import MACHINES, WORKSPACES
from kaito.runtime.repository import Repository
from simulator.faults import Family, OneFault
from simulator.laboratory import Laboratory
from store.memory import MemoryEventLog
from store.records import Record
from tests.kaito.reconciling import KEY, START, Bench
from tests.simulator.campaigns import MINUTE, a_machine, calm


def test_deleted_workspace_is_found_again_by_its_stream() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"finalizers": []}}, KEY.namespace)
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)

    assert Repository(bench.log).open_keys() == [WorkspaceKey("default", "falcon")]


def test_story_that_is_over_is_not_opened_again() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    for _ in range(8):
        bench.reconcile()
        for machine in bench.cluster.list(MACHINES).items:
            bench.cluster.delete(MACHINES, machine["metadata"]["name"])

    assert Repository(bench.log).open_keys() == []


def test_stories_that_are_over_are_not_kept_in_memory() -> None:
    bench = Bench()
    bench.apply_workspace()
    bench.reconcile()
    bench.cluster.patch(WORKSPACES, KEY.name, {"metadata": {"finalizers": []}}, KEY.namespace)
    uid = bench.workspace()["metadata"]["uid"]
    bench.cluster.delete(WORKSPACES, KEY.name, KEY.namespace)
    for machine in bench.machines():
        bench.cluster.delete(MACHINES, machine["metadata"]["name"])
    for _ in range(3):
        bench.reconcile()
    log = CountedReads(bench.log)
    repository = Repository(log)

    repository.open_keys()
    repository.load(KEY, uid)

    assert log.reads == 2


class CountedReads(MemoryEventLog):
    """A copy of a log, whose reads of streams are counted."""

    def __init__(self, log: MemoryEventLog) -> None:
        super().__init__(lambda: START)
        self.__dict__.update(log.__dict__)
        self.reads = 0

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        self.reads += 1
        return super().read(stream, after=after)


def test_machine_that_went_meanwhile_is_ended_after_a_restart() -> None:
    lab = calm()
    lab.cluster.create(MACHINES, a_machine())
    lab.run(30 * MINUTE)
    lab.provisioner.kill()
    lab.cluster.patch(MACHINES, "ws000000001", {"metadata": {"finalizers": []}})
    lab.cluster.delete(MACHINES, "ws000000001")

    lab.run(15 * MINUTE)  # the collector's rounds, and the stream's next look after them

    assert lab.checker.machine("ws000000001").is_over
    assert lab.checker.pool_names() == []


def test_crash_at_the_last_call_leaves_no_open_story() -> None:
    counted = OneFault(-1, Family.CRASH_AFTER)
    _life(counted)

    for number in range(counted.count - 3, counted.count + 1):
        lab = _life(OneFault(number, Family.CRASH_AFTER))

        assert lab.checker.machine("ws000000001").is_over, f"crash after call {number}"


def _life(plan: OneFault) -> Laboratory:
    """One Machine from its creation to its end."""
    lab = calm(plan)
    lab.cluster.create(MACHINES, a_machine())
    lab.run(10 * MINUTE)
    lab.cluster.delete(MACHINES, "ws000000001")
    lab.run(10 * MINUTE)
    return lab
