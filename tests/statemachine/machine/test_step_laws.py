"""Laws that hold for the Machine's `step` whatever the world does: lagging caches, faults, lost answers.

Hypothesis plays users, kubelets, the cloud and the fault injector; after every step the laws are checked,
and at the end faults stop and everything must come to rest, with a pool exactly where a Machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from statemachine.machine import commands as cmd
from statemachine.machine.collection import (
    Collection,
    MachineSighting,
    Memory,
    NodeSighting,
    Round,
    collect,
)
from statemachine.machine.decision import decide
from statemachine.machine.detection import detect, is_outdated
from statemachine.machine.lifecycle import MachineStep, step
from statemachine.machine.nodes import unready
from statemachine.machine.observations import (
    MachineObject,
    MachineObservation,
    MachineOutcome,
    MachinePicture,
    OperationReading,
    OperationState,
    PoolFault,
    PoolState,
    RemovalGranted,
)
from statemachine.machine.replay import fold
from statemachine.machine.state import Machine, PoolPhase
from statemachine.observations import Result
from statemachine.state import BlockedReason, ConditionStatus, NodeLossCause, Stage
from tests.builders import EPOCH
from tests.statemachine.machine.builders import NAME, a_fault, a_pool
from tests.statemachine.machine.toy_cloud import FOREIGN, FRESH, Fate, Lag, Stream, ToyCloud

ROUNDS_TO_REST = 80
"""How many undisturbed reconciles any history may need until all is said and done."""

TRUE = ConditionStatus.TRUE

BEHIND = (0, 0, 0, 1, 2, 5, 40)
"""How many changes one cache is behind: mostly none, now and then a long way."""

PAUSES = (0.0, 1.0, 10.0, 31.0, 120.0, 601.0, 901.0, 1801.0, 4000.0, 90000.0)
"""Seconds between two moments: around every timer, and between them."""

TOLD = (None, 0.0, 7.0, 86400.0)
"""What a cloud may ask for in ``Retry-After``, in seconds."""

TAINT = "node.kubernetes.io/not-ready:NoSchedule"

ENDS = tuple(state for state in OperationState if state is not OperationState.IN_PROGRESS)

index = st.integers(0, 1)
behind = st.sampled_from(BEHIND)
lags = st.one_of(st.just(FRESH), st.builds(Lag, behind, behind, behind))
fates = st.one_of(st.just(()), st.lists(st.sampled_from(Fate), max_size=4).map(tuple))
pauses = st.sampled_from(PAUSES)
faults = st.builds(
    a_fault,
    st.sampled_from(BlockedReason),
    terminal=st.booleans(),
    retry_after_seconds=st.sampled_from(TOLD),
)


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


class World(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = EPOCH
        self.cloud = ToyCloud(self.now)
        self.stream = Stream()
        self.watched_since: Any = None
        self.stolen = 0

    # --- the provisioner ----------------------------------------------------------------------------

    @rule(lag=lags, fates=fates)
    def reconcile(self, lag: Lag, fates: tuple[Fate, ...]) -> None:
        self.step(lag, fates)

    @rule(seconds=pauses)
    def reconcile_undisturbed(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.step(FRESH)

    @rule()
    def restart(self) -> None:
        """What a process remembers is gone."""
        self.stream.polled_at = None
        self.watched_since = self.now

    @rule()
    def lose_the_log(self) -> None:
        self.stream.lose()
        self.step(FRESH)

    @rule()
    def grant_a_removal(self) -> None:
        grant = RemovalGranted(uid=self.stream.state.uid, cause="node is not ready", since=self.now)
        self.assert_settles(grant)
        self.stream.take(step(self.stream.state, grant, self.now))

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- users --------------------------------------------------------------------------------------

    @rule(refused=st.sampled_from(("", "", "name is too long")))
    def edit(self, refused: str) -> None:
        if self.cloud.object is not None:
            self.change("change", generation=self.cloud.object.generation + 1, refused=refused)

    @rule()
    def delete(self) -> None:
        self.change("change", deleting=True)

    @rule()
    def strip_the_finalizer(self) -> None:
        self.change("change", has_finalizer=False)

    @rule()
    def create_again(self) -> None:
        self.now += timedelta(seconds=1)
        self.change("create_machine", self.now)

    # --- the cloud and the nodes --------------------------------------------------------------------

    @rule(state=st.sampled_from(ENDS), fault=st.one_of(st.none(), faults))
    def finish(self, state: OperationState, fault: Any) -> None:
        self.change("finish", state, fault)

    @rule(fault=faults)
    def choose_the_fault(self, fault: Any) -> None:
        self.cloud.fault = fault

    @rule(state=st.sampled_from(PoolState))
    def disturb_the_pool(self, state: PoolState) -> None:
        self.change("set_pool_state", state)

    @rule()
    def lose_the_pool(self) -> None:
        if self.cloud.pool is not None and self.cloud.pool.owner:
            self.stolen += 1
            self.change("lose_pool")

    @rule()
    def a_stranger_takes_the_name(self) -> None:
        self.cloud.pool = self.cloud.pool or FOREIGN

    @rule()
    def deliver_late_creates(self) -> None:
        self.change("deliver_late")

    @rule(which=index)
    def join(self, which: int) -> None:
        self.change("join", which)

    @rule(which=index, ready=st.booleans())
    def change_node(self, which: int, ready: bool) -> None:
        self.change("change_node", which, ready=ready)

    @rule(which=index)
    def taint_node(self, which: int) -> None:
        self.change("change_node", which, ready=True, taints=(TAINT,))

    @rule(which=index)
    def delete_node(self, which: int) -> None:
        self.change("change_node", which, deleting=True)

    @rule(which=index)
    def remove_node(self, which: int) -> None:
        self.change("remove_node", which)

    @rule(budget=st.booleans())
    def set_a_budget(self, budget: bool) -> None:
        self.cloud.budget = budget

    @rule()
    def get_ready(self) -> None:
        """The ordinary course, so that later rules meet a Machine in service."""
        for _ in range(3):
            self.step(FRESH)
            self.change("help")
        self.step(FRESH)

    def change(self, how: str, *args: Any, **changes: Any) -> None:
        getattr(self.cloud, how)(*args, **changes)
        self.cloud.remember()

    # --- the laws of one step -----------------------------------------------------------------------

    def step(self, lag: Lag, fates: tuple[Fate, ...] = ()) -> MachineStep:
        stream = self.stream
        picture = self.cloud.picture(lag, polled_at=stream.polled_at, watched_since=self.watched_since)
        before, was = stream.state, encoded(stream.state)
        self.assert_settles(picture)
        stepped = step(before, picture, self.now)
        assert encoded(before) == was, "a step changed the state it was given"
        assert_decided_once(stepped, picture, self.now)
        assert_wakes(stepped, self.now)
        assert_evidence(stepped.state, picture)
        assert_order(stepped)
        stream.take(stepped)
        stream.act(self.cloud, stepped.commands, self.now, fates)
        return stepped

    def assert_settles(self, observation: Any) -> None:
        state = self.stream.state
        known = fold(detect(state, observation, self.now), state)
        assert detect(known, observation, self.now) == ()

    # --- the laws of every moment -------------------------------------------------------------------

    @invariant()
    def log_folds_to_live_state(self) -> None:
        cut, snapshot = self.stream.cuts[len(self.stream.cuts) // 2]
        assert fold(self.stream.log) == self.stream.state
        assert fold(self.stream.log[cut:], snapshot) == self.stream.state

    @invariant()
    def every_pool_was_decided(self) -> None:
        """A create whose answer was lost may be repeated only if somebody else took its pool away.

        One that is on its way for hours can be undone, not prevented.
        """
        assert self.cloud.accepted <= self.stream.decided + self.stolen + self.cloud.came_late

    # --- the end: faults stop -----------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "cloud"):
            return
        for _ in range(ROUNDS_TO_REST):
            self.change("help")
            stepped = self.step(FRESH)
            if self.is_at_rest(stepped):
                if self.collect():
                    continue
                break
            if self.cloud.object is not None and (self.stream.state.terminal or self.cloud.object.refused):
                self.change("change", generation=self.cloud.object.generation + 1, refused="")
            self.pass_time(stepped)
        else:
            raise AssertionError(f"not at rest: {self.stream.state}")
        self.assert_ended_well()

    def pass_time(self, stepped: MachineStep) -> None:
        """On to the next wake-up; when that is far, the collector's rounds come first."""
        wake = stepped.wake_at
        if wake is not None and (stepped.events or wake < self.now + timedelta(minutes=4)):
            self.now = wake
        elif not self.collect() and wake is not None:
            self.now = max(self.now, wake)

    def is_at_rest(self, stepped: MachineStep) -> bool:
        """Whether an undisturbed step found nothing to do and the story is told."""
        state = stepped.state
        ready = state.stage is Stage.LIVE and state.ready.status is TRUE
        told = state.is_over or state == Machine() or ready
        return told and not self.cloud.late and stepped.events == () and stepped.commands == ()

    def collect(self) -> bool:
        """Rounds of the collector until it finds something new; False when it does not."""
        memory = Memory()
        for _ in range(20):
            self.now += timedelta(minutes=2)
            found = collect(memory, self.round())
            memory = found.memory
            if found.pools or found.nodes:
                assert self.cloud.object is None
                self.change("lose_pool")
                self.cloud.nodes.clear()
                return True
            if self.tell(found):
                return True
        return False

    def round(self) -> Round:
        found, pool = self.cloud.object, self.cloud.pool
        nodes = [NodeSighting(name=name, pool=NAME) for name in sorted(self.cloud.nodes)]
        return Round(
            at=self.now,
            pools=(pool,) if pool else (),
            machines=(sighting(found, self.cloud),) if found else (),
            nodes=tuple(nodes),
        )

    def tell(self, found: Collection) -> bool:
        """Whether what the collector has to say was news to the stream."""
        stream, before = self.stream, len(self.stream.log)
        for removal in found.removals:
            grant = RemovalGranted(uid=removal.uid, cause=removal.cause, since=removal.since)
            stream.take(step(stream.state, grant, self.now))
        if found.rereads:
            outcome = self.cloud.execute(cmd.ReadPool(), Fate.DONE, self.now)
            assert outcome is not None
            stream.take(step(stream.state, outcome, self.now))
        return len(stream.log) > before

    def assert_ended_well(self) -> None:
        state, found, pool = self.stream.state, self.cloud.object, self.cloud.pool
        if found is None:
            assert pool is None or not pool.owner
            assert state.is_over or state == Machine()
            return
        assert pool is not None
        assert (pool.owner, pool.owner_uid) == (NAME, found.uid)
        assert found.has_finalizer
        assert found.status.conditions["Ready"].status is TRUE
        assert found.status.node in self.cloud.nodes
        node = self.cloud.nodes[found.status.node]
        assert node.has_finalizer
        assert node.registered
        assert node.initialized


