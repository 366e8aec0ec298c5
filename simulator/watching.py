"""Watches: streams of changes that a client pulls, and the places where a fault can take hold of them.

A watch does no I/O and never waits. It collects what its client should see and rings when something is
pending; when the client polls is the driver's business, so that is where latency and delays go. A fault may
`cut` a watch (the connection ends and what was under way is lost) or `stall` it (it looks healthy and is
silent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kaito.runtime.ports import ApiError, Object, Resource, WatchNotification
from simulator import refusals
from simulator.selectors import Selection
from simulator.storage import Change


class Watch:
    """One open watch. Made by `Cluster.watch`."""

    def __init__(
        self,
        resource: Resource,
        selection: Selection,
        *,
        since: int,
        bookmarks: bool,
        on_ready: Callable[[], None] | None,
        on_end: Callable[[Watch], None],
    ) -> None:
        self.resource = resource
        self.selection = selection
        self.bookmarks = bookmarks
        self.on_ready = on_ready
        self.ended = False
        """No notification will come beyond those that are pending."""
        self.stalled = False
        self._since = since
        self._pending: list[WatchNotification] = []
        self._on_end = on_end

    def poll(self) -> list[WatchNotification]:
        """Everything since the last poll, in order; nothing while stalled."""
        if self.stalled:
            return []
        taken, self._pending = self._pending, []
        return taken

    @property
    def pending(self) -> int:
        """How many notifications the next poll would return if the watch did not stall."""
        return len(self._pending)

    def close(self) -> None:
        """The client goes away."""
        self._pending = []
        self._end()

    def cut(self, error: ApiError | None = None) -> None:
        """End the connection: pending notifications are lost, an error is the last thing that arrives.

        The client is rung, to find the watch ended.
        """
        if self.ended:
            return
        self._pending = [] if error is None else [WatchNotification("ERROR", refusals.status_of(error))]
        self.stalled = False
        self._end()
        self._ring()

    def stall(self) -> None:
        """Deliver nothing until `resume`, without any sign of it; notifications are kept."""
        self.stalled = True

    def resume(self) -> None:
        self.stalled = False
        if self._pending:
            self._ring()

    def bookmark(self, revision: int) -> None:
        """Tell a client that asked for bookmarks how far the stream is."""
        if self.bookmarks and not self.ended:
            self._push(WatchNotification("BOOKMARK", _bookmark(self.resource, revision)))

    def start(self, notifications: Iterable[WatchNotification]) -> None:
        """Put what the watch begins with into the stream."""
        for notification in notifications:
            self._push(notification)

    def offer(self, change: Change) -> bool:
        """Take the change into the stream if it concerns this watch; whether the client is to be rung.

        Ringing is left to the caller, who rings only when every watch has the change: a client may write from
        its callback.
        """
        notification = None if change.revision <= self._since else _seen_through(self.selection, change)
        if notification is None or self.ended:
            return False
        self._pending.append(notification)
        return len(self._pending) == 1

    def ring(self) -> None:
        if self._pending:
            self._ring()

    def _push(self, notification: WatchNotification) -> None:
        self._pending.append(notification)
        if len(self._pending) == 1:
            self._ring()

    def _ring(self) -> None:
        if self.on_ready is not None and not self.stalled:
            self.on_ready()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(self)


class Watchers:
    """The open watches, each kind in the order in which they were opened."""

    def __init__(self) -> None:
        self._open: dict[Resource, list[Watch]] = {}

    def add(self, watch: Watch) -> None:
        self._open.setdefault(watch.resource, []).append(watch)

    def remove(self, watch: Watch) -> None:
        self._open[watch.resource].remove(watch)

    def of(self, resource: Resource | None = None) -> list[Watch]:
        if resource is not None:
            return list(self._open.get(resource, ()))
        return [watch for watches in self._open.values() for watch in watches]

    def publish(self, change: Change) -> None:
        if watches := self._open.get(change.resource):
            for watch in [watch for watch in watches if watch.offer(change)]:
                watch.ring()


def initial(selection: Selection, objects: Iterable[Object]) -> list[WatchNotification]:
    """The synthetic ADDED that open a watch without a resourceVersion."""
    return [WatchNotification("ADDED", obj) for obj in objects if selection.matches(obj)]


def replayed(selection: Selection, changes: Iterable[Change]) -> list[WatchNotification]:
    """What a watch from an earlier revision has missed."""
    seen = (_seen_through(selection, change) for change in changes)
    return [notification for notification in seen if notification is not None]


def _seen_through(selection: Selection, change: Change) -> WatchNotification | None:
    """The change as a client with this selector sees it: entering is ADDED and leaving is DELETED."""
    before = change.old is not None and selection.matches(change.old)
    if change.new is not None and selection.matches(change.new):
        return WatchNotification("MODIFIED" if before else "ADDED", change.new)
    return WatchNotification("DELETED", change.last()) if before else None


def _bookmark(resource: Resource, revision: int) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"resourceVersion": str(revision)},
    }
