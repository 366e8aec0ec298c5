"""The line in code: observe, detect, append, fold, decide, execute. Every driver runs this reconciler.

A key stands for a name; each life of that name (each UID) has a stream of its own and is stepped by itself,
so a Workspace made anew never inherits a Machine, and what an earlier life left behind is still cleaned up.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import msgspec

from kaito.runtime.executor import Executor, WorkspaceTarget
from kaito.runtime.keys import WorkspaceKey
from kaito.runtime.observer import Observer
from kaito.runtime.ports import WORKSPACES, ApiError, Clock, KubeApi, NotFound, Object
from kaito.runtime.repository import Repository
from kaito.runtime.streams import POISON, Loaded
from kaito.runtime.translation import is_deleting, status_view
from kaito.runtime.workqueue import Outcome
from statemachine.commands import WriteStatus
from statemachine.lifecycle import Step, step
from statemachine.state import Condition, ConditionStatus, ConditionType, Stage, Workspace
from store.errors import LogUnavailable, WrongExpectedVersion

LAGGING_RETRY = timedelta(seconds=10)
"""How soon the cache is looked at again when it lacks a Workspace that a live read has found."""

_STANDING = (Stage.LIVE, Stage.DELETING)


class Reconciled(msgspec.Struct, frozen=True):
    """What the queue is told; ``error`` is the text of what went wrong, empty when nothing did."""

    outcome: Outcome
    after_seconds: float = 0.0
    error: str = ""


def retry(error: ApiError) -> Reconciled:
    """What a call that may be repeated makes of its reconcile: later as told, or with backoff."""
    if error.retry_after_seconds is not None:
        return Reconciled(Outcome.REQUEUE_AFTER, error.retry_after_seconds, error.message)
    return Reconciled(Outcome.ERROR, error=error.message)


class Reconciler:
    def __init__(
        self,
        api: KubeApi,
        observer: Observer,
        repository: Repository,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self._api = api
        self._observer = observer
        self._repository = repository
        self._executor = executor
        self._clock = clock
        self._numbers = itertools.count(1)

    def reconcile(self, key: WorkspaceKey) -> Reconciled:
        """Step every life of this name once. It never waits, and what the world did is never raised.

        Raises:
            StaleEpoch: Another leader has written; this process must stop acting.
        """
        cause = f"reconcile {next(self._numbers)}"
        now = self._clock.now()
        wakes: list[datetime] = []
        try:
            for uid in self._lives(key):
                wake = self._reconcile_life(key, uid, now, cause)
                if wake is not None:
                    wakes.append(wake)
        except WrongExpectedVersion as error:
            return Reconciled(Outcome.REQUEUE, error=str(error))
        except LogUnavailable as error:
            return Reconciled(Outcome.ERROR, error=str(error))  # no effect without a record of its intent
        except NotFound:
            return Reconciled(Outcome.REQUEUE)  # gone since the picture; the next one shows it
        except ApiError as error:
            return retry(error)
        except POISON as error:
            return Reconciled(Outcome.TERMINAL_ERROR, error=str(error))
        if not wakes:
            return Reconciled(Outcome.SUCCESS)
        return Reconciled(Outcome.REQUEUE_AFTER, max((min(wakes) - now).total_seconds(), 0.0))

    def _lives(self, key: WorkspaceKey) -> list[str]:
        """The lives to step: what earlier ones left first, the present object last."""
        lives = self._repository.open_lives(key)
        object_ = self._observer.current(key)
        current = object_["metadata"]["uid"] if object_ is not None else None
        return [uid for uid in lives if uid != current] + ([current] if current else [])

    def _reconcile_life(self, key: WorkspaceKey, uid: str, now: datetime, cause: str) -> datetime | None:
        object_ = self._observer.current(key)
        mine = object_ if object_ is not None and object_["metadata"]["uid"] == uid else None
        target = WorkspaceTarget(key, uid, mine)
        try:
            loaded = self._repository.load(key, uid)
        except POISON as error:
            self._set_aside(target, error)
            raise
        if mine is None and loaded.state.stage in _STANDING and self._lives_still(key, uid):
            return now + LAGGING_RETRY
        view = self._observer.observe(key, uid, loaded.state)
        if mine is not None and self._is_restored(key, mine, loaded.state.stage):
            view = msgspec.structs.replace(view, restored=True)
        stepped = step(loaded.state, view, now)
        loaded = self._append(key, uid, loaded, stepped, cause)
        wake = stepped.wake_at
        for command in stepped.commands:
            outcome = self._executor.execute(command, target)
            self._observer.learn(target)
            if outcome is None:
                continue
            then = self._clock.now()
            recorded = step(loaded.state, outcome, then)
            loaded = self._append(key, uid, loaded, recorded, cause)
            if recorded.events:
                wake = then  # what follows from it is decided on the next picture, at once
        return wake

    def _is_restored(self, key: WorkspaceKey, mine: Object, stage: Stage) -> bool:
        """Whether the Workspace lives though the log has its end: the cluster was set back to a backup.

        A live read, for a lagging cache shows the same picture.
        """
        over = stage is Stage.GONE
        if not over and (stage is not Stage.DELETING or is_deleting(mine)):
            return False
        try:
            found = self._api.get(WORKSPACES, key.name, key.namespace)
        except NotFound:
            return False
        same = found["metadata"].get("uid") == mine["metadata"]["uid"]
        return same and (over or not is_deleting(found))

    def _lives_still(self, key: WorkspaceKey, uid: str) -> bool:
        """A live read: the cache may lag behind, and the absence of a Workspace ends its Machines."""
        try:
            found = self._api.get(WORKSPACES, key.name, key.namespace)
        except NotFound:
            return False
        return bool(found["metadata"].get("uid") == uid)

    def _append(
        self, key: WorkspaceKey, uid: str, loaded: Loaded[Workspace], stepped: Step, cause: str
    ) -> Loaded[Workspace]:
        return self._repository.append(
            key, uid, stepped.events, stepped.state, expected_version=loaded.version, cause=cause
        )

    def _set_aside(self, target: WorkspaceTarget, error: Exception) -> None:
        """Say on the object that its stream cannot be read; the other Workspaces are not concerned."""
        if target.object is None:
            return
        written = dict(status_view(target.object).conditions)
        verdict = Condition(ConditionStatus.UNKNOWN, "EventLogUnreadable", str(error), self._clock.now())
        present = written.get(ConditionType.WORKSPACE_READY)
        if present and (present.reason, present.message) == (verdict.reason, verdict.message):
            return
        written[ConditionType.WORKSPACE_READY] = verdict
        self._executor.execute(
            WriteStatus(
                conditions=written,
                worker_nodes=status_view(target.object).worker_nodes,
                observed_generation=int(target.object["metadata"].get("generation") or 1),
            ),
            target,
        )
