"""Conservation of agent pools, Machines and Workspaces: laws watched while a run goes on, and at its rest.

The checker only looks: at what is stored in the cluster and in the cloud, never through the caches or the
wrappers of a controller. A violated law is one line; the run goes on, so that all are seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from kaito.runtime.keys import UID_LABEL
from kaito.runtime.machines.keys import NAME_LABEL
from kaito.runtime.pools import OWNER_TAG
from kaito.runtime.ports import MACHINES, NODES, WORKSPACES, Object, Resource
from kaito.runtime.repository import is_settled
from kaito.runtime.streams import POISON
from kaito.runtime.translation import conditions_of, is_deleting
from simulator.azure.arm import VirtualArm
from simulator.azure.model import AgentPool, Vm
from simulator.cluster import Cluster
from simulator.engine import Engine
from statemachine.events import WORKSPACE_EVENTS, MachineRequested
from statemachine.machine.events import MACHINE_EVENTS, PoolCreationRequested
from statemachine.machine.replay import fold as fold_machine
from statemachine.machine.state import Machine
from statemachine.replay import fold as fold_workspace
from statemachine.state import Workspace
from store.chain import verify
from store.memory import MemoryEventLog

_MACHINE_PREFIX = "machine/"


class Conservation:
    """Watches one run from its start; ``foreign`` pools must be there by then.

    Attributes:
        violations: One line each, in the order of time, each said once.
        excused: Machines whose pool may outlive them, for somebody took our finalizer away.
        by_hand: Machines that people make; no slot asks for them.
        taken: How often somebody else deleted a pool of ours; it may be made again within its attempt, while
            the log does not know yet that it was made.
    """

    def __init__(self, cluster: Cluster, arm: VirtualArm, log: MemoryEventLog, engine: Engine) -> None:
        self.violations: list[str] = []
        self.excused: set[str] = set()
        self.by_hand: set[str] = set()
        self.taken: Counter[str] = Counter()
        self._cluster = cluster
        self._arm = arm
        self._log = log
        self._engine = engine
        self._foreign = {name: pool.etag for name, pool in sorted(arm.service.pools.items())}
        self._calls = 0
        self._position = 0
        self._attempts: Counter[str] = Counter()
        self._slots: dict[str, int] = {}
        self._created: Counter[str] = Counter()
        self._lives: dict[str, list[tuple[datetime, datetime | None]]] = {}
        self._watch = cluster.watch(MACHINES, bookmarks=False)

    # --- while the run goes on

    def on_call(self, verb: str, pool: str) -> None:
        """Before each PUT or DELETE of a controller goes out."""
        if verb == "delete" and pool in self._arm.service.pools and not self._is_ours(pool):
            self._violated(f"agent pool {pool} is not ours and is to be deleted")

    def look(self) -> None:
        """After each notice of the engine."""
        self._read_log()
        self._read_journal()
        for notification in self._watch.poll():
            self._see_machine(notification.type, notification.object["metadata"]["name"])
        for name, etag in self._foreign.items():
            found = self._arm.service.pools.get(name)
            if found is None or found.etag != etag:
                self._violated(f"agent pool {name} is not ours and was changed")

    def _read_log(self) -> None:
        if self._log.last_position() == self._position:
            return
        for record in self._log.read_all(after=self._position, limit=1_000_000):
            self._position = record.position
            if isinstance(record.event, PoolCreationRequested):
                self._attempts[record.event.machine] += 1
            elif isinstance(record.event, MachineRequested):
                self._slots[record.event.machine] = record.event.slot

    def _read_journal(self) -> None:
        journal = self._arm.journal
        for index in range(self._calls, len(journal)):
            call = journal[index]
            if call.verb == "put" and call.done:
                self._created[call.pool] += 1
                self._check_creation(call.pool)
        self._calls = len(journal)

    def _check_creation(self, pool: str) -> None:
        made, decided = self._created[pool], self._attempts[pool]
        if made > decided + self.taken[pool]:
            self._violated(f"agent pool {pool} was created {made} times, {decided} attempts are in the log")
        if pool not in self._slots and pool not in self.by_hand:
            self._violated(f"agent pool {pool} was created, no slot in the log asked for it")
        workspaces = Counter(self._owner(name) for name in self._standing())
        for uid, count in sorted(workspaces.items()):
            wanted = self._wanted(uid)
            if wanted is not None and count > wanted:
                self._violated(f"Workspace {uid} has {count} agent pools that stay, and {wanted} slots")

    def _standing(self) -> list[str]:
        """Our pools that nobody is about to remove: their Machine is there and not being deleted."""
        machines = {each["metadata"]["name"]: each for each in self._all(MACHINES)}
        return [name for name in self.pools() if name in machines and not is_deleting(machines[name])]

    def _owner(self, pool: str) -> str:
        return str(self._cluster.get(MACHINES, pool)["metadata"]["labels"].get(UID_LABEL, ""))

    def _wanted(self, uid: str) -> int | None:
        for workspace in self._all(WORKSPACES):
            if workspace["metadata"]["uid"] == uid and not is_deleting(workspace):
                return int(workspace["resource"].get("count", 1))
        return None

    def _see_machine(self, type_: str, name: str) -> None:
        now = self._engine.now()
        if type_ == "ADDED":
            self._lives.setdefault(name, []).append((now, None))
            if name not in self._slots and name not in self.by_hand:
                self._violated(f"Machine {name} was created, no slot in the log asked for it")
        elif type_ == "DELETED":
            began, _ = self._lives[name].pop()
            self._lives[name].append((began, now))
            if self._has_pool(name) and name not in self.excused:
                self._violated(f"Machine {name} is gone and its agent pool is not")

    def _has_pool(self, name: str) -> bool:
        return name in self._arm.service.pools and self._is_ours(name)

    def _is_ours(self, pool: str) -> bool:
        return self._arm.service.pools[pool].asked.tags.get(OWNER_TAG) == pool

    # --- at rest

    def unsettled(self) -> list[str]:
        """What is still to come until the run is at rest; empty when it is."""
        workspaces = self._all(WORKSPACES)
        machines = sorted(each["metadata"]["name"] for each in self._all(MACHINES))
        left = [f"Workspace {_name(each)} is not ready" for each in workspaces if not _is_ready(each)]
        pools = self.pools()
        if sorted(pools) != machines:
            left.append(f"agent pools {sorted(pools)} are not Machines {machines}")
        left += [f"agent pool {name} is {pool.state}" for name, pool in pools.items() if pool.busy]
        slots = sorted(name for each in workspaces for name in self._slots_of(each))
        if slots != machines:
            left.append(f"Machines {machines} are not slots {slots}")
        nodes = [each for each in self._all(NODES) if NAME_LABEL in each["metadata"].get("labels", {})]
        if len(nodes) != len(machines):
            left.append(f"{len(nodes)} nodes for {len(machines)} Machines")
        wanted = sum(int(each["resource"].get("count", 1)) for each in workspaces)
        if len(slots) != wanted:
            left.append(f"{len(slots)} Machines in slots, {wanted} wanted")
        return left + list(self._open_streams())

    def check_rest(self) -> None:
        """The laws of a run that is at rest."""
        for text in self.unsettled():
            self._violated(f"not at rest: {text}")
        for stream in self._log.streams():
            self._fold(stream.stream)
        for finding in verify(self._log):
            self._violated(f"log: {finding}")
        machines = {each["metadata"]["name"] for each in self._all(MACHINES)}
        for vm in self._arm.vms:
            if vm.ended_at is None and vm.pool not in machines:
                self._violated(f"a machine of {vm.pool} is billed and has no owner")
        if not self.excused and self.ownerless_gpu_seconds():
            self._violated(f"{self.ownerless_gpu_seconds():.0f} GPU-seconds were billed without an owner")

    def ownerless_gpu_seconds(self) -> float:
        """GPU-seconds billed while no Machine of the pool's name was there."""
        return sum(vm.gpus * self._ownerless_seconds(vm) for vm in self._arm.vms)

    def _ownerless_seconds(self, vm: Vm) -> float:
        now = self._engine.now()
        end = vm.ended_at or now
        owned = 0.0
        for began, ended in self._lives.get(vm.pool, ()):
            shared = min(end, ended or now) - max(vm.began_at, began)
            owned += max(0.0, shared.total_seconds())
        return max(0.0, (end - vm.began_at).total_seconds() - owned)

    def _open_streams(self) -> Iterator[str]:
        """Streams of which the log says that something is still to come, though their object is gone."""
        present = {each["metadata"]["name"] for each in self._all(MACHINES)}
        for head in self._log.streams(_MACHINE_PREFIX):
            name = head.stream.removeprefix(_MACHINE_PREFIX)
            if name not in present and not self.machine(name).is_over:
                yield f"the story of Machine {name} is not over in the log"
        living = {each["metadata"]["uid"] for each in self._all(WORKSPACES)}
        for head in self._log.streams("workspace/"):
            if head.stream.rpartition("/")[2] not in living and not is_settled(self._workspace(head.stream)):
                yield f"the story of {head.stream} is not over in the log"

    def machine(self, name: str) -> Machine:
        """What the log says of a Machine; nothing where its stream cannot be folded, which is a violation."""
        stream = f"{_MACHINE_PREFIX}{name}"
        found = [event for event in self._log.events(stream) if isinstance(event, MACHINE_EVENTS)]
        try:
            return fold_machine(found)
        except POISON as error:
            self._violated(f"{stream} cannot be folded: {error}")
            return Machine()

    def workspace(self, object_: Object) -> Workspace:
        """What the log says of this life of a Workspace."""
        metadata = object_["metadata"]
        return self._workspace(f"workspace/{metadata['namespace']}/{metadata['name']}/{metadata['uid']}")

    def _workspace(self, stream: str) -> Workspace:
        found = [event for event in self._log.events(stream) if isinstance(event, WORKSPACE_EVENTS)]
        try:
            return fold_workspace(found)
        except POISON as error:
            self._violated(f"{stream} cannot be folded: {error}")
            return Workspace()

    def _fold(self, stream: str) -> None:
        if stream.startswith(_MACHINE_PREFIX):
            self.machine(stream.removeprefix(_MACHINE_PREFIX))
        else:
            self._workspace(stream)

    def _slots_of(self, workspace: Object) -> list[str]:
        return [slot.machine for slot in self.workspace(workspace).slots if slot.machine]

    def pool_names(self) -> list[str]:
        """Our pools, in the order of their names."""
        return list(self.pools())

    def pools(self) -> dict[str, AgentPool]:
        """Our pools by name, sorted."""
        return {
            name: self._arm.service.pools[name]
            for name in sorted(self._arm.service.pools)
            if self._is_ours(name)
        }

    def _all(self, resource: Resource) -> list[Object]:
        return self._cluster.list(resource).items

    def _violated(self, text: str) -> None:
        if text not in self.violations:
            self.violations.append(text)


def _name(object_: Object) -> str:
    return str(object_["metadata"]["name"])


def _is_ready(workspace: Object) -> bool:
    ready = conditions_of(workspace).get("WorkspaceReady", {}).get("status") == "True"
    return ready and not is_deleting(workspace)
