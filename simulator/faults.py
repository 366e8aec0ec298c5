"""Faults at the ports of a controller: what it calls fails, or its process dies in the middle of the call.

The wrappers stand between one process and what it uses: the API server, the cloud, the event log. The world
behind them is not disturbed, so what a fault leaves behind is exactly what a real one would: an effect that
was had and not told, or one that was not had. A plan decides at each call; it is asked before the call, and
the family of its answer says what happens to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Protocol, TypeVar

from kaito.runtime.faults import error_of
from kaito.runtime.pools import AgentPools, Operation, Pool, PoolError, PoolSpec, PoolUnanswered
from kaito.runtime.ports import ApiError, Conflict, Object, Page, Resource, Throttled, Unavailable
from simulator.cluster import Cluster
from simulator.watching import Watch
from store.errors import LogUnavailable
from store.records import Appended, EventLog, Record, StoredEvent, StreamHead

T = TypeVar("T")


class Crashed(BaseException):
    """The process is gone at this point. Nothing between here and its driver may survive or handle that."""


class Family(StrEnum):
    """What can happen to one call."""

    CRASH_BEFORE = "crash before the call"
    CRASH_AFTER = "crash after the effect"
    ANSWER_LOST = "effect had, answer lost"
    CALL_LOST = "call lost"
    CONFLICT = "409"
    THROTTLED = "429 without Retry-After"
    THROTTLED_TOLD = "429 with Retry-After"
    SERVER_ERROR = "500"


class Port(StrEnum):
    API = "api"
    CLOUD = "cloud"
    LOG = "log"


CRASHES = (Family.CRASH_BEFORE, Family.CRASH_AFTER)
ANSWERS = (
    Family.ANSWER_LOST,
    Family.CALL_LOST,
    Family.CONFLICT,
    Family.THROTTLED,
    Family.THROTTLED_TOLD,
    Family.SERVER_ERROR,
)
LOG_FAMILIES = (*CRASHES, Family.ANSWER_LOST, Family.CALL_LOST)
"""A log refuses with no more words than that it cannot be reached."""

RETRY_AFTER_SECONDS = 17.0


class Plan(Protocol):
    """Decides what happens to a call; ``changes`` says whether it may have an effect."""

    def strike(self, port: Port, *, changes: bool) -> Family | None: ...


class RandomFaults:
    """Faults by chance until `end`, each counted in ``fired`` by port and family.

    Args:
        crash: The chance that a call ends its process.
        fail: The chance that a call fails and its process lives on.
    """

    def __init__(self, random: Random, *, crash: float, fail: float) -> None:
        self.fired: Counter[tuple[Port, Family]] = Counter()
        self._random = random
        self._crash = crash
        self._fail = fail

    def end(self) -> None:
        """From now on every call goes through."""
        self._crash = self._fail = 0.0

    def strike(self, port: Port, *, changes: bool) -> Family | None:
        families = self._drawn(port)
        if not families:
            return None
        family = self._random.choice(families)
        self.fired[port, family] += 1
        return family

    def _drawn(self, port: Port) -> Sequence[Family]:
        drawn = self._random.random()
        if drawn < self._crash:
            return CRASHES
        if drawn >= self._crash + self._fail:
            return ()
        return LOG_FAMILIES[len(CRASHES) :] if port is Port.LOG else ANSWERS


class OneFault:
    """One fault at the nth call that changes something, and no other: to go through all places in turn."""

    def __init__(self, number: int, family: Family) -> None:
        self.count = 0
        """Calls that changed something, or would have."""
        self.struck: Port | None = None
        self._number = number
        self._family = family

    def strike(self, port: Port, *, changes: bool) -> Family | None:
        self.count += changes
        if not changes or self.count != self._number:
            return None
        self.struck = port
        return self._family


def _through(family: Family | None, call: Callable[[], T], error: Callable[[Family], Exception]) -> T:
    """Make the call as the family says; ``error`` translates a failure into the words of its port."""
    if family is None:
        return call()
    if family is Family.CRASH_BEFORE:
        raise Crashed
    if family not in (Family.CRASH_AFTER, Family.ANSWER_LOST):
        raise error(family)
    call()
    if family is Family.CRASH_AFTER:
        raise Crashed
    raise error(family)


class FaultyApi(Cluster):
    """The API server as one process sees it. Its watches end when the process does.

    A subclass only to be taken for a `Cluster`: it has no storage of its own.
    """

    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        self._cluster = cluster
        self._plan = plan
        self.opened: list[Watch] = []
        """The watches of this process, open and ended."""

    def _call(self, call: Callable[[], T], *, changes: bool) -> T:
        return _through(self._plan.strike(Port.API, changes=changes), call, _api_error)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._call(lambda: self._cluster.get(resource, name, namespace), changes=False)

    def list(self, resource: Resource, namespace: str = "", **options: Any) -> Page:
        return self._call(lambda: self._cluster.list(resource, namespace, **options), changes=False)

    def watch(self, resource: Resource, namespace: str = "", **options: Any) -> Watch:
        watch = self._cluster.watch(resource, namespace, **options)
        self.opened = [each for each in self.opened if not each.ended] + [watch]
        return watch

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        return self._call(
            lambda: self._cluster.create(resource, body, namespace, dry_run=dry_run), changes=True
        )

    def update(self, resource: Resource, body: Object, **options: Any) -> Object:
        return self._call(lambda: self._cluster.update(resource, body, **options), changes=True)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        **options: Any,
    ) -> Object:
        return self._call(
            lambda: self._cluster.patch(resource, name, patch, namespace, **options), changes=True
        )

    def delete(self, resource: Resource, name: str, namespace: str = "", **options: Any) -> Object:
        return self._call(lambda: self._cluster.delete(resource, name, namespace, **options), changes=True)

    def evict(self, name: str, namespace: str, *, uid: str = "") -> None:
        self._call(lambda: self._cluster.evict(name, namespace, uid=uid), changes=True)

    def close(self) -> None:
        """The process is gone, and so are its connections."""
        for watch in self.opened:
            watch.close()


def _api_error(family: Family) -> ApiError:
    match family:
        case Family.CONFLICT:
            return Conflict("the object has been modified; please apply your changes to the latest version")
        case Family.THROTTLED:
            return Throttled("too many requests, please try again later")
        case Family.THROTTLED_TOLD:
            return Throttled("too many requests", retry_after_seconds=RETRY_AFTER_SECONDS)
        case Family.SERVER_ERROR:
            return ApiError("etcdserver: request timed out")
        case _:
            return Unavailable("connection reset by peer")


class FaultyPools:
    """The cloud as one process sees it. ``on_call`` is told of each PUT or DELETE just before it goes out."""

    def __init__(
        self, pools: AgentPools, plan: Plan, on_call: Callable[[str, str], object] = lambda verb, pool: None
    ) -> None:
        self._pools = pools
        self._plan = plan
        self._on_call = on_call

    def _call(self, call: Callable[[], T], *, changes: bool = False) -> T:
        return _through(self._plan.strike(Port.CLOUD, changes=changes), call, _pool_error)

    def _change(self, verb: str, pool: str, call: Callable[[], T]) -> T:
        def told() -> T:
            self._on_call(verb, pool)
            return call()

        return self._call(told, changes=True)

    def begin_create(self, spec: PoolSpec) -> Operation:
        return self._change("put", spec.name, lambda: self._pools.begin_create(spec))

    def get(self, name: str) -> Pool:
        return self._call(lambda: self._pools.get(name))

    def list(self) -> list[Pool]:
        return self._call(self._pools.list)

    def begin_delete(self, name: str) -> Operation:
        return self._change("delete", name, lambda: self._pools.begin_delete(name))

    def operation(self, url: str) -> Operation:
        return self._call(lambda: self._pools.operation(url))


def _pool_error(family: Family) -> PoolError:
    match family:
        case Family.CONFLICT:
            text = "Operation is not allowed because there's an in progress operation on the cluster"
            return error_of(409, "OperationNotAllowed", text)
        case Family.THROTTLED:
            return error_of(429, "TooManyRequests", "The request is being throttled")
        case Family.THROTTLED_TOLD:
            return error_of(429, "TooManyRequests", "The request is being throttled", (), RETRY_AFTER_SECONDS)
        case Family.SERVER_ERROR:
            return error_of(500, "InternalServerError", "We are unable to serve this request")
        case _:
            return PoolUnanswered("connection reset by peer")


class FaultyLog:
    """The event log as one process sees it. Reads go through: they are repeated at the next reconcile."""

    def __init__(self, log: EventLog, plan: Plan) -> None:
        self._log = log
        self._plan = plan

    def append(self, stream: str, events: Sequence[StoredEvent], **options: Any) -> Appended:
        family = self._plan.strike(Port.LOG, changes=True)
        return _through(family, lambda: self._log.append(stream, events, **options), _log_error)

    def lead(self, family: str, epoch: int) -> None:
        self._log.lead(family, epoch)

    def highest_epoch(self, family: str) -> int:
        return self._log.highest_epoch(family)

    def read(self, stream: str, *, after: int = 0) -> list[Record]:
        return self._log.read(stream, after=after)

    def read_all(self, *, after: int = 0, limit: int = 1000) -> list[Record]:
        return self._log.read_all(after=after, limit=limit)

    def subscribe(self, *, after: int = 0, limit: int = 1000) -> Iterator[list[Record]]:
        return self._log.subscribe(after=after, limit=limit)

    def streams(self, prefix: str = "") -> list[StreamHead]:
        return self._log.streams(prefix)

    def head(self, stream: str) -> StreamHead | None:
        return self._log.head(stream)


def _log_error(family: Family) -> LogUnavailable:
    return LogUnavailable("event log: the connection was closed")
