"""The reflector: each duty of a client's list and watch as one example, then a walk against a model server.

The duties are those of client-go's reflector; the number stands in front of each group.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kaito.runtime import reflector as reflector_module
from kaito.runtime.cache import Added, Change, Deleted, ObjectStore, Progressed, Replaced, Updated
from kaito.runtime.ports import (
    ApiError,
    Forbidden,
    Gone,
    Object,
    Page,
    Throttled,
    Unavailable,
    WatchNotification,
)
from kaito.runtime.reflector import List, Reflector, Wait, Watch, error_of_status


def an_object(name: str = "a", version: int = 1, uid: str = "") -> Object:
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}}


def a_page(*items: Object, version: int = 10, continue_: str = "") -> Page:
    return Page(list(items), str(version), continue_)


def a_notification(type_: str, version: int, name: str = "a") -> WatchNotification:
    return WatchNotification(type_, an_object(name, version))


def an_error_notification(code: int, reason: str, **details: Any) -> WatchNotification:
    status = {"kind": "Status", "code": code, "reason": reason, "message": reason, "details": details}
    return WatchNotification("ERROR", status)


def an_api_error(code: int, message: str = "refused") -> ApiError:
    error = ApiError(message)
    error.code = code
    return error


TOO_LARGE = an_api_error(504, "Too large resource version: 10, current: 5")
UNAUTHORIZED = an_api_error(401)


def a_reflector() -> Reflector:
    return Reflector(Random("reflector"))


def a_watching_reflector(version: int = 10, now: float = 0.0) -> Reflector:
    """Listed at ``version``, its watch begun at ``now``."""
    reflector = a_reflector()
    reflector.next_action(now)
    reflector.on_list_page(a_page(version=version), now)
    assert isinstance(reflector.next_action(now), Watch)
    return reflector


def after_wait(reflector: Reflector, now: float) -> tuple[float, List | Watch]:
    """The time at which the wait that is due now is over, and what follows it."""
    action = reflector.next_action(now)
    assert isinstance(action, Wait)
    assert action.until > now
    following = past_probe(reflector, action.until)
    assert not isinstance(following, Wait)
    return action.until, following


def past_probe(reflector: Reflector, now: float, version: int | None = None) -> List | Watch | Wait:
    """What comes next once the server has said, if asked, which resourceVersion it has reached."""
    action = reflector.next_action(now)
    if isinstance(action, List) and action.limit == reflector_module.PROBE_LIMIT:
        reached = int(reflector.resource_version) if version is None else version
        reflector.on_list_page(a_page(an_object("any"), version=reached, continue_="more"), now)
    return reflector.next_action(now)


def requested(action: object) -> tuple[str, int, str]:
    assert isinstance(action, List)
    return action.resource_version, action.limit, action.continue_


# --- 1: the first list ------------------------------------------------------------------------------


def test_first_list_may_come_from_any_cache() -> None:
    assert requested(a_reflector().next_action(0.0)) == ("0", 500, "")


def test_pages_are_gathered_into_one_list() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)

    first = reflector.on_list_page(a_page(an_object("a"), version=10, continue_="more"), 0.0)
    second = reflector.next_action(0.0)
    deltas = reflector.on_list_page(a_page(an_object("b"), version=10), 0.0)

    assert first == ()
    assert requested(second) == ("", 500, "more")
    assert deltas == (Replaced((an_object("a"), an_object("b")), "10"),)
    assert reflector.lists == 1


@pytest.mark.parametrize(("continue_", "limit"), [("", 0), ("more", 500)], ids=["cached", "uncached"])
def test_relist_is_paged_only_without_watch_cache(continue_: str, limit: int) -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object(), continue_=continue_), 0.0)
    if continue_:
        reflector.next_action(0.0)
        reflector.on_list_page(a_page(), 0.0)
    reflector.next_action(0.0)
    reflector.on_watch_ended(0.0, Gone("expired"))

    _, relist = after_wait(reflector, 0.0)

    assert requested(relist) == ("10", limit, "")


def test_paged_list_of_newest_changes_no_habit() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_watch_ended(0.0, TOO_LARGE)
    now, _ = after_wait(reflector, 0.0)
    reflector.on_list_page(a_page(an_object("a"), version=20, continue_="more"), now)
    reflector.next_action(now)
    reflector.on_list_page(a_page(an_object("b"), version=20), now)
    reflector.next_action(now)

    reflector.on_watch_ended(now, Gone("expired"))

    assert requested(after_wait(reflector, now)[1]) == ("20", 0, "")


# --- 2: the watch -----------------------------------------------------------------------------------


def test_watch_follows_list_without_gap() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(version=17), 0.0)

    watch = reflector.next_action(0.0)

    assert isinstance(watch, Watch)
    assert (watch.resource_version, watch.bookmarks) == ("17", True)


def test_watch_timeouts_spread_over_five_to_ten_minutes() -> None:
    reflector, timeouts = a_watching_reflector(), []
    for round_ in range(200):
        watch = reflector.next_action(60.0 * round_)
        assert isinstance(watch, Watch)
        timeouts.append(watch.timeout_seconds)
        reflector.on_watch_ended(60.0 * round_ + 30.0)

    assert 300 <= min(timeouts) < 310
    assert 590 < max(timeouts) <= 600


def test_action_stays_until_something_is_fed() -> None:
    reflector = a_watching_reflector()

    first = reflector.next_action(1.0)
    reflector.on_notifications([a_notification("ADDED", 11)], 2.0)

    assert reflector.next_action(3.0) == first


def test_next_watch_differs_from_the_last() -> None:
    reflector = a_watching_reflector()
    first = reflector.next_action(1.0)

    reflector.on_watch_ended(300.0)

    second = reflector.next_action(300.0)
    assert isinstance(second, Watch)
    assert second.attempt != first.attempt  # type: ignore[union-attr] # a Watch, see above


# --- 3: 410 -----------------------------------------------------------------------------------------


def test_gone_watch_relists_at_last_version() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_notifications([a_notification("ADDED", 25)], 1.0)

    reflector.on_watch_ended(2.0, Gone("too old resource version"))

    assert requested(after_wait(reflector, 2.0)[1])[0] == "25"


@pytest.mark.parametrize(("code", "reason"), [(410, "Expired"), (410, "Gone"), (0, "Expired")])
def test_gone_notification_relists_at_last_version(code: int, reason: str) -> None:
    reflector = a_watching_reflector(version=10)
    notifications = [
        a_notification("ADDED", 25),
        an_error_notification(code, reason),
        a_notification("ADDED", 99),
    ]

    deltas = reflector.on_notifications(notifications, 1.0)

    assert deltas == (Added(an_object("a", 25)),)
    assert requested(after_wait(reflector, 1.0)[1])[0] == "25"


@pytest.mark.parametrize("error", [Gone("expired"), TOO_LARGE], ids=["gone", "too large"])
def test_unservable_relist_asks_for_newest(error: ApiError) -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_watch_ended(2.0, Gone("expired"))
    now, _ = after_wait(reflector, 2.0)

    reflector.on_list_error(error, now)

    assert requested(reflector.next_action(now)) == ("", 500, "")


def test_newest_list_refused_too_waits() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_error(TOO_LARGE, 0.0)
    reflector.next_action(0.0)

    reflector.on_list_error(TOO_LARGE, 0.0)

    assert requested(after_wait(reflector, 0.0)[1]) == ("", 500, "")


def test_version_too_large_on_watch_asks_for_newest() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0, TOO_LARGE)

    assert requested(after_wait(reflector, 1.0)[1])[0] == ""


def test_relist_returns_to_cached_lists_after_success() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_watch_ended(2.0, TOO_LARGE)
    now, _ = after_wait(reflector, 2.0)
    reflector.on_list_page(a_page(version=30), now)
    reflector.next_action(now)

    reflector.on_watch_ended(now, Gone("expired"))

    assert requested(after_wait(reflector, now)[1])[0] == "30"


# --- 4: an expired continue token -------------------------------------------------------------------


def test_expired_continue_restarts_in_one_page() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("old"), version=10, continue_="more"), 0.0)
    reflector.next_action(0.0)

    reflector.on_list_error(Gone("continue token expired"), 0.0)

    assert requested(reflector.next_action(0.0)) == ("0", 0, "")
    deltas = reflector.on_list_page(a_page(an_object("new", 12), version=20), 0.0)
    assert deltas == (Replaced((an_object("new", 12),), "20"),)


def test_two_snapshots_are_never_mixed() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("old"), version=10, continue_="more"), 0.0)
    reflector.next_action(0.0)

    deltas = reflector.on_list_page(a_page(an_object("new"), version=20), 0.0)

    assert deltas == ()
    assert reflector.resource_version == ""
    assert requested(reflector.next_action(0.0)) == ("0", 0, "")


def test_later_lists_are_paged_again() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("old"), continue_="more"), 0.0)
    reflector.next_action(0.0)
    reflector.on_list_error(Gone("continue token expired"), 0.0)
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(version=20), 0.0)
    reflector.next_action(0.0)

    reflector.on_watch_ended(0.0, TOO_LARGE)

    assert requested(after_wait(reflector, 0.0)[1]) == ("", 500, "")


def test_list_expiring_again_and_again_waits() -> None:
    reflector = a_reflector()
    for _ in range(2):
        reflector.next_action(0.0)
        reflector.on_list_page(a_page(an_object(), continue_="more"), 0.0)
        reflector.next_action(0.0)
        reflector.on_list_error(Gone("continue token expired"), 0.0)

    after_wait(reflector, 0.0)


# --- 5: an API server that is away ------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [Throttled("slow down"), Unavailable("no route"), ConnectionRefusedError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_refused_watch_is_repeated_without_list(error: Exception) -> None:
    reflector, now = a_watching_reflector(version=10), 0.0

    for _ in range(5):
        reflector.on_watch_ended(now, error)
        now, action = after_wait(reflector, now)
        assert isinstance(action, Watch)
        assert action.resource_version == "10"

    assert reflector.lists == 1


def test_throttling_notification_repeats_watch() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_notifications([an_error_notification(429, "TooManyRequests", retryAfterSeconds=9)], 1.0)

    now, action = after_wait(reflector, 1.0)
    assert now == 10.0
    assert isinstance(action, Watch)


@pytest.mark.parametrize("error", [Forbidden("no"), an_api_error(404), RuntimeError("broken")])
def test_final_watch_error_lists_again(error: Exception) -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0, error)

    assert requested(after_wait(reflector, 1.0)[1])[0] == "10"


# --- 6: backoff -------------------------------------------------------------------------------------


def test_failing_lists_back_off_to_cap() -> None:
    reflector, now, waits = a_reflector(), 0.0, []

    for _ in range(8):
        reflector.next_action(now)
        reflector.on_list_error(Unavailable("away"), now)
        until, _ = after_wait(reflector, now)
        waits.append(until - now)
        now = until

    bases = [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert all(base <= wait < 2 * base for base, wait in zip(bases, waits, strict=True))


def test_backoff_starts_over_after_healthy_watch() -> None:
    reflector, now = a_watching_reflector(), 0.0
    for _ in range(7):
        reflector.on_watch_ended(now, Unavailable("away"))
        now, _ = after_wait(reflector, now)

    reflector.on_notifications([a_notification("ADDED", 11)], now + 60.0)
    reflector.on_watch_ended(now + 121.0, Unavailable("away"))

    assert after_wait(reflector, now + 121.0)[0] < now + 121.0 + 1.6


def test_internal_errors_are_watched_through_one_minute() -> None:
    reflector, now, versions = a_watching_reflector(version=10), 0.0, []

    while True:
        reflector.on_watch_ended(now, ApiError("etcd leader changed"))
        now, action = after_wait(reflector, now)
        if isinstance(action, List):
            break
        versions.append(action.resource_version)

    assert now > 60.0
    assert len(versions) >= 4
    assert set(versions) == {"10"}


@pytest.mark.parametrize("sign", ["news", "long watch", "other error"])
def test_minute_of_internal_errors_must_be_unbroken(sign: str) -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_watch_ended(0.0, ApiError("internal"))
    now, _ = after_wait(reflector, 0.0)
    if sign == "news":
        reflector.on_notifications([a_notification("ADDED", 11)], now + 50.0)
    else:
        reflector.on_watch_ended(now + 50.0, None if sign == "long watch" else Unavailable("away"))
        past_probe(reflector, now + 60.0)

    reflector.on_watch_ended(now + 100.0, ApiError("internal"))

    assert isinstance(after_wait(reflector, now + 100.0)[1], Watch)


@pytest.mark.parametrize(
    "error", [Unavailable("away"), Throttled("slow"), ApiError("internal"), UNAUTHORIZED], ids=str
)
def test_interrupted_list_repeats_the_same_page(error: Exception) -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("a"), continue_="more"), 0.0)
    reflector.next_action(0.0)

    reflector.on_list_error(error, 0.0)

    now, action = after_wait(reflector, 0.0)
    assert requested(action) == ("", 500, "more")
    assert reflector.on_list_page(a_page(an_object("b")), now) == (
        Replaced((an_object("a"), an_object("b")), "10"),
    )


def test_refused_page_restarts_the_list() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("a"), continue_="more"), 0.0)
    reflector.next_action(0.0)

    reflector.on_list_error(an_api_error(400, "invalid continue token"), 0.0)

    now, action = after_wait(reflector, 0.0)
    assert requested(action) == ("0", 500, "")
    assert reflector.on_list_page(a_page(an_object("b")), now) == (Replaced((an_object("b"),), "10"),)


# --- 7: very short watches --------------------------------------------------------------------------


def test_short_watch_without_news_is_failure() -> None:
    reflector = a_watching_reflector(version=10, now=5.0)

    reflector.on_watch_ended(5.9)

    assert requested(after_wait(reflector, 5.9)[1])[0] == "10"
    assert "without anything new" in reflector.last_error


def test_short_watch_of_duplicates_is_failure() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_notifications([a_notification("ADDED", 9), a_notification("BOOKMARK", 10)], 0.1)

    reflector.on_watch_ended(0.2)

    after_wait(reflector, 0.2)


def test_short_watch_with_news_continues_at_once() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_notifications([a_notification("ADDED", 11)], 0.1)

    reflector.on_watch_ended(0.2)

    action = reflector.next_action(0.2)
    assert isinstance(action, Watch)
    assert action.resource_version == "11"


def test_long_watch_without_news_continues_at_once() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0)

    assert isinstance(reflector.next_action(1.0), Watch)


# --- 8: bookkeeping of the resource version ---------------------------------------------------------


def test_events_and_bookmarks_advance_the_version() -> None:
    reflector, versions = a_watching_reflector(version=10), []

    for notification in (
        a_notification("ADDED", 11),
        a_notification("MODIFIED", 12),
        a_notification("BOOKMARK", 15),
        a_notification("DELETED", 20),
        a_notification("MODIFIED", 13),
    ):
        reflector.on_notifications([notification], 1.0)
        versions.append(reflector.resource_version)

    assert versions == ["11", "12", "15", "20", "20"]


def test_object_leaving_selector_carries_newer_version() -> None:
    reflector, store = a_watching_reflector(version=10), ObjectStore()
    store.apply(Replaced((an_object("a", 5),), "10"))

    (delta,) = reflector.on_notifications([a_notification("DELETED", 30)], 1.0)
    changes = store.apply(delta)

    assert delta == Deleted(an_object("a", 30))
    assert changes == (Change(("", "a"), an_object("a", 5), None),)
    assert (reflector.resource_version, store.resource_version) == ("30", "30")


def test_notifications_become_deltas_in_order() -> None:
    reflector = a_watching_reflector(version=10)
    notifications = [a_notification(type_, 11) for type_ in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")]

    deltas = reflector.on_notifications(notifications, 1.0)

    object_ = an_object("a", 11)
    assert deltas == (Added(object_), Updated(object_), Deleted(object_), Progressed("11"))


@pytest.mark.parametrize("version", ["", "0", "garbage"])
def test_watch_never_starts_from_unspecific_version(version: str) -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)

    deltas = reflector.on_list_page(Page([], version), 0.0)

    assert deltas == ()
    assert requested(after_wait(reflector, 0.0)[1]) == ("0", 500, "")


# --- 9: deletions that were missed ------------------------------------------------------------------


def test_relist_leaves_tombstones_for_vanished_keys() -> None:
    reflector, store = a_reflector(), ObjectStore()
    reflector.next_action(0.0)
    for delta in reflector.on_list_page(a_page(an_object("a", 4), an_object("b", 5)), 0.0):
        store.apply(delta)
    reflector.next_action(0.0)
    reflector.on_watch_ended(1.0, Gone("expired"))
    now, _ = after_wait(reflector, 1.0)

    (delta,) = reflector.on_list_page(a_page(an_object("b", 5), version=20), now)

    assert store.apply(delta) == (Change(("", "a"), an_object("a", 4), None, tombstone=True),)


# --- 10: half-open connections ----------------------------------------------------------------------


def test_silent_watch_is_noticed_within_seventy_seconds() -> None:
    reflector = a_watching_reflector(version=10)
    first = reflector.next_action(0.0)

    assert reflector.next_wake() == 70.0
    assert reflector.on_tick(69.9) is False
    assert reflector.next_action(69.9) == first
    assert reflector.on_tick(70.0) is True
    second = past_probe(reflector, 70.0)
    assert isinstance(second, Watch)
    assert second != first
    assert second.resource_version == "10"
    assert reflector.silent_watches == 1


@given(now_ns=st.integers(0, 10**15), seed=st.integers())
def test_announced_times_stand_on_a_nanosecond_clock(now_ns: int, seed: int) -> None:
    """A clock of integer nanoseconds, woken at the announced time, finds the wait or the deadline over."""
    reflector, now = Reflector(Random(seed)), now_ns / 10**9
    reflector.next_action(now)
    reflector.on_list_error(Unavailable("away"), now)
    wait = reflector.next_wake()
    assert wait is not None

    now_ns += round((wait - now) * 10**9)
    now = now_ns / 10**9

    assert isinstance(reflector.next_action(now), List)
    reflector.on_list_page(a_page(), now)
    reflector.next_action(now)
    deadline = reflector.next_wake()
    assert deadline is not None
    assert reflector.on_tick((now_ns + round((deadline - now) * 10**9)) / 10**9) is True


def test_bookmarks_keep_a_quiet_watch_alive() -> None:
    reflector = a_watching_reflector(version=10)

    for minute in range(1, 6):
        reflector.on_notifications([a_notification("BOOKMARK", 10)], 60.0 * minute)
        assert reflector.on_tick(60.0 * minute + 59.0) is False

    assert reflector.next_wake() == 370.0


def test_second_silent_watch_leads_to_list() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_tick(70.0)
    past_probe(reflector, 70.0)

    reflector.on_tick(140.0)

    assert requested(reflector.next_action(140.0))[0] == "10"


def test_read_deadline_starts_with_each_watch() -> None:
    reflector = a_watching_reflector(now=5.0)
    first = reflector.next_wake()

    reflector.on_watch_ended(50.0)
    reflector.next_action(50.0)

    assert (first, reflector.next_wake()) == (75.0, 120.0)


def test_list_forgives_silent_watches() -> None:
    reflector = a_watching_reflector(version=10)
    for now in (70.0, 140.0):
        reflector.on_tick(now)
        past_probe(reflector, now)
    reflector.on_list_page(a_page(version=10), 140.0)
    reflector.next_action(140.0)

    reflector.on_tick(210.0)

    assert isinstance(past_probe(reflector, 210.0), Watch)


def test_sign_of_life_forgives_a_silent_watch() -> None:
    reflector = a_watching_reflector(version=10)
    reflector.on_tick(70.0)
    past_probe(reflector, 70.0)
    reflector.on_notifications([a_notification("BOOKMARK", 10)], 80.0)

    reflector.on_tick(150.0)

    assert isinstance(past_probe(reflector, 150.0), Watch)


def test_tick_leaves_lists_and_waits_alone() -> None:
    reflector = a_reflector()
    listing = reflector.next_action(0.0)
    assert reflector.on_tick(1000.0) is False
    assert (reflector.next_action(1000.0), reflector.next_wake()) == (listing, None)

    reflector.on_list_error(Unavailable("away"), 1000.0)

    waiting = reflector.next_action(1000.0)
    assert reflector.on_tick(1000.0) is False
    assert isinstance(waiting, Wait)
    assert reflector.next_wake() == waiting.until


# --- 11: Retry-After --------------------------------------------------------------------------------


def test_retry_after_is_honoured_in_lists() -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)

    reflector.on_list_error(Throttled("slow down", retry_after_seconds=44.0), 0.0)

    assert after_wait(reflector, 0.0)[0] == 44.0


def test_retry_after_is_honoured_in_watches() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0, Throttled("slow down", retry_after_seconds=44.0))

    assert after_wait(reflector, 1.0)[0] == 45.0


def test_short_retry_after_does_not_undercut_backoff() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0, Throttled("slow down", retry_after_seconds=0.0))

    assert after_wait(reflector, 1.0)[0] >= 1.8


# --- 12: expired tokens -----------------------------------------------------------------------------


def test_expired_token_repeats_watch_without_list() -> None:
    reflector = a_watching_reflector(version=10)

    reflector.on_watch_ended(1.0, UNAUTHORIZED)

    action = after_wait(reflector, 1.0)[1]
    assert isinstance(action, Watch)
    assert action.resource_version == "10"


# --- 13: comparing versions, and a storage restored from backup -------------------------------------


@pytest.mark.parametrize("trouble", ["broken", "silent"])
def test_server_that_fell_behind_is_listed_before_it_is_watched(trouble: str) -> None:
    reflector = a_watching_reflector(version=100)
    if trouble == "broken":
        reflector.on_watch_ended(70.0, ConnectionResetError())
    else:
        reflector.on_tick(70.0)

    action = past_probe(reflector, 80.0, version=60)

    assert requested(action) == ("", 500, "")
    (replaced,) = reflector.on_list_page(a_page(version=61), 80.0)
    assert isinstance(replaced, Replaced)
    assert replaced.rewound
    assert reflector.rewinds == 1


def test_server_is_asked_again_until_it_says_where_it_is() -> None:
    reflector = a_watching_reflector(version=100)
    reflector.on_watch_ended(0.0, Unavailable("away"))
    probe = reflector.next_action(2.0)

    reflector.on_list_error(Unavailable("away"), 2.0)

    assert isinstance(reflector.next_action(2.0), Wait)
    assert requested(reflector.next_action(10.0)) == requested(probe) == ("", 1, "")


def test_versions_are_numbers_not_texts() -> None:
    reflector = a_watching_reflector(version=99)

    reflector.on_notifications([a_notification("ADDED", 100)], 1.0)

    assert reflector.resource_version == "100"


@pytest.mark.parametrize(
    "notification",
    [
        WatchNotification("ADDED", {"metadata": {"name": "a", "resourceVersion": "0"}}),
        WatchNotification("ADDED", {"metadata": {"name": "a"}}),
        WatchNotification("MODIFIED", {"metadata": {"resourceVersion": "11"}}),
        WatchNotification("RENAMED", an_object("a", 11)),
        WatchNotification("BOOKMARK", {}),
    ],
    ids=["version 0", "no version", "no name", "unknown type", "empty bookmark"],
)
def test_notification_that_cannot_be_read_relists(notification: WatchNotification) -> None:
    reflector = a_watching_reflector(version=10)

    deltas = reflector.on_notifications([notification, a_notification("ADDED", 12)], 1.0)

    assert deltas == ()
    assert requested(after_wait(reflector, 1.0)[1])[0] == "10"


@pytest.mark.parametrize("item", [{}, {"metadata": {"name": "a"}}, {"metadata": {"resourceVersion": "3"}}])
def test_page_that_cannot_be_read_restarts_list(item: Object) -> None:
    reflector = a_reflector()
    reflector.next_action(0.0)
    reflector.on_list_page(a_page(an_object("a"), continue_="more"), 0.0)
    reflector.next_action(0.0)

    deltas = reflector.on_list_page(a_page(item), 0.0)

    assert deltas == ()
    assert requested(after_wait(reflector, 0.0)[1]) == ("0", 500, "")


def test_restored_storage_is_full_resync_and_reported() -> None:
    reflector = a_watching_reflector(version=100)
    reflector.on_watch_ended(1.0, TOO_LARGE)
    now, _ = after_wait(reflector, 1.0)

    (delta,) = reflector.on_list_page(a_page(an_object("a", 40), version=50), now)

    assert delta == Replaced((an_object("a", 40),), "50", rewound=True)
    assert reflector.rewinds == 1
    watch = reflector.next_action(now)
    assert isinstance(watch, Watch)
    assert watch.resource_version == "50"


# --- what is fed too late ---------------------------------------------------------------------------


def test_answers_to_nothing_asked_are_ignored() -> None:
    reflector = a_reflector()
    assert reflector.on_list_page(a_page(), 0.0) == ()
    reflector.on_watch_ended(0.0, Gone("expired"))
    assert reflector.on_notifications([a_notification("ADDED", 5)], 0.0) == ()

    watching = a_watching_reflector(version=10)
    before = watching.next_action(1.0)
    assert watching.on_list_page(a_page(version=99), 1.0) == ()
    watching.on_list_error(Gone("expired"), 1.0)

    assert requested(reflector.next_action(0.0)) == ("0", 500, "")
    assert watching.next_action(1.0) == before


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ({"code": 410, "reason": "Expired"}, Gone, 410),
        ({"code": 429, "reason": "TooManyRequests"}, Throttled, 429),
        ({"code": 503, "reason": "ServiceUnavailable"}, Unavailable, 503),
        ({"code": 500, "reason": "InternalError"}, ApiError, 500),
        ({"code": 504, "reason": "Timeout"}, ApiError, 504),
        ({}, ApiError, 500),
    ],
)
def test_status_becomes_matching_error(status: Object, kind: type[ApiError], code: int) -> None:
    error = error_of_status(status)

    assert type(error) is kind
    assert error.code == code
    assert error.reason == status.get("reason", "InternalError")


# --- a walk against a model server ------------------------------------------------------------------

NAMES = st.sampled_from("abcd")


class ModelServer:
    """A store with history: every revision's objects, the notifications since, and what was compacted."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 1
        self.serial = 0
        self.states: dict[int, dict[str, Object]] = {1: {}}
        self.log: list[tuple[int, WatchNotification]] = []
        self.written: list[Object] = []

    @property
    def objects(self) -> dict[str, Object]:
        return self.states[self.revision]

    def write(self, name: str, *, delete: bool) -> None:
        """Create, change or delete ``name``, whichever its state allows."""
        old = self.objects.get(name)
        if delete and old is None:
            return
        self.revision += 1
        self.serial += 1
        uid = old["metadata"]["uid"] if old else f"uid-{self.serial}"
        new = an_object(name, self.revision, uid)
        new["spec"] = self.serial
        state = dict(self.states[self.revision - 1])
        if delete:
            del state[name]
        else:
            state[name] = new
            self.written.append(new)
        self.states[self.revision] = state
        type_ = "DELETED" if delete else "MODIFIED" if old else "ADDED"
        self.log.append((self.revision, WatchNotification(type_, new)))

    def restore(self, revision: int) -> None:
        """Go back to an earlier revision, as from a backup; what came after never was."""
        self.revision = revision
        self.log = [entry for entry in self.log if entry[0] <= revision]

    def serve(self, request: List, lag: int, page_size: int) -> Page:
        """Serve rv="0" from a lagging cache, a version not older than asked for, rv="" from the newest."""
        if request.continue_:
            snapshot, start = map(int, request.continue_.split("/"))
            if snapshot < self.compacted or snapshot > self.revision:
                raise Gone("the provided continue parameter is too old")
        else:
            start = 0
            oldest = int(request.resource_version or self.revision)
            if oldest > self.revision:
                raise an_api_error(504, f"Too large resource version: {oldest}, current: {self.revision}")
            snapshot = max(oldest, self.compacted, self.revision - lag)
        items = [self.states[snapshot][name] for name in sorted(self.states[snapshot])]
        end = start + page_size if request.limit else len(items)
        return Page(items[start:end], str(snapshot), f"{snapshot}/{end}" if end < len(items) else "")

    def since(self, revision: int) -> list[WatchNotification]:
        if revision < self.compacted:
            raise Gone("too old resource version")
        return [notification for at, notification in self.log if at > revision]


