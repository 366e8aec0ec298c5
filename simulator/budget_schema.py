"""What the virtual API server refuses in a PodDisruptionBudget, in the words of the real one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from kaito.runtime.ports import Object

BOUNDS = ("minAvailable", "maxUnavailable")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class BudgetSchema:
    """Validates bounds and selector, which the eviction and the controller rely on; keeps all else."""

    def prune(self, obj: Object) -> Object:
        return obj

    def default(self, obj: Object) -> Object:
        return obj

    def validate(self, new: Object, old: Object | None) -> Sequence[str]:
        spec = new.get("spec")
        if not isinstance(spec, dict):
            return ("spec: Required value",)
        return [*_bound_causes(spec), *_selector_causes(spec.get("selector"))]


def _bound_causes(spec: Object) -> Iterator[str]:
    given = [name for name in BOUNDS if spec.get(name) is not None]
    if len(given) > 1:
        yield "spec: Invalid value: minAvailable and maxUnavailable cannot be both set"
    for name in given:
        if complaint := _complaint(spec[name]):
            yield f"spec.{name}: Invalid value: {_spelled(spec[name])}: {complaint}"


def _complaint(bound: Any) -> str:
    if isinstance(bound, int) and not isinstance(bound, bool):
        return "" if bound >= 0 else "must be greater than or equal to 0"
    if not isinstance(bound, str) or not re.fullmatch(r"[0-9]+%", bound):
        return "must be an integer or percentage (e.g '5%')"
    return "" if int(bound[:-1]) <= 100 else "must not be greater than 100%"


def _selector_causes(selector: Any) -> Iterator[str]:
    if selector is None:
        return
    if not isinstance(selector, dict):
        yield f"spec.selector: Invalid value: {_spelled(selector)}: must be a label selector"
        return
    for number, expression in enumerate(selector.get("matchExpressions") or ()):
        operator = expression.get("operator", "")
        path = f"spec.selector.matchExpressions[{number}]"
        if operator not in OPERATORS:
            yield f'{path}.operator: Invalid value: "{operator}": not a valid selector operator'
        elif operator in ("In", "NotIn") and not expression.get("values"):
            yield f"{path}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        elif operator in ("Exists", "DoesNotExist") and expression.get("values"):
            where = "when `operator` is 'Exists' or 'DoesNotExist'"
            yield f"{path}.values: Forbidden: may not be specified {where}"


def _spelled(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
