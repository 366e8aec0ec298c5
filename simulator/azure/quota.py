"""Quota in cores: by family of sizes, over the whole region, and for spot machines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kaito.runtime.fault_texts import LOW_PRIORITY, REGIONAL
from simulator.azure.model import AgentPool
from simulator.azure.refusals import Complaint
from simulator.azure.scenario import Allowance, Quota
from simulator.azure.sizes import cores_of, family_of


class Shortage(msgspec.Struct, frozen=True):
    """A quota that a request exceeds; all numbers in cores."""

    family: str
    limit: int
    used: int
    needed: int


class Quotas:
    """The quotas of the subscription in this region. Raising one heals what it blocked at the next PUT."""

    def __init__(self, quota: Quota) -> None:
        self._allowances = dict(quota.families)
        if quota.regional is not None:
            self._allowances[REGIONAL] = quota.regional
        if quota.low_priority is not None:
            self._allowances[LOW_PRIORITY] = quota.low_priority

    def set(self, family: str, limit: int | None, used: int = 0) -> None:
        """Set a quota; a limit of None lifts it."""
        if limit is None:
            self._allowances.pop(family, None)
        else:
            self._allowances[family] = Allowance(limit=limit, used=used)

    def all(self) -> dict[str, Allowance]:
        """The quotas that there are, sorted by name."""
        return dict(sorted(self._allowances.items()))

    def shortage(self, size: str, count: int, spot: bool, pools: Iterable[AgentPool]) -> Shortage | None:
        """The first quota that so many more machines of a size exceed, of those that count this size."""
        needed = cores_of(size, count)
        for family in _counted_by(size, spot):
            allowance = self._allowances.get(family)
            if allowance is None:
                continue
            used = allowance.used + sum(
                pool.cores_held
                for pool in pools
                if family in _counted_by(pool.asked.vm_size, pool.asked.spot)
            )
            if needed > 0 and used + needed > allowance.limit:
                return Shortage(family, allowance.limit, used, needed)
        return None


def complaint(shortage: Shortage, form: str, location: str) -> Complaint:
    """The shortage in one of the three texts that Azure has for it."""
    family, limit, used, needed = shortage.family, shortage.limit, shortage.used, shortage.needed
    if form == "maximum":
        text = (
            f"Operation results in exceeding quota limits of Core. Maximum allowed: {limit}, Current in use: "
            f"{used}, Additional requested: {needed}. Please read more about quota increase."
        )
        return Complaint("QuotaExceeded", text)
    if form == "insufficient":
        remaining = max(0, limit - used)
        text = (
            f"Insufficient vcpu quota requested {needed}, remaining {remaining} for family {family} for "
            f"region {location}."
        )
        return Complaint("ErrCode_InsufficientVCPUQuota", text)
    words = f"{family}Cores" if family == LOW_PRIORITY else f"{family} Cores"
    text = (
        f"Operation could not be completed as it results in exceeding approved {words} quota. Additional "
        f"details - Deployment Model: Resource Manager, Location: {location}, Current Limit: {limit}, "
        f"Current Usage: {used}, Additional Required: {needed}, (Minimum) New Limit Required: {used + needed}"
        ". Submit a request for Quota increase by specifying parameters listed in the 'Details' section for "
        "deployment to succeed."
    )
    return Complaint("OperationNotAllowed", text)


def _counted_by(size: str, spot: bool) -> tuple[str, ...]:
    """Spot machines count against a quota of their own, the others against their family and the region."""
    return (LOW_PRIORITY,) if spot else (family_of(size), REGIONAL)
