"""Old schema versions, proved on an event type of this module, with more steps than a real one has.

The type's history: version 1 had `gpus` as text; version 2 made it a number; version 3 has `nodes` beside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.events import Event
from store.chain import verify
from store.codec import Codec
from store.errors import UndecodableEvent
from store.jsonlines import export, import_lines
from store.memory import MemoryEventLog
from store.opening import open_log
from store.upcasters import Data, upcast
from tests.store.samples import START, STREAM, SteppingClock


class ResizedV1(Event, frozen=True, kw_only=True, gc=False):
    """The shape of the first release."""

    gpus: str


class Resized(Event, frozen=True, kw_only=True, gc=False):
    """The shape of today."""

    gpus: int
    nodes: int


def gpus_became_a_number(data: Data) -> Data:
    return {**data, "gpus": int(data["gpus"])}


def nodes_were_added(data: Data) -> Data:
    return {**data, "nodes": 1}


STEPS = {("Resized", 1): gpus_became_a_number, ("Resized", 2): nodes_were_added}


def former_codec() -> Codec:
    codec = Codec(upcasters={})
    codec.register(ResizedV1, 1, "Resized")
    return codec


def present_codec() -> Codec:
    codec = Codec(upcasters=STEPS)
    codec.register(Resized, 3)
    return codec


def total(events: list[Event]) -> tuple[int, int]:
    """A small fold: the last number of GPUs, and all nodes."""
    resized = [event for event in events if isinstance(event, Resized)]
    return (resized[-1].gpus if resized else 0, sum(event.nodes for event in resized))


def test_steps_run_in_order() -> None:
    assert upcast(STEPS, "Resized", 1, 3, {"gpus": "8"}) == {"gpus": 8, "nodes": 1}
    assert upcast(STEPS, "Resized", 2, 3, {"gpus": 8}) == {"gpus": 8, "nodes": 1}
    assert upcast(STEPS, "Resized", 3, 3, {"gpus": 8, "nodes": 2}) == {"gpus": 8, "nodes": 2}


def test_old_log_is_read_in_the_shape_of_today(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    with open_log(url, SteppingClock(), create=True, codec=former_codec()) as log:
        log.append(STREAM, [ResizedV1(at=START, gpus="4")], expected_version=0)  # type: ignore[list-item]

    with open_log(url, SteppingClock(), create=False, codec=present_codec()) as log:
        log.append(STREAM, [Resized(at=START, gpus=8, nodes=2)], expected_version=1)  # type: ignore[list-item]
        records = log.read(STREAM)
        events = log.events(STREAM)
        findings = verify(log)

    assert [record.schema_version for record in records] == [1, 3]
    assert events == [Resized(at=START, gpus=4, nodes=1), Resized(at=START, gpus=8, nodes=2)]
    assert [record.event for record in records] == events
    assert findings == []


def test_import_keeps_the_bytes_of_old_events() -> None:
    old = MemoryEventLog(SteppingClock(), former_codec())
    old.append(STREAM, [ResizedV1(at=START, gpus="4")], expected_version=0)  # type: ignore[list-item]
    new = MemoryEventLog(SteppingClock(), present_codec())

    import_lines(new, export(old))

    assert list(export(new)) == list(export(old))
    assert new.events(STREAM) == [Resized(at=START, gpus=4, nodes=1)]


@given(st.lists(st.integers(0, 64), max_size=8), st.integers(0, 8))
def test_replay_of_upcasted_history_equals_replay_of_new_history(gpus: list[int], old: int) -> None:
    """Whatever part of a history was written by the first release, the fold is that of today's events."""
    written_today = [Resized(at=START, gpus=number, nodes=1) for number in gpus]
    former, present = former_codec(), present_codec()
    stored = [former.encode(ResizedV1(at=START, gpus=str(number))) for number in gpus[:old]]
    stored += [present.encode(event) for event in written_today[old:]]

    replayed: list[Event] = [present.decode(*encoded) for encoded in stored]

    assert replayed == written_today
    assert total(replayed) == total(list(written_today))


def test_missing_step_is_named() -> None:
    codec = Codec(upcasters={("Resized", 2): nodes_were_added})
    codec.register(Resized, 3)

    with pytest.raises(UndecodableEvent, match=r"from schema version 1: KeyError: \('Resized', 1\)"):
        codec.decode("Resized", 1, '{"gpus":"4"}')


def test_upcaster_that_meets_nonsense_is_reported() -> None:
    with pytest.raises(UndecodableEvent, match="cannot be read: upcasting from schema version 1: ValueError"):
        present_codec().decode("Resized", 1, '{"at":"2024-04-05T18:29:52Z","gpus":"many"}')
