"""Stock-outs: whether Azure has a machine of a size left, in a zone or in the region."""

from __future__ import annotations

from collections.abc import Callable

from simulator.azure.intervals import Alternation
from simulator.azure.refusals import Complaint, allocation_failed, overconstrained, sku_not_available, wrapped
from simulator.azure.scenario import Stockouts, StockoutWindow
from simulator.randomness import Generators


class Stock:
    """What is in stock. Each size and zone has a process of its own, spot apart from on-demand."""

    def __init__(self, stockouts: Stockouts, generators: Generators, seconds: Callable[[], float]) -> None:
        self._config = stockouts
        self._generators = generators
        self._seconds = seconds
        self._processes: dict[str, Alternation] = {}
        self._windows = list(stockouts.windows)
        self._by_chance = True

    def zone_for(self, size: str, zones: tuple[str, ...], spot: bool) -> str | None:
        """The first zone that has the size; empty where no zones are asked for, None if no zone has it."""
        for zone in sorted(zones) or [""]:
            if not self._is_out(size, zone, spot):
                return zone
        return None

    def run_out(self, size: str, zone: str = "", for_seconds: float | None = None) -> None:
        """Let the size be out of stock from now on, for so long or until `restock`."""
        now = self._seconds()
        until = None if for_seconds is None else now + for_seconds
        self._windows.append(StockoutWindow(vm_size=size, zone=zone, from_seconds=now, until_seconds=until))

    def restock(self, size: str, zone: str = "") -> None:
        """End every scripted stock-out of the size in this zone."""
        self._windows = [each for each in self._windows if (each.vm_size, each.zone) != (size, zone)]

    def end(self) -> None:
        """No stock-out any more, neither scripted nor by chance."""
        self._windows.clear()
        self._by_chance = False

    def complaint(self, size: str, zones: tuple[str, ...], location: str) -> Complaint:
        """How the failed allocation is told."""
        zone = min(zones, default="")
        if self._config.code == "SkuNotAvailable":
            found = sku_not_available(size, location)
        elif self._config.code == "Overconstrained":
            found = overconstrained(size, zone)
        else:
            found = allocation_failed(size, zone)
        return wrapped(found) if self._config.wrapped else found

    def _is_out(self, size: str, zone: str, spot: bool) -> bool:
        now = self._seconds()
        scripted = any(
            each.vm_size == size and each.zone in ("", zone) and each.holds(now) for each in self._windows
        )
        return scripted or self._is_out_by_chance(size, zone, spot)

    def _is_out_by_chance(self, size: str, zone: str, spot: bool) -> bool:
        spells = self._config.spot if spot else self._config.on_demand
        if spells is None or not self._by_chance:
            return False
        name = f"azure.stockout.{'spot' if spot else 'on-demand'}.{size}.{zone or 'region'}"
        process = self._processes.get(name)
        if process is None:
            process = self._processes[name] = Alternation(spells, self._generators.generator(name))
        return process.is_bad(self._seconds())
