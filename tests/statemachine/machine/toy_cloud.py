"""A toy API server and a toy ARM: enough world for the laws of the Machine's `step` to be attacked.

One Machine name lives again and again, on one stream. The pictures of object, nodes and pods lag one by one;
pools and operations are read live, and every call may be refused, lost, or lose its answer. A create that
was lost may still arrive later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from statemachine.machine import commands as cmd
from statemachine.machine import events as ev
from statemachine.machine.lifecycle import MachineStep, step
from statemachine.machine.observations import (
    MachineNode,
    MachineObject,
    MachineOutcome,
    MachinePicture,
    MachineStatusView,
    NodePod,
    OperationReading,
    OperationState,
    PoolFault,
    PoolReading,
    PoolState,
)
from statemachine.machine.state import Machine
from statemachine.observations import Result
from tests.statemachine.machine.builders import NAME, a_bare_node, a_fault, a_pod, a_pool, an_object

FOREIGN = PoolReading(name=NAME, state=PoolState.SUCCEEDED, vm_size="Standard_D2s_v3")
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."


class Fate(Enum):
    """What becomes of one command; after a lost call or answer the rest of the reconcile is dropped."""

    DONE = "done"
    REFUSED = "refused"
    LOST = "lost"
    ANSWER_LOST = "answer lost"
    LATE = "arrives later"


class Lag(NamedTuple):
    """How many changes each cache is behind."""

    machine: int = 0
    nodes: int = 0
    pods: int = 0


FRESH = Lag()


class Running(msgspec.Struct, frozen=True):
    """An operation and what it is about."""

    url: str
    creates: bool
    state: OperationState = OperationState.IN_PROGRESS
    fault: PoolFault | None = None


class ToyCloud:
    def __init__(self, now: datetime) -> None:
        self.lives = 0
        self.counter = 0
        self.accepted = 0
        """Creates that took effect, over all lives of the name."""
        self.object: MachineObject | None = None
        self.nodes: dict[str, MachineNode] = {}
        self.pods: dict[str, NodePod] = {}
        self.pool: PoolReading | None = None
        self.operations: dict[str, Running] = {}
        self.late: list[cmd.SubmitPool] = []
        self.came_late = 0
        self.budget = False
        self.fault = a_fault()
        self._past: list[list[Any]] = [[], [], []]
        self.create_machine(now)

    # --- pictures -------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Add what changed to what a cache may still show."""
        present = (self.object, dict(self.nodes), dict(self.pods))
        for past, now in zip(self._past, present, strict=True):
            if not past or past[-1] != now:
                past.append(now)

    def picture(self, lag: Lag = FRESH, **more: Any) -> MachinePicture:
        cached = [past[-1 - min(back, len(past) - 1)] for past, back in zip(self._past, lag, strict=True)]
        found, nodes, pods = cached
        return MachinePicture(
            machine=found if found is not None else self.object,  # gone only by a live read
            nodes=tuple(node for _, node in sorted(nodes.items())),
            pods=tuple(pod for _, pod in sorted(pods.items())),
            **more,
        )

    # --- users, kubelets and the cloud ----------------------------------------------------------------

    def create_machine(self, now: datetime) -> None:
        if self.object is None:
            self.lives += 1
            self.object = an_object(uid=f"life-{self.lives}", created_at=now, has_finalizer=False)
            self.remember()

    def change(self, **changes: Any) -> None:
        if self.object is None:
            return
        self.object = replace(self.object, **changes)
        if self.object.deleting and not self.object.has_finalizer:
            self.object = None

    def finish(self, state: OperationState, fault: PoolFault | None = None) -> None:
        """The operation under way ends; a create that fails leaves its pool in that state."""
        for url, running in sorted(self.operations.items()):
            if running.state is not OperationState.IN_PROGRESS:
                continue
            self.operations[url] = replace(running, state=state, fault=fault)
            if state is OperationState.LOST:
                continue
            if running.creates:
                self._finish_creation(state, fault)
            else:
                self._finish_deletion(state)

    def _finish_creation(self, state: OperationState, fault: PoolFault | None) -> None:
        if self.pool is not None and self.pool.owner and self.pool.state is PoolState.CREATING:
            self.pool = replace(self.pool, state=PoolState(str(state)), fault=fault)

    def _finish_deletion(self, state: OperationState) -> None:
        if self.pool is None or self.pool.state is not PoolState.DELETING:
            return
        if state is OperationState.SUCCEEDED:
            self.lose_pool()
        else:
            self.pool = replace(self.pool, state=PoolState(str(state)))

    def lose_pool(self) -> None:
        """The pool goes and its virtual machines with it; nodes that a finalizer holds linger."""
        self.pool = None
        self.pods.clear()
        for name, node in sorted(self.nodes.items()):
            if node.has_finalizer:
                self.nodes[name] = replace(node, ready=False, deleting=True)
            else:
                del self.nodes[name]

    def settle_pool(self) -> None:
        """What a lost operation was about ends all the same."""
        if self.pool is None or not self.pool.owner:
            return
        if self.pool.state in (PoolState.CREATING, PoolState.UPDATING, PoolState.UNKNOWN):
            self.pool = replace(self.pool, state=PoolState.SUCCEEDED)
        elif self.pool.state is PoolState.DELETING:
            self.lose_pool()

    def set_pool_state(self, state: PoolState) -> None:
        if self.pool is not None and self.pool.owner:
            self.pool = replace(self.pool, state=state)

    def join(self, which: int = 0) -> None:
        """A node of the pool registers, with a pod; a second one is the duplicate that must not be."""
        if self.pool is None or not self.pool.owner or self.pool.state is PoolState.DELETING:
            return
        name = f"node-{which}"
        self.nodes.setdefault(name, a_bare_node(name, provider_id=f"vm-{which}", ready=False))
        self.pods.setdefault(f"pod-{which}", a_pod(f"pod-{which}", node=name))

    def change_node(self, which: int, **changes: Any) -> None:
        names = sorted(self.nodes)
        if names:
            name = names[which % len(names)]
            self.nodes[name] = replace(self.nodes[name], **changes)
            self._reap(name)

    def remove_node(self, which: int) -> None:
        names = sorted(self.nodes)
        if names:
            del self.nodes[names[which % len(names)]]

    def _reap(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is not None and node.deleting and not node.has_finalizer:
            del self.nodes[name]

    def deliver_late(self) -> None:
        """Creates that were on their way arrive; create-only, so at most one of them counts."""
        for command in self.late:
            if self.pool is None:
                self.came_late += 1
                self._create_pool(command)
        self.late.clear()

    def help(self) -> None:
        """Whatever is on its way arrives, and nothing fails any more."""
        self.deliver_late()
        self.budget = False
        self.finish(OperationState.SUCCEEDED)
        self.settle_pool()
        if self.pool is not None and not self.pool.owner:
            self.pool = None
        if self.pool is not None and self.pool.state is PoolState.SUCCEEDED and not self.nodes:
            self.join()
        for name in sorted(self.nodes)[1:]:
            del self.nodes[name]
        for name, node in sorted(self.nodes.items()):
            leaving = self.pool is None or node.deleting
            self.nodes[name] = replace(node, ready=not leaving, taints=())
            if node.deleting and self.object is not None and not self.object.deleting:
                del self.nodes[name]  # somebody deleted it; its kubelet registers anew
        for name, pod in sorted(self.pods.items()):
            if pod.deletion_at is not None:
                del self.pods[name]

    # --- what the executor does -----------------------------------------------------------------------

    def execute(self, command: cmd.MachineCommand, fate: Fate, now: datetime) -> MachineOutcome | None:
        if fate is Fate.LATE:
            if isinstance(command, cmd.SubmitPool) and self._may_create(command):
                self.late.append(command)
            return None
        if fate is Fate.REFUSED:
            return self._refuse(command)
        return _EXECUTE[type(command)](self, command, now)

    def _refuse(self, command: cmd.MachineCommand) -> MachineOutcome | None:
        if isinstance(command, cmd.SubmitPool | cmd.DeletePool):
            return MachineOutcome(command=command, result=Result.REFUSED, fault=self.fault)
        return None

    def _may_create(self, command: cmd.SubmitPool) -> bool:
        found = self.object
        return found is not None and found.uid == command.uid and not found.deleting and found.has_finalizer

    def _submit(self, command: cmd.SubmitPool, now: datetime) -> MachineOutcome:
        if not self._may_create(command):
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        if self.pool is not None:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=self.pool)
        url = self._create_pool(command)
        return MachineOutcome(command=command, result=Result.DONE, operation=OperationReading(url=url))

    def _create_pool(self, command: cmd.SubmitPool) -> str:
        assert self.pool is None, "a pool was written over"
        self.accepted += 1
        self.pool = a_pool(owner_uid=command.uid)
        return self._start(creates=True)

    def _start(self, *, creates: bool) -> str:
        self.counter += 1
        url = f"operation-{self.counter}"
        self.operations[url] = Running(url, creates)
        return url

    def _read_pool(self, command: cmd.ReadPool, now: datetime) -> MachineOutcome:
        result = Result.DONE if self.pool else Result.NOT_FOUND
        return MachineOutcome(command=command, result=result, pool=self.pool)

    def _read_operation(self, command: cmd.ReadOperation, now: datetime) -> MachineOutcome:
        running = self.operations.get(command.url)
        state = running.state if running else OperationState.LOST
        reading = OperationReading(url=command.url, state=state, fault=running.fault if running else None)
        over = state is OperationState.SUCCEEDED
        result = Result.NOT_FOUND if over and self.pool is None else Result.DONE
        return MachineOutcome(
            command=command, result=result, operation=reading, pool=self.pool if over else None
        )

    def _delete_pool(self, command: cmd.DeletePool, now: datetime) -> MachineOutcome:
        if self.pool is None:
            return MachineOutcome(command=command, result=Result.NOT_FOUND)
        if self.pool.owner != NAME:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=self.pool)
        if self.pool.state is PoolState.DELETING:
            return MachineOutcome(command=command, result=Result.DONE, pool=self.pool)
        self.pool = replace(self.pool, state=PoolState.DELETING)
        self.operations = {url: run for url, run in self.operations.items() if not run.creates}
        url = self._start(creates=False)
        return MachineOutcome(command=command, result=Result.DONE, operation=OperationReading(url=url))

    def _register(self, command: cmd.RegisterNode, now: datetime) -> None:
        if command.node in self.nodes:
            marks = {"has_finalizer": True, "owned": True, "registered": True}
            self.nodes[command.node] = replace(self.nodes[command.node], **marks)

    def _mark(self, command: cmd.InitializeNode, now: datetime) -> None:
        if command.node in self.nodes:
            self.nodes[command.node] = replace(self.nodes[command.node], initialized=True)

    def _cordon(self, command: cmd.CordonNode, now: datetime) -> None:
        if command.node in self.nodes:
            self.nodes[command.node] = replace(self.nodes[command.node], cordoned=True)

    def _evict(self, command: cmd.EvictPod, now: datetime) -> MachineOutcome | None:
        if self.budget:
            return MachineOutcome(command=command, result=Result.REFUSED, message=BUDGET)
        if command.name in self.pods:
            self.pods[command.name] = replace(self.pods[command.name], deletion_at=now)
        return None

    def _delete_node(self, command: cmd.DeleteNode, now: datetime) -> None:
        ours = self.pool is not None and self.pool.owner == NAME
        assert self.came_late or not ours, "a node was deleted before its pool"
        if command.node in self.nodes:
            self.nodes[command.node] = replace(self.nodes[command.node], deleting=True)
            self._reap(command.node)

    def _release_node(self, command: cmd.RemoveNodeFinalizer, now: datetime) -> None:
        if command.node in self.nodes:
            self.nodes[command.node] = replace(self.nodes[command.node], has_finalizer=False)
            self._reap(command.node)

    def _add_finalizer(self, command: cmd.AddFinalizer, now: datetime) -> None:
        if self.object is not None and not self.object.deleting:
            self.change(has_finalizer=True)

    def _write_status(self, command: cmd.WriteStatus, now: datetime) -> None:
        self.change(
            status=MachineStatusView(
                conditions=command.conditions,
                node=command.node,
                provider_id=command.provider_id,
                capacity=command.capacity,
                allocatable=command.allocatable,
            )
        )

    def _delete_machine(self, command: cmd.DeleteMachine, now: datetime) -> None:
        if self.object is not None and self.object.uid == command.uid:
            self.change(deleting=True)

    def _remove_finalizer(self, command: cmd.RemoveFinalizer, now: datetime) -> MachineOutcome | None:
        if self.pool is not None and self.pool.owner == NAME:
            return MachineOutcome(command=command, result=Result.REFUSED, pool=self.pool)
        self.change(has_finalizer=False)
        return None


