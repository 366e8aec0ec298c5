"""People who never rest: Workspaces come, change and go, pods are deleted, and connections are cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, cycle

from kaito.runtime.keys import MACHINE_TIMEOUT_ANNOTATION
from kaito.runtime.ports import PODS, WORKSPACES, NotFound
from tests.e2e.crowds import alike
from tests.e2e.journal import watches
from tests.e2e.real_world import RealWorld
from tests.e2e.routines import Routine

CUT_EVERY = 15
"""Changes between two cuts of all watches."""


class Churn(Routine):
    """Enter it to begin: one change at a time, so many seconds apart; leaving it ends the changes.

    Attributes:
        changes: How often each kind of change was made.
        troubles: What went wrong in making them.
    """

    def __init__(self, world: RealWorld, *, alive: int = 10, every_seconds: float = 2.0) -> None:
        super().__init__("churn", self._act, every_seconds)
        self.changes: dict[str, int] = {"create": 0, "edit": 0, "delete": 0, "delete pod": 0, "cut": 0}
        self.troubles: list[str] = []
        self._world = world
        self._alive = alive
        self._names: deque[str] = deque()
        self._numbers = count(1)
        self._turns = count(1)
        # One is created for each that goes, so that as many are alive at any time.
        self._acts = cycle([self._create, self._edit, self._delete, self._delete_pod])
        self._example = world.example("falcon-7b-instruct")

    def delete_all(self) -> None:
        """When the changes are over."""
        while self._names:
            self._delete()

    def _act(self) -> None:
        self._guarded(self._create if len(self._names) < self._alive else next(self._acts))
        if next(self._turns) % CUT_EVERY == 0:
            self._guarded(self._cut)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self.troubles.append(f"{type(error).__name__}: {error}")

    def _create(self) -> None:
        (body,) = alike(self._example, 1, prefix=f"soak-{next(self._numbers)}")
        self._world.api.create(WORKSPACES, body)
        self._names.append(body["metadata"]["name"])
        self.changes["create"] += 1

    def _edit(self) -> None:
        number = next(self._numbers)
        change = {"metadata": {"annotations": {MACHINE_TIMEOUT_ANNOTATION: f"{3600 + number}s"}}}
        self._world.api.patch(WORKSPACES, self._names[number % len(self._names)], change, "default")
        self.changes["edit"] += 1

    def _delete(self) -> None:
        self._world.delete(WORKSPACES, self._names.popleft(), "default")
        self.changes["delete"] += 1

    def _delete_pod(self) -> None:
        pod = next(self._ready_pods(), "")
        if not pod:
            return
        try:
            self._world.delete(PODS, pod, "default")
        except NotFound:
            return  # it went with its Workspace meanwhile
        self.changes["delete pod"] += 1

    def _ready_pods(self) -> Iterator[str]:
        for name, pod in self._world.pods().items():
            listed = (pod.get("status") or {}).get("conditions") or ()
            if any(each["type"] == "Ready" and each["status"] == "True" for each in listed):
                yield name

    def _cut(self) -> None:
        cut = [member.kube.cut(watches) for member in self._world.members.values()]
        self.changes["cut"] += sum(cut)
