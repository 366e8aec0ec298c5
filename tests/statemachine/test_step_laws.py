"""Laws that hold for `step` whatever the world does: lagging caches, lost calls, crashes, failing nodes.

World and fault injector are played against a toy cluster, by Hypothesis and by plain seeds; after every
step the laws are checked, and at the end faults stop and everything must come to rest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from statemachine import commands as cmd
from statemachine.decision import decide
from statemachine.detection import detect
from statemachine.lifecycle import Step, step
from statemachine.observations import ClusterView, MachineFailure
from statemachine.replay import fold
from statemachine.state import ConditionStatus, InferenceReason, Stage, Trouble, Workspace
from tests import strategies
from tests.builders import EPOCH, a_service_view, a_workload_view
from tests.statemachine.toy_cluster import FRESH, READY_POD, Fate, Lag, Life, ToyCluster

ROUNDS_TO_REST = 60
"""How many undisturbed reconciles any history may need until all is said and done."""

TRUE = ConditionStatus.TRUE

index = st.integers(0, 3)

MACHINE_NEWS: dict[str, dict[str, Any]] = {
    "launched": {"launched": True, "failure": None},
    "failing": {},
    "healed": {"failure": None},
    "ready": {},
    "repaired": {},
    "deleted": {"deleting": True},
    "gone": {},
}
NODE_NEWS: dict[str, dict[str, Any]] = {
    "brought": {},
    "usable": {"ready": True, "gpus": 2},
    "not ready": {"ready": False},
    "without gpu": {"ready": True, "gpus": 0},
    "drained": {"deleting": True},
    "gone": {},
}
POD_NEWS: dict[str, dict[str, Any]] = {
    "pulling": {"node": "node", "started": False, "ready": False},
    "loading": {"node": "node", "started": True, "ready": False},
    "ready": READY_POD,
    "crashed": {"ready": False, "terminated": "Error", "exit_code": 1},
    "out of memory": {"ready": False, "terminated": "OOMKilled", "exit_code": 137},
    "no image": {"ready": False, "waiting": "ImagePullBackOff"},
    "no secret": {"ready": False, "waiting": "CreateContainerConfigError"},
    "unschedulable": {"ready": False, "node": "", "unschedulable": "0/3 nodes are available"},
}
SERVING_NEWS: dict[str, dict[str, Any]] = {
    "service gone": {"service": None},
    "service of another": {"service": a_service_view(owned=False)},
    "workload gone": {"workload": None, "pods": ()},
    "workload of another": {"workload": a_workload_view(owned=False, ready=1), "pods": ()},
}


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


class World(RuleBasedStateMachine):
    """A Workspace name, its lives one after another, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH
        self.lives: list[Life] = []
        self.names: dict[tuple[str, int, int], str] = {}

    @initialize(node_count=st.sampled_from((1, 1, 2, 4)), progress=st.sampled_from((0, 1, 3, 6)))
    def begin(self, node_count: int, progress: int) -> None:
        """Start anywhere between a new Workspace and a serving one: faults hit each stretch of the way."""
        self.cluster = ToyCluster(node_count)
        self.lives.append(Life(self.cluster.create_workspace()))
        self.cluster.remember()
        for _ in range(progress):
            self.go_well(1.0)

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

    @rule(seconds=strategies.pauses())
    def go_well(self, seconds: float) -> None:
        """Whatever is on its way arrives, and the operator sees it."""
        self.change(self.cluster.help)
        self.reconcile_undisturbed(seconds)

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

    # --- machines, nodes, pods ----------------------------------------------------------------------

    @rule(which=index, news=st.sampled_from(sorted(MACHINE_NEWS)), failure=strategies.failures())
    def machine_news(self, which: int, news: str, failure: MachineFailure) -> None:
        names = sorted(self.cluster.machines)
        if not names:
            return
        name = names[which % len(names)]
        match news:
            case "ready":
                self.change(self.cluster.ready_machine, name)
            case "repaired":
                self.change(self.cluster.repair_machine, name)
            case "gone":
                self.change(self.cluster.finish_machine, name)
            case "failing":
                self.change(self.cluster.change_machine, name, failure=failure)
            case _:
                self.change(self.cluster.change_machine, name, **MACHINE_NEWS[news])

    @rule(which=index, news=st.sampled_from(sorted(NODE_NEWS)))
    def node_news(self, which: int, news: str) -> None:
        names = sorted(self.cluster.nodes)
        if news == "brought":
            self.change(self.cluster.bring_node)
        elif names and news == "gone":
            self.change(self.cluster.nodes.pop, names[which % len(names)])
        elif names:
            self.change(self.cluster.change_node, names[which % len(names)], **NODE_NEWS[news])

    @rule(which=index, news=st.sampled_from(sorted(POD_NEWS)), restarts=st.integers(0, 3))
    def pod_news(self, which: int, news: str, restarts: int) -> None:
        self.change(self.cluster.change_pod, which, restarts=restarts, **POD_NEWS[news])

    @rule(news=st.sampled_from(sorted(SERVING_NEWS)))
    def serving_news(self, news: str) -> None:
        self.change(self.cluster.lose, **SERVING_NEWS[news])

    @rule(desired=st.integers(0, 3), current=st.booleans())
    def scale(self, desired: int, current: bool) -> None:
        found = self.cluster.serving.workload
        if found is not None:
            self.change(self.cluster.lose, workload=replace(found, desired=desired, current=current))

    # --- how the world is changed -------------------------------------------------------------------

    def change(self, how: Any, *args: Any, **changes: Any) -> None:
        how(*args, **changes)
        self.cluster.remember()

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
        assert_names_its_trouble(stepped.state)
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
    usable = {node.name for node in view.nodes if node.ready and node.gpus and not node.deleting}
    nodes = tuple(sorted(slot.node for slot in state.slots))
    assert (state.machine_ready.status is TRUE) == (set(nodes) <= usable)
    if state.machine_ready.status is TRUE:
        assert (state.resource_ready.status, state.worker_nodes) == (TRUE, nodes)
    if state.inference_ready.status is TRUE:
        assert view.workload is not None
        assert view.workload.owned
        assert view.workload.ready >= max(view.workload.desired, 1)
        assert view.service is None or view.service.owned
    if state.refused:
        assert state.inference_ready.message == state.refused
        assert state.inference_ready.reason == InferenceReason.FAILED