_EXECUTE: dict[type[cmd.MachineCommand], Callable[[ToyCloud, Any, datetime], MachineOutcome | None]] = {
    cmd.AddFinalizer: ToyCloud._add_finalizer,
    cmd.SubmitPool: ToyCloud._submit,
    cmd.ReadPool: ToyCloud._read_pool,
    cmd.ReadOperation: ToyCloud._read_operation,
    cmd.DeletePool: ToyCloud._delete_pool,
    cmd.RegisterNode: ToyCloud._register,
    cmd.InitializeNode: ToyCloud._mark,
    cmd.CordonNode: ToyCloud._cordon,
    cmd.EvictPod: ToyCloud._evict,
    cmd.DeleteNode: ToyCloud._delete_node,
    cmd.RemoveNodeFinalizer: ToyCloud._release_node,
    cmd.WriteStatus: ToyCloud._write_status,
    cmd.DeleteMachine: ToyCloud._delete_machine,
    cmd.RemoveFinalizer: ToyCloud._remove_finalizer,
}


class Stream:
    """One stream and the steps taken on it, with every state on the way kept for the laws."""

    def __init__(self) -> None:
        self.state = Machine()
        self.log: list[ev.MachineEvent] = []
        self.cuts: list[tuple[int, Machine]] = [(0, self.state)]
        self.polled_at: datetime | None = None
        self.decided = 0

    def take(self, stepped: MachineStep) -> MachineStep:
        """Append the events of a step and stand on its state."""
        self.decided += sum(isinstance(event, ev.PoolCreationRequested) for event in stepped.events)
        self.log.extend(stepped.events)
        self.state = stepped.state
        self.cuts.append((len(self.log), self.state))
        return stepped

    def lose(self) -> None:
        """The log is gone; what was decided is not."""
        decided = self.decided
        self.__init__()  # type: ignore[misc]  # everything but the count begins anew
        self.decided = decided

    def act(
        self, cloud: ToyCloud, commands: Iterable[cmd.MachineCommand], now: datetime, fates: Sequence[Fate]
    ) -> None:
        for index, command in enumerate(commands):
            fate = fates[index] if index < len(fates) else Fate.DONE
            if fate is Fate.LOST:
                return
            if isinstance(command, cmd.ReadPool | cmd.ReadOperation):
                self.polled_at = now
            outcome = cloud.execute(command, fate, now)
            cloud.remember()
            if fate in (Fate.ANSWER_LOST, Fate.LATE):
                return
            if outcome is not None:
                self.take(step(self.state, outcome, now))
