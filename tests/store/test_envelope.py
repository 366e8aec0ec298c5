"""The bytes under the hash, and the identities of events."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256

import pytest
from hypothesis import given

from store.codec import EVENTS
from store.envelope import GENESIS, batch, moment, seal, timestamp
from store.records import StoredEvent
from tests.store.samples import START, STREAM, events, some_changes, texts, times


@given(events(), texts(), texts())
def test_hash_needs_no_library_of_ours(event: StoredEvent, stream: str, cause: str) -> None:
    """Anybody can recompute the chain with a JSON encoder and SHA-256."""
    new = batch(EVENTS, stream, [event, event], 0, "c")
    rows = seal(new, stream, version=0, position=4, previous=GENESIS, recorded_at=START, epoch=2, cause=cause)

    previous = "0" * 64
    for row in rows:
        columns = json.dumps(list(row[:-1]), ensure_ascii=False, separators=(",", ":"))
        previous = sha256(f"{previous}\n{columns}".encode()).hexdigest()
        assert row.hash == previous


@given(times())
def test_timestamp_has_one_width(time: datetime) -> None:
    text = timestamp(time)

    assert len(text) == 27
    assert moment(text) == time


@given(times(), times())
def test_timestamps_sort_as_times(first: datetime, second: datetime) -> None:
    assert (timestamp(first) < timestamp(second)) == (first < second)


@pytest.mark.parametrize(
    ("stream", "expected", "command", "count"),
    [("other", 0, "c", 2), (STREAM, 1, "c", 2), (STREAM, 0, "d", 2), (STREAM, 0, "", 2), (STREAM, 0, "c", 3)],
)
def test_identity_depends_on_its_parts(stream: str, expected: int, command: str, count: int) -> None:
    ids = batch(EVENTS, STREAM, some_changes(2), 0, "c").ids

    others = batch(EVENTS, stream, some_changes(count), expected, command).ids

    assert len(set(ids)) == 2
    assert set(ids).isdisjoint(others)
