"""Finds where two answers differ, modulo what each server draws for itself.

- A resourceVersion or UID of one server stands for one of the other: the two met at the same place first, and
  have to meet ever after. Versions have to have the same order, too. They are never masked.
- A time is a time: that it is there counts, not when it was.
- ``managedFields`` is left out: who owns which field is kept by the real server alone, the virtual one has no
  server-side apply, and nothing of ours reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from kaito.runtime.ports import Object
from tests.differential.calls import Call, Create, List
from tests.differential.interpreter import Answer, Listed, Opened, Refused, Told, Watched

ABSENT = "absent"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSIONS = re.compile(r"(?<=version: )\d+|(?<=current: )\d+|\(\d+\)")
"""In messages, which quote both those of requests and those of the server."""

_GENERATED = re.compile(r"(?<=g-)[bcdfghjklmnpqrstvwxz2456789]{5}\b")

_CAUSES = re.compile(
    r", (?=[A-Za-z.\[\]0-9]+: "
    r"(?:Invalid value|Required value|Unsupported value|Forbidden|Too long)(?:: |[,\]]|$))"
)
"""Between the causes of a 422, which the real server tells in the random order of its maps."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the servers say differently.

    Attributes:
        what: outcome, message, answer (another kind of object), field, list, version (of a list) or events.
        path: Of a field, with ``[]`` for any item.
        virtual: What the virtual server says: JSON, a text, or ``absent``.
        ends: From here on the servers hold different objects.
    """

    call: Call
    what: str
    path: str = ""
    virtual: str
    real: str
    ends: bool = False

    def __str__(self) -> str:
        where = f" {self.path}" if self.path else ""
        return (
            f"{self.what}{where}\n    virtual: {self.virtual}\n    real:    {self.real}\n  in {self.call!r}"
        )


class Pairs:
    """What of one server stands for what of the other."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._virtual: dict[str, str] = {}

    def agree(self, virtual: str, real: str) -> bool:
        """Whether these two may stand for each other; the first meeting decides."""
        known = self._real.setdefault(virtual, real), self._virtual.setdefault(real, virtual)
        return known == (real, virtual)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._real.items())


class Comparison:
    """All answers of one program on both servers."""

    def __init__(self) -> None:
        self._uids = Pairs()
        self._versions = Pairs()
        self._versions_of: dict[str, set[tuple[str, str]]] = {}
        self._names = Pairs()

    def differences(self, call: Call, virtual: Answer, real: Answer) -> Iterator[Difference]:
        match virtual, real:
            case Told(), Told():
                yield from self._objects(call, virtual.object, real.object)
            case Refused(), Refused():
                yield from self._refusals(call, virtual, real)
            case Listed(), Listed():
                assert isinstance(call, List)
                yield from self._lists(call, virtual, real)
            case Watched(), Watched():
                yield from self._watches(call, virtual, real)
            case Opened(), Opened():
                pass
            case _:
                yield _difference(call, "outcome", _outcome(virtual), _outcome(real), ends=not call.dry)

    def _refusals(self, call: Call, virtual: Refused, real: Refused) -> Iterator[Difference]:
        if (virtual.error, virtual.code, virtual.reason) != (real.error, real.code, real.reason):
            yield _difference(call, "outcome", _outcome(virtual), _outcome(real))
        elif _message(virtual.message) != _message(real.message):
            yield _difference(call, "message", _message(virtual.message), _message(real.message))

    def _lists(self, call: List, virtual: Listed, real: Listed) -> Iterator[Difference]:
        ours, theirs = [_named(item) for item in virtual.items], [_named(item) for item in real.items]
        if len(ours) != len(theirs) or virtual.more != real.more:
            yield _difference(call, "list", _shown([ours, virtual.more]), _shown([theirs, real.more]))
            return
        for one, other in zip(_in_order(call, virtual.items), _in_order(call, real.items), strict=True):
            yield from self._objects(call, one, other)
        # A list's version is one of the whole cluster: it tells which writes are in it. One that may be old
        # is told by a cache of its kind, which hears of no other.
        known = self._versions_of.get(call.kind, ()) if call.version else self._versions
        seen = [(int(v) <= int(virtual.version), int(r) <= int(real.version)) for v, r in known]
        if any(one is not other for one, other in seen):
            yield _difference(call, "version", virtual.version, real.version)

    def _watches(self, call: Call, virtual: Watched, real: Watched) -> Iterator[Difference]:
        ours, theirs = _in_place(virtual), _in_place(real)
        if [type_ for type_, _ in ours] != [type_ for type_, _ in theirs]:
            told = ([f"{type_} {_named(obj)}" for type_, obj in each] for each in (ours, theirs))
            yield _difference(call, "events", *map(_shown, told))
        else:
            for (_, one), (_, other) in zip(ours, theirs, strict=True):
                yield from self._objects(call, one, other)
        if virtual.error and real.error:
            yield from self._refusals(call, virtual.error, real.error)
        elif virtual.error or real.error:
            yield _difference(call, "outcome", _outcome(virtual.error), _outcome(real.error))

    # Objects

    def _objects(self, call: Call, virtual: Object, real: Object) -> Iterator[Difference]:
        if virtual["kind"] != real["kind"]:
            yield _difference(call, "answer", virtual["kind"], f"{real['kind']} {real.get('status')}")
            return
        # What a dry run would have made has a UID that nobody will ever see again.
        drawn = isinstance(call, Create) and call.dry_run
        for path, one, other in _leaves("", _plain(virtual), _plain(real)):
            if not self._same(call, path, one, other, drawn):
                yield _difference(call, "field", _text(one), _text(other), path=path)

    def _same(self, call: Call, path: str, virtual: Any, real: Any, drawn: bool) -> bool:
        if not (isinstance(virtual, str) and isinstance(real, str)):
            return False
        if path.endswith(".resourceVersion"):
            self._versions_of.setdefault(call.kind, set()).add((virtual, real))
            return self._versions.agree(virtual, real) and self._ordered(virtual, real)
        if _UID.fullmatch(virtual) and _UID.fullmatch(real):
            return (drawn and path == "metadata.uid") or self._uids.agree(virtual, real)
        if path == "metadata.name" and virtual[:-5] == real[:-5]:
            return self._names.agree(virtual, real)
        return bool(virtual == real or (_TIME.fullmatch(virtual) and _TIME.fullmatch(real)))

    def _ordered(self, virtual: str, real: str) -> bool:
        if not (virtual.isdigit() and real.isdigit()):
            return virtual == real
        return all((int(v) < int(virtual)) == (int(r) < int(real)) for v, r in self._versions)


