"""The reflector: keeps one kind of object up to date by list and watch, as a state machine without I/O.

A driver asks `Reflector.next_action`, does what it says, and feeds back what came of it; it gets deltas for
the `ObjectStore`. It asks again after everything it feeds: an action equal to the one under way means go
on, any other means that the one under way is over and its stream is to be closed. It feeds nothing from a
stream it has left.

``now`` is monotonic seconds and must not go backwards. Three rules decide what happens after a failure:
what the server may yet accept is repeated from the last resourceVersion seen (a watch is never given up
for a list without need); what it cannot accept any more leads to a list no older than that version, and
only if the server cannot serve this either to a list of whatever it has; every repeat of a failure waits.

Before a watch that failed is opened again, the server is asked for the resourceVersion that it has reached.
One whose storage was set back to a backup accepts a watch from a version that it has yet to reach, says
nothing until then, and so never tells what became of the versions before.

The informer that comes with the `kubernetes` client keeps few of these duties: it lists without pages and
through generated models, opens a watch that failed again at once and for ever, has no deadline by which it
would notice a silent connection, and tells every object of a new list as changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeAlias

import msgspec

from kaito.runtime.backoff import ReflectorBackoff, whole_nanosecond
from kaito.runtime.cache import (
    Added,
    Deleted,
    Delta,
    Progressed,
    Replaced,
    Updated,
    key_of,
    parse_resource_version,
    resource_version_of,
)
from kaito.runtime.ports import ApiError, Gone, Object, Page, Throttled, Unavailable, WatchNotification

PAGE_LIMIT = 500
"""Objects a page, client-go's default."""

MIN_WATCH_SECONDS = 300
"""The server is asked to end a watch after this much to twice this much, drawn anew for each watch."""

PROBE_LIMIT = 1

SILENCE_SECONDS = 70.0
"""Bookmarks come about every 60 s; a stream silent for longer is taken for half-open."""

SHORT_WATCH_SECONDS = 1.0
"""A watch that ends sooner and brought nothing new is a failure, or it would be repeated in a hot loop."""

INTERNAL_ERROR_SECONDS = 60.0
"""How long a watch that ends with an internal error (500) is repeated before the kind is listed again."""


class List(msgspec.Struct, frozen=True):
    """Request one page. ``limit`` 0 asks for everything in one; ``attempt`` tells equal requests apart.

    Of a page of ``limit`` 1 only the resourceVersion is wanted.
    """

    resource_version: str
    limit: int
    continue_: str = ""
    attempt: int = 0


class Watch(msgspec.Struct, frozen=True):
    """Open a watch, or keep the one of this ``attempt`` open."""

    resource_version: str
    timeout_seconds: int
    bookmarks: bool = True
    attempt: int = 0


class Wait(msgspec.Struct, frozen=True):
    """Do nothing until then (monotonic seconds)."""

    until: float


Action: TypeAlias = List | Watch | Wait