class ReflectorAgainstServer(RuleBasedStateMachine):
    """Writes, compaction, cut, silent and repeating streams, restored storage; then peace, and equality."""

    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer()
        self.reflector = Reflector(Random("walk"), page_limit=2)
        self.store = ObjectStore()
        self.now = 0.0
        self.stream: Watch | None = None
        self.delivered = 0
        self.known: dict[tuple[str, str], Object] = {}

    def take(self, deltas: tuple[Any, ...]) -> None:
        """Apply, and hold every change against what was known of the key before: a legal history."""
        for delta in deltas:
            rewound = isinstance(delta, Replaced) and delta.rewound
            for change in self.store.apply(delta):
                assert change.old is self.known.pop(change.key, None)
                assert change.old is not None or change.new is not None
                if change.new is not None:
                    assert any(change.new is object_ for object_ in self.server.written)
                    self.known[change.key] = change.new
                if change.old is not None and change.new is not None:
                    old, new = change.old["metadata"], change.new["metadata"]
                    assert old["uid"] == new["uid"]
                    assert rewound or int(old["resourceVersion"]) < int(new["resourceVersion"])

    def turn(self, lag: int = 0, count: int = 100) -> None:
        """One step of a driver: do the action, or let the open stream deliver up to ``count``."""
        action = self.reflector.next_action(self.now)
        if isinstance(action, Wait):
            self.now = action.until
        elif isinstance(action, List):
            self.do_list(action, lag)
        else:
            self.do_watch(action, count)

    def do_list(self, request: List, lag: int) -> None:
        try:
            page = self.server.serve(request, lag, page_size=2)
        except ApiError as error:
            self.reflector.on_list_error(error, self.now)
        else:
            self.take(self.reflector.on_list_page(page, self.now))

    def do_watch(self, request: Watch, count: int) -> None:
        if request != self.stream:
            self.stream, self.delivered = request, int(request.resource_version)
        try:
            coming = self.server.since(self.delivered)[:count]
        except Gone as error:
            self.reflector.on_watch_ended(self.now, error)
        else:
            if coming:
                self.delivered = int(coming[-1].object["metadata"]["resourceVersion"])
            self.take(self.reflector.on_notifications(coming, self.now))

    @rule(name=NAMES, delete=st.booleans())
    def write(self, name: str, delete: bool) -> None:
        self.server.write(name, delete=delete)

    @rule(lag=st.integers(0, 5), count=st.integers(1, 3))
    def drive(self, lag: int, count: int) -> None:
        self.turn(lag, count)

    @rule(name=NAMES)
    def recreate_unseen(self, name: str) -> None:
        self.server.write(name, delete=False)
        self.server.write(name, delete=True)
        self.server.write(name, delete=False)

    @rule()
    def compact(self) -> None:
        self.server.compacted = self.server.revision

    @rule(seconds=st.sampled_from([0.1, 2.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.reflector.on_tick(self.now)

    @rule(
        error=st.sampled_from(
            [
                None,
                Gone("expired"),
                Throttled("slow", retry_after_seconds=3.0),
                Unavailable("away"),
                ApiError("internal"),
                Forbidden("not yet"),
                ConnectionResetError(),
            ]
        )
    )
    def cut(self, error: Exception | None) -> None:
        """End the stream, or fail the list, whichever is under way; some notifications never arrive."""
        self.reflector.on_list_error(error or Unavailable("away"), self.now)
        self.reflector.on_watch_ended(self.now, error)

    @precondition(lambda self: self.server.log)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        """Notifications that the stream, or the list, had brought already come once more."""
        seen = int(self.reflector.resource_version or "0")
        old = [notification for at, notification in self.server.log if at <= seen]
        if old:
            picked = data.draw(st.lists(st.sampled_from(old), max_size=4))
            self.take(self.reflector.on_notifications(picked, self.now))

    @precondition(lambda self: self.server.revision > self.server.compacted)
    @rule(data=st.data())
    def restore_from_backup(self, data: st.DataObject) -> None:
        """The storage goes back; nobody writes until the reflector has noticed by itself.

        A storage that overtakes the old resourceVersions unseen is beyond any client.
        """
        self.server.restore(data.draw(st.integers(self.server.compacted, self.server.revision - 1)))
        self.settle()

    def settle(self) -> None:
        """Peace: streams are open for as long as two silent watches take, with bookmarks on live ones."""
        for _ in range(40):
            self.turn()
            self.now += 30.0
            self.reflector.on_tick(self.now)
            if int(self.reflector.resource_version or "0") <= self.server.revision:
                bookmark = WatchNotification("BOOKMARK", an_object("", self.server.revision))
                if self.stream == self.reflector.next_action(self.now):
                    self.turn()
                    self.take(self.reflector.on_notifications([bookmark], self.now))
        self.assert_equal()

    def assert_equal(self) -> None:
        listed = [self.server.objects[name] for name in sorted(self.server.objects)]
        assert self.store.objects() == listed
        assert self.store.synced
        assert self.store.resource_version == self.reflector.resource_version == str(self.server.revision)
        assert [self.known[key] for key in sorted(self.known)] == listed

    def teardown(self) -> None:
        self.settle()


TestReflectorAgainstServer = ReflectorAgainstServer.TestCase
TestReflectorAgainstServer.settings = settings(stateful_step_count=60)