def _in_order(call: List, items: list[Object]) -> list[Object]:
    """By name, where the answer may be old: the real cache keeps objects in no order."""
    cached = call.version and (not call.limit or call.version == "0")
    return sorted(items, key=_named) if cached else items


def _in_place(watched: Watched) -> list[tuple[str, Object]]:
    """The notifications, with the state at the beginning by name: the real cache keeps it in no order."""
    told = watched.told
    if not watched.from_state:
        return told
    first = next((i for i, (type_, _) in enumerate(told) if type_ != "ADDED"), len(told))
    return [*sorted(told[:first], key=lambda each: _named(each[1])), *told[first:]]


def _plain(obj: Object) -> Object:
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _leaves(path: str, virtual: Any, real: Any) -> Iterator[tuple[str, Any, Any]]:
    """The places where two documents are not equal at once, with Ellipsis for what is not there."""
    if isinstance(virtual, dict) and isinstance(real, dict):
        prefix = f"{path}." if path else ""
        for key in dict.fromkeys([*virtual, *real]):
            yield from _leaves(f"{prefix}{key}", virtual.get(key, ...), real.get(key, ...))
    elif virtual is ... and isinstance(real, dict) and real:
        yield from _leaves(path, {}, real)
    elif isinstance(virtual, list) and isinstance(real, list) and len(virtual) == len(real):
        for one, other in zip(virtual, real, strict=True):
            yield from _leaves(f"{path}[]", one, other)
    elif _is_drawn(path) or type(virtual) is not type(real) or virtual != real:
        yield path, virtual, real


def _is_drawn(path: str) -> bool:
    """These are looked at even when they are equal by chance."""
    return path.endswith((".resourceVersion", ".uid"))


def _difference(
    call: Call, what: str, virtual: str, real: str, *, path: str = "", ends: bool = False
) -> Difference:
    return Difference(call=call, what=what, path=path, virtual=virtual, real=real, ends=ends)


def _outcome(answer: Answer | None) -> str:
    if isinstance(answer, Refused):
        return f"{answer.code} {answer.reason} ({answer.error}): {_message(answer.message)}"
    return "no error" if answer is None else "success"


def _message(text: str) -> str:
    tokens = (_UID, "<uid>"), (_VERSIONS, "<version>"), (_TIME, "<time>"), (_GENERATED, "<drawn>")
    for pattern, word in tokens:
        text = pattern.sub(word, text)
    head, several, causes = text.partition(" is invalid: [")
    if not several:
        return text
    return f"{head} is invalid:\n" + "\n".join(sorted(_CAUSES.split(causes.removesuffix("]"))))


def _named(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _text(value: Any) -> str:
    return ABSENT if value is ... else _shown(value)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
