"""Laws that hold for `step` whatever the world does: lagging caches, lost calls, crashes, failing nodes.

Hypothesis plays world and fault injector against a toy cluster; after every step the laws are checked, and
at the end faults stop and everything must come to rest.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from statemachine import commands as cmd
from statemachine.decision import decide
from statemachine.detection import detect, unusable
from statemachine.lifecycle import Step, step
from statemachine.observations import ClusterView
from statemachine.replay import fold
from statemachine.state import ConditionStatus, InferenceReason, Stage, Workspace
from tests import strategies
from tests.builders import EPOCH, a_service_view, a_workload_view
from tests.statemachine.toy_cluster import FRESH, READY_POD, Fate, Lag, Life, ToyCluster

ROUNDS_TO_REST = 60
"""How many undisturbed reconciles any history may need until all is said and done."""

TRUE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.UNKNOWN

index = st.integers(0, 3)


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


class World(RuleBasedStateMachine):
    """A Workspace name, its lives one after another, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH
        self.lives: list[Life] = []
        self.names: dict[tuple[str, int, int], str] = {}

    @initialize(node_count=st.sampled_from((1, 1, 2, 4)))
    def begin(self, node_count: int) -> None:
        self.cluster = ToyCluster(node_count)
        self.lives.append(Life(self.cluster.create_workspace()))
        self.cluster.remember()

    # --- the operator -------------------------------------------------------------------------------

    @rule(lag=strategies.lags(), fates=strategies.fates())
    def reconcile(self, lag: Lag, fates: tuple[Fate, ...]) -> None:
        for life in self.lives:
            if not life.is_over:
                self.step(life, lag, fates)

    @rule(seconds=strategies.pauses())
    def reconcile_undisturbed(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.reconcile(FRESH, ())

    @rule(lag=strategies.lags())
    def crash_before_acting(self, lag: Lag) -> None:
        for life in self.lives:
            if not life.is_over:
                self.step(life, lag, (Fate.LOST,))

    @rule(seconds=strategies.pauses())
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def lose_the_log(self) -> None:
        """The one fault that needs up-to-date caches after it: nothing else tells what was bought."""
        life = self.lives[-1]
        if self.cluster.live(life.uid):
            self.lives[-1] = Life(life.uid)
            self.names.clear()
            self.step(self.lives[-1], FRESH, ())

    # --- the user -----------------------------------------------------------------------------------

    @rule(refused=st.sampled_from(("", "", "preset unknown")))
    def edit(self, refused: str) -> None:
        found = self.cluster.workspace
        if found is not None:
            self.change(self.cluster.change_workspace, generation=found.generation + 1, refused=refused)

    @rule(seconds=st.sampled_from((60.0, 900.0, 3600.0)))
    def change_the_limits(self, seconds: float) -> None:
        found = self.cluster.workspace
        if found is not None:
            limits = replace(found.limits, machine_timeout=seconds)
            self.change(self.cluster.change_workspace, limits=limits)

    @rule()
    def delete(self) -> None:
        self.change(self.cluster.change_workspace, deleting=True)

    @precondition(lambda self: self.cluster.workspace is None)
    @rule()
    def create_again(self) -> None:
        self.lives.append(Life(self.cluster.create_workspace()))
        self.cluster.remember()

    # --- machines and nodes -------------------------------------------------------------------------

    @rule(which=index)
    def launch(self, which: int) -> None:
        self.change_machine(which, launched=True, failure=None)

    @rule(which=index, failure=strategies.failures())
    def fail(self, which: int, failure: Any) -> None:
        self.change_machine(which, failure=failure)

    @rule(which=index)
    def heal(self, which: int) -> None:
        self.change_machine(which, failure=None)

    @rule(which=index)
    def make_ready(self, which: int) -> None:
        name = self.machine(which)
        if name:
            self.change(self.cluster.ready_machine, name)

    @rule(which=index)
    def delete_machine(self, which: int) -> None:
        self.change_machine(which, deleting=True)

    @rule(which=index)
    def finish_deletion(self, which: int) -> None:
        name = self.machine(which)
        if name:
            self.change(self.cluster.finish_machine, name)

    @rule()
    def bring_a_node(self) -> None:
        self.change(self.cluster.bring_node)

    @rule(which=index, ready=st.booleans(), gpus=st.sampled_from((0, 2)))
    def change_node(self, which: int, ready: bool, gpus: int) -> None:
        self.change_a_node(which, ready=ready, gpus=gpus)

    @rule(which=index)
    def usable_node(self, which: int) -> None:
        self.change_a_node(which, ready=True, gpus=2)

    @rule(which=index)
    def drain_node(self, which: int) -> None:
        self.change_a_node(which, deleting=True)

    @rule(which=index)
    def remove_node(self, which: int) -> None:
        name = self.node(which)
        if name:
            self.change(self.cluster.nodes.pop, name)

    # --- serving ------------------------------------------------------------------------------------

    @rule(which=index, started=st.booleans())
    def start_pod(self, which: int, started: bool) -> None:
        self.change(self.cluster.change_pod, which, node="node", started=started)

    @rule()
    def pods_become_ready(self) -> None:
        for which in range(4):
            self.change(self.cluster.change_pod, which, **READY_POD)

    @rule(which=index, why=st.sampled_from(("OOMKilled", "Error")), restarts=st.integers(1, 3))
    def crash(self, which: int, why: str, restarts: int) -> None:
        self.change(
            self.cluster.change_pod, which, ready=False, terminated=why, exit_code=137, restarts=restarts
        )

    @rule(which=index, waiting=st.sampled_from(("ImagePullBackOff", "CreateContainerConfigError", "")))
    def trouble_pod(self, which: int, waiting: str) -> None:
        self.change(self.cluster.change_pod, which, ready=False, waiting=waiting)

    @rule(which=index, message=st.sampled_from(("0/3 nodes are available", "")))
    def unschedule_pod(self, which: int, message: str) -> None:
        self.change(self.cluster.change_pod, which, ready=False, node="", unschedulable=message)

    @rule(desired=st.integers(0, 3), current=st.booleans())
    def scale(self, desired: int, current: bool) -> None:
        found = self.cluster.serving.workload
        if found is not None:
            self.change(self.cluster.lose, workload=replace(found, desired=desired, current=current))

    @rule(foreign=st.booleans())
    def lose_the_service(self, foreign: bool) -> None:
        self.change(self.cluster.lose, service=a_service_view(owned=False) if foreign else None)

    @rule(foreign=st.booleans())
    def lose_the_workload(self, foreign: bool) -> None:
        self.change(
            self.cluster.lose, workload=a_workload_view(owned=False, ready=1) if foreign else None, pods=()
        )

    # --- how the world is changed -------------------------------------------------------------------

    def change(self, how: Any, *args: Any, **changes: Any) -> None:
        how(*args, **changes)
        self.cluster.remember()

    def machine(self, which: int) -> str:
        names = sorted(self.cluster.machines)
        return names[which % len(names)] if names else ""

    def change_machine(self, which: int, **changes: Any) -> None:
        name = self.machine(which)
        if name:
            self.change(self.cluster.change_machine, name, **changes)

    def node(self, which: int) -> str:
        names = sorted(self.cluster.nodes)
        return names[which % len(names)] if names else ""

    def change_a_node(self, which: int, **changes: Any) -> None:
        name = self.node(which)
        if name:
            self.change(self.cluster.change_node, name, **changes)

    # --- the laws of one step -----------------------------------------------------------------------

    def step(self, life: Life, lag: Lag, fates: tuple[Fate, ...] = ()) -> Step:
        view = self.cluster.picture(life.uid, lag)
        before, was = life.state, encoded(life.state)
        assert_detection_settles(before, view, self.now)
        stepped = step(before, view, self.now)
        assert encoded(before) == was, "a step changed the state it was given"
        assert_decided_once(stepped, view, self.now)
        assert_wakes(stepped, self.now)
        assert_evidence(stepped.state, view)
        self.assert_names(life, stepped)
        life.take(stepped)
        life.act(self.cluster, stepped.commands, self.now, fates)
        return stepped

    def assert_names(self, life: Life, stepped: Step) -> None:
        for command in stepped.commands:
            if isinstance(command, cmd.CreateMachine):
                key = (life.uid, command.slot, command.attempt)
                assert self.names.setdefault(key, command.machine) == command.machine
        assert len(set(self.names.values())) == len(self.names)

    # --- the laws of every moment -------------------------------------------------------------------

    @invariant()
    def log_folds_to_live_state(self) -> None:
        for life in self.lives:
            cut, snapshot = life.cuts[len(life.cuts) // 2]
            assert fold(life.log) == life.state
            assert fold(life.log[cut:], snapshot) == life.state

    @invariant()
    def no_machine_too_many_is_live(self) -> None:
        for life in self.lives:
            live = [machine for machine in self.cluster.machines_of(life.uid) if not machine.deleting]
            assert len(live) <= self.cluster.node_count, [machine.name for machine in live]

    @invariant()
    def workspace_ready_follows_the_others(self) -> None:
        for life in self.lives:
            state = life.state
            if state.stage is Stage.LIVE:
                both = state.resource_ready.status is TRUE and state.inference_ready.status is TRUE
                assert (state.workspace_ready.status is TRUE) == both

    # --- the end: faults stop -----------------------------------------------------------------------

    def teardown(self) -> None:
        if not self.lives:
            return
        for _ in range(ROUNDS_TO_REST):
            steps = [self.step(life, FRESH) for life in self.lives]
            if all(is_at_rest(life, stepped) for life, stepped in zip(self.lives, steps, strict=True)):
                break
            self.change(self.cluster.help)
            wakes = [stepped.wake_at for stepped in steps if stepped.wake_at is not None]
            self.now = min(wakes, default=self.now)
        else:
            raise AssertionError(f"not at rest: {[life.state for life in self.lives]}")
        self.assert_ended_well()

    def assert_ended_well(self) -> None:
        present = self.cluster.workspace
        for life in self.lives:
            if present is not None and present.uid == life.uid:
                assert life.is_ready
                assert present.status.conditions["WorkspaceReady"].status is TRUE
                assert present.status.worker_nodes == life.state.worker_nodes
            else:
                assert life.is_over or life.state == Workspace()
                assert self.cluster.machines_of(life.uid) == []


def is_at_rest(life: Life, stepped: Step) -> bool:
    """Whether an undisturbed step found nothing to do and the story is told."""
    told = life.is_over or life.is_ready or life.state == Workspace()
    return told and stepped.events == () and stepped.commands == ()


def assert_detection_settles(state: Workspace, view: ClusterView, now: Any) -> None:
    was = encoded(state)
    known = fold(detect(state, view, now), state)
    assert detect(known, view, now) == ()
    assert encoded(state) == was, "detection changed the state it was given"


def assert_decided_once(stepped: Step, view: ClusterView, now: Any) -> None:
    """The same picture again: nothing new, the same commands, the same wake-up."""
    was = encoded(stepped.state)
    assert detect(stepped.state, view, now) == ()
    again = decide(stepped.state, view, now)
    assert encoded(stepped.state) == was, "a decision changed the state it was given"
    assert again.events == ()
    assert (again.commands, again.wake_at) == (stepped.commands, stepped.wake_at)


def assert_wakes(stepped: Step, now: Any) -> None:
    state = stepped.state
    assert stepped.wake_at is None or stepped.wake_at > now
    over = state.stage is Stage.ABSENT or (state.stage is Stage.GONE and not state.machines())
    settled = state.stage is Stage.LIVE and state.workspace_ready.status is TRUE
    if stepped.commands or not (over or settled):
        assert stepped.wake_at is not None


def assert_evidence(state: Workspace, view: ClusterView) -> None:
    """A verdict of True stands on what this very picture shows."""
    if state.stage is not Stage.LIVE or view.workspace is None:
        return
    nodes = {node.name: node for node in view.nodes}
    usable = [unusable(nodes.get(slot.node), view.workspace.needs_gpu) is None for slot in state.slots]
    if state.machine_ready.status is TRUE:
        assert all(usable)
        assert state.resource_ready.status is TRUE
        assert state.worker_nodes == tuple(sorted(slot.node for slot in state.slots))
    if state.inference_ready.status is TRUE:
        assert view.workload is not None
        assert view.workload.owned
        assert view.workload.ready >= max(view.workload.desired, 1)
        assert view.service is None or view.service.owned
    if state.refused:
        assert state.inference_ready.message == state.refused
        assert state.inference_ready.reason == InferenceReason.FAILED


TestWorld = World.TestCase
