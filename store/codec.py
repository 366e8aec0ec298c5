"""Event <-> (type, schema version, JSON text).

The registered name of an event is its class name, never an import path. The same event gives the same bytes
in every process: fields in the order of the class, no whitespace, times in UTC with a ``Z``.

What is encoded is decoded again on the spot, for a log is read for ever: a float that JSON cannot hold or a
value of the wrong type is refused when it is written, not found when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias, cast

import msgspec

from statemachine.events import WORKSPACE_EVENTS, Event
from statemachine.machine.events import MACHINE_EVENTS
from store.errors import UndecodableEvent, UnknownEventType
from store.records import StoredEvent
from store.upcasters import UPCASTERS, Upcasters, upcast

SCHEMA_VERSIONS: dict[str, int] = {"PoolCreationRequested": 2}
"""The present schema version of every event type that is no longer at version 1."""

Decode: TypeAlias = Callable[[str | bytes], StoredEvent]

_ENCODER = msgspec.json.Encoder()
_NO_OFFSET = timedelta(0)


class Encoded(NamedTuple):
    """An event as it is stored."""

    type: str
    schema_version: int
    data: str


class Codec:
    """The event types a log may hold, each under its name and present schema version."""

    def __init__(self, types: Iterable[type[Event]] = (), upcasters: Upcasters = UPCASTERS) -> None:
        self._upcasters = upcasters
        self._types: dict[str, tuple[type[Event], int]] = {}
        self._names: dict[type[Event], tuple[str, int, Decode]] = {}
        self.decoders: dict[tuple[str, int], Decode] = {}
        """The decoder of each type's present version, for loops that cannot afford a call more an event.
        A decoder raises msgspec's errors; `decode` translates them."""
        for type_ in types:
            self.register(type_, SCHEMA_VERSIONS.get(type_.__name__, 1))

    def register(self, type_: type[Event], schema_version: int = 1, name: str = "") -> None:
        """Make ``type_`` the shape of its name (by default the class name) from this version on."""
        name = name or type_.__name__
        if name in self._types:
            former, version = self._types[name]
            del self._names[former], self.decoders[name, version]
        decode = cast(Decode, msgspec.json.Decoder(type_).decode)
        self._types[name] = (type_, schema_version)
        self._names[type_] = (name, schema_version, decode)
        self.decoders[name, schema_version] = decode

    def registered(self) -> dict[str, tuple[type[Event], int]]:
        """Name to class and present schema version, sorted by name."""
        return dict(sorted(self._types.items()))

    def encode(self, event: Event) -> Encoded:
        """Encode one event of a registered type.

        Raises:
            UnknownEventType: The type is not registered.
            ValueError: The event would not be read back as it is.
        """
        known = self._names.get(type(event))
        if known is None:
            raise UnknownEventType(type(event).__name__, 0)
        name, schema_version, decode = known
        require_utc(event.at, f"{name}.at")
        data = _ENCODER.encode(event)
        try:
            same = decode(data) == event
        except msgspec.DecodeError as error:
            raise ValueError(f"{name} cannot be stored: {error}") from error
        if not same:
            raise ValueError(f"{name} cannot be stored: it would be read back as another value than {event}")
        return Encoded(name, schema_version, data.decode())

    def decode(self, type_: str, schema_version: int, data: str | bytes) -> StoredEvent:
        """Raises `UnknownEventType` or `UndecodableEvent`."""
        decode = self.decoders.get((type_, schema_version))
        try:
            if decode is not None:
                return decode(data)
            return self._decode_former(type_, schema_version, data)
        except (msgspec.DecodeError, UnicodeError, TypeError) as error:
            raise UndecodableEvent(type_, str(error)) from error

    def _decode_former(self, type_: str, schema_version: int, data: str | bytes) -> StoredEvent:
        shape, present = self._types.get(type_, (None, 0))
        if shape is None or not 0 < schema_version < present:
            raise UnknownEventType(type_, schema_version)
        former = msgspec.json.decode(data, type=dict)
        try:
            upcasted = upcast(self._upcasters, type_, schema_version, present, former)
        except Exception as error:  # An upcaster that meets a shape nobody foresaw may raise anything.
            why = f"upcasting from schema version {schema_version}: {type(error).__name__}: {error}"
            raise UndecodableEvent(type_, why) from error
        return cast(StoredEvent, msgspec.convert(upcasted, shape))


def require_utc(time: datetime, what: str) -> datetime:
    """Return ``time``, or raise `ValueError` when it is naive or of another zone than UTC."""
    if time.tzinfo is not UTC and time.utcoffset() != _NO_OFFSET:
        raise ValueError(f"{what} is expected to be aware and UTC, found {time!r}")
    return time


EVENTS = Codec((*WORKSPACE_EVENTS, *MACHINE_EVENTS))
"""The codec of the product. Tests that need other types make a codec of their own."""
