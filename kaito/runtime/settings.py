"""What the operator of a cluster may set; `--set operator.machine_timeout=4m` reaches these fields."""

from __future__ import annotations

import msgspec

from statemachine.limits import Limits
from statemachine.machine.limits import MachineLimits


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds; see `statemachine.limits.Limits` for what the first two mean."""

    machine_slow_after: float = 240.0
    machine_timeout: float = 900.0
    provisioning: MachineLimits = MachineLimits()
    preset_registry: str = "mcr.microsoft.com/aks/kaito"

    def limits(self, inference_timeout: float, machine_timeout: float | None = None) -> Limits:
        """The limits of one Workspace: its preset's readiness timeout and its own machine timeout, if any."""
        return Limits(
            machine_slow_after=self.machine_slow_after,
            machine_timeout=self.machine_timeout if machine_timeout is None else machine_timeout,
            inference_timeout=inference_timeout,
        )