def sighting(found: MachineObject, cloud: ToyCloud) -> MachineSighting:
    said = found.status.conditions
    nodes = list(cloud.nodes.values())
    return MachineSighting(
        name=found.name,
        uid=found.uid,
        launched="MachineLaunched" in said and said["MachineLaunched"].status is TRUE,
        registered="MachineRegistered" in said and said["MachineRegistered"].status is TRUE,
        deleting=found.deleting,
        node_cause=(unready(nodes[0]) or "") if nodes else NodeLossCause.GONE,
    )


def assert_decided_once(stepped: MachineStep, picture: MachinePicture, now: Any) -> None:
    """The same picture again: nothing new, the same commands, the same wake-up."""
    assert detect(stepped.state, picture, now) == ()
    again = decide(stepped.state, picture, now)
    assert again.events == ()
    assert (again.commands, again.wake_at) == (stepped.commands, stepped.wake_at)


def assert_wakes(stepped: MachineStep, now: Any) -> None:
    state = stepped.state
    assert stepped.wake_at is None or stepped.wake_at > now
    settled = (
        state.is_over or state == Machine() or (state.stage is Stage.LIVE and state.ready.status is TRUE)
    )
    if stepped.commands or not settled:
        assert stepped.wake_at is not None


def assert_evidence(state: Machine, picture: MachinePicture) -> None:
    """Ready stands on what this very picture shows: one node, and that one Ready."""
    if state.stage is Stage.LIVE and state.ready.status is TRUE and not is_outdated(state, picture):
        (node,) = picture.nodes
        assert node.ready
        assert not node.deleting
        assert (state.node, state.phase) == (node.name, PoolPhase.LAUNCHED)


def assert_order(stepped: MachineStep) -> None:
    """One call to the cloud at most, the last; what is irreversible only after what must come before."""
    state, commands = stepped.state, stepped.commands
    calls = [
        command
        for command in commands
        if isinstance(command, cmd.SubmitPool | cmd.ReadPool | cmd.ReadOperation | cmd.DeletePool)
    ]
    assert len(calls) <= 1
    assert calls == list(commands[-1:]) or not calls
    for command in commands:
        if isinstance(command, cmd.SubmitPool):
            assert state.stage is Stage.LIVE
            assert not state.terminal
            assert command.attempt == state.attempt
        if isinstance(command, cmd.RemoveFinalizer | cmd.DeleteNode):
            assert state.cleared
        if isinstance(command, cmd.RemoveNodeFinalizer):
            assert state.cleared or command.node != state.node, "a node was released before its pool"
        if isinstance(command, cmd.DeletePool) and state.stage is Stage.DELETING:
            assert state.drained or state.drain_since is None


TestWorld = World.TestCase


# --- the same world by plain seeds ------------------------------------------------------------------


def a_lag(random: Random) -> Lag:
    return random.choice((FRESH, Lag(*random.choices(BEHIND, k=3))))


def some_fates(random: Random) -> tuple[Fate, ...]:
    return tuple(random.choices(tuple(Fate), k=random.choice((0, 0, 1, 3, 5))))