def assert_names_its_trouble(state: Workspace) -> None:
    """What MachineReady says when it is False is wrong now, with a slot that has it."""
    if state.stage is not Stage.LIVE or state.machine_ready.status is not ConditionStatus.FALSE:
        return
    troubled = [slot for slot in state.slots if slot.trouble is not Trouble.NONE]
    wrong = [name for slot in troubled for name in (slot.detail, slot.machine, slot.node) if name]
    assert any(name in state.machine_ready.message for name in wrong)


TestWorld = World.TestCase


# --- the same world by plain seeds ------------------------------------------------------------------

ACTIONS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "reconcile": lambda r: {"lag": strategies.a_lag(r), "fates": strategies.some_fates(r)},
    "reconcile_undisturbed": lambda r: {"seconds": r.choice(strategies.PAUSES)},
    "go_well": lambda r: {"seconds": r.choice(strategies.PAUSES)},
    "crash_before_acting": lambda r: {"lag": strategies.a_lag(r)},
    "wait": lambda r: {"seconds": r.choice(strategies.PAUSES)},
    "lose_the_log": lambda r: {},
    "edit": lambda r: {"refused": r.choice(("", "", "preset unknown"))},
    "change_the_limits": lambda r: {"seconds": r.choice((60.0, 900.0, 3600.0))},
    "delete": lambda r: {},
    "create_again": lambda r: {},
    "machine_news": lambda r: {
        "which": r.randrange(4), "news": r.choice(sorted(MACHINE_NEWS)), "failure": strategies.some_failure(r)
    },
    "node_news": lambda r: {"which": r.randrange(4), "news": r.choice(sorted(NODE_NEWS))},
    "pod_news": lambda r: {
        "which": r.randrange(4), "news": r.choice(sorted(POD_NEWS)), "restarts": r.randrange(4)
    },
    "serving_news": lambda r: {"news": r.choice(sorted(SERVING_NEWS))},
    "scale": lambda r: {"desired": r.randrange(4), "current": r.random() < 0.5},
}  # fmt: skip

RARE = {"delete": 0.2, "lose_the_log": 0.3, "create_again": 0.5}
COMMON = {"reconcile": 4.0, "reconcile_undisturbed": 4.0, "go_well": 2.0}


def weights(random: Random) -> list[float]:
    """Half of the worlds are ordinary; in the others some kinds of action never happen, others often."""
    ordinary = [RARE.get(name, COMMON.get(name, 1.0)) for name in ACTIONS]
    if random.random() < 0.5:
        return ordinary
    return [weight * random.choice((0.0, 1.0, 4.0)) + 0.01 for weight in ordinary]


def walk(seed: int) -> None:
    """One world from one seed, every law checked, to its rest."""
    random = Random(f"{seed}/step-laws")
    world = World()
    world.begin(node_count=random.choice((1, 1, 2, 4)), progress=random.choice((0, 1, 3, 6)))
    names, likely = list(ACTIONS), weights(random)
    for name in random.choices(names, likely, k=random.randrange(5, 50)):
        if name != "create_again" or world.cluster.workspace is None:
            getattr(world, name)(**ACTIONS[name](random))
        world.no_machine_too_many_is_live()
        world.workspace_ready_follows_the_others()
    world.log_folds_to_live_state()
    world.teardown()


def test_laws_hold_from_every_seed() -> None:
    """Ten worlds to every one that Hypothesis plays: it shrinks what fails, plain seeds are far quicker."""
    for seed in range(10 * settings().max_examples):
        try:
            walk(seed)
        except Exception as failure:
            raise AssertionError(f"walk({seed}) breaks a law: {failure!r}") from failure
