"""`read_logs` turns files into histories, `append_histories` puts them into an event log.

Reading is pure once the files are read: the same files, in any order, give the same result. Everything that
can refuse an import refuses before the first event is appended.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from kaito.importing.errors import BrokenFile
from kaito.importing.evidence import OddLine
from kaito.importing.files import label_paths
from kaito.importing.reading import Reading, Year, first_date, read_file
from kaito.importing.telling import Attested, Note, tell


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the files prove, and how well they were understood.

    ``lines`` is ``understood`` and ``not_understood_count`` together; ``irrelevant`` of the understood ones
    are plumbing that no event tells. ``not_understood`` holds at most the first 10 000 a file.
    """

    histories: dict[str, tuple[Attested, ...]]
    """By stream, in order of the first event; each event with the line that proves it."""
    lines: int
    understood: int
    irrelevant: int
    not_understood_count: int
    not_understood: tuple[OddLine, ...]
    unattributed: tuple[OddLine, ...]
    """Lines that are understood, and name nobody whose they must be."""
    notes: tuple[Note, ...]
    """Streams whose history stops before the logs do, or is held back, and why."""
    broken: tuple[BrokenFile, ...]
    """With ``partial``: the files that were read only in part, and to where."""


def read_logs(paths: Sequence[Path], *, partial: bool, year: int | None = None) -> ImportResult:
    """Read logs and tables of one run together.

    Args:
        partial: Read a broken file up to the line where it stops making sense, instead of refusing it.
        year: The year of the first klog line, for files in which no other line shows a year.

    Raises:
        UnreadableFile: A file is missing or may not be read, also with ``partial``.
        BrokenFile: Without ``partial``.
        YearUnknown: klog lines cannot be dated.
        AgesUnanchored: None of a table's objects occurs in the other files.
    """
    readings = _read_all(_without_repeats(paths), partial, year)
    told = tell(readings)
    return ImportResult(
        histories=told.histories,
        lines=sum(reading.lines for reading in readings),
        understood=sum(reading.understood for reading in readings),
        irrelevant=sum(reading.irrelevant for reading in readings),
        not_understood_count=sum(reading.odd_count for reading in readings),
        not_understood=tuple(odd for reading in readings for odd in reading.odd),
        unattributed=tuple(told.unattributed),
        notes=tuple(told.notes),
        broken=tuple(reading.broken for reading in readings if reading.broken is not None),
    )


def _without_repeats(paths: Sequence[Path]) -> list[Path]:
    """Each file once, sorted, so that the order of the arguments means nothing."""
    return sorted({path.resolve(): path for path in sorted(paths)}.values())


def _read_all(paths: list[Path], partial: bool, year: int | None) -> list[Reading]:
    labels = label_paths(paths)
    dates = [first_date(path, label) for path, label in zip(paths, labels, strict=True)]
    shared = min((date for date in dates if date is not None), default=None)
    return [
        read_file(path, label, Year(date or shared, year), partial=partial)
        for path, label, date in zip(paths, labels, dates, strict=True)
    ]
