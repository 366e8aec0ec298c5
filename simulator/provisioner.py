"""The stand-in for the machine provider: Machines become nodes, and go with them.

It behaves outwardly as gpu-provisioner 0.2.0 does. Machines without the label ``kaito.sh/workspace`` are
not its own. No condition is written until the first launch attempt ends. A failed attempt shows as
LaunchFailed and is repeated after 1, 2, 4 … 60 s until it succeeds.

A Machine that is deleted while a launch is under way is not aborted: the launch ends first, as the cloud
takes no delete during a create, and what it made is deleted then. Between two attempts nothing is under
way, and the deletion begins at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kaito.runtime.ports import MACHINES, NODES, PODS, Object
from simulator import conditions, machines
from simulator.conditions import INITIALIZED, LAUNCHED, READY, REGISTERED
from simulator.engine import EventNotice
from simulator.instance_types import has_gpu
from simulator.latency import observed_seconds
from simulator.machines import LINKED, WORKSPACE
from simulator.nodes import MACHINE_TYPE
from simulator.process import Surroundings, deleting, is_true, labels, timestamp
from simulator.termination import Termination

MESSAGE_LIMIT = 800
"""Characters of a provider's text that fit a condition."""
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How one launch attempt fails.

    Attributes:
        code: The provider's error code, as ``QuotaExceeded``.
        message: The provider's text.
        delay_seconds: From the acceptance of the request to the failure.
        retry_seconds: When the next attempt begins; None for the usual backoff.
    """

    code: str
    message: str
    delay_seconds: float = 0.0
    retry_seconds: float | None = None


Failures = Callable[[Object, int], Failure | None]
"""Asked before each attempt, with the Machine and the attempt's number from 1 on; None lets it succeed."""


def no_failures(machine: Object, attempt: int) -> Failure | None:
    return None


