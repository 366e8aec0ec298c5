"""GPUs of the virtual machine sizes, as far as nodes and scheduling need them."""

from __future__ import annotations

import re

GPUS = {
    "Standard_NC6": 1,
    "Standard_NC12": 2,
    "Standard_NC24": 4,
    "Standard_NC24r": 4,
    "Standard_NV6": 1,
    "Standard_NV12": 2,
    "Standard_NV24": 4,
    "Standard_NV12s_v3": 1,
    "Standard_NV24s_v3": 2,
    "Standard_NV48s_v3": 4,
    "Standard_ND6s": 1,
    "Standard_ND12s": 2,
    "Standard_ND24s": 4,
    "Standard_ND24rs": 4,
    "Standard_NC6s_v2": 1,
    "Standard_NC12s_v2": 2,
    "Standard_NC24s_v2": 4,
    "Standard_NC24rs_v2": 4,
    "Standard_NC6s_v3": 1,
    "Standard_NC12s_v3": 2,
    "Standard_NC24s_v3": 4,
    "Standard_NC24rs_v3": 4,
    "Standard_ND40rs_v2": 8,
    "Standard_NC4as_T4_v3": 1,
    "Standard_NC8as_T4_v3": 1,
    "Standard_NC16as_T4_v3": 1,
    "Standard_NC64as_T4_v3": 4,
    "Standard_ND96asr_v4": 8,
    "Standard_ND96amsr_A100_v4": 8,
    "Standard_NC24ads_A100_v4": 1,
    "Standard_NC48ads_A100_v4": 2,
    "Standard_NC96ads_A100_v4": 4,
    "Standard_NV6ads_A10_v5": 1,
    "Standard_NV12ads_A10_v5": 1,
    "Standard_NV18ads_A10_v5": 1,
    "Standard_NV36ads_A10_v5": 1,
    "Standard_NV36adms_A10_v5": 1,
    "Standard_NV72ads_A10_v5": 2,
}
"""GPUs per virtual machine. A part of a partitioned GPU counts as one, as its node offers it."""

_SIZE = re.compile(r"Standard_[A-Z]+(\d+)")


def has_gpu(instance_type: str) -> bool:
    """Whether the size is of a GPU family; the N families are, also sizes that `GPUS` does not list."""
    return "Standard_N" in instance_type


def virtual_cpus(instance_type: str) -> int:
    """The number after the family letters, which Azure's size names give; 1 for a name of another form."""
    match = _SIZE.match(instance_type)
    return int(match[1]) if match else 1
