"""The queue of notices: order, time, cancelling, and where a run ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import engine as engine_module
from simulator.engine import Engine, StuckAtInstant

START = datetime(2024, 4, 5, 18, 29, 58, 776000, tzinfo=UTC)


@pytest.fixture
def engine() -> Engine:
    return Engine(START)


def test_clock_begins_at_the_start(engine: Engine) -> None:
    assert (engine.now(), engine.monotonic(), engine.now_ns) == (START, 0.0, 0)


def test_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Engine(datetime(2024, 4, 5))  # noqa: DTZ001 - a naive time is the bad input


def test_start_elsewhere_becomes_utc() -> None:
    engine = Engine(datetime(2024, 4, 5, 20, 0, tzinfo=timezone(timedelta(hours=2))))

    assert engine.now() == datetime(2024, 4, 5, 18, 0, tzinfo=UTC)
    assert engine.now().tzinfo is UTC


def test_notices_run_in_order_of_time(engine: Engine) -> None:
    ran: list[tuple[str, float]] = []
    for name, delay in (("late", 2.5), ("soon", 0.001), ("now", 0)):
        engine.schedule(delay, lambda name=name: ran.append((name, engine.monotonic())))

    engine.run()

    assert ran == [("now", 0.0), ("soon", 0.001), ("late", 2.5)]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_ties_run_in_scheduling_order(delays: list[int]) -> None:
    engine = Engine(START)
    ran: list[tuple[int, int]] = []
    for order, delay in enumerate(delays):
        engine.schedule(delay, lambda pair=(delay, order): ran.append(pair))

    engine.run()

    assert ran == sorted(ran)
    assert len(ran) == len(delays)


def test_notice_scheduled_now_runs_behind_its_peers(engine: Engine) -> None:
    ran: list[str] = []

    def first() -> None:
        ran.append("first")
        engine.schedule(0, lambda: ran.append("third"))

    engine.schedule(1, first)
    engine.schedule(1, lambda: ran.append("second"))

    engine.run()

    assert ran == ["first", "second", "third"]


def test_time_of_day_is_kept_exactly(engine: Engine) -> None:
    seen: list[datetime] = []
    due = START + timedelta(days=30, microseconds=1)
    engine.schedule(due, lambda: seen.append(engine.now()))

    engine.run()

    assert seen == [due]


def test_passed_time_of_day_means_now(engine: Engine) -> None:
    engine.schedule(10, lambda: engine.schedule(START, lambda: seen.append(engine.monotonic())))
    seen: list[float] = []

    engine.run()

    assert seen == [10.0]


def test_now_rounds_down_to_microseconds(engine: Engine) -> None:
    engine.schedule(0.000_001_999, lambda: None)

    engine.run()

    assert engine.now_ns == 1999
    assert engine.now() == START + timedelta(microseconds=1)


def test_many_small_delays_sum_exactly(engine: Engine) -> None:
    left = [100_000]

    def tick() -> None:
        left[0] -= 1
        if left[0]:
            engine.schedule(0.1, tick)

    engine.schedule(0.1, tick)
    engine.run()

    assert engine.now_ns == 10_000 * 10**9


@pytest.mark.parametrize("delay", [-0.001, float("nan"), float("inf")])
def test_impossible_delay_is_refused(engine: Engine, delay: float) -> None:
    with pytest.raises(ValueError, match="finite number of seconds"):
        engine.schedule(delay, lambda: None)


def test_cancelled_notice_never_runs(engine: Engine) -> None:
    ran: list[str] = []
    notice = engine.schedule(1, lambda: ran.append("cancelled"))
    engine.schedule(2, lambda: ran.append("kept"))

    engine.cancel(notice)
    engine.cancel(notice)
    engine.run()

    assert ran == ["kept"]
    assert not notice.pending


def test_cancelling_what_ran_is_harmless(engine: Engine) -> None:
    notice = engine.schedule(1, lambda: None)
    assert notice.pending
    engine.run()

    engine.cancel(notice)

    assert not notice.pending


def test_cancelled_notice_moves_no_clock(engine: Engine) -> None:
    engine.cancel(engine.schedule(5, lambda: None))

    engine.run()

    assert engine.monotonic() == 0


def test_peek_passes_over_cancelled_notices(engine: Engine) -> None:
    first = engine.schedule(1, lambda: None)
    engine.schedule(2, lambda: None)

    engine.cancel(first)

    assert engine.peek() == START + timedelta(seconds=2)


def test_peek_at_nothing_is_none(engine: Engine) -> None:
    assert engine.peek() is None


def test_run_until_includes_its_end(engine: Engine) -> None:
    ran: list[int] = []
    for delay in (1, 2, 3):
        engine.schedule(delay, lambda delay=delay: ran.append(delay))

    engine.run(until=START + timedelta(seconds=2))

    assert ran == [1, 2]
    assert engine.now() == START + timedelta(seconds=2)
    assert engine.peek() == START + timedelta(seconds=3)


def test_run_until_advances_an_idle_clock(engine: Engine) -> None:
    engine.run(until=START + timedelta(hours=1))

    assert engine.monotonic() == 3600


def test_run_until_the_past_changes_nothing(engine: Engine) -> None:
    engine.run(until=START + timedelta(hours=1))
    engine.schedule(0, lambda: pytest.fail("due only after the limit"))

    engine.run(until=START)

    assert engine.monotonic() == 3600


def test_stop_ends_the_run_at_once(engine: Engine) -> None:
    ran: list[int] = []
    for delay in (1, 2, 3):
        engine.schedule(delay, lambda delay=delay: ran.append(delay))

    engine.run(until=START + timedelta(hours=1), stop=lambda: len(ran) == 2)

    assert ran == [1, 2]
    assert engine.monotonic() == 2


def test_stopped_run_can_go_on(engine: Engine) -> None:
    ran: list[int] = []
    for delay in (1, 2, 3):
        engine.schedule(delay, lambda delay=delay: ran.append(delay))
    engine.run(stop=lambda: True)

    engine.run()

    assert ran == [1, 2, 3]


def test_failing_callback_leaves_the_rest(engine: Engine) -> None:
    ran: list[str] = []

    def fails() -> None:
        raise RuntimeError("from the callback")

    engine.schedule(1, fails)
    engine.schedule(2, lambda: ran.append("later"))

    with pytest.raises(RuntimeError, match="from the callback"):
        engine.run()
    assert engine.monotonic() == 1
    engine.run()

    assert ran == ["later"]


def test_standstill_of_time_is_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "INSTANT_LIMIT", 100)

    def again() -> None:
        engine.schedule(0, again)

    engine.schedule(1, again)

    with pytest.raises(StuckAtInstant) as stuck:
        engine.run()
    assert stuck.value.at == START + timedelta(seconds=1)


def test_many_notices_at_passing_times_are_fine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "INSTANT_LIMIT", 100)
    for delay in range(1, 500):
        engine.schedule(delay, lambda: None)

    engine.run()

    assert engine.monotonic() == 499
