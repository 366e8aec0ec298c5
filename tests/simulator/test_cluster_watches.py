"""Watches: complete, in order, resumable, and breakable on purpose."""

from __future__ import annotations

import pytest

from kaito.runtime.ports import PODS, WORKSPACES, BadRequest, Unavailable, WatchNotification
from simulator.cluster import Cluster
from tests.simulator.virtual import SetClock, a_cluster, a_pod, a_workspace


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cluster(clock: SetClock) -> Cluster:
    return a_cluster(clock)


def told(notifications: list[WatchNotification]) -> list[tuple[str, str]]:
    return [(each.type, each.object["metadata"]["name"]) for each in notifications]


def versions(notifications: list[WatchNotification]) -> list[int]:
    return [int(each.object["metadata"]["resourceVersion"]) for each in notifications]


def change_labels(cluster: Cluster, name: str, **labels: str | None) -> None:
    cluster.patch(PODS, name, {"metadata": {"labels": labels}})


# The stream


def test_watch_tells_changes_in_order(cluster: Cluster) -> None:
    watch = cluster.watch(PODS, resource_version=cluster.resource_version)
    cluster.create(PODS, a_pod("a"))
    cluster.create(WORKSPACES, a_workspace())
    change_labels(cluster, "a", x="y")
    cluster.create(PODS, a_pod("b"))
    cluster.delete(PODS, "a")

    seen = watch.poll()

    # The last change marks the pod as being deleted.
    assert told(seen) == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    assert versions(seen) == sorted(set(versions(seen)))
    assert seen[-1].object["metadata"]["labels"] == {"x": "y"}
    assert str(versions(seen)[-1]) == cluster.resource_version
    assert watch.poll() == []


@pytest.mark.parametrize("since", ["", "0"])
def test_watch_without_version_begins_with_all(cluster: Cluster, since: str) -> None:
    for name in ("b", "a"):
        cluster.create(PODS, a_pod(name))
    change_labels(cluster, "b", x="y")

    watch = cluster.watch(PODS, resource_version=since)
    change_labels(cluster, "a", x="y")

    assert told(watch.poll()) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a")]


@pytest.mark.parametrize("cut_after", range(7))
def test_late_watch_misses_nothing(cluster: Cluster, cut_after: int) -> None:
    whole = cluster.watch(PODS, resource_version=cluster.resource_version)
    cluster.create(PODS, a_pod("a"))
    cluster.create(PODS, a_pod("b"))
    change_labels(cluster, "a", x="y")
    cluster.delete(PODS, "b")
    cluster.create(PODS, a_pod("b"))
    cluster.delete(PODS, "a")
    seen = whole.poll()
    since = str(versions(seen)[cut_after - 1]) if cut_after else "1"

    resumed = cluster.watch(PODS, resource_version=since).poll()

    assert resumed == seen[cut_after:]


def test_list_then_watch_leaves_no_gap(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod("a"))
    page = cluster.list(PODS)
    cluster.create(PODS, a_pod("b"))

    watch = cluster.watch(PODS, resource_version=page.resource_version)

    assert told(watch.poll()) == [("ADDED", "b")]


def test_watch_waits_for_a_future_version(cluster: Cluster) -> None:
    future = str(int(cluster.resource_version) + 1)
    watch = cluster.watch(PODS, resource_version=future)

    cluster.create(PODS, a_pod("past"))
    cluster.create(PODS, a_pod("next"))

    assert told(watch.poll()) == [("ADDED", "next")]


def test_namespaced_watch_sees_its_namespace(cluster: Cluster) -> None:
    watch = cluster.watch(PODS, "blue")
    cluster.create(PODS, a_pod("a"), "blue")
    cluster.create(PODS, a_pod("b"), "green")

    assert told(watch.poll()) == [("ADDED", "a")]


def test_entering_and_leaving_a_selector(cluster: Cluster) -> None:
    watch = cluster.watch(PODS, label_selector="app=falcon")
    cluster.create(PODS, a_pod("a", labels={"other": "1"}))
    change_labels(cluster, "a", app="falcon")
    change_labels(cluster, "a", other="2")
    change_labels(cluster, "a", app="llama")
    change_labels(cluster, "a", other="3")
    cluster.delete(PODS, "a")

    seen = watch.poll()

    assert told(seen) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    left = seen[-1].object["metadata"]
    assert left["labels"] == {"app": "falcon", "other": "2"}
    assert int(left["resourceVersion"]) == versions(seen)[1] + 1


