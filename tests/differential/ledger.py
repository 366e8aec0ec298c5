"""The differences that stay, each with its reason, as `ledger.yaml` beside this module lists them.

An entry names where it applies and what both servers say there. All that it states has to hold: ``calls``,
``kinds``, ``what``, and the patterns ``path``, ``virtual`` and ``real``, which have to match in full.
``fields`` is a table of paths and values that the real server fills in where the virtual one leaves them out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.differential.comparison import ABSENT, Difference

FILE = Path(__file__).with_name("ledger.yaml")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the ledger.

    Attributes:
        dry_run: Limits it to calls that leave no trace, or to those that do.
        shown_only: Random programs do not get there; it holds in the program that shows it, so that it hides
            nothing in others.
        ends: The objects differ from here on, so that the program is over.
    """

    id: str
    reason: str
    what: str
    calls: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    dry_run: bool | None = None
    path: str = ".*"
    virtual: str = ".*"
    real: str = ".*"
    fields: dict[str, Any] = {}
    ends: bool = False
    shown_only: bool = False

    def covers(self, difference: Difference) -> bool:
        call = difference.call
        return (
            self.what == difference.what
            and (not self.calls or type(call).__name__ in self.calls)
            and (not self.kinds or call.kind in self.kinds)
            and self.dry_run in (None, call.dry)
            and all(
                re.fullmatch(pattern, text, re.DOTALL)
                for pattern, text in (
                    (self.path, difference.path),
                    (self.virtual, difference.virtual),
                    (self.real, difference.real),
                )
            )
            and (not self.fields or self._fills_in(difference))
        )

    def _fills_in(self, difference: Difference) -> bool:
        path = difference.path
        if difference.virtual != ABSENT or path not in self.fields:
            return False
        found: bool = json.loads(difference.real) == self.fields[path]
        return found


class Ledger:
    """The entries, and how often each was needed."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self.hits: Counter[str] = Counter()

    def explanation(self, difference: Difference, shown: str = "") -> Entry | None:
        """The entry that covers it, if any; ``shown`` is the one whose program runs."""
        applying = (each for each in self.entries if not each.shown_only or each.id == shown)
        entry = next((each for each in applying if each.covers(difference)), None)
        if entry is not None:
            self.hits[entry.id] += 1
        return entry

    @property
    def unused(self) -> list[str]:
        return [entry.id for entry in self.entries if not self.hits[entry.id]]


def read_ledger(file: Path = FILE) -> Ledger:
    return Ledger(msgspec.convert(yaml.safe_load(file.read_text()), tuple[Entry, ...]))
