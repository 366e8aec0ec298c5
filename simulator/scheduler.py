"""The scheduler: binds a pod to a node that fits, or says in the pod why none does.

A node fits when it is not cordoned, the pod tolerates its taints, the pod's node selector and required node
affinity match its labels, and it has enough ``nvidia.com/gpu`` that no other pod has. Other resources are not
counted. A pod that found no node is looked at again whenever a node changes or a pod goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kaito.runtime.ports import NODES, PODS, Object
from simulator.nodes import GPU, allocatable_gpus
from simulator.process import Surroundings, condition, deleting, key, labels, timestamp
from simulator.selectors import Requirement

UNSCHEDULABLE = "node(s) were unschedulable"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
INSUFFICIENT_GPU = f"Insufficient {GPU}"

_OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}
_REPELLING = ("NoSchedule", "NoExecute")


class Scheduler:
    def __init__(self, surroundings: Surroundings) -> None:
        self._in = surroundings
        self._seen: set[str] = set()
        """UIDs of pods whose first verdict is on its way."""
        self._waiting: set[tuple[str, str]] = set()
        """Pods that found no node."""
        self._sweeping = False
        surroundings.follow(PODS, self._on_pod)
        surroundings.follow(NODES, lambda type_, node: self._sweep_soon())

    def _on_pod(self, type_: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if type_ == "DELETED":
            self._seen.discard(uid)
            self._waiting.discard(key(pod))
            self._sweep_soon()
        elif not _bound(pod) and not deleting(pod) and uid not in self._seen:
            self._seen.add(uid)
            namespace, name = key(pod)
            wait = self._in.delays.seconds("workload.scheduling")
            self._in.after(wait, lambda: self._place(namespace, name))

    def _sweep_soon(self) -> None:
        """Look at the waiting pods once all changes of this instant are told."""
        if self._waiting and not self._sweeping:
            self._sweeping = True
            self._in.after(0, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        for namespace, name in sorted(self._waiting):
            self._place(namespace, name)

    def _place(self, namespace: str, name: str) -> None:
        pod = self._in.get(PODS, name, namespace)
        if pod is None or deleting(pod) or _bound(pod):
            self._waiting.discard((namespace, name))
            return
        nodes = self._in.api.list(NODES).items
        used = _gpus_in_use(self._in.api.list(PODS).items)
        refusals = {node["metadata"]["name"]: why_not(pod, node, used) for node in nodes}
        fitting = [node for node in nodes if not refusals[node["metadata"]["name"]]]
        if fitting:
            self._waiting.discard((namespace, name))
            self._bind(namespace, name, _emptiest(fitting, used))
        else:
            self._waiting.add((namespace, name))
            self._tell(pod, verdict(refusals.values()))

    def _bind(self, namespace: str, name: str, node: str) -> None:
        self._in.bind(name, namespace, node)
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastTransitionTime": timestamp(self._in.now()),
        }
        self._in.patch(PODS, name, {"status": {"conditions": [scheduled]}}, namespace, subresource="status")

    def _tell(self, pod: Object, message: str) -> None:
        told = condition(pod, "PodScheduled")
        waits = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": told["lastTransitionTime"] if told else timestamp(self._in.now()),
        }
        namespace, name = key(pod)
        self._in.patch(PODS, name, {"status": {"conditions": [waits]}}, namespace, subresource="status")


def why_not(pod: Object, node: Object, gpus_in_use: Counter[str]) -> str:
    """Why the pod cannot run on the node, in the scheduler's words; empty when it can."""
    if node["spec"].get("unschedulable"):
        return UNSCHEDULABLE
    if taint := _untolerated(pod, node):
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if not matches_affinity(pod, labels(node)):
        return AFFINITY
    free = allocatable_gpus(node) - gpus_in_use[node["metadata"]["name"]]
    return INSUFFICIENT_GPU if requested_gpus(pod) > max(free, 0) else ""


def verdict(refusals: Iterable[str]) -> str:
    """The message of an Unschedulable pod, as kube-scheduler composes it."""
    counts = Counter(refusals)
    total = sum(counts.values())
    if not total:
        return "no nodes available to schedule pods"
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    full = counts[INSUFFICIENT_GPU]
    hopeless = total - full
    preemption = [f"{full} No preemption victims found for incoming pod"] if full else []
    preemption += [f"{hopeless} Preemption is not helpful for scheduling"] if hopeless else []
    return (
        f"0/{total} nodes are available: {reasons}. "
        f"preemption: 0/{total} nodes are available: {', '.join(sorted(preemption))}."
    )


def requested_gpus(pod: Object) -> int:
    """GPUs of all containers; a limit alone is also the request."""
    total = 0
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        asked = (resources.get("requests") or {}).get(GPU) or (resources.get("limits") or {}).get(GPU) or 0
        total += int(asked)
    return total


def matches_affinity(pod: Object, node_labels: dict[str, str]) -> bool:
    """Whether the node selector and one term of the required node affinity match."""
    selector = pod["spec"].get("nodeSelector") or {}
    if any(node_labels.get(name) != value for name, value in selector.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term_matches(term, node_labels) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node_labels: dict[str, str]) -> bool:
    """All expressions of the term; a term without any matches no node."""
    expressions = term.get("matchExpressions") or ()
    return bool(expressions) and all(
        Requirement(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values") or ())).matches(
            node_labels
        )
        for each in expressions
    )


def _untolerated(pod: Object, node: Object) -> Object | None:
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in _REPELLING and not any(_tolerates(each, taint) for each in tolerations):
            found: Object = taint
            return found
    return None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint["key"]
    same_value = toleration.get("value", "") == taint.get("value", "")
    return bool(toleration.get("key") == taint["key"] and same_value)


def _gpus_in_use(pods: Iterable[Object]) -> Counter[str]:
    """By node; a pod that has ended holds none."""
    used: Counter[str] = Counter()
    for pod in pods:
        if _bound(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            used[pod["spec"]["nodeName"]] += requested_gpus(pod)
    return used


def _emptiest(nodes: Iterable[Object], used: Counter[str]) -> str:
    """The node with the most free GPUs; by name among equals."""
    return min((used[name] - allocatable_gpus(node), name) for node in nodes for name in [key(node)[1]])[1]


def _bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))
