"""The line for Machines: observe, detect, append, fold, decide, execute; every driver runs this one."""

from __future__ import annotations

import itertools
from datetime import datetime

import msgspec

from kaito.runtime.machines.executor import MachineExecutor
from kaito.runtime.machines.keys import STREAM_PREFIX, stream_of
from kaito.runtime.machines.observer import MachineObserver, is_ours
from kaito.runtime.pools import PoolError, PoolRefused
from kaito.runtime.ports import MACHINES, ApiError, Clock, KubeApi, NotFound, Object
from kaito.runtime.reconciler import Reconciled, retry
from kaito.runtime.streams import POISON, Loaded, Streams
from kaito.runtime.targets import Target
from kaito.runtime.workqueue import Outcome
from statemachine.machine import commands as cmd
from statemachine.machine.lifecycle import MachineStep, step
from statemachine.machine.observations import MachineObservation, MachineOutcome
from statemachine.machine.state import Machine
from statemachine.state import Stage
from store.errors import LogUnavailable, WrongExpectedVersion

UNANSWERED_RETRY_SECONDS = 15.0
"""How soon a call to the cloud that got no answer is repeated, where the cloud did not say."""

_READS = (cmd.ReadPool, cmd.ReadOperation)


class MachineReconciler:
    def __init__(
        self,
        api: KubeApi,
        observer: MachineObserver,
        streams: Streams[Machine],
        executor: MachineExecutor,
        clock: Clock,
    ) -> None:
        self._api = api
        self._observer = observer
        self._streams = streams
        self._executor = executor
        self._clock = clock
        self._numbers = itertools.count(1)

    def unfinished(self) -> list[str]:
        """Machines whose story is not over in the log, by name.

        A process that starts looks at each of them: those that went while nobody watched are in no cache, and
        nothing else would ever lead to them.
        """
        heads = self._streams.log.streams(STREAM_PREFIX)
        return sorted(
            head.stream.removeprefix(STREAM_PREFIX) for head in heads if not self._is_over(head.stream)
        )

    def _is_over(self, stream: str) -> bool:
        """A stream that cannot be read is nobody's to finish; an imported one has no UID."""
        try:
            state = self._streams.load(stream).state
        except POISON:
            return True
        over = state.is_over or not state.uid
        if over:
            self._streams.forget(stream)
        return over

    def reconcile(self, name: str, told: MachineObservation | None = None) -> Reconciled:
        """Step one Machine; first with what the collector has to say of it, where it has something.

        Raises:
            StaleEpoch: Another leader has written; this process must stop acting.
        """
        cause = f"reconcile {next(self._numbers)}"
        try:
            return self._reconcile(name, told, self._clock.now(), cause)
        except WrongExpectedVersion as error:
            return Reconciled(Outcome.REQUEUE, error=str(error))
        except LogUnavailable as error:
            return Reconciled(Outcome.ERROR, error=str(error))
        except NotFound:
            return Reconciled(Outcome.REQUEUE)
        except ApiError as error:
            return retry(error)
        except PoolError as error:
            return Reconciled(Outcome.REQUEUE_AFTER, _hold_off(error), str(error))
        except POISON as error:
            return Reconciled(Outcome.TERMINAL_ERROR, error=str(error))

    def _reconcile(self, name: str, told: MachineObservation | None, now: datetime, cause: str) -> Reconciled:
        stream = stream_of(name)
        loaded = self._streams.load(stream)
        if told is not None:
            loaded = self._record(stream, loaded, step(loaded.state, told, now), cause)
        object_ = self._object(name, loaded.state)
        if object_ is None and not loaded.version:
            return Reconciled(Outcome.SUCCESS)
        picture = self._observer.observe(name, object_, now)
        if object_ is not None and self._is_restored(name, object_, loaded.state):
            picture = msgspec.structs.replace(picture, restored=True)
        stepped = step(loaded.state, picture, now)
        loaded = self._record(stream, loaded, stepped, cause)
        wake = self._act(stream, loaded, stepped, object_, cause)
        if loaded.state.is_over and not stepped.commands:
            self._streams.forget(stream)
            self._observer.forget(name)
        if wake is None:
            return Reconciled(Outcome.SUCCESS)
        return Reconciled(Outcome.REQUEUE_AFTER, max((wake - now).total_seconds(), 0.0))

    def _object(self, name: str, state: Machine) -> Object | None:
        """The Machine as cached; where the cache lacks one whose story is not over, as read live."""
        found = self._observer.current(name)
        if found is not None or state.is_over or not state.uid:
            return found
        try:
            live = self._api.get(MACHINES, name)
        except NotFound:
            return None
        return live if is_ours(live) else None

    def _is_restored(self, name: str, object_: Object, state: Machine) -> bool:
        """Whether the Machine is there though the log has its end; a cache may lag, so it is read live."""
        uid = object_["metadata"].get("uid")
        if state.stage is not Stage.GONE or uid != state.uid:
            return False
        try:
            return bool(self._api.get(MACHINES, name)["metadata"].get("uid") == uid)
        except NotFound:
            return False

    def _act(
        self,
        stream: str,
        loaded: Loaded[Machine],
        stepped: MachineStep,
        object_: Object | None,
        cause: str,
    ) -> datetime | None:
        """Execute the commands in order, record what came of each, and say when to look again."""
        name = stream.removeprefix(STREAM_PREFIX)
        target = Target(MACHINES, name, loaded.state.uid, object_)
        wake = stepped.wake_at
        for command in stepped.commands:
            outcome = self._executor.execute(command, target)
            self._observer.learn(target)
            then = self._clock.now()
            if isinstance(command, _READS):
                self._observer.polled(name, then)
            if outcome is not None and self._note(stream, outcome, then, cause):
                wake = then  # what follows from it is decided on the next picture, at once
        return wake

    def _note(self, stream: str, outcome: MachineOutcome, now: datetime, cause: str) -> bool:
        loaded = self._streams.load(stream)
        recorded = step(loaded.state, outcome, now)
        self._record(stream, loaded, recorded, cause)
        return bool(recorded.events)

    def _record(
        self, stream: str, loaded: Loaded[Machine], stepped: MachineStep, cause: str
    ) -> Loaded[Machine]:
        return self._streams.append(
            stream, stepped.events, stepped.state, expected_version=loaded.version, cause=cause
        )


def _hold_off(error: PoolError) -> float:
    asked = error.fault.retry_after_seconds if isinstance(error, PoolRefused) else None
    return UNANSWERED_RETRY_SECONDS if asked is None else asked
