"""Random programs of API calls: watchers piece together what a list shows, and the laws hold throughout."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaito.runtime.ports import PODS, WORKSPACES, ApiError, Object, Resource
from simulator.cluster import Cluster
from simulator.watching import Watch
from tests.simulator.virtual import SetClock, a_cluster, a_pod, a_workspace, owner_reference

NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from([WORKSPACES, PODS])
LABELS = st.dictionaries(
    st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]) | st.none(), max_size=2
)
FINALIZERS = st.lists(st.sampled_from(["a/one", "b/two"]), unique=True, max_size=2)
SELECTORS = ("", "app=x", "!app", "app in (x,y),tier!=y")


class Reader:
    """A client that keeps a copy by list and watch alone, in the manner of an informer."""

    def __init__(self, cluster: Cluster, resource: Resource, selector: str) -> None:
        self.cluster, self.resource, self.selector = cluster, resource, selector
        self.copy: dict[str, Object] = {}
        self.version = 0
        self.relist()

    def relist(self) -> None:
        page = self.cluster.list(self.resource, label_selector=self.selector)
        self.copy = {obj["metadata"]["name"]: obj for obj in page.items}
        self.version = int(page.resource_version)
        self.watch = self.reopened()

    def reopened(self) -> Watch:
        return self.cluster.watch(
            self.resource, label_selector=self.selector, resource_version=str(self.version)
        )

    def catch_up(self) -> None:
        for notification in self.watch.poll():
            self.take(notification.type, notification.object)
        if self.watch.ended:
            self.watch = self.reopened()
            if self.watch.ended:
                self.relist()
            else:
                self.catch_up()

    def take(self, type_: str, obj: Object) -> None:
        if type_ == "ERROR":
            return
        version = int(obj["metadata"]["resourceVersion"])
        if type_ == "BOOKMARK":
            assert version >= self.version
            self.version = version
            return
        name = obj["metadata"]["name"]
        assert version > self.version, "each change comes once and in order"
        assert (name in self.copy) is (type_ != "ADDED")
        self.version = version
        if type_ == "DELETED":
            del self.copy[name]
        else:
            self.copy[name] = obj


class ClusterLife(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.clock = SetClock()
        self.cluster = a_cluster(self.clock)
        self.readers = [
            Reader(self.cluster, resource, selector)
            for resource in (WORKSPACES, PODS)
            for selector in SELECTORS
        ]
        self.deleted: list[Object] = []
        self.revision = 1
        self.seen: dict[str, Object] = {}
        self.copies: list[tuple[Object, Object]] = []

    # Writes

    @rule(resource=KINDS, name=NAMES, labels=LABELS, finalizers=FINALIZERS)
    def create(
        self, resource: Resource, name: str, labels: dict[str, str | None], finalizers: list[str]
    ) -> None:
        builder = a_workspace if resource == WORKSPACES else a_pod
        given_labels = {key: value for key, value in labels.items() if value}
        self.attempt("create", resource, builder(name, labels=given_labels, finalizers=finalizers))

    @rule(name=NAMES)
    def bind(self, name: str) -> None:
        self.attempt("patch", PODS, name, {"spec": {"nodeName": "node-a"}})

    @rule(resource=KINDS, name=NAMES, labels=LABELS)
    def label(self, resource: Resource, name: str, labels: dict[str, str | None]) -> None:
        self.attempt("patch", resource, name, {"metadata": {"labels": labels}})

    @rule(resource=KINDS, name=NAMES, count=st.integers(1, 2), stale=st.booleans())
    def put(self, resource: Resource, name: str, count: int, stale: bool) -> None:
        known = [obj for obj, _ in self.copies if obj["metadata"]["name"] == name]
        if not stale:
            known = [obj for obj in self.listed(resource) if obj["metadata"]["name"] == name]
        if known:
            obj = known[0]
            addressed = WORKSPACES if obj["kind"] == "Workspace" else PODS
            self.attempt("update", addressed, {**obj, "resource": {"count": count}})

    @rule(resource=KINDS, name=NAMES, value=st.integers(0, 1))
    def write_status(self, resource: Resource, name: str, value: int) -> None:
        self.attempt("patch", resource, name, {"status": {"v": value}}, subresource="status")

    @rule(resource=KINDS, name=NAMES, finalizers=FINALIZERS)
    def set_finalizers(self, resource: Resource, name: str, finalizers: list[str]) -> None:
        self.attempt("patch", resource, name, {"metadata": {"finalizers": finalizers}})

    @rule(name=NAMES, owner=NAMES)
    def own(self, name: str, owner: str) -> None:
        for obj in self.listed(WORKSPACES):
            if obj["metadata"]["name"] == owner:
                patch = {"metadata": {"ownerReferences": [owner_reference(obj)]}}
                self.attempt("patch", PODS, name, patch)

    @rule(resource=KINDS, name=NAMES, policy=st.sampled_from(["", "Background", "Foreground", "Orphan"]))
    def delete(self, resource: Resource, name: str, policy: str) -> None:
        self.attempt("delete", resource, name, propagation=policy)

    @rule(name=NAMES, grace=st.sampled_from([0, 5, 60]))
    def delete_with_grace(self, name: str, grace: int) -> None:
        self.attempt("delete", PODS, name, grace_period_seconds=grace)

    @rule(name=NAMES)
    def evict(self, name: str) -> None:
        self.attempt("evict", name, "default")

    @rule()
    def collect(self) -> None:
        self.cluster.collect()

    # What happens to readers

    @rule(which=st.integers(0, 7))
    def catch_up(self, which: int) -> None:
        self.readers[which].catch_up()

    @rule(which=st.integers(0, 7))
    def cut(self, which: int) -> None:
        self.readers[which].watch.cut()

    @rule()
    def send_bookmarks(self) -> None:
        self.cluster.send_bookmarks()

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        self.cluster.compact(int(self.cluster.resource_version) - back)

    @rule(seconds=st.sampled_from([1, 400]))
    def pass_time(self, seconds: int) -> None:
        self.clock.pass_seconds(seconds)

    @precondition(lambda self: len(self.copies) < 5)
    @rule(resource=KINDS)
    def remember(self, resource: Resource) -> None:
        self.copies += [(obj, copy.deepcopy(obj)) for obj in self.listed(resource)]

    # Laws

    @invariant()
    def readers_agree_with_the_list(self) -> None:
        for reader in copy.copy(self.readers):
            if reader.watch.pending or reader.watch.ended:
                continue
            page = self.cluster.list(reader.resource, label_selector=reader.selector)
            assert list(reader.copy.values()) == page.items or reader.copy == {
                obj["metadata"]["name"]: obj for obj in page.items
            }

    @invariant()
    def readings_never_change(self) -> None:
        assert all(obj == kept for obj, kept in self.copies)

    @invariant()
    def objects_obey_the_laws(self) -> None:
        now: dict[str, Object] = {}
        for resource in (WORKSPACES, PODS):
            for obj in self.listed(resource):
                uid = obj["metadata"]["uid"]
                assert uid not in now
                now[uid] = obj
                assert int(obj["metadata"]["resourceVersion"]) <= int(self.cluster.resource_version)
                assert "deletionTimestamp" not in obj["metadata"] or waits(obj)
                if uid in self.seen:
                    check_step(self.seen[uid], obj)
        self.seen = now

    def teardown(self) -> None:
        for reader in getattr(self, "readers", []):
            reader.catch_up()
            page = self.cluster.list(reader.resource, label_selector=reader.selector)
            assert reader.copy == {obj["metadata"]["name"]: obj for obj in page.items}

    def attempt(self, verb: str, *arguments: Any, **options: Any) -> None:
        """Make a call; a refusal must leave no trace and a change must raise the version."""
        before = int(self.cluster.resource_version)
        shown = [self.cluster.list(resource).items for resource in (WORKSPACES, PODS)]
        try:
            getattr(self.cluster, verb)(*arguments, **options)
        except ApiError:
            assert int(self.cluster.resource_version) == before
        after = int(self.cluster.resource_version)
        now = [self.cluster.list(resource).items for resource in (WORKSPACES, PODS)]
        # A pod that goes at once is marked before.
        marked = [1] if len(now[1]) < len(shown[1]) else []
        assert after - before - int(shown != now) in (0, *marked)

    def listed(self, resource: Resource) -> list[Object]:
        return self.cluster.list(resource).items


def check_step(old: Object, new: Object) -> None:
    """What may differ between two sightings of one object."""
    before, after = old["metadata"], new["metadata"]
    if before["resourceVersion"] == after["resourceVersion"]:
        assert old == new
        return
    assert int(before["resourceVersion"]) < int(after["resourceVersion"])
    assert before["creationTimestamp"] == after["creationTimestamp"]
    if "deletionTimestamp" in before:
        check_deletion(before, after)
    if new["kind"] == "Pod":
        assert "generation" not in after
        return
    begun = "deletionTimestamp" in after and "deletionTimestamp" not in before
    content = content_of(old) != content_of(new)
    assert after["generation"] - before["generation"] == int(begun) + int(content)


def waits(obj: Object) -> bool:
    """Whether an object in deletion has a reason to be there: a finalizer, or a bound pod's grace."""
    metadata = obj["metadata"]
    return bool(metadata.get("finalizers")) or metadata["deletionGracePeriodSeconds"] > 0