def test_field_selector_follows_the_binding(cluster: Cluster) -> None:
    watch = cluster.watch(PODS, field_selector="spec.nodeName=gpu-0")
    cluster.create(PODS, a_pod("a"))
    cluster.patch(PODS, "a", {"spec": {"nodeName": "gpu-0"}})

    assert told(watch.poll()) == [("ADDED", "a")]


def test_late_selector_watch_sees_the_same(cluster: Cluster) -> None:
    live = cluster.watch(PODS, label_selector="app", resource_version=cluster.resource_version)
    since = cluster.resource_version
    cluster.create(PODS, a_pod("a", labels={"app": "x"}))
    change_labels(cluster, "a", app=None)
    change_labels(cluster, "a", app="y")
    cluster.delete(PODS, "a")

    late = cluster.watch(PODS, label_selector="app", resource_version=since)

    assert late.poll() == live.poll()


# Expiry


def test_compacted_version_is_gone(cluster: Cluster) -> None:
    since = cluster.resource_version
    cluster.create(PODS, a_pod("a"))
    cluster.create(PODS, a_pod("b"))
    cluster.compact()

    watch = cluster.watch(PODS, resource_version=since)

    (error,) = watch.poll()
    assert error.type == "ERROR"
    assert error.object == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"too old resource version: {since} ({cluster.resource_version})",
        "reason": "Expired",
        "code": 410,
    }
    assert watch.ended
    assert cluster.watches(PODS) == []


def test_compaction_spares_what_comes_later(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod("a"))
    middle = cluster.resource_version
    cluster.create(PODS, a_pod("b"))

    cluster.compact(int(middle))

    assert told(cluster.watch(PODS, resource_version=middle).poll()) == [("ADDED", "b")]
    assert cluster.watch(PODS, resource_version="1").poll()[0].type == "ERROR"


def test_open_watch_outlives_a_compaction(cluster: Cluster) -> None:
    watch = cluster.watch(PODS)
    cluster.create(PODS, a_pod("a"))
    cluster.compact()
    cluster.create(PODS, a_pod("b"))

    assert told(watch.poll()) == [("ADDED", "a"), ("ADDED", "b")]


def test_history_expires_with_time(cluster: Cluster, clock: SetClock) -> None:
    since = cluster.resource_version
    for number in range(5):
        cluster.create(PODS, a_pod(f"p{number}"))
        clock.pass_seconds(299)

    resumable = cluster.watch(PODS, resource_version=str(int(cluster.resource_version) - 1))

    assert told(resumable.poll()) == [("ADDED", "p4")]
    assert cluster.watch(PODS, resource_version=since).poll()[0].object["code"] == 410


def test_trimming_spares_the_last_minutes(cluster: Cluster, clock: SetClock) -> None:
    for number in range(7):
        cluster.create(PODS, a_pod(f"p{number}"))
        clock.pass_seconds(101)

    # The write at 606 s found the first one older than twice 300 s and forgot what was older than 300 s.
    kept = str(int(cluster.resource_version) - 3)

    assert told(cluster.watch(PODS, resource_version=kept).poll()) == [
        ("ADDED", "p4"),
        ("ADDED", "p5"),
        ("ADDED", "p6"),
    ]


def test_compaction_cannot_reach_the_future(cluster: Cluster) -> None:
    cluster.create(PODS, a_pod("a"))

    cluster.compact(999)

    assert len(cluster.list(PODS).items) == 1
    assert cluster.watch(PODS, resource_version=cluster.resource_version).poll() == []


# The bell


def test_bell_rings_once_per_batch(cluster: Cluster) -> None:
    rings: list[str] = []
    watch = cluster.watch(PODS, on_ready=lambda: rings.append("ring"))
    cluster.create(PODS, a_pod("a"))
    cluster.create(PODS, a_pod("b"))
    assert (rings, watch.pending) == (["ring"], 2)

    watch.poll()
    cluster.create(PODS, a_pod("c"))

    assert rings == ["ring"] * 2


