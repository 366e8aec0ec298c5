"""Cores and quota families of virtual machine sizes."""

from __future__ import annotations

import re
from functools import lru_cache

from simulator.instance_types import virtual_cpus

SIZE = re.compile(r"Standard_[A-Z]+\d+[A-Za-z0-9-]*(_[A-Za-z0-9]+)*")
"""The form of a size's name."""

# The family that Azure counts a size against; the first that matches the whole name decides.
_FAMILIES = (
    (r"Standard_NC\d+r?", "standardNCFamily"),
    (r"Standard_NC\d+r?s_v2", "standardNCSv2Family"),
    (r"Standard_NC\d+r?s_v3", "standardNCSv3Family"),
    (r"Standard_NC\d+as_T4_v3", "Standard NCASv3_T4 Family"),
    (r"Standard_NC\d+ads_A100_v4", "StandardNCADSA100v4Family"),
    (r"Standard_NC\d+ad(i)?s_H100_v5", "StandardNCadsH100v5Family"),
    (r"Standard_ND\d+r?s", "standardNDSFamily"),
    (r"Standard_ND\d+rs_v2", "standardNDSv2Family"),
    (r"Standard_ND\d+asr_v4", "standardNDASv4_A100Family"),
    (r"Standard_ND\d+amsr_A100_v4", "standardNDAMSv4_A100Family"),
    (r"Standard_ND\d+isr_H100_v5", "standardNDSH100v5Family"),
    (r"Standard_NV\d+", "standardNVFamily"),
    (r"Standard_NV\d+s_v3", "standardNVSv3Family"),
    (r"Standard_NV\d+adm?s_A10_v5", "StandardNVADSA10v5Family"),
)

_PARTS = re.compile(r"Standard_([A-Z]+)\d+([a-z]*)(?:_.*?)?(v\d+)?")


@lru_cache(maxsize=1024)
def family_of(size: str) -> str:
    """The quota family of a size; for one that is not listed, a name of the usual form from its own."""
    for pattern, family in _FAMILIES:
        if re.fullmatch(pattern, size):
            return family
    parts = _PARTS.fullmatch(size)
    if parts is None:
        return f"{size}Family"
    letters, features, version = parts.groups()
    return f"standard{letters}{features.upper()}{version or ''}Family"


def cores_of(size: str, count: int = 1) -> int:
    return virtual_cpus(size) * count
