"""Old JSON to the next schema version: pure functions, one step each.

An event type whose shape changes gets ``schema_version + 1`` in `codec.SCHEMA_VERSIONS`, a function here
under the version it starts from, and a golden file of the new version; the old golden file stays for ever.
An upcaster gets a dict of its own and may change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Data: TypeAlias = dict[str, Any]
Upcaster: TypeAlias = Callable[[Data], Data]
Upcasters: TypeAlias = Mapping[tuple[str, int], Upcaster]


def _creation_got_an_attempt(data: Data) -> Data:
    """Version 1 was written by imports alone, from logs that tell neither attempt nor size."""
    return {**data, "attempt": 1, "vm_size": "", "os_disk_gb": 0}


UPCASTERS: Upcasters = {("PoolCreationRequested", 1): _creation_got_an_attempt}
"""Keyed by type and the schema version that the function starts from."""


def upcast(upcasters: Upcasters, type_: str, found: int, wanted: int, data: Data) -> Data:
    """Lead ``data`` from schema version ``found`` to ``wanted``, step by step.

    Raises:
        KeyError: A step is missing; the key is the type and the version it would start from.
    """
    for version in range(found, wanted):
        data = upcasters[type_, version](data)
    return data
