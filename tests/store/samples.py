"""Events of every registered type, built from the types themselves, and short histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from statemachine.events import Event, InferenceProgressed, SpecChanged, WorkerNodesChosen
from statemachine.limits import Limits
from store.codec import EVENTS
from store.records import StoredEvent

START = datetime(2024, 4, 5, 18, 29, 52, 123456, tzinfo=UTC)
STREAM = "workspace/default/workspace-falcon-7b-instruct/4f2a"
OTHER = "machine/ws0123456789"
SIBLING = "workspace/default/another/5e1c"
"""Of the same family as ``STREAM``."""


class SteppingClock:
    """Each reading is one second after the one before."""

    def __init__(self) -> None:
        self._next = START

    def __call__(self) -> datetime:
        now, self._next = self._next, self._next + timedelta(seconds=1)
        return now


def a_change(generation: int = 1, at: datetime = START) -> SpecChanged:
    return SpecChanged(at=at, generation=generation)


def some_changes(count: int, first: int = 1) -> list[StoredEvent]:
    return [a_change(first + step, START + timedelta(seconds=first + step)) for step in range(count)]


def sample(type_: type[Event]) -> Event:
    """An event whose every field has a value that is not its default."""
    fields = msgspec.structs.fields(type_)
    hints = {field.name: field.type for field in fields}
    return type_(**{name: _value(name, hint) for name, hint in hints.items()})


def _value(name: str, hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is tuple:
        return (f"{name}-0", f"{name}-1")
    values: dict[Any, Any] = {
        str: f'{name} with "quotes", ü and \u2713',
        int: 7,
        float: 240.5,
        bool: True,
        datetime: START,
    }
    if hint is Limits:
        names = [field.name for field in msgspec.structs.fields(Limits)]
        return Limits(**{name: 100.5 + place for place, name in enumerate(names)})
    return values[hint]


def times() -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def events() -> st.SearchStrategy[StoredEvent]:
    """Events of three shapes: a number, free texts, a tuple."""
    return st.one_of(
        st.builds(SpecChanged, at=times(), generation=st.integers(0, 2**53)),
        st.builds(InferenceProgressed, at=times(), phase=texts(), message=texts()),
        st.builds(WorkerNodesChosen, at=times(), nodes=st.lists(texts(), max_size=3).map(tuple)),
    )


ALL_TYPES = [type_ for type_, _ in EVENTS.registered().values()]
