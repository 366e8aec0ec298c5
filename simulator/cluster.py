"""The virtual API server: the Kubernetes API in memory, for one simulated cluster.

It keeps what matters to an operator as the real server does: one counter of resource versions, optimistic
concurrency, generation and status kept apart, finalizers, selectors, lists and watches without a gap, and
garbage collection as an actor of its own. Calls take no virtual time and fail only by the rules; latency,
faults and lost connections are added around it by the driver.

What is returned is shared with the store and must not be changed; what is passed in is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kaito.runtime.ports import (
    PODDISRUPTIONBUDGETS,
    PODS,
    ApiError,
    BadRequest,
    Gone,
    KubeApi,
    Object,
    Page,
    Resource,
)
from simulator import budgets, deletion, metadata, paging, refusals, writing
from simulator.collector import Collector
from simulator.documents import copied, same
from simulator.identifiers import Identifiers
from simulator.kinds import KINDS, Kind
from simulator.patching import json_patch, merge_patch
from simulator.selectors import selection
from simulator.storage import Storage, key_of
from simulator.watching import Watch, Watchers, initial, replayed

Admission = Callable[[str, Resource, Object | None, Object | None], None]
"""Called with the operation (CREATE, UPDATE or DELETE), the resource, the new and the old object.

It refuses by raising an ApiError, and changes neither object.
"""


class Cluster(KubeApi):
    """One cluster's API server.

    Args:
        now: The time of day, aware and UTC.
        seed: UIDs and generated names follow from it.
        admit: Called in order before each write, also on dry runs and writes to a subresource.
        history_seconds: How long a watch can resume from a resource version, at least.
        on_garbage: Rung once when `collect` has work, until it is called.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        seed: int | str = 0,
        *,
        kinds: Sequence[Kind] = KINDS,
        admit: Sequence[Admission] = (),
        history_seconds: float = 300.0,
        on_garbage: Callable[[], None] | None = None,
    ) -> None:
        self.admit = list(admit)
        self._now = now
        self._kinds = {kind.resource: kind for kind in kinds}
        self._storage = Storage(self._kinds, timedelta(seconds=history_seconds))
        self._watchers = Watchers()
        self.collector = Collector(self, self._storage, on_garbage)
        self._identifiers = Identifiers(seed)

    @property
    def resource_version(self) -> str:
        """That of the latest write."""
        return str(self._storage.revision)

    # Reads

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._current(self._kind(resource), name, namespace)

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> Page:
        """A page of one snapshot: the latest, or with ``limit`` and a resource version exactly that one."""
        wanted = selection(self._kind(resource), namespace, label_selector, field_selector)
        start, revision = "", self._storage.revision
        if continue_:
            if resource_version not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            token = paging.read_token(continue_)
            start, revision = token.start, token.rv
        elif (asked := self._revision(resource_version, exact=bool(limit))) and limit:
            revision = asked
        try:
            objects = self._storage.snapshot(resource, revision)
        except Gone as gone:
            raise (refusals.expired_continue() if continue_ else gone) from gone
        shelf = self._storage.shelf(resource)
        keys = shelf.keys if objects is shelf.objects else sorted(objects)
        return paging.page(objects, keys, wanted, revision=revision, start=start, limit=limit)

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        bookmarks: bool = True,
        on_ready: Callable[[], None] | None = None,
    ) -> Watch:
        """All changes after a resource version; without one, or with ``0``, the present state comes first.

        A resource version that is no longer remembered is answered by an ERROR notification (410), and the
        watch has ended. One that is still to come is waited for.

        Args:
            on_ready: Rung when notifications are pending and none were, or the watch was cut; the first time
                perhaps before this call returns.
        """
        wanted = selection(self._kind(resource), namespace, label_selector, field_selector)
        since = paging.read_version(resource_version)
        shelf = self._storage.shelf(resource)
        watch = Watch(
            resource,
            wanted,
            since=since,
            bookmarks=bookmarks,
            on_ready=on_ready,
            on_end=self._watchers.remove,
        )
        self._watchers.add(watch)
        if since and since < shelf.floor:
            watch.cut(refusals.too_old(since, shelf.floor))
        elif since:
            watch.start(replayed(wanted, shelf.since(since)))
        else:
            watch.start(initial(wanted, (shelf.objects[key] for key in shelf.keys)))
        return watch

    def watches(self, resource: Resource | None = None) -> Sequence[Watch]:
        """The open watches, for faults to cut and stall."""
        return self._watchers.of(resource)

    def send_bookmarks(self) -> None:
        """Tell every watch that asked for it how far it is; the real server does so about once a minute."""
        for watch in self._watchers.of():
            watch.bookmark(self._storage.revision)

    def compact(self, up_to: int | None = None) -> None:
        """Forget the history up to a revision (default: all), so that older watches and pages get 410."""
        self._storage.compact(self._storage.revision if up_to is None else up_to)

    # Writes

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        kind = self._kind(resource)
        body = writing.typed(kind, copied(body))
        meta = metadata.read(kind, body)
        meta.namespace = writing.create_namespace(kind, meta, namespace)
        if not meta.name and meta.generate_name:
            meta.name = self._identifiers.name(meta.generate_name, self._taken(kind, meta.namespace))
        now = writing.timestamp(self._now())
        writing.check_kind(kind, body, meta.name)
        causes = writing.creation_causes(kind, meta)
        new = writing.created(kind, body, meta, uid=self._identifiers.peek(), now=now)
        self._check(kind, "CREATE", new, None, causes)
        if meta.resource_version and not dry_run:
            # The storage says so, which a dry run does not reach; a plain error, so it reads as a fault.
            raise ApiError("resourceVersion should not be set on objects to be created")
        key = key_of(meta.namespace, meta.name)
        if (existing := self._storage.get(resource, key)) is not None:
            deleting = "deletionTimestamp" in existing["metadata"]
            raise refusals.already_exists(resource, meta.name, deleting=deleting)
        if not dry_run:
            self._identifiers.use()
            self._commit(resource, key, new)
        return new

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        kind = self._kind(resource, subresource)
        body = writing.typed(kind, copied(body))
        meta = metadata.read(kind, body)
        if not meta.name:
            raise BadRequest("name must be provided")
        key = key_of(writing.namespace_of(kind, meta.namespace), meta.name)
        standing = self._storage.get(resource, key)
        # A PUT of a Service looks for the object before the storage can compare.
        if meta.uid and (standing is not None or subresource or not kind.versioned):
            found = standing["metadata"]["uid"] if standing is not None else ""
            if found != meta.uid:
                raise refusals.uid_mismatch(resource, key, meta.name, meta.uid, found, dry_run=dry_run)
        current = self._current(kind, meta.name, meta.namespace)
        return self._replace(kind, current, body, subresource, dry_run)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
        content_type: str = "",
    ) -> Object:
        """Merge and JSON patches, by their form.

        Args:
            content_type: What the request says it is instead; no other type is taken.
        """
        kind = self._kind(resource, subresource)
        if content_type:
            raise refusals.unsupported_patch()
        current = self._current(kind, name, namespace)
        if isinstance(patch, Mapping):
            patched = merge_patch(current, copied(dict(patch)))
        else:
            patched = json_patch(current, copied(list(patch)))
        return self._replace(kind, current, writing.typed(kind, patched), subresource, dry_run)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        dry_run: bool = False,
        grace_period_seconds: int | None = None,
    ) -> Object:
        """Returns the object as it stands in deletion, or as it last stood when it went at once.

        Args:
            grace_period_seconds: What a bound pod is given to end, instead of what its spec says. 0 is how
                its kubelet removes it when it has ended, and whoever knows that it never will.
        """
        kind = self._kind(resource)
        deletion.check_propagation(propagation)
        current = self._current(kind, name, namespace)
        deletion.check_preconditions(resource, current, uid, resource_version)
        finalizers = deletion.finalizers_after(current, propagation)
        for admit in self.admit:
            admit("DELETE", resource, None, current)
        grace = deletion.grace_seconds(kind, current, grace_period_seconds)
        if deletion.changes_nothing(current, grace):
            return current
        if finalizers or grace:
            marked = deletion.marked(current, finalizers, self._now(), grace)
            return self._store(resource, current, marked, dry_run)
        if kind.graceful:
            # Even one without any grace is marked before it goes, in a write of its own.
            current = self._store(resource, current, deletion.marked(current, [], self._now()), dry_run)
        return current if dry_run else self._remove(resource, current)

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        """A DELETE that a disruption budget may refuse; what it takes of the budget is stored before it.

        The UID is compared first: the real server does so last, after it has spent the budget.
        """
        pod = self._current(self._kind(PODS), name, namespace)
        deletion.check_preconditions(PODS, pod, uid, "")
        namespace = pod["metadata"]["namespace"]
        standing = self.list(PODDISRUPTIONBUDGETS, namespace).items
        if (spent := budgets.evicted(standing, pod, self._now())) is not None:
            self.update(PODDISRUPTIONBUDGETS, spent, subresource="status")
        self.delete(PODS, name, namespace, uid=uid)

    def collect(self) -> int:
        """One sweep of the garbage collector; returns the number of writes it made."""
        return self.collector.collect()

    # The parts of a write

    def _replace(self, kind: Kind, current: Object, body: Object, subresource: str, dry_run: bool) -> Object:
        meta = metadata.read(kind, body)
        writing.check_preconditions(kind, meta, current)
        writing.check_kind(kind, body, meta.name)
        causes = [] if subresource else writing.update_causes(kind, meta, current)
        new = (writing.status_updated if subresource else writing.updated)(kind, body, meta, current)
        self._check(kind, "UPDATE", new, current, causes)
        if deletion.complete(new):
            if not dry_run:
                self._remove(kind.resource, current)
            return new
        return self._store(kind.resource, current, new, dry_run)

    def _check(
        self, kind: Kind, operation: str, new: Object, old: Object | None, found: Sequence[str]
    ) -> None:
        """Refuse for what is wrong with the metadata, as found before, and with the content, all in one."""
        if causes := [*found, *kind.schema.validate(new, old)]:
            raise refusals.invalid(kind.resource, new["metadata"].get("name", ""), causes)
        for admit in self.admit:
            admit(operation, kind.resource, new, old)

    def _store(self, resource: Resource, current: Object, new: Object, dry_run: bool) -> Object:
        """Write unless nothing changed: then nobody hears of it and the version stays."""
        if same(new, current):
            return current
        if not dry_run:
            self._commit(resource, _key(current), new)
        return new

    def _remove(self, resource: Resource, current: Object) -> Object:
        self._commit(resource, _key(current), None)
        return current

    def _commit(self, resource: Resource, key: str, new: Object | None) -> None:
        change = self._storage.write(resource, key, new, self._now())
        # Both may call back into the driver, which may write: whoever watches learns of this change first.
        self._watchers.publish(change)
        self.collector.notice(change)

    def _kind(self, resource: Resource, subresource: str = "") -> Kind:
        kind = self._kinds.get(resource)
        if kind is None or (subresource and not (subresource == "status" and kind.status)):
            raise refusals.unknown_resource()
        return kind

    def _current(self, kind: Kind, name: str, namespace: str) -> Object:
        key = key_of(writing.namespace_of(kind, namespace), name)
        obj = self._storage.get(kind.resource, key)
        if obj is None:
            raise refusals.not_found(kind.resource, name)
        return obj

    def _revision(self, resource_version: str, exact: bool) -> int:
        """The revision a list asks for, 0 for any."""
        revision = paging.read_version(resource_version, exact=exact)
        if revision > self._storage.revision:
            current = self._storage.revision
            raise refusals.future_revision() if exact else refusals.too_large(revision, current)
        return revision

    def _taken(self, kind: Kind, namespace: str) -> Callable[[str], bool]:
        return lambda name: self._storage.get(kind.resource, key_of(namespace, name)) is not None


def _key(obj: Object) -> str:
    return key_of(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
