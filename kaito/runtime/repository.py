"""Workspaces by stream: one stream for each life of a name, and which lives are not over yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kaito.runtime.keys import STREAM_PREFIX, WorkspaceKey, stream_of, stream_prefix
from kaito.runtime.streams import POISON, Loaded, Streams
from statemachine.events import WORKSPACE_EVENTS, WorkspaceEvent
from statemachine.replay import fold
from statemachine.state import Stage, Workspace
from store.records import EventLog


class Repository:
    """Load and append; for ``identity`` and ``epoch`` see `Streams`."""

    def __init__(self, log: EventLog, identity: str = "", epoch: Callable[[], int] = lambda: 0) -> None:
        self._streams: Streams[Workspace] = Streams(log, fold, WORKSPACE_EVENTS, identity, epoch)
        self._lives: dict[WorkspaceKey, set[str]] = {}

    def load(self, key: WorkspaceKey, uid: str) -> Loaded[Workspace]:
        """The state and version of one life; the empty Workspace at version 0 when it has no stream.

        Raises:
            IllegalTransition, UnknownEventType, UndecodableEvent: The stream is poisoned.
        """
        return self._streams.load(stream_of(key, uid))

    def append(
        self,
        key: WorkspaceKey,
        uid: str,
        events: Sequence[WorkspaceEvent],
        state: Workspace,
        *,
        expected_version: int,
        cause: str,
    ) -> Loaded[Workspace]:
        """Append the events that led to this state.

        Raises:
            WrongExpectedVersion, StaleEpoch, LogUnavailable: Nothing was written.
        """
        stream = stream_of(key, uid)
        loaded = self._streams.append(stream, events, state, expected_version=expected_version, cause=cause)
        if events:
            self._note_life(key, uid, state)
        return loaded

    def _note_life(self, key: WorkspaceKey, uid: str, state: Workspace) -> None:
        lives = self._lives.setdefault(key, set())
        if is_settled(state):
            lives.discard(uid)
            self._streams.forget(stream_of(key, uid))
        else:
            lives.add(uid)

    def open_lives(self, key: WorkspaceKey) -> list[str]:
        """The UIDs of this name whose story is not over, sorted."""
        if key not in self._lives:
            prefix = stream_prefix(key)
            uids = [head.stream.removeprefix(prefix) for head in self._streams.log.streams(prefix)]
            self._lives[key] = {uid for uid in uids if not self._is_over(key, uid)}
        return sorted(self._lives[key])

    def open_keys(self) -> list[WorkspaceKey]:
        """The names with a life whose story is not over, sorted.

        A process that starts looks at each of them: a Workspace that went while nobody watched is in no
        cache, and nothing else would ever lead to it.
        """
        heads = self._streams.log.streams(STREAM_PREFIX)
        keys = {WorkspaceKey(*head.stream.split("/")[1:3]) for head in heads}
        return [key for key in sorted(keys) if self.open_lives(key)]

    def _is_over(self, key: WorkspaceKey, uid: str) -> bool:
        try:
            settled = is_settled(self.load(key, uid).state)
        except POISON:
            return True  # a stream nobody can read is set aside where its object is reconciled
        if settled:
            self._streams.forget(stream_of(key, uid))
        return settled


def is_settled(state: Workspace) -> bool:
    """Whether the Workspace is gone and nothing of it is left."""
    return state.stage is Stage.GONE and not state.machines()
