"""The names that AKS gives to what belongs to a Machine's pool."""

from __future__ import annotations

AGENT_POOL = "kubernetes.azure.com/agentpool"


def scale_set_name(machine: str, suffix: int) -> str:
    """The scale set of a Machine's pool: AKS puts eight digits of its own behind the pool's name."""
    return f"aks-{machine}-{suffix:08d}-vmss"
