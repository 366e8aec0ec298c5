"""How messages are composed, as the published webhook does it.

One fault prints as ``<message>: <path>[, <path>…]``. Faults with the same message become one line with their
paths sorted; lines are sorted by their text.
"""

from __future__ import annotations

from collections import defaultdict

from kaito.api.errors import Finding


class Report:
    """The faults of one object, in any order."""

    def __init__(self) -> None:
        self._paths: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, message: str, *paths: str) -> None:
        """A fault at these paths; without any, it prints with a colon and nothing behind it, as published."""
        self._paths[message].update(paths)

    def missing(self, path: str) -> None:
        self.add("missing field(s)", path)

    def invalid(self, value: str, path: str) -> None:
        self.add(f"invalid value: {value}", path)

    def immutable(self, path: str) -> None:
        self.add("field is immutable", path)

    def found(self, finding: Finding) -> None:
        """A fault of the object's form."""
        self.add(f"expected {finding.expected}, found {finding.found}", finding.field or "object")

    def lines(self) -> list[str]:
        return sorted(f"{message}: {', '.join(sorted(paths))}" for message, paths in self._paths.items())