def check_deletion(before: Object, after: Object) -> None:
    """An end may come earlier, by as much as the grace is cut, and never later; no finalizer is new."""
    old, new = before["deletionGracePeriodSeconds"], after["deletionGracePeriodSeconds"]
    earlier = end_of(before) - end_of(after)
    assert 0 <= earlier.total_seconds() == old - new
    known = {*before.get("finalizers", ()), "orphan", "foregroundDeletion"}
    assert not set(after.get("finalizers", ())) - known


def end_of(metadata: Object) -> datetime:
    return datetime.fromisoformat(metadata["deletionTimestamp"])


def content_of(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


TestClusterLife = ClusterLife.TestCase
TestClusterLife.settings = settings(
    # Short programs are quick and often end before anything interesting, hence more of them.
    max_examples=4 * settings().max_examples,
    stateful_step_count=50,
)


@given(seed=st.integers(0, 5), program=st.lists(st.tuples(NAMES, st.integers(0, 3)), max_size=20))
def test_same_calls_give_the_same_cluster(seed: int, program: list[tuple[str, int]]) -> None:
    def run() -> list[Object]:
        cluster = a_cluster(seed=seed)
        watch = cluster.watch(WORKSPACES)
        for name, call in program:
            try:
                match call:
                    case 0:
                        cluster.create(WORKSPACES, {"metadata": {"generateName": name}})
                    case 1:
                        cluster.create(WORKSPACES, a_workspace(name))
                    case 2:
                        cluster.patch(WORKSPACES, name, {"resource": {"count": 2}})
                    case _:
                        cluster.delete(WORKSPACES, name)
            except ApiError:
                continue
        return [each.object for each in watch.poll()]

    assert run() == run()
