"""A watch over a socket: every notification once and in order, and every end told apart."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaito.kube import watching
from kaito.kube.client import KubeClient
from kaito.runtime.ports import (
    PODS,
    WORKSPACES,
    ApiError,
    Gone,
    Object,
    Throttled,
    Unavailable,
    WatchNotification,
)
from tests.kaito.kube.loopback import RESET, Loopback, Stream

LONG = 10.0
"""Seconds that no test waits unless it fails."""


def a_pod(name: str = "p", version: str = "2") -> Object:
    return {"kind": "Pod", "metadata": {"name": name, "resourceVersion": version}}


def a_line(type_: str, name: str) -> bytes:
    return b'{"type":"%s","object":{"metadata":{"name":"%s"}}}\n' % (type_.encode(), name.encode())


def names(notifications: list[WatchNotification] | None) -> list[str]:
    return [each.object["metadata"]["name"] for each in notifications or ()]


@pytest.fixture
def stream(server: Loopback) -> Stream:
    return server.streams()


@pytest.fixture
def watch(stream: Stream, client: KubeClient) -> Iterator[watching.HttpWatch]:
    with closing(client.open_watch(PODS, resource_version="1")) as opened:
        yield opened


def read_up_to(watch: watching.HttpWatch, count: int) -> list[WatchNotification]:
    found: list[WatchNotification] = []
    while len(found) < count:
        came = watch.read(LONG)
        assert came, f"only {len(found)} of {count} came"
        found += came
    return found


def test_request_asks_for_a_watch(server: Loopback, client: KubeClient) -> None:
    server.streams().end()

    with closing(
        client.open_watch(
            WORKSPACES, "ns", label_selector="a=b", resource_version="7", timeout_seconds=321, bookmarks=True
        )
    ):
        pass

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/apis/kaito.sh/v1alpha1/namespaces/ns/workspaces")
    assert asked.query == {
        "watch": "true",
        "labelSelector": "a=b",
        "resourceVersion": "7",
        "timeoutSeconds": "321",
        "allowWatchBookmarks": "true",
    }


def test_bookmarks_can_be_left_out(server: Loopback, client: KubeClient) -> None:
    server.streams().end()

    client.open_watch(PODS, bookmarks=False).close()

    assert server.asked[0].query == {"watch": "true", "timeoutSeconds": "300"}


def test_notifications_arrive_as_sent(watch: watching.HttpWatch, stream: Stream) -> None:
    sent = [
        ("ADDED", a_pod("a")),
        ("MODIFIED", a_pod("b")),
        ("DELETED", a_pod("c")),
        ("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "9"}}),
        ("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}),
    ]
    for type_, obj in sent:
        stream.send(type_, obj)

    assert [(each.type, each.object) for each in read_up_to(watch, 5)] == sent


def test_quiet_watch_can_be_read_again(watch: watching.HttpWatch, stream: Stream) -> None:
    assert watch.read(0.01) == []
    assert watch.read(0.01) == []

    stream.send("ADDED", a_pod("late"))

    assert names(watch.read(LONG)) == ["late"]


def test_end_by_the_server_is_none(watch: watching.HttpWatch, stream: Stream) -> None:
    stream.send("ADDED", a_pod())
    stream.end()

    assert names(watch.read(LONG)) == ["p"]
    assert watch.read(LONG) is None
    assert watch.read(LONG) is None


def test_cut_connection_is_an_error(watch: watching.HttpWatch, stream: Stream) -> None:
    stream.send("ADDED", a_pod())
    stream.cut()

    assert names(read_up_to(watch, 1)) == ["p"]
    for _ in range(2):
        with pytest.raises(Unavailable, match="connection broken"):
            watch.read(LONG)


def test_half_a_line_is_no_notification(watch: watching.HttpWatch, stream: Stream) -> None:
    stream.send_raw(a_line("ADDED", "whole") + a_line("ADDED", "half")[:20])
    stream.end()

    assert names(read_up_to(watch, 1)) == ["whole"]
    with pytest.raises(Unavailable, match="in the middle"):
        watch.read(LONG)


@pytest.mark.parametrize(
    "line", [b"<html>\n", b"[]\n", b'{"type":"ADDED"}\n', b'{"type":1,"object":{}}\n', b"\xff\n"]
)
def test_nonsense_ends_the_watch(watch: watching.HttpWatch, stream: Stream, line: bytes) -> None:
    stream.send_raw(a_line("ADDED", "before"))
    stream.send_raw(line + a_line("ADDED", "after"))

    assert names(read_up_to(watch, 1)) == ["before"]
    with pytest.raises(Unavailable, match="expected a JSON object"):
        watch.read(LONG)


REFUSALS = {
    "gone": (410, b'{"kind":"Status","reason":"Expired","message":"too old resource version"}', Gone),
    "throttled": (429, b"Too many requests, please try again later.", Throttled),
    "unavailable": (503, b"", Unavailable),
}


@pytest.mark.parametrize(("code", "body", "kind"), REFUSALS.values(), ids=REFUSALS)
def test_refused_watch_is_not_opened(
    server: Loopback, client: KubeClient, code: int, body: bytes, kind: type[ApiError]
) -> None:
    server.answers(code, body)
    threads_before = threading.active_count()

    with pytest.raises(kind):
        client.open_watch(PODS, resource_version="1")

    assert [each for each in threading.enumerate() if each.name.startswith("watch ")] == []
    assert threading.active_count() <= threads_before + 1  # the server's own for this connection


def test_watch_of_a_dead_server_is_unavailable(server: Loopback, client: KubeClient) -> None:
    server.breaks(RESET)

    with pytest.raises(Unavailable):
        client.open_watch(PODS)


def test_closing_wakes_a_reader(watch: watching.HttpWatch) -> None:
    found: list[object] = []
    reading = threading.Thread(target=lambda: found.append(watch.read(LONG * 10)))
    reading.start()

    watch.close()
    reading.join(LONG)

    assert found == [None]


def test_closed_watch_leaves_no_thread(server: Loopback, client: KubeClient) -> None:
    stream = server.streams()
    watch = client.open_watch(PODS)
    stream.send("ADDED", a_pod())

    watch.close()
    watch.close()

    assert watch.read(LONG) is None
    assert [each for each in threading.enumerate() if each.name.startswith("watch ")] == []


def test_ended_watch_leaves_no_thread(watch: watching.HttpWatch, stream: Stream) -> None:
    stream.end()

    assert watch.read(LONG) is None

    watch.close()
    assert [each for each in threading.enumerate() if each.name.startswith("watch ")] == []


def test_slow_driver_holds_the_server_back(
    server: Loopback, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_PENDING", 3)
    stream = server.streams()
    for number in range(50):
        stream.send("ADDED", a_pod(str(number)))
    stream.end()
    longest = 0
    found: list[str] = []

    with closing(client.open_watch(PODS)) as watch:
        while (came := watch.read(LONG)) is not None:
            longest = max(longest, len(came))
            found += names(came)

    assert found == [str(number) for number in range(50)]
    assert longest < 50


def test_full_watch_can_be_closed(
    server: Loopback, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_PENDING", 1)
    stream = server.streams()
    for number in range(10):
        stream.send("ADDED", a_pod(str(number)))
    watch = client.open_watch(PODS)

    watch.close()

    assert watch.read(LONG) is None
    assert [each for each in threading.enumerate() if each.name.startswith("watch ")] == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(cuts=st.lists(st.integers(0, 200), max_size=8), blank=st.booleans())
def test_lines_survive_any_chunks(server: Loopback, client: KubeClient, cuts: list[int], blank: bool) -> None:
    raw = b"".join(a_line("ADDED", name) + b"\n" * blank for name in ("a", "b", "ä", "d"))
    borders = [0, *sorted({cut for cut in cuts if 0 < cut < len(raw)}), len(raw)]
    server.reset()
    stream = server.streams()
    for start, stop in itertools.pairwise(borders):
        stream.send_raw(raw[start:stop])
    stream.end()
    found: list[str] = []

    with closing(client.open_watch(PODS)) as watch:
        while (came := watch.read(LONG)) is not None:
            found += names(came)

    assert found == ["a", "b", "ä", "d"]


def test_server_that_forgets_the_end_is_given_up(
    server: Loopback, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "GRACE_SECONDS", -0.9)
    server.streams()

    watch = client.open_watch(PODS, timeout_seconds=1)

    with closing(watch), pytest.raises(Unavailable, match="no answer in time"):
        watch.read(LONG)


def test_large_object_arrives_whole(watch: watching.HttpWatch, stream: Stream) -> None:
    stream.send("ADDED", {"metadata": {"name": "large"}, "data": "x" * 1_000_000})

    (found,) = read_up_to(watch, 1)

    assert len(found.object["data"]) == 1_000_000


def test_server_that_says_goodbye_is_read(server: Loopback, client: KubeClient) -> None:
    """A server that shuts down announces the end of the connection with the head."""
    stream = server.streams(Connection="close")
    stream.send("ADDED", a_pod())

    with closing(client.open_watch(PODS)) as watch:
        assert names(watch.read(LONG)) == ["p"]
        stream.cut()
        with pytest.raises(Unavailable):
            watch.read(LONG)


def test_open_watch_of_such_a_server_closes(server: Loopback, client: KubeClient) -> None:
    server.streams(Connection="close")
    watch = client.open_watch(PODS)

    watch.close()

    assert [each for each in threading.enumerate() if each.name.startswith("watch ")] == []