class MachineProvisioner:
    """Launches, registers and terminates the Machines of Workspaces."""

    def __init__(self, surroundings: Surroundings, failures: Failures = no_failures) -> None:
        self._in = surroundings
        self._failures = failures
        self._busy: set[str] = set()
        """UIDs of Machines for which the cloud is at work; each is looked at again when that ends."""
        self._terminations: dict[str, Termination] = {}
        """By UID of the Machine."""
        self._attempts: dict[str, int] = {}
        self._retries: dict[str, EventNotice] = {}
        self._suffixes = surroundings.generators.generator("machine.node_name")
        surroundings.follow(MACHINES, self._on_machine)
        surroundings.follow(NODES, self._on_node)
        surroundings.follow(PODS, self._on_pod)

    # --- what it hears

    def _on_machine(self, type_: str, machine: Object) -> None:
        uid = machine["metadata"]["uid"]
        if type_ == "DELETED":
            self._forget(uid)
        elif WORKSPACE in labels(machine):
            if deleting(machine) and (retry := self._retries.pop(uid, None)):
                self._in.engine.cancel(retry)
            self._consider(machine["metadata"]["name"])

    def _on_node(self, type_: str, node: Object) -> None:
        """A node that becomes Ready completes its Machine; one that somebody deletes takes it along."""
        name = machines.machine_name(node)
        if not name:
            return
        if type_ != "DELETED" and deleting(node) and machines.claimed(node):
            machine = self._in.get(MACHINES, name)
            if machine is not None and not deleting(machine):
                self._in.delete(MACHINES, name)
        self._consider(name)

    def _on_pod(self, type_: str, pod: Object) -> None:
        if type_ == "DELETED":
            for termination in list(self._terminations.values()):
                termination.drain()

    def _consider(self, name: str) -> None:
        """Read the Machine and do what its state asks for next."""
        machine = self._in.get(MACHINES, name)
        if machine is None or WORKSPACE not in labels(machine):
            return
        uid = machine["metadata"]["uid"]
        if uid in self._busy or uid in self._retries:
            return
        if deleting(machine):
            if machines.claimed(machine):
                self._busy.add(uid)
                termination = Termination(self._in, machine, lambda: self._forget(uid))
                self._terminations[uid] = termination
                termination.begin()
        elif not is_true(machine, LAUNCHED):
            self._busy.add(uid)
            wait = 0.0 if uid in self._attempts else self._in.delays.seconds("machine.create_call")
            self._in.after(wait, lambda: self._launch(name, uid))
        elif not is_true(machine, READY):
            self._register(machine)

    # --- launch

    def _launch(self, name: str, uid: str) -> None:
        """Claim the Machine with the finalizer and send the create call."""
        machine = self._standing(name, uid)
        if machine is None:
            return
        if deleting(machine):
            self._rest(name, uid)
            return
        self._in.patch(MACHINES, name, {"metadata": {"finalizers": machines.finalizers_with_ours(machine)}})
        attempt = self._attempts[uid] = self._attempts.get(uid, 0) + 1
        accepted = self._in.delays.seconds("machine.request")
        failure = self._failures(machine, attempt)
        if failure is None:
            self._in.after(accepted + self._creation(machine), lambda: self._launched(name, uid))
        else:
            self._in.after(accepted + failure.delay_seconds, lambda: self._launch_failed(name, uid, failure))

    def _creation(self, machine: Object) -> float:
        """Acceptance to launched: the operation, seen by polling, and the wait for a node to name."""
        delays = self._in.delays
        gpu = has_gpu(machines.instance_type(machine))
        operation = delays.seconds("machine.operation" if gpu else "machine.cpu_operation")
        seen = observed_seconds(operation, delays.seconds("machine.poll_interval_seconds"))
        return seen + delays.seconds("machine.node_wait")

    def _launched(self, name: str, uid: str) -> None:
        """The virtual machine exists and its node has joined."""
        machine = self._standing(name, uid)
        if machine is None:
            return
        now = self._in.now()
        linked = machines.provider_id(machines.scale_set_name(name, self._suffixes.randrange(10**8)))
        self._in.api.create(NODES, machines.node_of(machine, linked=linked, at=timestamp(now)))
        told = {"annotations": {LINKED: linked}, "labels": {MACHINE_TYPE: machines.machine_type(machine)}}
        self._in.patch(MACHINES, name, {"metadata": told})
        # What failed attempts said of the later steps no longer holds; these are open again.
        before = [each for each in machines.conditions_of(machine) if each["type"] in (LAUNCHED, READY)]
        marked = conditions.marked_true(before, LAUNCHED, now=now)
        self._write_status(name, {"providerID": linked, "conditions": marked})
        self._rest(name, uid)

    def _launch_failed(self, name: str, uid: str, failure: Failure) -> None:
        machine = self._standing(name, uid)
        if machine is None:
            return
        now = self._in.now()
        text = f"{failure.code}: {failure.message}"[:MESSAGE_LIMIT]
        marks = conditions.marked_false(
            machines.conditions_of(machine), LAUNCHED, "LaunchFailed", text, now=now
        )
        for later in (REGISTERED, INITIALIZED):
            marks = conditions.marked_false(
                marks, later, "MachineNotLaunched", "Machine is not launched", now=now
            )
        self._write_status(name, {"conditions": marks})
        if not deleting(machine):
            backoff = min(FIRST_RETRY_SECONDS * 2 ** (self._attempts[uid] - 1), LONGEST_RETRY_SECONDS)
            wait = backoff if failure.retry_seconds is None else failure.retry_seconds
            self._retries[uid] = self._in.after(wait, lambda: self._retry(name, uid))
        self._rest(name, uid)

    def _retry(self, name: str, uid: str) -> None:
        self._retries.pop(uid, None)
        self._consider(name)

    def _register(self, machine: Object) -> None:
        """The node is Ready: claim it, and tell so in the Machine."""
        name = machine["metadata"]["name"]
        node = self._in.get(NODES, machines.node_name(machine))
        if node is None or not is_true(node, "Ready"):
            return
        owner = {
            "apiVersion": MACHINES.api_version,
            "kind": MACHINES.kind,
            "name": name,
            "uid": machine["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        marks = {"karpenter.sh/registered": "true", "karpenter.sh/initialized": "true"}
        claim = {
            "labels": marks,
            "ownerReferences": [owner],
            "finalizers": machines.finalizers_with_ours(node),
        }
        self._in.patch(NODES, node["metadata"]["name"], {"metadata": claim})
        marked = conditions.marked_true(
            machines.conditions_of(machine), REGISTERED, INITIALIZED, now=self._in.now()
        )
        status = {
            "nodeName": node["metadata"]["name"],
            "capacity": node["status"]["capacity"],
            "allocatable": node["status"]["allocatable"],
            "conditions": marked,
        }
        self._write_status(name, status)

    def _standing(self, name: str, uid: str) -> Object | None:
        """The Machine as it is now; None, and forgotten, when it is gone or another bears its name."""
        machine = self._in.get(MACHINES, name)
        if machine is None or machine["metadata"]["uid"] != uid:
            self._forget(uid)
            return None
        return machine

    def _rest(self, name: str, uid: str) -> None:
        """The cloud is done with this Machine for now."""
        self._busy.discard(uid)
        self._consider(name)

    def _forget(self, uid: str) -> None:
        self._busy.discard(uid)
        self._terminations.pop(uid, None)
        self._attempts.pop(uid, None)
        if (retry := self._retries.pop(uid, None)) is not None:
            self._in.engine.cancel(retry)

    def _write_status(self, name: str, status: Object) -> None:
        self._in.patch(MACHINES, name, {"status": status}, subresource="status")
