"""The recorder: told of appends, it tells the API server, and never stands in the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Lock
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.runtime.ports import (
    AlreadyExists,
    ApiError,
    Forbidden,
    NotFound,
    Object,
    Resource,
    Throttled,
    Unavailable,
)
from kaito.telemetry.correlation import BURST, REFILL_SECONDS, REPEAT_SECONDS, Correlator, Latest
from kaito.telemetry.notices import EVENTS, about_workspace
from kaito.telemetry.processes import OperatorTelemetry
from kaito.telemetry.recorder import OPERATOR, Recorder
from statemachine import events as ev
from store.records import StoredEvent
from tests.kaito import lives
from tests.kaito.live import DEADLINE_SECONDS, until


class Api:
    """An API server that keeps Events; the next calls can be made to fail, or to wait."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.calls: list[str] = []
        self.errors: list[ApiError] = []
        self.gate = Event()
        self.gate.set()
        self._lock = Lock()

    def create(self, resource: Resource, body: Object, namespace: str = "", **options: Any) -> Object:
        with self._answering("create", resource):
            name = body["metadata"]["name"]
            if name in self.events:
                raise AlreadyExists(name)
            self.events[name] = body
            return body

    def patch(
        self, resource: Resource, name: str, patch: Mapping[str, Any], namespace: str = "", **options: Any
    ) -> Object:
        with self._answering("patch", resource):
            if name not in self.events:
                raise NotFound(name)
            self.events[name].update(patch)
            return self.events[name]

    def _answering(self, verb: str, resource: Resource) -> Lock:
        assert resource is EVENTS
        assert self.gate.wait(DEADLINE_SECONDS)
        self.calls.append(verb)
        if self.errors:
            raise self.errors.pop(0)
        return self._lock


class SetClock(WallClock):
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    def __init__(self, **options: Any) -> None:
        self.api = Api()
        self.clock = SetClock()
        self.telemetry = OperatorTelemetry(self.clock)
        self.recorder = Recorder(
            self.api,  # type: ignore[arg-type]  # the two verbs that a recorder uses
            about_workspace,
            self.clock,
            self.telemetry.registry,
            component=OPERATOR,
            instance="test",
            **options,
        )
        self.version = 0

    def tell(self, *events: StoredEvent) -> None:
        self.recorder.appended(lives.STREAM, events, self.version)
        self.version += len(events)

    def dropped(self, cause: str) -> float | None:
        return self.telemetry.registry.get_sample_value("kaito_events_dropped_total", {"cause": cause})

    def told(self) -> list[tuple[str, int]]:
        return [(event["reason"], event["count"]) for event in list(self.api.events.values())]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.recorder.start()
    yield bench
    bench.api.gate.set()
    assert bench.recorder.stop(DEADLINE_SECONDS)


def troubled(message: str = "0 of 1", seconds: float = 10) -> StoredEvent:
    return ev.InferenceTroubled(at=lives.at(seconds), reason="ContainerOOMKilled", message=message)


def test_appended_events_are_told(bench: Bench) -> None:
    bench.tell(lives.created(), lives.requested(), lives.made(), troubled())

    until(lambda: len(bench.api.events) == 3)

    assert bench.told() == [("WorkspaceAccepted", 1), ("MachineCreated", 1), ("ContainerOOMKilled", 1)]


def test_repeat_is_counted_on_the_event_that_is_there(bench: Bench) -> None:
    for seconds in (10, 20, 30):
        bench.tell(troubled(seconds=seconds))

    until(lambda: bench.told() == [("ContainerOOMKilled", 3)])

    (event,) = bench.api.events.values()
    assert (event["firstTimestamp"][-4:], event["lastTimestamp"][-4:]) == (":10Z", ":30Z")
    assert bench.api.calls == ["create", "patch", "patch"]


def test_other_message_is_another_event(bench: Bench) -> None:
    bench.tell(troubled("0 of 1"), troubled("1 of 2"))

    until(lambda: len(bench.api.events) == 2)


def test_repeat_after_a_while_is_a_new_event(bench: Bench) -> None:
    bench.tell(troubled())
    until(lambda: len(bench.api.events) == 1)

    bench.clock.seconds += REPEAT_SECONDS
    bench.tell(troubled())

    until(lambda: bench.told() == [("ContainerOOMKilled", 1)] * 2)


def test_event_that_expired_is_made_anew(bench: Bench) -> None:
    bench.tell(troubled())
    until(lambda: len(bench.api.events) == 1)
    bench.api.events.clear()

    bench.tell(troubled())

    until(lambda: bench.told() == [("ContainerOOMKilled", 1)])


def test_event_told_before_a_crash_is_not_told_twice(bench: Bench) -> None:
    bench.tell(troubled())
    until(lambda: len(bench.api.events) == 1)
    after = Bench()
    after.api.events = bench.api.events

    after.recorder.start()
    after.tell(troubled())
    until(lambda: after.api.calls == ["create"])

    assert after.recorder.stop(DEADLINE_SECONDS)
    assert after.told() == [("ContainerOOMKilled", 1)]
    assert after.dropped("refused") == 0