def some_fault(random: Random) -> PoolFault:
    return a_fault(
        random.choice(tuple(BlockedReason)),
        terminal=random.random() < 0.3,
        retry_after_seconds=random.choice(TOLD),
    )


ACTIONS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "reconcile": lambda r: {"lag": a_lag(r), "fates": some_fates(r)},
    "reconcile_undisturbed": lambda r: {"seconds": r.choice(PAUSES)},
    "get_ready": lambda r: {},
    "restart": lambda r: {},
    "lose_the_log": lambda r: {},
    "grant_a_removal": lambda r: {},
    "wait": lambda r: {"seconds": r.choice(PAUSES)},
    "edit": lambda r: {"refused": r.choice(("", "", "name is too long"))},
    "delete": lambda r: {},
    "strip_the_finalizer": lambda r: {},
    "create_again": lambda r: {},
    "finish": lambda r: {"state": r.choice(ENDS), "fault": r.choice((None, some_fault(r)))},
    "choose_the_fault": lambda r: {"fault": some_fault(r)},
    "disturb_the_pool": lambda r: {"state": r.choice(tuple(PoolState))},
    "lose_the_pool": lambda r: {},
    "a_stranger_takes_the_name": lambda r: {},
    "deliver_late_creates": lambda r: {},
    "join": lambda r: {"which": r.randrange(2)},
    "change_node": lambda r: {"which": r.randrange(2), "ready": r.random() < 0.6},
    "taint_node": lambda r: {"which": r.randrange(2)},
    "delete_node": lambda r: {"which": r.randrange(2)},
    "remove_node": lambda r: {"which": r.randrange(2)},
    "set_a_budget": lambda r: {"budget": r.random() < 0.5},
}

