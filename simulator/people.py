"""The people of a fault campaign: they make and delete Workspaces, and clear up what only people can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from kaito.runtime.keys import POOL_LABEL
from kaito.runtime.ports import NODES, WORKSPACES, ApiError, Object
from kaito.runtime.translation import is_deleting
from simulator.bad_clouds import FORBIDDEN_SIZE, SIZE
from simulator.laboratory import Laboratory


class User:
    """Asks for Workspaces and changes their mind.

    Attributes:
        intentions: How many things are still going to be done.
    """

    def __init__(self, lab: Laboratory, random: Random, fired: Counter[str]) -> None:
        self.intentions = 0
        self._lab = lab
        self._random = random
        self._fired = fired

    def arrange(self) -> None:
        for number in range(self._random.randint(1, 4)):
            self._arrange_workspace(f"w{number}", self._random.uniform(0, 1200))

    def _arrange_workspace(self, name: str, created_at: float) -> None:
        draw = self._random
        size = FORBIDDEN_SIZE if draw.random() < 0.05 else SIZE
        body = a_workspace(name, count=draw.randint(1, 3), size=size)
        self.intend(created_at, lambda: self._lab.cluster.create(WORKSPACES, body, "default"))
        if draw.random() < 0.5:
            deleted_at = created_at + draw.uniform(0, 3600)
            self.intend(deleted_at, lambda: self._delete(name))
            if draw.random() < 0.3:
                self.intend(deleted_at + 0.5, lambda: self._recreate(name, body))

    def intend(self, seconds: float, act: Callable[[], object]) -> None:
        """What the user does at a time, also after the faults."""

        def done() -> None:
            self.intentions -= 1
            act()

        self.intentions += 1
        self._lab.engine.schedule(seconds, done)

    def _delete(self, name: str) -> None:
        with suppress(ApiError):
            self._lab.cluster.delete(WORKSPACES, name, "default")

    def _recreate(self, name: str, body: Object) -> None:
        """As soon as the name is free; a user repeats the command until it goes through."""
        try:
            self._lab.cluster.create(WORKSPACES, body, "default")
        except ApiError:
            self.intend(20.0, lambda: self._recreate(name, body))
        else:
            self._fired["recreated under the same name"] += 1

    def remove_hopeless(self) -> None:
        """Give up the Workspaces with a Machine that says it will never come."""
        for workspace in self._lab.cluster.list(WORKSPACES).items:
            slots = self._lab.checker.workspace(workspace).slots
            machines = [self._lab.checker.machine(slot.machine) for slot in slots if slot.machine]
            if any(machine.terminal for machine in machines):
                self._fired["terminal verdict"] += 1
                self._delete(workspace["metadata"]["name"])

    def remove_doubles(self) -> None:
        """Two nodes of one Machine need somebody to say which is the false one: here the later."""
        nodes = sorted(self._lab.cluster.list(NODES).items, key=lambda node: node["metadata"]["name"])
        seen: set[str] = set()
        for node in nodes:
            pool = node["metadata"].get("labels", {}).get(POOL_LABEL, "")
            if pool in seen and not is_deleting(node):
                self._lab.cluster.delete(NODES, node["metadata"]["name"])
                self._fired["double of a node removed by hand"] += 1
            seen.add(pool)


def a_workspace(name: str, *, count: int = 1, size: str = SIZE) -> Object:
    """A Workspace whose nodes no other one can use."""
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {"instanceType": size, "count": count, "labelSelector": {"matchLabels": {"apps": name}}},
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }
