"""An event as a row: its columns in table order, its identity, its place in the hash chain.

The hash of a row is SHA-256 over the hash of the row before it in its stream (64 zeros for the first), a line
feed, and the JSON array of all other columns in table order, UTF-8, without whitespace. So it covers every
column, the position included, and can be recomputed with any JSON library.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import msgspec

from store.codec import Codec, Encoded, require_utc
from store.records import Record, StoredEvent

GENESIS = "0" * 64
"""What stands for the hash before the first event of a stream."""

_encode = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """One row of the table `events`, column by column."""

    position: int
    stream: str
    version: int
    type: str
    schema_version: int
    at: str
    recorded_at: str
    epoch: int
    cause: str
    event_id: str
    data: str
    hash: str


class Batch(NamedTuple):
    """The events of one append, encoded and identified, not yet placed."""

    events: Sequence[StoredEvent]
    encoded: list[Encoded]
    ids: list[str]


def timestamp(time: datetime) -> str:
    """The fixed-width text of an aware UTC time; microseconds are kept, also when they are zero."""
    return time.isoformat(timespec="microseconds")[:26] + "Z"


def moment(text: str) -> datetime:
    """The inverse of `timestamp`."""
    return datetime.fromisoformat(text)


def chain_hash(previous: str, columns: Sequence[object]) -> str:
    """The hash of a row from the hash before it and its other columns."""
    return sha256(b"%s\n%s" % (previous.encode(), _encode(columns))).hexdigest()


def batch(
    codec: Codec, stream: str, events: Sequence[StoredEvent], expected_version: int, command_id: str
) -> Batch:
    """Encode the events and derive their ids.

    An id is a hash of stream, expected version, command id, ordinal and size of the batch. So a repeat of the
    same append bears the same ids, and a repeat with another number of events does not.
    """
    encoded = [codec.encode(event) for event in events]
    identity = command_id or sha256(_encode(encoded)).hexdigest()
    size = len(encoded)
    prefix = f"{len(stream)}:{stream} {expected_version} {size} "
    ids = [sha256(f"{prefix}{ordinal} {identity}".encode()).hexdigest() for ordinal in range(size)]
    return Batch(events, encoded, ids)


def seal(
    batch: Batch,
    stream: str,
    *,
    version: int,
    position: int,
    previous: str,
    recorded_at: datetime,
    epoch: int,
    cause: str,
) -> list[Row]:
    """Place a batch behind ``version`` of its stream and ``position`` of the log, and chain it."""
    recorded = timestamp(require_utc(recorded_at, "recorded_at"))
    rows = []
    for event, (type_, schema_version, data), event_id in zip(
        batch.events, batch.encoded, batch.ids, strict=True
    ):
        version += 1
        position += 1
        columns = (
            position,
            stream,
            version,
            type_,
            schema_version,
            timestamp(event.at),
            recorded,
            epoch,
            cause,
            event_id,
            data,
        )
        previous = chain_hash(previous, columns)
        rows.append(Row(*columns, previous))
    return rows


def record(row: Row, event: StoredEvent) -> Record:
    """The row as readers see it."""
    return Record(
        row.stream,
        row.version,
        row.position,
        row.type,
        row.schema_version,
        moment(row.recorded_at),
        row.epoch,
        row.cause,
        row.event_id,
        row.hash,
        event,
    )
