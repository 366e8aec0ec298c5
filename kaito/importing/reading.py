"""From files to evidence: each line is parsed by its format, dated, checked and understood, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from kaito.importing import jsonlines, klog, kubectl, zap
from kaito.importing.entries import Entry, Malformed
from kaito.importing.errors import BrokenFile, UnreadableFile, YearUnknown
from kaito.importing.evidence import Evidence, OddLine, Row
from kaito.importing.files import RawLine, read_lines
from kaito.importing.vocabulary import UNDERSTOOD, understand

TOLERANCE = timedelta(minutes=1)
"""How far a line may lie behind the latest before it. Goroutines and whole seconds cost a second at most;
a minute also forgives a clock that was set."""

MAX_ODD_LINES = 10_000
"""How many lines that are not understood are kept per file with their text; all are counted."""

_EXCERPT = 120


class Reading(msgspec.Struct, kw_only=True):
    """What one file holds."""

    label: str
    lines: int = 0
    understood: int = 0
    irrelevant: int = 0
    odd_count: int = 0
    odd: list[OddLine] = []
    evidence: list[Evidence] = []
    rows: list[Row] = []
    broken: BrokenFile | None = None


class Year(msgspec.Struct, frozen=True):
    """Where the year of klog lines comes from: a time near the first of them, or the year itself."""

    near: datetime | None = None
    given: int | None = None


def read_file(path: Path, label: str, year: Year, *, partial: bool) -> Reading:
    """Read one file to its end, or, with ``partial``, to the line where it stops making sense.

    Raises:
        BrokenFile: Without ``partial``.
        UnreadableFile, YearUnknown
    """
    reader = _Reader(label, year)
    try:
        for line in read_lines(path, label):
            reader.read(line)
        reader.finish()
    except BrokenFile as broken:
        if not partial:
            raise
        reader.reading.broken = broken
    return reader.reading


def first_date(path: Path, label: str) -> datetime | None:
    """The first time in the file that shows its year; None if there is none before it breaks."""
    try:
        for line in read_lines(path, label):
            parse = _format_of(line.text)
            entry = None if parse in (None, klog.parse) else parse(line.text, whole=line.whole)
            if entry is not None and entry.dated:
                return entry.at
    except (BrokenFile, UnreadableFile, Malformed):
        pass
    return None


_Parse = Callable[..., Entry | None]


def _format_of(text: str) -> _Parse | None:
    if jsonlines.looks_like(text):
        return jsonlines.parse
    if klog.looks_like(text):
        return klog.parse
    return zap.parse if zap.looks_like(text) else None


class _Reader:
    """The state that lines share: the dating, an open table, an open trace, an open klog value."""

    def __init__(self, label: str, year: Year) -> None:
        self.reading = Reading(label=label)
        self._year = year
        self._last = year.near
        self._latest: datetime | None = None
        self._columns: tuple[kubectl.Column, ...] | None = None
        self._tracing = False
        self._blanks = 0
        self._open: list[str] = []

    def read(self, line: RawLine) -> None:
        try:
            self._read(line)
        except Malformed as malformed:
            raise BrokenFile(self.reading.label, line.number, str(malformed)) from None
        self.reading.lines += 1

    def finish(self) -> None:
        """
        Raises:
            BrokenFile: A value is still open, or no line was understood: then it is no file for this import.
        """
        reading = self.reading
        if self._open:
            line = reading.lines - len(self._open) + 1
            raise BrokenFile(reading.label, line, "a value over several lines does not end")
        if reading.understood == self._blanks:
            raise BrokenFile(reading.label, 1, f"none of its {reading.lines} lines is a line of a Kaito log")

    def _read(self, line: RawLine) -> None:
        text = line.text
        if self._open:
            self._continue(line)
        elif (parse := _format_of(text)) is not None:
            self._columns = None
            if klog.is_open(text) and parse is klog.parse:
                self._open = [text]
                return
            self._take(line, parse(text, whole=line.whole))
        else:
            self._read_other(line)

    def _continue(self, line: RawLine) -> None:
        """A value of several lines: indented lines, then `` >`` and perhaps further keys."""
        text = line.text
        if not text.startswith(("\t", " >")):
            raise Malformed("a value over several lines is not closed before this line")
        self._open.append(text)
        if text.startswith(" >") and not klog.is_open(text):
            joined, parts = "\n".join(self._open), len(self._open)
            self._open = []
            if self._take(line, klog.parse(joined, whole=line.whole or text.endswith(" >"))):
                self.reading.understood += parts - 1
            else:
                self.reading.odd_count += parts - 1

    def _read_other(self, line: RawLine) -> None:
        text = line.text
        if not text.strip():
            self._columns = None
            self._blanks += 1
            self._understood()
        elif self._columns is not None:
            self._take_row(line, kubectl.parse_row(self._columns, text))
        elif (columns := kubectl.parse_header(text)) is not None:
            self._columns = columns
            self._understood()
        elif zap.starts_trace(text) or (self._tracing and zap.is_frame(text)):
            self._tracing = True
            self._understood()
        elif not line.whole:
            raise Malformed("the last line is cut")
        else:
            self._odd(line, "no log format that this import knows")

    def _understood(self) -> None:
        self.reading.understood += 1
        self.reading.irrelevant += 1

    def _odd(self, line: RawLine, why: str) -> None:
        self.reading.odd_count += 1
        if len(self.reading.odd) < MAX_ODD_LINES:
            self.reading.odd.append(OddLine(self.reading.label, line.number, line.text[:_EXCERPT], why))

    def _take(self, line: RawLine, entry: Entry | None) -> bool:
        """Whether the entry was understood."""
        if entry is None:
            self._odd(line, "a JSON object that is no log line")
            return False
        at = self._date(entry, line)
        order = self._in_order(at)
        self._tracing = entry.severe
        meaning = understand(entry)
        if meaning is None:
            self._odd(line, "a message that this import does not know")
            return False
        if meaning is UNDERSTOOD:
            self._understood()
        else:
            self.reading.understood += 1
            stamp = at if entry.exact else order
            self.reading.evidence.append(Evidence(order, self.reading.label, line.number, stamp, *meaning))
        return True

    def _date(self, entry: Entry, line: RawLine) -> datetime:
        if entry.dated:
            at = entry.at
        elif self._last is not None:
            at = _nearest(entry.at, self._last)
        elif self._year.given is not None:
            at = _in_year(entry.at, self._year.given)
        else:
            raise YearUnknown(self.reading.label, line.number)
        self._last = at
        return at

    def _in_order(self, at: datetime) -> datetime:
        latest = self._latest
        if latest is None or at > latest:
            self._latest = at
            return at
        if latest - at > TOLERANCE:
            raise Malformed(
                f"the time goes back by {(latest - at).total_seconds():.0f} s, to {at:%Y-%m-%d %H:%M:%S}; "
                "joined logs must be given one by one"
            )
        return latest

    def _take_row(self, line: RawLine, cells: dict[str, str]) -> None:
        if cells["NAME"] == "NAME":
            self._understood()
            return
        if not line.whole:
            raise Malformed("the last line has no line break, so its age may be cut")
        age = kubectl.parse_age(cells["AGE"])
        self.reading.understood += 1
        row = Row(
            self.reading.label, line.number, "workspace" if "INFERENCEREADY" in cells else "machines",
            cells.get("NAMESPACE", ""), cells["NAME"], age.lower, age.precision,
            cells.get("INFERENCEREADY", ""), cells.get("INSTANCE", ""), cells.get("NODE", ""),
        )  # fmt: skip
        self.reading.rows.append(row)


def _years_near(year: int) -> Iterator[int]:
    return (near for near in (year - 1, year, year + 1) if 1 <= near <= 9999)


def _nearest(at: datetime, near: datetime) -> datetime:
    """The day and time of ``at`` in the year that brings it nearest to ``near``."""
    candidates = []
    for year in _years_near(near.year):
        try:
            candidates.append(at.replace(year=year))
        except ValueError:  # 29 February of a common year
            continue
    if not candidates:
        raise Malformed(f"29 February does not exist near {near.year}")
    return min(candidates, key=lambda candidate: abs(candidate - near))


def _in_year(at: datetime, year: int) -> datetime:
    try:
        return at.replace(year=year)
    except ValueError:
        raise Malformed(f"{at:%d %B} does not exist in {year}") from None