@pytest.mark.parametrize(
    "error", [Throttled("slow down", retry_after_seconds=0), Unavailable("no", retry_after_seconds=0)]
)
def test_throttled_event_is_tried_again(bench: Bench, error: ApiError) -> None:
    bench.api.errors = [error, error]

    bench.tell(troubled())

    until(lambda: bench.told() == [("ContainerOOMKilled", 1)])
    assert bench.api.calls == ["create"] * 3


def test_event_that_nobody_answers_is_dropped(bench: Bench) -> None:
    bench.api.errors = [Unavailable("no", retry_after_seconds=0)] * 5

    bench.tell(troubled(), troubled("another"))

    until(lambda: bench.told() == [("ContainerOOMKilled", 1)])
    assert bench.dropped("unanswered") == 1


def test_refusals_are_complained_about_once_a_minute(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.api.errors = [Forbidden("the namespace is being terminated")] * 3

    with caplog.at_level(logging.WARNING):
        bench.tell(troubled("1"), troubled("2"))
        until(lambda: bench.dropped("refused") == 2)
        bench.clock.seconds += 60
        bench.tell(troubled("3"))
        until(lambda: bench.dropped("refused") == 3)

    assert caplog.text.count("Event was not delivered") == 2


def test_flood_about_one_object_is_dammed(bench: Bench) -> None:
    for number in range(BURST + 5):
        bench.tell(troubled(str(number)))

    until(lambda: bench.dropped("spam") == 5)

    assert len(bench.api.events) == BURST


def test_full_queue_drops_the_oldest() -> None:
    bench = Bench(queued=3)

    for number in range(5):
        bench.tell(troubled(str(number)))
    bench.recorder.start()
    until(lambda: len(bench.api.events) == 3)

    assert bench.recorder.stop(DEADLINE_SECONDS)
    assert bench.dropped("overflow") == 2
    assert [event["message"][-1] for event in bench.api.events.values()] == ["2", "3", "4"]


def test_stop_delivers_what_is_queued() -> None:
    bench = Bench()
    bench.tell(lives.created(), lives.made(), troubled())

    bench.recorder.start()
    ended = bench.recorder.stop(DEADLINE_SECONDS)

    assert ended
    assert len(bench.api.events) == 3
    assert not bench.recorder.alive


def test_stop_does_not_wait_for_a_server_that_hangs() -> None:
    bench = Bench()
    bench.api.gate.clear()
    bench.tell(troubled("1"), troubled("2"))
    bench.recorder.start()

    ended = bench.recorder.stop(0.01)

    assert not ended
    assert (bench.dropped("stopped") or 0) >= 1
    bench.api.gate.set()
    until(lambda: not bench.recorder.alive)


def test_append_never_waits_for_delivery(bench: Bench) -> None:
    bench.api.gate.clear()

    for number in range(100):
        bench.tell(troubled(str(number)))

    assert bench.api.events == {}


# --- correlation ------------------------------------------------------------------------------------


def test_bucket_refills_one_in_five_minutes() -> None:
    correlator = Correlator()

    at_once = [correlator.allows("w", 0.0) for _ in range(BURST + 1)]
    soon, later, again = (
        correlator.allows("w", at) for at in (REFILL_SECONDS - 1, REFILL_SECONDS, REFILL_SECONDS)
    )

    assert at_once == [True] * BURST + [False]
    assert (soon, later, again) == (False, True, False)
    assert correlator.allows("another", 0.0)


def test_what_was_used_last_is_kept() -> None:
    latest: Latest[int] = Latest(2)
    put: Callable[[str, int], None] = latest.put

    put("a", 1)
    put("b", 2)
    latest.get("a")
    put("c", 3)

    assert (latest.get("a"), latest.get("b"), latest.get("c"), len(latest)) == (1, None, 3, 2)


def test_what_was_told_long_ago_is_forgotten() -> None:
    latest: Latest[float] = Latest()
    for at in (1.0, 2.0, 3.0):
        latest.put(str(at), at)
    latest.get("1.0")

    latest.forget_oldest(lambda at: at < 3)

    assert (latest.get("1.0"), latest.get("2.0"), latest.get("3.0")) == (1.0, None, 3.0)


def test_correlator_keeps_only_what_still_counts() -> None:
    """An operator that lives for months is not to remember every Workspace there was."""
    correlator = Correlator()

    for life in range(100):
        now = life * REPEAT_SECONDS / 10
        correlator.allows(life, now)
        correlator.sent(life, f"event-{life}", 1, now)

    assert len(correlator) == 10 + 100


def test_full_bucket_is_as_good_as_none() -> None:
    correlator = Correlator()

    correlator.allows("w", 0.0)
    correlator.allows("another", BURST * REFILL_SECONDS)

    assert len(correlator) == 1
