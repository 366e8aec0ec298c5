"""How long the operator takes from what it was told to the status that says so.

Both ends are read at its proxy. The beginning is when the notification that makes a fact true is about to
be passed on by the proxy, the end when the PATCH of the status that tells this fact arrives there, before the
API server has seen it. In between lie the operator's watch, its queue, its reconcile, the appends to its log
and the calls that come before the status; the proxy's own way to it, once, is in the figure too.

Three facts of each Workspace are looked at, for they have one cause each: the Workspace is there (to its
first status of any content), its node and Machine are ready and show their GPUs (to ``ResourceReady`` True),
its Deployment has a ready replica (to ``WorkspaceReady`` True). Of two causes the later one counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from kaito.runtime.cache import labels_of
from kaito.runtime.keys import GPU_RESOURCE, NAME_LABEL
from kaito.runtime.ports import Object
from tests.e2e.journal import Call

THERE, RESOURCES, SERVED = "there", "resources", "served"
NODE, MACHINE = "node", "machine"

_STATUS = re.compile(r"/workspaces/([^/]+)/status$")
_TOLD_BY = {"ResourceReady": RESOURCES, "WorkspaceReady": SERVED}


@dataclass
class Reactions:
    """Of all Workspaces of one namespace; `heard` is for a `Hearing`."""

    _causes: dict[tuple[str, str], float] = field(default_factory=dict)

    def heard(self, at: float, kind: str, type_: str, obj: Object) -> None:
        if type_ not in ("ADDED", "MODIFIED"):
            return
        name = obj["metadata"]["name"]
        if kind == "workspaces":
            self._first(name, THERE, at)
        elif kind == "nodes" and _is_true(obj, "Ready") and _gpus(obj):
            self._first(labels_of(obj).get(NAME_LABEL, ""), NODE, at)
        elif kind == "machines" and _is_true(obj, "Ready"):
            self._first(labels_of(obj).get(NAME_LABEL, ""), MACHINE, at)
        elif kind == "deployments" and (obj.get("status") or {}).get("readyReplicas"):
            self._first(name, SERVED, at)

    def _first(self, name: str, fact: str, at: float) -> None:
        self._causes.setdefault((name, fact), at)

    def seconds(self, calls: Iterable[Call]) -> dict[str, list[float]]:
        """From each cause to the first status that tells it, by fact."""
        found: dict[str, list[float]] = {THERE: [], RESOURCES: [], SERVED: []}
        seen: set[tuple[str, str]] = set()
        for call in calls:
            for name, fact in _told(call):
                cause = self._cause(name, fact)
                if cause is not None and (name, fact) not in seen:
                    seen.add((name, fact))
                    found[fact].append(call.started - cause)
        return found

    def _cause(self, name: str, fact: str) -> float | None:
        if fact != RESOURCES:
            return self._causes.get((name, fact))
        node, machine = self._causes.get((name, NODE)), self._causes.get((name, MACHINE))
        return None if node is None or machine is None else max(node, machine)


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """In milliseconds."""
    values = np.array(list(seconds)) * 1000
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 99)}


def _told(call: Call) -> list[tuple[str, str]]:
    """The facts that a status tells, with the name of the Workspace; none for any other call."""
    match = _STATUS.search(call.path)
    if match is None or call.method != "PATCH":
        return []
    listed: list[Mapping[str, str]] = json.loads(call.body)["status"]["conditions"]
    true = [_TOLD_BY[each["type"]] for each in listed if _says(each)]
    return [(match[1], fact) for fact in (THERE, *true)]


def _says(condition: Mapping[str, str]) -> bool:
    return condition["type"] in _TOLD_BY and condition["status"] == "True"


def _is_true(obj: Object, kind: str) -> bool:
    listed = (obj.get("status") or {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in listed)


def _gpus(obj: Object) -> bool:
    return ((obj.get("status") or {}).get("allocatable") or {}).get(GPU_RESOURCE, "0") != "0"