class Reflector:
    """List and watch of one kind.

    Attributes:
        resource_version: The newest seen, empty before the first list.
        lists: Complete lists so far.
        watches: Watches begun so far.
        rewinds: Lists whose resourceVersion was older than one seen before: a storage restored from backup.
        silent_watches: Watches given up because nothing came, not even a bookmark.
        last_error: Why the latest wait or repeat came about, for a log line; empty while all is well.
    """

    def __init__(self, random: Random, *, page_limit: int = PAGE_LIMIT) -> None:
        self._random = random
        self._backoff = ReflectorBackoff(random)
        self._page_limit = page_limit
        self._request: List | Watch | None = None
        self._wait_until: float | None = None
        self._attempt = 0
        # The list under way.
        self._listing = True
        self._items: list[Object] = []
        self._snapshot = ""
        self._continue = ""
        self._unpaged = False
        self._version_unavailable = False
        self._served_in_pages = False
        # The watch under way, and whether the server's version is to be asked for before the next one.
        self._probing = False
        self._started = 0.0
        self._heard = 0.0
        self._progressed = False
        self._silent_in_a_row = 0
        self._internal_errors_since: float | None = None

        self.resource_version = ""
        self.lists = 0
        self.watches = 0
        self.rewinds = 0
        self.silent_watches = 0
        self.last_error = ""

    # --- what to do ---------------------------------------------------------------------------------

    def next_action(self, now: float) -> Action:
        """What the driver has to be doing now; the same answer until something is fed or a wait ends."""
        if self._wait_until is not None:
            if now < self._wait_until:
                return Wait(self._wait_until)
            self._wait_until = None
        if self._request is None:
            self._attempt += 1
            self._request = self._next_request(now)
        return self._request

    def next_wake(self) -> float | None:
        """When to ask again though nothing came: the end of a wait or the read deadline of the watch."""
        if self._wait_until is not None:
            return self._wait_until
        return self._deadline() if isinstance(self._request, Watch) else None

    def _next_request(self, now: float) -> List | Watch:
        if self._listing:
            return self._list_request()
        return List("", PROBE_LIMIT, "", self._attempt) if self._probing else self._watch_request(now)

    def _list_request(self) -> List:
        if self._continue:
            # The token pins the snapshot; the server refuses a resourceVersion beside it.
            return List("", self._page_limit, self._continue, self._attempt)
        version = "" if self._version_unavailable else self.resource_version or "0"
        # A limit would bypass the server's watch cache; without one it serves "not older than" from there.
        paged = not self._unpaged and (version in ("", "0") or self._served_in_pages)
        return List(version, self._page_limit if paged else 0, "", self._attempt)

    def _watch_request(self, now: float) -> Watch:
        self._started = self._heard = now
        self._progressed = False
        self.watches += 1
        timeout_seconds = int(MIN_WATCH_SECONDS * (1.0 + self._random.random()))
        return Watch(self.resource_version, timeout_seconds, True, self._attempt)

    # --- what came of a list ------------------------------------------------------------------------

    def on_list_page(self, page: Page, now: float) -> tuple[Delta, ...]:
        """Take one page; the last one yields a `Replaced`. Pages of two snapshots are never put together."""
        if not isinstance(self._request, List):
            return ()
        self._request = None
        try:
            _check_page(page)
        except ValueError as error:
            self._restart_list()
            self._back_off(now, error)
            return ()
        if not self._listing:
            self._take_probe(parse_resource_version(page.resource_version))
            return ()
        if self._continue and page.resource_version != self._snapshot:
            self._restart_unpaged(now, ValueError(f"page of {page.resource_version} within {self._snapshot}"))
            return ()
        self._items += page.items
        self._snapshot, self._continue = page.resource_version, page.continue_
        if page.continue_:
            # Only a server without a watch cache serves the first list in pages; later ones may be paged too.
            self._served_in_pages |= not self.resource_version
            return ()
        return (self._complete_list(),)

    def _take_probe(self, reached: int) -> None:
        """Watch on from where we were, unless the server has yet to get there."""
        self._probing = False
        if reached < int(self.resource_version):
            self.last_error = f"server at {reached}, which had been at {self.resource_version}"
            self._restart_list()
            self._version_unavailable = True

    def on_list_error(self, error: Exception, now: float) -> None:
        """Take the failure of a list; whatever is not final repeats the same page."""
        if not isinstance(self._request, List):
            return
        self._request = None
        if _is_gone(error) and self._continue:
            self._restart_unpaged(now, error)
        elif (_is_gone(error) or _is_too_large(error)) and not self._version_unavailable:
            self._restart_list()
            self._version_unavailable = True
            self.last_error = _text(error)
        else:
            if not _is_repeatable(error):
                self._restart_list()
            self._back_off(now, error)

    def _complete_list(self) -> Replaced:
        version = self._snapshot
        rewound = bool(self.resource_version) and int(version) < int(self.resource_version)
        replaced = Replaced(tuple(self._items), version, rewound)
        self._restart_list()
        self._listing = self._probing = self._unpaged = self._version_unavailable = False
        self._silent_in_a_row = 0
        self._internal_errors_since = None
        self.resource_version = version
        self.lists += 1
        self.rewinds += rewound
        self.last_error = ""
        return replaced

    def _restart_list(self) -> None:
        self._listing = True
        self._items, self._snapshot, self._continue = [], "", ""

    def _restart_unpaged(self, now: float, error: Exception) -> None:
        """Ask for everything in one page, which cannot expire midway; wait if that was asked before."""
        if self._unpaged:
            self._back_off(now, error)
        self._restart_list()
        self._unpaged = True
        self.last_error = _text(error)

    # --- what came of a watch -----------------------------------------------------------------------

    def on_notifications(self, notifications: Sequence[WatchNotification], now: float) -> tuple[Delta, ...]:
        """Take what the stream brought, in order. An ERROR notification ends the watch."""
        deltas: list[Delta] = []
        for notification in notifications:
            if not isinstance(self._request, Watch):
                break
            self._heard, self._silent_in_a_row = now, 0
            if notification.type == "ERROR":
                self._end_watch(now, error_of_status(notification.object))
                break
            try:
                deltas.append(self._delta(notification))
            except ValueError as error:
                # To pass over it could lose a change for good, once a later one advances the version.
                self._end_watch(now, error)
        return tuple(deltas)

    def on_watch_ended(self, now: float, error: Exception | None = None) -> None:
        """Take the end of the stream: closed by the server, or never opened, or broken with an error."""
        if isinstance(self._request, Watch):
            self._end_watch(now, error)

    def on_tick(self, now: float) -> bool:
        """Enforce the read deadline; True when the watch under way is silent and has to be closed.

        One silent watch is taken for a dead connection and opened again. After two in a row the kind is
        listed, for something between us and the server may be swallowing what it says.
        """
        if not isinstance(self._request, Watch) or now < self._deadline():
            return False
        self._request = None
        self.silent_watches += 1
        self._silent_in_a_row += 1
        self._probing = True
        self.last_error = f"watch silent for {now - self._heard:.0f} s"
        if self._silent_in_a_row > 1:
            self._restart_list()
        return True

    def _deadline(self) -> float:
        return whole_nanosecond(self._heard + SILENCE_SECONDS)

    def _delta(self, notification: WatchNotification) -> Delta:
        version = resource_version_of(notification.object)
        delta = _as_delta(notification, version)
        if version > int(self.resource_version):
            self.resource_version = str(version)
            self._progressed = True
            self._internal_errors_since = None
            self.last_error = ""
        return delta

    def _end_watch(self, now: float, error: Exception | None) -> None:
        self._request = None
        if error is None and (self._progressed or now - self._started >= SHORT_WATCH_SECONDS):
            self._internal_errors_since = None
            return
        if error is None:
            error = ValueError(f"watch ended after {now - self._started:.3f} s without anything new")
        # A server that throttles answers, so it is the one that we knew.
        self._probing = not isinstance(error, Throttled)
        if not self._may_watch_again(now, error):
            self._restart_list()
            self._version_unavailable |= _is_too_large(error)
        self._back_off(now, error)

    def _may_watch_again(self, now: float, error: Exception) -> bool:
        if not isinstance(error, ApiError) or error.code != ApiError.code:
            self._internal_errors_since = None
            return _is_repeatable(error)
        if self._internal_errors_since is None:
            self._internal_errors_since = now
        return now - self._internal_errors_since <= INTERNAL_ERROR_SECONDS

    def _back_off(self, now: float, error: Exception) -> None:
        """Wait, at least as long as the server asked for."""
        asked = error.retry_after_seconds if isinstance(error, ApiError) else None
        delay = self._backoff.next_delay(now, at_least=asked or 0.0)
        self._wait_until = whole_nanosecond(now + delay)
        self.last_error = _text(error)


