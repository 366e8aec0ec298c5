"""What the simulated cloud is like: its quota, its stock-outs, its failures, and where each number is from.

These are the values alone; `simulator.azure.loading` reads them from files.
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Strict,
    StringConstraints,
    model_validator,
)

from simulator.azure.intervals import Spells
from simulator.azure.scripts import Script
from simulator.latency import Frozen
from simulator.profile import Mark, Seconds, Text

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.()-]+$")]
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,11}$")]


class Chance(Frozen):
    """A probability. In YAML a plain number is one, too: set by hand then."""

    value: Annotated[float, Field(ge=0, le=1)]
    source: Text
    mark: Mark

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, data: Any) -> Any:
        by_hand = isinstance(data, (int, float)) and not isinstance(data, bool)
        return {"value": data, "source": "set by hand", "mark": "assumed"} if by_hand else data

    def happens(self, random: Random) -> bool:
        """Draw; a draw is made also where the chance is 0, so that changing it shifts no other draws."""
        return random.random() < self.value


class ClusterIdentity(Frozen):
    """Where the cluster lies."""

    subscription: Name = "00000000-0000-0000-0000-000000000000"
    resource_group: Name = "kaito"
    name: Name = "kaito"
    location: Name = "eastus"
    node_resource_group: Name = "mc_kaito_kaito_eastus"
    resource_id_case: Literal["lower", "camel", "upper"] = "lower"
    """How ids are spelled: AKS returns ``resourcegroups``; others have been seen, and mean the same."""


class PresentPool(Frozen):
    """A pool that is there from the start and is not ours."""

    name: PoolName
    vm_size: Text = "Standard_D4s_v5"
    mode: Literal["System", "User"] = "User"
    count: NonNegativeInt = 1
    tags: dict[str, str] = Field(default_factory=dict)


class Allowance(Frozen):
    """A quota in cores; ``used`` is what others of the subscription have taken."""

    limit: NonNegativeInt
    used: NonNegativeInt = 0


class Quota(Frozen):
    """What is not listed is not limited."""

    regional: Allowance | None = None
    low_priority: Allowance | None = None
    families: dict[str, Allowance] = Field(default_factory=dict)
    told: Literal["call", "operation"] = "call"
    """Whether a lack is told in the answer to the PUT, or as the end of its operation."""
    form: Literal["current", "maximum", "insufficient"] = "current"
    """In which of Azure's three texts."""


class Window(Frozen):
    """From one time to another, in seconds after the start; without an end, for ever."""

    from_seconds: NonNegativeFloat = 0.0
    until_seconds: PositiveFloat | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.until_seconds is not None and self.until_seconds <= self.from_seconds:
            found = f"{self.from_seconds:g} and {self.until_seconds:g}"
            raise ValueError(f"from_seconds must be before until_seconds, found {found}")
        return self

    def holds(self, at_seconds: float) -> bool:
        return self.from_seconds <= at_seconds and (
            self.until_seconds is None or at_seconds < self.until_seconds
        )


class StockoutWindow(Window):
    """A size that is out of stock in a zone, or in the whole region where the zone is empty."""

    vm_size: Text
    zone: str = ""


class Stockouts(Frozen):
    """``on_demand`` and ``spot`` are drawn for each size and zone alone; None means never."""

    on_demand: Spells | None = None
    spot: Spells | None = None
    surfaces: Seconds
    """From the acceptance of the PUT to the operation's failure."""
    code: Literal["AllocationFailed", "Overconstrained", "SkuNotAvailable"] = "AllocationFailed"
    wrapped: bool = False
    """Whether it comes inside a ReconcileVMSSAgentPoolFailed."""
    windows: Annotated[tuple[StockoutWindow, ...], Strict(False)] = ()


class Failures(Frozen):
    """What happens to operations and nodes by chance."""

    bootstrap: Chance
    bootstrap_surfaces: Seconds
    bootstrap_exit_codes: Annotated[tuple[PositiveInt, ...], Strict(False), Field(min_length=1)]
    service: Chance
    service_again: Chance
    """The same for the create after one that failed so."""
    service_surfaces: Seconds
    lost_operation: Chance
    node_never: Chance
    node_late: Chance
    node_late_by: Seconds
    node_twice: Chance
    index_above_zero: Chance
    """The virtual machine has not the index 0 in its scale set, as after a reimage."""


class Calls(Frozen):
    """What happens to single calls by chance."""

    error: Chance
    """An internal error, status 500, nothing begun."""
    reset_before: Chance
    reset_after: Chance
    """The connection is reset after the call had its effect."""
    garbage: Chance


class Spot(Frozen):
    """Eviction of spot machines."""

    evictions_per_hour: NonNegativeFloat
    notice: Seconds
    together: Chance
    """An eviction takes each other machine of its size along."""
    together_within: Seconds
    source: Text
    mark: Mark


class Outages(Frozen):
    """Times in which every call is answered with 503; operations go on."""

    spells: Spells | None = None
    windows: Annotated[tuple[Window, ...], Strict(False)] = ()


class BucketSize(Frozen):
    burst: PositiveInt
    per_second: PositiveFloat
    source: Text
    mark: Mark


class Throttling(Frozen):
    """Token buckets; a call takes one token of each bucket that counts it."""

    enabled: bool
    tells_retry_after: bool = True
    put_pools: BucketSize
    list_pools: BucketSize
    arm_reads: BucketSize
    arm_writes: BucketSize
    arm_deletes: BucketSize


class AzureScenario(Frozen):
    """Everything the simulated cloud does that is no latency."""

    name: Text
    summary: Text
    cluster: ClusterIdentity = ClusterIdentity()
    pools: Annotated[tuple[PresentPool, ...], Strict(False)]
    pool_limit: PositiveInt = 100
    page_size: PositiveInt = 50
    delete_of_missing: Literal[204, 404] = 404
    delete_preempts: bool = False
    """Whether a DELETE cancels the operation under way on its pool, or is refused while there is one."""
    unavailable_sizes: Annotated[tuple[str, ...], Strict(False)] = ()
    """Sizes that the subscription may not have in this location."""
    refused_by: Literal["nobody", "policy", "role"] = "nobody"
    update: Seconds
    """How long an update of a pool takes that makes no machine."""
    quota: Quota = Quota()
    stockouts: Stockouts
    failures: Failures
    calls: Calls
    spot: Spot
    background: Spells | None = None
    """Operations of AKS itself on the whole cluster: in their bad times every PUT and DELETE is refused."""
    outages: Outages = Outages()
    throttling: Throttling
    script: Annotated[tuple[Script, ...], Strict(False)] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> AzureScenario:
        names = [pool.name for pool in self.pools]
        if len(set(names)) != len(names):
            raise ValueError(f"each pool's name must occur once, found {', '.join(names)}")
        return self
