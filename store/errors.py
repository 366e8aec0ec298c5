"""Errors of the event log.

StoreError
├── WrongExpectedVersion    somebody else appended first: load again, decide again
├── StaleEpoch              a newer leader has written: stop writing
├── UnknownEventType        the stream holds an event this code does not know: set the stream aside
├── UndecodableEvent        the stored JSON does not fit its type: set the stream aside
├── LinesRefused            JSON lines that are no log, or not this one: nothing was imported
├── LogUnavailable          the log cannot be opened or written: stop acting
└── SchemaMismatch          the log's tables are of another version than the code
    ├── SchemaTooNew        written by a newer release: refuse
    └── SchemaTooOld        to be migrated first
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything the store raises."""


class WrongExpectedVersion(StoreError):
    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at version {actual}, not {expected}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class StaleEpoch(StoreError):
    def __init__(self, epoch: int, highest: int) -> None:
        super().__init__(f"epoch {epoch} is over: epoch {highest} leads")
        self.epoch = epoch
        self.highest = highest


class UnknownEventType(StoreError):
    def __init__(self, type_: str, schema_version: int) -> None:
        super().__init__(f"no event type {type_} of schema version {schema_version} is known")
        self.type = type_
        self.schema_version = schema_version


class UndecodableEvent(StoreError):
    def __init__(self, type_: str, why: str) -> None:
        super().__init__(f"stored {type_} cannot be read: {why}")
        self.type = type_


class LinesRefused(StoreError):
    """A line of an import is not what it should be; ``line`` counts from 1, ``source`` names the file."""

    def __init__(self, line: int, why: str, source: str = "") -> None:
        super().__init__(f"{source}:{line}: {why}" if source else f"line {line}: {why}")
        self.line = line
        self.why = why


class LogUnavailable(StoreError):
    """The log cannot be opened, read or written; the message says which log and why."""


class SchemaMismatch(StoreError):
    def __init__(self, message: str, found: str, known: str) -> None:
        super().__init__(message)
        self.found = found
        self.known = known


class SchemaTooNew(SchemaMismatch):
    pass


class SchemaTooOld(SchemaMismatch):
    pass