def error_of_status(status: Object) -> ApiError:
    """The error that the Status object of an ERROR notification stands for."""
    code, reason = status.get("code") or 0, status.get("reason") or ""
    if reason in ("Expired", "Gone"):
        code = Gone.code
    kinds: dict[int, type[ApiError]] = {kind.code: kind for kind in (Gone, Throttled, Unavailable)}
    retry_after = (status.get("details") or {}).get("retryAfterSeconds")
    error = kinds.get(code, ApiError)(status.get("message") or reason, retry_after_seconds=retry_after)
    error.code, error.reason = code or error.code, reason or error.reason
    return error


def _as_delta(notification: WatchNotification, version: int) -> Delta:
    if notification.type == "BOOKMARK":
        return Progressed(str(version))
    key_of(notification.object)
    match notification.type:
        case "ADDED":
            return Added(notification.object)
        case "MODIFIED":
            return Updated(notification.object)
        case "DELETED":
            return Deleted(notification.object)
    raise ValueError(f"watch notification: expected a known type, found {notification.type!r}")


def _check_page(page: Page) -> None:
    parse_resource_version(page.resource_version)
    for item in page.items:
        key_of(item)
        resource_version_of(item)


def _is_gone(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.code == Gone.code


def _is_too_large(error: Exception) -> bool:
    """The server has not reached the resourceVersion asked for: a lagging replica, or a restored storage."""
    return isinstance(error, ApiError) and "too large resource version" in error.message.lower()


def _is_repeatable(error: Exception) -> bool:
    """Whether the same request may succeed later: throttled, unreachable, or an expired token (401)."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ApiError) or _is_too_large(error):
        return False
    return error.code in (401, Throttled.code) or error.code >= ApiError.code


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
