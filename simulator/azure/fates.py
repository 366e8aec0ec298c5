"""What becomes of an operation, decided when it is accepted: how long it takes and how it ends."""

from __future__ import annotations

from typing import Literal

import msgspec

from simulator.azure import refusals
from simulator.azure.operations import Status
from simulator.azure.quota import Shortage, complaint
from simulator.azure.refusals import Complaint
from simulator.azure.requests import Requested
from simulator.azure.scenario import AzureScenario
from simulator.azure.scripts import Fail, Hang, Lose, OperationFault, Take
from simulator.azure.stockouts import Stock
from simulator.instance_types import has_gpu
from simulator.process import Delays
from simulator.randomness import Generators


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` from acceptance to the end, None for never."""

    seconds: float | None
    status: Status = "Succeeded"
    error: Complaint | None = None
    zone: str = ""
    machines: bool = True
    """Whether machines are made; those of a failed create join no cluster."""
    seen_as: Literal["", "missing", "running"] = ""


class Fates:
    """Draws fates. Every process has its own generator and draws each time, whichever of them decides."""

    def __init__(self, scenario: AzureScenario, delays: Delays, generators: Generators, stock: Stock) -> None:
        self._scenario = scenario
        self._delays = delays
        self._generators = generators
        self._stock = stock
        self._after_service_fault = False
        self._by_chance = True

    def end_chances(self) -> None:
        """From now on operations fail by script and by rule only."""
        self._by_chance = False

    def of_create(self, asked: Requested, shortage: Shortage | None, scripted: OperationFault | None) -> Fate:
        """A script decides first, then quota, stock, and chance."""
        seconds = self._delays.seconds("machine.request") + self._creation_seconds(asked.vm_size)
        zone = self._stock.zone_for(asked.vm_size, asked.zones, asked.spot)
        by_chance = self._chance_failure(asked)
        seen_as = self._lost()
        plain = Fate(seconds=seconds, zone=zone or "")
        if scripted is not None:
            return _scripted(scripted, plain)
        fate = self._lack(asked, shortage, zone) or by_chance or plain
        return msgspec.structs.replace(fate, seen_as=seen_as)

    def _lack(self, asked: Requested, shortage: Shortage | None, zone: str | None) -> Fate | None:
        """The failure for want of quota or stock."""
        location = self._scenario.cluster.location
        if shortage is not None:
            error = complaint(shortage, self._scenario.quota.form, location)
            return self._failed(error, "stockouts.surfaces")
        if zone is None:
            error = self._stock.complaint(asked.vm_size, asked.zones, location)
            return self._failed(error, "stockouts.surfaces")
        return None

    def of_update(self, scripted: OperationFault | None) -> Fate:
        """An update that makes no machine."""
        seconds = self._scenario.update.sample(self._generators.generator("azure.update"))
        plain = Fate(seconds=seconds, machines=False)
        return plain if scripted is None else _scripted(scripted, plain)

    def of_delete(self, scripted: OperationFault | None) -> Fate:
        seconds = self._delays.seconds("deletion.request") + self._delays.seconds("deletion.operation")
        plain = Fate(seconds=seconds, machines=False, seen_as=self._lost())
        return plain if scripted is None else _scripted(scripted, plain)

    def _creation_seconds(self, size: str) -> float:
        return self._delays.seconds("machine.operation" if has_gpu(size) else "machine.cpu_operation")

    def _chance_failure(self, asked: Requested) -> Fate | None:
        """A failed bootstrap or a fault of the service; the service's faults come in company."""
        chances = self._scenario.failures
        service = chances.service_again if self._after_service_fault else chances.service
        bootstrap_fails = self._draw("bootstrap", chances.bootstrap.value)
        service_fails = self._draw("service", service.value)
        self._after_service_fault = service_fails
        if bootstrap_fails:
            code = self._generators.generator("azure.exit_code").choice(chances.bootstrap_exit_codes)
            zone = min(asked.zones, default="")
            failed = self._failed(refusals.bootstrap_failed(code), "failures.bootstrap_surfaces")
            return msgspec.structs.replace(failed, machines=True, zone=zone)
        return self._failed(self._service_fault(), "failures.service_surfaces") if service_fails else None

    def _service_fault(self) -> Complaint:
        random = self._generators.generator("azure.service.text")
        found = refusals.internal_error(f"{random.getrandbits(128):032x}")
        return refusals.wrapped(found) if random.random() < 0.5 else found

    def _failed(self, error: Complaint, surfaces: str) -> Fate:
        section, _, name = surfaces.partition(".")
        parameter = getattr(getattr(self._scenario, section), name)
        seconds = parameter.sample(self._generators.generator(f"azure.{surfaces}"))
        return Fate(seconds=seconds, status="Failed", error=error, machines=False)

    def _lost(self) -> Literal["", "missing", "running"]:
        if not self._draw("lost_operation", self._scenario.failures.lost_operation.value):
            return ""
        return "missing" if self._generators.generator("azure.lost.form").random() < 0.5 else "running"

    def _draw(self, name: str, chance: float) -> bool:
        return self._generators.generator(f"azure.{name}").random() < chance and self._by_chance


def _scripted(fault: OperationFault, plain: Fate) -> Fate:
    match fault:
        case Fail():
            error = Complaint(fault.code, fault.message, fault.details)
            return Fate(
                seconds=fault.after_seconds,
                status=fault.status,
                error=error,
                zone=plain.zone,
                machines=fault.machine_stays,
            )
        case Hang():
            return msgspec.structs.replace(plain, seconds=None)
        case Lose():
            return msgspec.structs.replace(plain, seen_as=fault.seen_as)
        case Take():
            return msgspec.structs.replace(plain, seconds=fault.seconds)
