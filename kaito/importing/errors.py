"""Errors of the import.

ImportRefused
├── UnreadableFile         the file is missing, a directory, or may not be read
├── BrokenFile             the file stops making sense at a line; with ``partial`` it is read up to there
├── YearUnknown            klog lines carry no year, and nothing else says which one it was
├── AgesUnanchored         a `kubectl` table whose objects no other file of the import created
└── HistoryContradicted    the log already tells something else about this stream

Every message is one line that names the file and the line, or the stream and the event. Nothing has been
appended when one of them is raised.
"""

from __future__ import annotations


class ImportRefused(Exception):
    """Base of everything that an import may raise about its input."""


class UnreadableFile(ImportRefused):
    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file}: cannot be read: {why}")
        self.file = file


class BrokenFile(ImportRefused):
    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}")
        self.file = file
        self.line = line
        self.why = why


class YearUnknown(ImportRefused):
    def __init__(self, file: str, line: int) -> None:
        super().__init__(
            f"{file}:{line}: klog lines carry no year and no other line of the files shows one; give the year"
        )
        self.file = file
        self.line = line


class AgesUnanchored(ImportRefused):
    def __init__(self, file: str, line: int, name: str) -> None:
        super().__init__(
            f"{file}:{line}: ages count from the creation of {name}, which no other file shows; "
            "import the table together with the logs of the same run"
        )
        self.file = file
        self.line = line
        self.name = name


class HistoryContradicted(ImportRefused):
    """``version`` is that of the first event of the stream that differs."""

    def __init__(self, stream: str, version: int, cause: str, stored: str, offered: str) -> None:
        super().__init__(
            f"{stream}: event {version} is {stored}, but {cause} proves {offered}; "
            "import all files of a run together, into a log that does not hold it yet"
        )
        self.stream = stream
        self.version = version