def test_bell_rings_for_what_is_there(cluster: Cluster) -> None:
    rings: list[str] = []
    cluster.create(PODS, a_pod("a"))

    cluster.watch(PODS, on_ready=lambda: rings.append("initial"))
    cluster.watch(PODS, resource_version="1", on_ready=lambda: rings.append("replayed"))
    cluster.watch(PODS, resource_version=cluster.resource_version, on_ready=lambda: rings.append("none"))

    assert rings == ["initial", "replayed"]


def test_bell_is_silent_for_others(cluster: Cluster) -> None:
    rings: list[str] = []
    cluster.watch(PODS, label_selector="app", on_ready=lambda: rings.append("ring"))

    cluster.create(PODS, a_pod("a"))
    cluster.create(WORKSPACES, a_workspace())

    assert rings == []


def test_writing_from_the_bell_keeps_order(cluster: Cluster) -> None:
    def write_once() -> None:
        if len(cluster.list(PODS).items) == 1:
            cluster.create(PODS, a_pod("second"))

    cluster.watch(PODS, on_ready=write_once)
    other = cluster.watch(PODS)
    cluster.create(PODS, a_pod("first"))

    assert told(other.poll()) == [("ADDED", "first"), ("ADDED", "second")]


# Faults and ends


def test_cut_watch_loses_what_was_pending(cluster: Cluster) -> None:
    rings: list[str] = []
    watch = cluster.watch(PODS, on_ready=lambda: rings.append("ring"))
    cluster.create(PODS, a_pod("a"))

    for each in cluster.watches(PODS):
        each.cut()
    cluster.create(PODS, a_pod("b"))

    assert (watch.ended, watch.poll(), rings) == (True, [], ["ring", "ring"])
    assert cluster.watches() == []


def test_cut_may_end_with_an_error(cluster: Cluster) -> None:
    watch = cluster.watch(PODS)

    watch.cut(Unavailable("the server is shutting down", retry_after_seconds=3))
    watch.cut()

    (error,) = watch.poll()
    assert (error.type, error.object["code"]) == ("ERROR", 503)
    assert error.object["details"] == {"retryAfterSeconds": 3}


def test_stalled_watch_keeps_silent(cluster: Cluster) -> None:
    rings: list[str] = []
    watch = cluster.watch(PODS, on_ready=lambda: rings.append("ring"))
    watch.stall()
    cluster.create(PODS, a_pod("a"))
    cluster.create(PODS, a_pod("b"))
    assert (rings, watch.poll(), watch.ended) == ([], [], False)

    watch.resume()

    assert rings == ["ring"]
    assert told(watch.poll()) == [("ADDED", "a"), ("ADDED", "b")]


def test_closed_watch_hears_nothing(cluster: Cluster) -> None:
    watch = cluster.watch(PODS)
    cluster.create(PODS, a_pod("a"))

    watch.close()
    watch.close()
    cluster.create(PODS, a_pod("b"))

    assert (watch.ended, watch.poll()) == (True, [])
    assert cluster.watches() == []


def test_bookmark_tells_how_far_it_is(cluster: Cluster) -> None:
    asked = cluster.watch(PODS, label_selector="app")
    unasked = cluster.watch(PODS, bookmarks=False)
    cluster.create(WORKSPACES, a_workspace())

    cluster.send_bookmarks()

    expected = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"resourceVersion": cluster.resource_version},
    }
    assert asked.poll() == [WatchNotification("BOOKMARK", expected)]
    assert unasked.poll() == []


def test_bookmark_comes_after_what_it_covers(cluster: Cluster) -> None:
    watch = cluster.watch(PODS)
    watch.stall()
    cluster.create(PODS, a_pod("a"))
    cluster.send_bookmarks()
    cluster.create(PODS, a_pod("b"))
    watch.resume()

    seen = watch.poll()

    assert [each.type for each in seen] == ["ADDED", "BOOKMARK", "ADDED"]
    assert versions(seen)[0] == versions(seen)[1] < versions(seen)[2]


def test_watch_refuses_what_list_refuses(cluster: Cluster) -> None:
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        cluster.watch(PODS, label_selector="a b")

    assert cluster.watches() == []