RARE = {"delete": 0.3, "lose_the_log": 0.3, "strip_the_finalizer": 0.3, "lose_the_pool": 0.3}
COMMON = {"reconcile": 5.0, "reconcile_undisturbed": 5.0, "finish": 3.0, "join": 2.0, "change_node": 2.0}


def weights(random: Random) -> list[float]:
    """Half of the worlds are ordinary; in the others some kinds of action never happen, others often."""
    ordinary = [RARE.get(name, COMMON.get(name, 1.0)) for name in ACTIONS]
    if random.random() < 0.5:
        return ordinary
    return [weight * random.choice((0.0, 1.0, 4.0)) + 0.01 for weight in ordinary]


def walk(seed: int) -> World:
    """One world from one seed, every law checked, to its rest."""
    random = Random(f"{seed}/machine-step-laws")
    world = World()
    world.begin()
    for name in random.choices(list(ACTIONS), weights(random), k=random.randrange(5, 60)):
        getattr(world, name)(**ACTIONS[name](random))
        world.every_pool_was_decided()
    world.log_folds_to_live_state()
    world.teardown()
    return world


def test_laws_hold_from_every_seed() -> None:
    """Ten worlds to every one that Hypothesis plays: it shrinks what fails, plain seeds are far quicker."""
    for seed in range(10 * settings().max_examples):
        try:
            walk(seed)
        except Exception as failure:
            raise AssertionError(f"walk({seed}) breaks a law: {failure!r}") from failure


# --- answers that come when nobody expects them -----------------------------------------------------

POOLS = [
    a_pool(state, owner=owner, owner_uid=uid)
    for state in PoolState
    for owner, uid in ((NAME, "life-1"), (NAME, "another"), ("", ""))
]


def answers(state: Machine) -> Iterator[MachineObservation]:
    """Every kind of answer to every command that has one, and the collector's word."""
    submit = cmd.SubmitPool(attempt=state.attempt, uid=state.uid, vm_size="", os_disk_gb=0)
    for command in (submit, cmd.ReadPool(), cmd.DeletePool(), cmd.RemoveFinalizer()):
        yield MachineOutcome(command=command, result=Result.NOT_FOUND)
        yield MachineOutcome(command=command, result=Result.DONE, operation=OperationReading(url="u"))
        yield MachineOutcome(command=command, result=Result.REFUSED, fault=a_fault())
        for pool, result in product(POOLS, (Result.DONE, Result.REFUSED)):
            yield MachineOutcome(command=command, result=result, pool=pool)
    for found, fault, result in product(OperationState, (None, a_fault()), (Result.DONE, Result.NOT_FOUND)):
        reading = OperationReading(url=state.operation, state=found, fault=fault)
        command = cmd.ReadOperation(url=state.operation)
        yield MachineOutcome(command=command, result=result, operation=reading)
    evict = cmd.EvictPod(namespace="default", name="pod-0", uid="u")
    yield MachineOutcome(command=evict, result=Result.REFUSED, message="budget")
    yield RemovalGranted(uid=state.uid, cause="node is gone", since=EPOCH)


def test_every_answer_is_possible_in_every_state() -> None:
    """Another leader's answer, or a late one, must never poison a stream."""
    states = {}
    for seed in range(60):
        for _, state in walk(seed).stream.cuts:
            shape = (state.stage, state.phase, bool(state.operation), state.drained, state.cleared)
            states.setdefault((*shape, state.launched.status, state.initialized.status), state)

    assert {(state.stage, state.phase) for state in states.values()} >= {
        *((Stage.LIVE, phase) for phase in PoolPhase),
        (Stage.DELETING, PoolPhase.LEAVING),
        (Stage.GONE, PoolPhase.NONE),
    }
    for state in states.values():
        for answer in answers(state):
            known = fold(detect(state, answer, EPOCH), state)
            assert detect(known, answer, EPOCH) == ()
