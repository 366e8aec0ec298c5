"""Folded Workspaces by stream, and the one place that appends to the log on behalf of the reconciler.

A state is kept between reconciles; that is safe, because every append states the version it builds on. The
log is the truth: on any disagreement the state is dropped and folded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kaito.runtime.keys import WorkspaceKey, stream_of, stream_prefix
from statemachine.errors import IllegalTransition
from statemachine.events import WORKSPACE_EVENTS, WorkspaceEvent
from statemachine.replay import fold
from statemachine.state import Stage, Workspace
from store.errors import UndecodableEvent, UnknownEventType, WrongExpectedVersion
from store.records import EventLog

POISON = (IllegalTransition, UnknownEventType, UndecodableEvent)
"""What a stream that cannot be folded raises."""


class Loaded(msgspec.Struct, frozen=True):
    state: Workspace
    version: int


class Repository:
    """Load and append.

    Args:
        identity: Of this process, so that two that decide alike are told apart; empty where there is one.
        epoch: Gives the leader's lease transitions at the time of the append.
    """

    def __init__(self, log: EventLog, identity: str = "", epoch: Callable[[], int] = lambda: 0) -> None:
        self._log = log
        self._identity = identity
        self._epoch = epoch
        self._loaded: dict[str, Loaded] = {}
        self._lives: dict[WorkspaceKey, set[str]] = {}

    def load(self, key: WorkspaceKey, uid: str) -> Loaded:
        """The state and version of one life; the empty Workspace at version 0 when it has no stream.

        Raises:
            IllegalTransition, UnknownEventType, UndecodableEvent: The stream is poisoned.
        """
        stream = stream_of(key, uid)
        found = self._loaded.get(stream)
        if found is None:
            records = self._log.read(stream)
            events = [record.event for record in records if isinstance(record.event, WORKSPACE_EVENTS)]
            found = Loaded(fold(events), records[-1].version if records else 0)
            self._loaded[stream] = found
        return found

    def append(
        self,
        key: WorkspaceKey,
        uid: str,
        events: Sequence[WorkspaceEvent],
        state: Workspace,
        *,
        expected_version: int,
        cause: str,
    ) -> Loaded:
        """Append the events that led to this state.

        Raises:
            WrongExpectedVersion, StaleEpoch, LogUnavailable: Nothing was written.
        """
        stream = stream_of(key, uid)
        if not events:
            self._loaded[stream] = Loaded(state, expected_version)
            return self._loaded[stream]
        try:
            appended = self._log.append(
                stream,
                events,
                expected_version=expected_version,
                epoch=self._epoch(),
                cause=cause,
                command_id=f"{self._identity} {cause}" if self._identity else "",
            )
        except WrongExpectedVersion:
            self._loaded.pop(stream, None)
            raise
        loaded = self._loaded[stream] = Loaded(state, appended.version)
        self._note_life(key, uid, state)
        return loaded

    def _note_life(self, key: WorkspaceKey, uid: str, state: Workspace) -> None:
        lives = self._lives.setdefault(key, set())
        if is_settled(state):
            lives.discard(uid)
            self._loaded.pop(stream_of(key, uid), None)
        else:
            lives.add(uid)

    def open_lives(self, key: WorkspaceKey) -> list[str]:
        """The UIDs of this name whose story is not over, sorted."""
        if key not in self._lives:
            prefix = stream_prefix(key)
            uids = [head.stream.removeprefix(prefix) for head in self._log.streams(prefix)]
            self._lives[key] = {uid for uid in uids if not self._is_over(key, uid)}
        return sorted(self._lives[key])

    def _is_over(self, key: WorkspaceKey, uid: str) -> bool:
        try:
            return is_settled(self.load(key, uid).state)
        except POISON:
            return True  # a stream nobody can read is set aside where its object is reconciled


def is_settled(state: Workspace) -> bool:
    """Whether the Workspace is gone and nothing of it is left."""
    return state.stage is Stage.GONE and not state.machines()
