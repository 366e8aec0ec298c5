"""PodDisruptionBudgets: which pods one covers, how many of them may go now, and what an eviction takes of it.

The eviction verb and the disruption controller share this arithmetic, as they share the status in the real
system: the controller computes ``disruptionsAllowed``, an eviction takes one and notes the pod in
``disruptedPods``, so that the controller does not give it back before it has seen the pod go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kaito.runtime.ports import PODDISRUPTIONBUDGETS, ApiError, Forbidden, Object, Throttled
from simulator import refusals, writing

DELETION_TIMEOUT = timedelta(minutes=2)
"""When an evicted pod that is not being deleted counts as healthy again (kube-controller-manager)."""
MOST_DISRUPTED_PODS = 2000
"""More evictions than that which the controller has not confirmed are refused (kube-apiserver)."""
RETRY_SECONDS = 10.0
"""What kube-apiserver suggests while a budget is still being computed."""

ALLOWED = "DisruptionAllowed"


def covers(budget: Object, pod: Object) -> bool:
    """Whether the budget's selector matches; an empty one matches every pod, none matches no pod."""
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    labels = pod["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _meets(expression: Object, labels: Mapping[str, str]) -> bool:
    """One expression; as in every selector, ``NotIn`` also matches where the key is missing."""
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
    return key not in labels


# --- the eviction


def is_exempt(pod: Object) -> bool:
    """Whether a pod may go whatever the budgets say: it serves nobody yet or no more."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Pending", "Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]


def evicted(budgets: Sequence[Object], pod: Object, now: datetime) -> Object | None:
    """The budget after an eviction of the pod, None when the eviction takes nothing of any.

    Args:
        budgets: Those of the pod's namespace.

    Raises:
        Throttled: The budget allows no disruption now, or has not been computed for its present spec.
        Forbidden: More evictions are on their way than the controller keeps up with.
        ApiError: More than one budget covers the pod.
    """
    covering = [] if is_exempt(pod) else [budget for budget in budgets if covers(budget, pod)]
    if len(covering) > 1:
        raise ApiError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    if not covering or (not is_ready(pod) and _spares_unready(covering[0])):
        return None
    return _spent(covering[0], pod["metadata"]["name"], now)


def _spares_unready(budget: Object) -> bool:
    """Whether a pod that is not ready may go for free: always, or as long as enough others are healthy."""
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    policy = budget["spec"].get("unhealthyPodEvictionPolicy")
    return bool(policy == "AlwaysAllow" or healthy >= desired > 0)


def _spent(budget: Object, pod: str, now: datetime) -> Object:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        why = f"The disruption budget {name} is still being processed by the server."
        raise _violation(why, retry_after_seconds=RETRY_SECONDS)
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > MOST_DISRUPTED_PODS:
        raise _forbidden(
            name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        )
    if not status.get("disruptionsAllowed"):
        raise _violation(_shortage(budget))
    spent = {
        **status,
        "disruptionsAllowed": status["disruptionsAllowed"] - 1,
        "disruptedPods": {**disrupted, pod: writing.timestamp(now)},
    }
    return {**budget, "status": {**spent, "conditions": _conditions(budget, spent, now)}}


def _shortage(budget: Object) -> str:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    failure = _condition(budget)
    if failure is not None and failure["reason"] == "SyncFailed":
        refused = f"The disruption budget {name} does not allow evicting pods currently"
        return f"{refused} because it failed sync: {failure['message']}"
    needed, found = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    return f"The disruption budget {name} needs {needed} healthy pods and has {found} currently"


def _violation(why: str, *, retry_after_seconds: float | None = None) -> Throttled:
    return Throttled(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        retry_after_seconds=retry_after_seconds,
        causes=(why,),
    )


def _forbidden(name: str, why: str) -> Forbidden:
    qualified = refusals.qualified(PODDISRUPTIONBUDGETS, "poddisruptionbudget")
    return Forbidden(f'{qualified} "{name}" is forbidden: {why}')


# --- the status


def computed(budget: Object, pods: Sequence[Object], scale: int, now: datetime) -> Object:
    """The budget's status from the pods it covers.

    Args:
        scale: The replicas that the controllers of these pods want, together.
    """
    expected, desired = _expected(budget["spec"], len(pods), scale)
    disrupted = _still_disrupted(budget, pods, now)
    healthy = sum(
        is_ready(pod) and not _deleting(pod) and pod["metadata"]["name"] not in disrupted for pod in pods
    )
    status = {
        "observedGeneration": budget["metadata"]["generation"],
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        # A budget without pods allows nothing, so that their first ones are not evicted before they count.
        "disruptionsAllowed": max(healthy - desired, 0) if expected > 0 else 0,
    }
    status |= {"disruptedPods": disrupted} if disrupted else {}
    return {**status, "conditions": _conditions(budget, status, now)}


def failed(budget: Object, why: str, now: datetime) -> Object:
    """The status of a budget that cannot be computed: what it was, and nothing may go."""
    status = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    return {**status, "conditions": _conditions(budget, status, now, failure=why)}


def recheck_at(status: Object) -> datetime | None:
    """When the first pod that was evicted and is not being deleted counts again."""
    times = (status.get("disruptedPods") or {}).values()
    return min(map(datetime.fromisoformat, times)) + DELETION_TIMEOUT if times else None


def uses_scale(budget: Object) -> bool:
    """Whether the bound is relative to what the controllers of the pods want, not to the pods there are."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _expected(spec: Object, pods: int, scale: int) -> tuple[int, int]:
    """How many pods are expected, and how many of them must stay healthy; percentages are rounded up."""
    most_unavailable, least_available = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most_unavailable is not None:
        return scale, max(scale - _share(most_unavailable, scale), 0)
    if isinstance(least_available, str):
        return scale, _share(least_available, scale)
    # As in the real controller, a budget without a bound expects nothing and so allows nothing.
    return (0, 0) if least_available is None else (pods, int(least_available))


def _share(bound: int | str, total: int) -> int:
    return bound if isinstance(bound, int) else math.ceil(total * int(bound.removesuffix("%")) / 100)


def _still_disrupted(budget: Object, pods: Sequence[Object], now: datetime) -> dict[str, str]:
    """Evicted pods of which nothing shows yet; those that are being deleted show it themselves."""
    noted: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    waiting = {pod["metadata"]["name"] for pod in pods if not _deleting(pod)}
    return {
        name: at
        for name, at in sorted(noted.items())
        if name in waiting and datetime.fromisoformat(at) + DELETION_TIMEOUT > now
    }


def _deleting(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _condition(budget: Object) -> Object | None:
    conditions: list[Object] = (budget.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == ALLOWED), None)


def _conditions(budget: Object, status: Object, now: datetime, *, failure: str = "") -> list[dict[str, Any]]:
    """DisruptionAllowed for this status; its time moves with its status only."""
    allowed = status["disruptionsAllowed"] > 0
    verdict = "True" if allowed else "False"
    reason = "SyncFailed" if failure else "SufficientPods" if allowed else "InsufficientPods"
    before = _condition(budget)
    unmoved = before is not None and before["status"] == verdict
    at = before["lastTransitionTime"] if before and unmoved else writing.timestamp(now)
    told = {"type": ALLOWED, "status": verdict, "reason": reason, "message": failure}
    return [{**told, "observedGeneration": status.get("observedGeneration", 0), "lastTransitionTime": at}]
