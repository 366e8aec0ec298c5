"""Random numbers: one named generator per process, all derived from one seed.

A process draws from its own generator only, so turning one process off, or letting it draw more often, does
not shift what the others see.
"""

from __future__ import annotations

from random import Random


class Generators:
    """The generators of one run. A name always means the same generator, with the draws it has made."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self._generators: dict[str, Random] = {}

    def generator(self, name: str) -> Random:
        """The generator of this name.

        Seeding with text hashes it with SHA-512, so the numbers depend on neither PYTHONHASHSEED nor machine.
        """
        known = self._generators.get(name)
        if known is None:
            known = self._generators[name] = Random(f"{self.seed}/{name}")
        return known
