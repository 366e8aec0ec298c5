"""The streams of Machines, told from the provisioner's log: one agent pool, one Machine, one node."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from kaito.importing.evidence import Evidence, Kind
from statemachine.machine import events as mev

_POOL_OF_NODE = re.compile(r"aks-([a-z0-9]+)-\d+-vmss[0-9a-z]{6}", re.ASCII)
_SCALE_SET = re.compile(
    r"/virtualMachineScaleSets/(aks-([a-z0-9]+)-\d+-vmss)/virtualMachines/(\d{1,9})$", re.ASCII
)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class AttestedMachine(NamedTuple):
    event: mev.MachineEvent
    cause: str


def machine_of_node(node: str) -> str:
    """The Machine behind an AKS node, whose name holds the pool's, which is the Machine's; else empty."""
    match = _POOL_OF_NODE.fullmatch(node)
    return match[1] if match else ""


def node_of_provider_id(provider_id: str) -> tuple[str, str]:
    """Machine and node name behind an Azure provider id: AKS counts instances in base 36, six digits."""
    match = _SCALE_SET.search(provider_id)
    if match is None:
        return "", ""
    number, digits = int(match[3]), ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return match[2], match[1] + digits


class MachineStory:
    """One Machine's stream: each step once, although the provisioner repeats its calls."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.stream = f"machine/{machine}"
        self.events: list[AttestedMachine] = []
        self._told: set[Kind] = set()

    def take(self, item: Evidence) -> None:
        if item.kind in self._told:
            return
        at = max(item.at, self.events[-1].event.at) if self.events else item.at
        self._told.add(item.kind)
        self.events.append(AttestedMachine(self._event(item, at), item.cause))
        if item.kind is Kind.MACHINE_DELETED:
            self._told.clear()

    def _event(self, item: Evidence, at: datetime) -> mev.MachineEvent:
        machine = self.machine
        if item.kind is Kind.POOL_CREATION:
            return mev.PoolCreationRequested(at=at, machine=machine, pool=machine)
        if item.kind is Kind.LAUNCH:
            return mev.MachineLaunchCompleted(at=at, machine=machine, provider_id=item.text)
        if item.kind is Kind.POOL_DELETION:
            return mev.PoolDeletionRequested(at=at, machine=machine, pool=machine)
        if item.kind is Kind.NODE_DELETED:
            return mev.NodeRemoved(at=at, machine=machine, node=item.name)
        return mev.MachineRemoved(at=at, machine=machine)
