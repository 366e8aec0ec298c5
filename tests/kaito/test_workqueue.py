"""The work queue: examples of client-go's semantics, and a walk beside a model that keeps plain lists."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kaito.runtime.workqueue import LOW_PRIORITY, Outcome, WorkQueue


def drain(queue: WorkQueue[str], now: float) -> list[str]:
    """Everything that is ready, in the order in which it is handed out."""
    keys = []
    while (key := queue.get(now)) is not None:
        keys.append(key)
    return keys


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue()


# --- adding and working -----------------------------------------------------------------------------


def test_keys_come_out_in_order_of_arrival(queue: WorkQueue[str]) -> None:
    for key in ("c", "a", "b"):
        queue.add(key, now=0.0)

    assert drain(queue, 0.0) == ["c", "a", "b"]


def test_pending_key_is_queued_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a", "a"):
        queue.add(key, now=0.0)

    assert queue.depth == 2
    assert queue.adds == 2
    assert drain(queue, 0.0) == ["a", "b"]


def test_key_in_work_is_not_handed_out(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)

    queue.add("a", now=1.0)

    assert queue.depth == 0
    assert queue.get(1.0) is None


def test_key_added_in_work_runs_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add("a", now=1.0)
    queue.add("a", now=2.0)

    queue.done("a", now=3.0)

    assert drain(queue, 3.0) == ["a"]
    queue.done("a", now=4.0)
    assert drain(queue, 4.0) == []


def test_key_readded_in_work_queues_behind_others(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add("a", now=1.0)
    queue.add("b", now=2.0)

    queue.done("a", now=3.0)

    assert drain(queue, 3.0) == ["b", "a"]


def test_done_without_work_is_refused(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)

    with pytest.raises(ValueError, match="expected a key in work, found 'a'"):
        queue.done("a", now=0.0)

    assert drain(queue, 0.0) == ["a"]


# --- delays -----------------------------------------------------------------------------------------


def test_delayed_key_comes_when_due(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5.0, now=0.0)

    assert queue.next_wake(0.0) == 5.0
    assert drain(queue, 4.999) == []
    assert drain(queue, 5.0) == ["a"]
    assert queue.next_wake(5.0) is None


@pytest.mark.parametrize(("first", "second"), [(5.0, 9.0), (9.0, 5.0)])
def test_earlier_of_two_delays_wins(queue: WorkQueue[str], first: float, second: float) -> None:
    queue.add_after("a", first, now=0.0)
    queue.add_after("a", second, now=0.0)

    assert queue.delayed == 1
    assert queue.next_wake(0.0) == 5.0
    assert drain(queue, 5.0) == ["a"]
    queue.done("a", now=5.0)
    assert queue.next_wake(5.0) is None
    assert drain(queue, 9.0) == []


def test_delayed_and_immediate_add_are_separate(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5.0, now=0.0)
    queue.add("a", now=1.0)

    assert drain(queue, 1.0) == ["a"]
    queue.done("a", now=2.0)
    assert queue.next_wake(2.0) == 5.0
    assert drain(queue, 5.0) == ["a"]


@pytest.mark.parametrize("delay", [0.0, -1.0])
def test_delay_that_is_over_adds_at_once(queue: WorkQueue[str], delay: float) -> None:
    queue.add_after("a", delay, now=3.0)

    assert queue.delayed == 0
    assert drain(queue, 3.0) == ["a"]


def test_due_key_precedes_later_add(queue: WorkQueue[str]) -> None:
    queue.add_after("late", 5.0, now=0.0)
    queue.add("after", now=6.0)

    assert drain(queue, 6.0) == ["late", "after"]


def test_key_due_precedes_key_done_at_once(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add("a", now=1.0)
    queue.add_after("b", 4.0, now=1.0)

    queue.done("a", now=5.0)

    assert drain(queue, 5.0) == ["b", "a"]


@given(now_ns=st.integers(0, 10**15), delay=st.floats(1e-12, 1e6))
def test_due_time_stands_on_a_nanosecond_clock(now_ns: int, delay: float) -> None:
    """A clock of integer nanoseconds, woken at the announced time, finds the key there and not too early."""
    queue: WorkQueue[str] = WorkQueue()
    now = now_ns / 10**9
    queue.add_after("a", delay, now)
    wake = queue.next_wake(now)
    if wake is None:  # a delay too small to be told from none beside this time
        assert queue.get(now) == "a"
        return

    waited_ns = round((wake - now) * 10**9)

    assert waited_ns >= int(delay * 10**9)
    assert queue.get((now_ns + waited_ns) / 10**9) == "a"


def test_delay_ending_in_work_runs_again(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add_after("a", 2.0, now=0.0)

    assert queue.get(3.0) is None
    assert queue.next_wake(3.0) is None
    queue.done("a", now=3.0)

    assert drain(queue, 3.0) == ["a"]


# --- backoff and how reconciles end -----------------------------------------------------------------


def test_failures_back_off_and_success_forgets(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    now, waits = 0.0, []
    for _ in range(4):
        queue.get(now)
        queue.finish("a", now, Outcome.ERROR)
        wake = queue.next_wake(now)
        assert wake is not None
        waits.append(wake - now)
        now = wake

    assert waits == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert queue.num_requeues("a") == 4
    queue.get(now)
    queue.finish("a", now, Outcome.SUCCESS)
    assert queue.num_requeues("a") == 0
    assert queue.next_wake(now) is None


def test_error_ignores_requested_delay(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)

    queue.finish("a", 0.0, Outcome.ERROR, after_seconds=60.0)

    assert queue.next_wake(0.0) == pytest.approx(0.005)


def test_requeue_after_forgets_and_waits(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.finish("a", 0.0, Outcome.ERROR)
    queue.get(1.0)

    queue.finish("a", 1.0, Outcome.REQUEUE_AFTER, after_seconds=60.0)

    assert queue.num_requeues("a") == 0
    assert queue.next_wake(1.0) == 61.0


def test_terminal_error_is_counted_not_requeued(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)

    queue.finish("a", 0.0, Outcome.TERMINAL_ERROR)

    assert queue.outcomes[Outcome.TERMINAL_ERROR] == 1
    assert (queue.depth, queue.delayed, queue.in_work) == (0, 0, 0)


def test_requeue_is_rate_limited(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)

    queue.finish("a", 0.0, Outcome.REQUEUE)

    assert queue.num_requeues("a") == 1
    assert queue.next_wake(0.0) == pytest.approx(0.005)


# --- priorities -------------------------------------------------------------------------------------


def test_higher_priority_comes_first(queue: WorkQueue[str]) -> None:
    queue.add("listed", now=0.0, priority=LOW_PRIORITY)
    queue.add("edited", now=1.0)
    queue.add("urgent", now=2.0, priority=5)

    assert queue.depth_by_priority() == {5: 1, 0: 1, LOW_PRIORITY: 1}
    assert drain(queue, 2.0) == ["urgent", "edited", "listed"]


def test_edit_lifts_listed_key_in_place(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0, priority=LOW_PRIORITY)
    queue.add("b", now=1.0)
    queue.add("a", now=2.0)

    assert queue.depth_by_priority() == {0: 2}
    assert drain(queue, 2.0) == ["a", "b"]


def test_lifted_key_leaves_nothing_behind(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0, priority=LOW_PRIORITY)
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.done("a", now=0.0)
    queue.add("b", now=1.0, priority=LOW_PRIORITY)
    queue.add("a", now=2.0, priority=LOW_PRIORITY)

    assert drain(queue, 2.0) == ["b", "a"]


def test_lifted_key_keeps_its_turn(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0, priority=LOW_PRIORITY)
    queue.add("b", now=0.0)
    queue.add("a", now=0.0)

    assert drain(queue, 0.0) == ["a", "b"]


def test_lower_priority_never_sinks_a_key(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.add("b", now=0.0)
    queue.add("a", now=0.0, priority=LOW_PRIORITY)

    assert drain(queue, 0.0) == ["a", "b"]


def test_retry_keeps_priority_of_work(queue: WorkQueue[str]) -> None:
    queue.add("listed", now=0.0, priority=LOW_PRIORITY)
    queue.get(0.0)
    queue.finish("listed", 0.0, Outcome.ERROR)
    queue.add("edited", now=1.0)

    assert drain(queue, 1.0) == ["edited", "listed"]


def test_priority_raised_in_work_holds_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add("a", now=1.0, priority=LOW_PRIORITY)
    queue.add("a", now=1.0, priority=3)
    queue.add("b", now=1.0)

    queue.done("a", now=2.0)

    assert drain(queue, 2.0) == ["a", "b"]


def test_two_delays_join_earlier_time_and_higher_priority(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5.0, now=0.0, priority=LOW_PRIORITY)
    queue.add_after("a", 9.0, now=0.0, priority=1)
    queue.add_after("b", 1.0, now=0.0)

    assert drain(queue, 5.0) == ["a", "b"]


# --- figures ----------------------------------------------------------------------------------------


def test_times_in_queue_and_work_are_kept(queue: WorkQueue[str]) -> None:
    queue.add("a", now=1.0)
    queue.get(3.5)
    queue.done("a", now=10.0)

    assert queue.last_queue_seconds == 2.5
    assert queue.last_work_seconds == 6.5


def test_time_in_queue_starts_at_add_in_work(queue: WorkQueue[str]) -> None:
    queue.add("a", now=0.0)
    queue.get(0.0)
    queue.add("a", now=1.0)
    queue.done("a", now=4.0)

    queue.get(5.0)

    assert queue.last_queue_seconds == 4.0


def test_time_in_queue_starts_when_due(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5.0, now=0.0)
    queue.add("a", now=7.0)

    queue.get(9.0)

    assert queue.last_queue_seconds == 4.0


def test_unfinished_work_is_summed(queue: WorkQueue[str]) -> None:
    for now, key in enumerate(("a", "b")):
        queue.add(key, now=float(now))
        queue.get(float(now))

    assert queue.in_work == 2
    assert queue.unfinished_work_seconds(5.0) == 9.0
    assert queue.longest_running_seconds(5.0) == 5.0
    queue.done("a", now=5.0)
    queue.done("b", now=5.0)
    assert queue.unfinished_work_seconds(6.0) == queue.longest_running_seconds(6.0) == 0.0


def test_every_delayed_add_counts_as_retry(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 1.0, now=0.0)
    queue.add_after("a", 0.0, now=0.0)
    queue.add_rate_limited("b", now=0.0)
    queue.add("c", now=0.0)

    assert queue.retries == 3
    assert queue.adds == 2


# --- a walk beside a model --------------------------------------------------------------------------

KEYS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from([LOW_PRIORITY, 0, 7])


@dataclass
class Waiting:
    """A key of the model: ready since, asked for since, and its place in the order of arrival."""

    priority: int
    since: float
    added: float
    arrival: int


class QueueBesideModel(RuleBasedStateMachine):
    """The model keeps dicts and searches them wholly; it knows no heap and no entry that may be stale."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue()
        self.now = 0.0
        self.arrivals = 0
        self.ready: dict[str, Waiting] = {}
        self.again: dict[str, tuple[int, float]] = {}
        self.work: dict[str, int] = {}
        self.due: dict[str, tuple[float, int, int]] = {}
        self.owed: set[str] = set()

    def arrive(self) -> int:
        self.arrivals += 1
        return self.arrivals

    def model_add(self, key: str, since: float, priority: int) -> None:
        self.owed.add(key)
        if key in self.work:
            known, added = self.again.get(key, (priority, since))
            self.again[key] = max(priority, known), added
        elif key in self.ready:
            self.ready[key].priority = max(priority, self.ready[key].priority)
        else:
            self.ready[key] = Waiting(priority, since, since, self.arrive())

    def pass_time(self) -> None:
        for key in sorted(self.due, key=lambda key: self.due[key][:2]):
            when, _, priority = self.due[key]
            if when <= self.now:
                del self.due[key]
                self.model_add(key, when, priority)

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: int) -> None:
        self.queue.add(key, self.now, priority=priority)
        self.model_add(key, self.now, priority)

    @rule(key=KEYS, priority=st.none() | PRIORITIES, delay=st.sampled_from([0.0, 1.0, 2.0, 3.5, 20.0]))
    def add_after(self, key: str, priority: int | None, delay: float) -> None:
        self.queue.add_after(key, delay, self.now, priority=priority)
        wanted = self.work.get(key, 0) if priority is None else priority
        if delay <= 0:
            return self.model_add(key, self.now, wanted)
        when, arrival, known = self.due.get(key, (self.now + delay, 0, wanted))
        joined = min(when, self.now + delay), max(known, wanted)
        if key not in self.due or joined != (when, known):
            arrival = self.arrive()
        self.due[key] = joined[0], arrival, joined[1]
        return None

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pass_time()

    @rule()
    def wait_for_next_delay(self) -> None:
        wake = self.queue.next_wake(self.now)
        assert wake == min((when for when, _, _ in self.due.values()), default=None)
        if wake is not None:
            assert wake > self.now
            self.now = wake
            self.pass_time()

    @rule()
    def get(self) -> None:
        expected = min(
            self.ready,
            key=lambda key: (-self.ready[key].priority, self.ready[key].since, self.ready[key].arrival),
            default=None,
        )

        key = self.queue.get(self.now)

        assert key == expected
        if key is not None:
            assert key not in self.work
            waiting = self.ready.pop(key)
            assert self.queue.last_queue_seconds == self.now - waiting.added
            self.work[key] = waiting.priority
            self.owed.discard(key)

    @precondition(lambda self: self.work)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.work)))
        self.queue.done(key, self.now)
        del self.work[key]
        if key in self.again:
            priority, added = self.again.pop(key)
            self.ready[key] = Waiting(priority, self.now, added, self.arrive())

    @rule()
    def sizes_agree(self) -> None:
        self.queue.next_wake(self.now)  # takes over what became due, as every call does
        assert self.queue.depth == len(self.ready)
        assert self.queue.delayed == len(self.due)
        assert self.queue.in_work == len(self.work)

    def teardown(self) -> None:
        """Whatever was added and not yet handed out comes out, once the workers are done."""
        for key in sorted(self.work):
            self.queue.done(key, self.now)
        for key in drain(self.queue, self.now):
            self.owed.discard(key)
        assert self.owed == set()


TestQueueBesideModel = QueueBesideModel.TestCase
TestQueueBesideModel.settings = settings(
    max_examples=max(150, settings().max_examples), stateful_step_count=60
)
