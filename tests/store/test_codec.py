"""Events to bytes and back, for ever."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from statemachine.events import Event, SpecChanged
from store.codec import EVENTS, Codec
from store.errors import UndecodableEvent, UnknownEventType
from store.records import StoredEvent
from tests.store.golden_files import FOLDER, missing, write_missing
from tests.store.samples import ALL_TYPES, START, events, sample

GOLDEN = sorted(FOLDER.glob("*.json"))


def test_every_event_type_has_a_golden_file() -> None:
    assert missing() == [], "run `python -m tests.store.golden_files` and commit what it writes"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_file_is_decoded_for_ever(path: Path) -> None:
    name, version = path.stem.rsplit(".v", 1)

    event = EVENTS.decode(name, int(version), path.read_text(encoding="utf-8"))

    assert type(event) is EVENTS.registered()[name][0]


@pytest.mark.parametrize("type_", ALL_TYPES)
def test_present_version_is_written_as_its_golden_file(type_: type[Event]) -> None:
    """A failure means that the shape changed: raise the schema version and write an upcaster."""
    encoded = EVENTS.encode(sample(type_))
    stored = (FOLDER / f"{encoded.type}.v{encoded.schema_version}.json").read_text(encoding="utf-8").rstrip()

    assert encoded.data == stored
    assert EVENTS.decode(encoded.type, encoded.schema_version, stored) == sample(type_)


def test_golden_files_are_written_once(tmp_path: Path) -> None:
    codec = Codec([SpecChanged])
    (path,) = write_missing(codec, tmp_path)
    path.write_text("kept")

    assert path.name == "SpecChanged.v1.json"
    assert write_missing(codec, tmp_path) == []
    assert path.read_text() == "kept"


@given(events())
def test_decoding_inverts_encoding(event: StoredEvent) -> None:
    assert EVENTS.decode(*EVENTS.encode(event)) == event


@given(events())
def test_encoding_is_a_function_of_the_value(event: StoredEvent) -> None:
    rebuilt = type(event)(**msgspec.structs.asdict(event))

    assert EVENTS.encode(rebuilt) == EVENTS.encode(event)


def test_registered_name_is_the_class_name() -> None:
    assert EVENTS.registered()["SpecChanged"] == (SpecChanged, 1)
    assert list(EVENTS.registered()) == sorted(type_.__name__ for type_ in ALL_TYPES)


@pytest.mark.parametrize(("type_", "version"), [("Nonsense", 1), ("SpecChanged", 2), ("SpecChanged", 0)])
def test_unknown_type_or_version_is_named(type_: str, version: int) -> None:
    with pytest.raises(UnknownEventType, match=f"{type_} of schema version {version}"):
        EVENTS.decode(type_, version, "{}")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"at":"2024-04-05T18:29:52Z"}',
        '{"at":"yesterday","generation":1}',
        b"\xff{}",
    ],
)
def test_undecodable_data_is_named(data: str | bytes) -> None:
    with pytest.raises(UndecodableEvent, match="stored SpecChanged cannot be read"):
        EVENTS.decode("SpecChanged", 1, data)


def test_time_is_stored_in_utc_with_z() -> None:
    data = EVENTS.encode(SpecChanged(at=START, generation=1)).data

    assert data == '{"at":"2024-04-05T18:29:52.123456Z","generation":1}'
