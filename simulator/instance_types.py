"""GPUs of the virtual machine sizes, as far as nodes and scheduling need them."""

from __future__ import annotations

import re

from kaito.catalogue import instance_types

_SIZE = re.compile(r"Standard_[A-Z]+(\d+)")


def gpus(instance_type: str) -> int:
    """GPUs of one virtual machine as its node offers them; 0 for a size that the catalogue does not list."""
    found = instance_types().get(instance_type)
    return found.gpus if found else 0


def has_gpu(instance_type: str) -> bool:
    """Whether the size is of a GPU family; the N families are, also sizes not in the catalogue."""
    return "Standard_N" in instance_type


def virtual_cpus(instance_type: str) -> int:
    """The number after the family letters, which Azure's size names give; 1 for a name of another form."""
    match = _SIZE.match(instance_type)
    return int(match[1]) if match else 1
