"""Label and field selectors: the query language of list and watch.

A label selector is a comma-separated conjunction of ``k=v``, ``k==v``, ``k!=v``, ``k in (a,b)``,
``k notin (a,b)``, ``k``, ``!k``, ``k>1`` and ``k<1``. As on the real server, ``!=`` and ``notin`` also match
objects without the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec

from kaito.runtime.ports import BadRequest, Object
from simulator import names
from simulator.kinds import Kind

_TOKEN = re.compile(r"\s*(==|!=|=|!|<|>|\(|\)|,|[^\s=!<>(),]+)\s*")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "<", ">", "(", ")", ","))
_END = ""


class Requirement(msgspec.Struct, frozen=True):
    """``operator`` is one of in, notin, exists, !, gt and lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        return value is not None and _compares(value, self.operator, int(self.values[0]))


def _compares(value: str, operator: str, bound: int) -> bool:
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        return False
    return int(value) > bound if operator == "gt" else int(value) < bound


class Selection(msgspec.Struct, frozen=True):
    """What one list or watch asks for; an empty namespace means all of them."""

    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[tuple[str, ...], str, bool], ...] = ()
    """Path, value, and whether they shall be equal."""

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if self.labels:
            labels = metadata.get("labels", {})
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        return all((_field(obj, path) == value) is equal for path, value, equal in self.fields)


@lru_cache(maxsize=1024)
def selection(kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> Selection:
    """Read the selectors of a request.

    Raises:
        BadRequest: A selector cannot be parsed, or the kind has no such field to select by.
    """
    try:
        return Selection(
            namespace if kind.resource.namespaced else "",
            tuple(_requirements(labels)),
            tuple(_field_terms(kind, fields)),
        )
    except ValueError as error:
        raise BadRequest(str(error)) from error


class _Tokens:
    """The tokens of a label selector, one ahead."""

    def __init__(self, text: str) -> None:
        self._rest = iter(_split(text))
        self.current = next(self._rest, _END)

    def take(self) -> str:
        token, self.current = self.current, next(self._rest, _END)
        return token


def _split(text: str) -> Iterator[str]:
    position = 0
    text = text.strip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        assert token is not None, "every character is a symbol, a space or part of a word"
        yield token.group(1)
        position = token.end()


def _requirements(text: str) -> Iterator[Requirement]:
    tokens = _Tokens(text)
    if tokens.current == _END:
        return
    if tokens.current in _SYMBOLS and tokens.current != "!":
        raise ValueError(f"found '{tokens.current}', expected: !, identifier, or 'end of string'")
    while True:
        yield _requirement(tokens)
        if tokens.current == _END:
            return
        if (found := tokens.take()) != ",":
            raise ValueError(f"found '{found}', expected: ',' or 'end of string'")
        if tokens.current == _END or (tokens.current in _SYMBOLS and tokens.current != "!"):
            raise ValueError(f"found '{tokens.current}', expected: identifier after ','")


def _requirement(tokens: _Tokens) -> Requirement:
    if tokens.current == "!":
        tokens.take()
        return Requirement(_key(tokens), "!")
    key = _key(tokens)
    if tokens.current in (",", _END):
        return Requirement(key, "exists")
    match tokens.take():
        case "=" | "==":
            return Requirement(key, "in", (_value(tokens, key),))
        case "!=":
            return Requirement(key, "notin", (_value(tokens, key),))
        case "in" | "notin" as operator:
            return Requirement(key, operator, _values(tokens, key))
        case ">" | "<" as operator:
            return Requirement(key, "gt" if operator == ">" else "lt", (_integer(tokens, key),))
        case found:
            expected = "'=', '!=', '==', 'in', notin'"
            raise _unparsed(f"found '{found}', expected: {expected}")


def _key(tokens: _Tokens) -> str:
    key = tokens.take()
    if key in _SYMBOLS or key == _END:
        raise _unparsed(f"found '{key}', expected: identifier")
    if complaints := names.label_key(key):
        raise _unparsed(f'invalid label key "{key}": {"; ".join(complaints)}')
    return key


def _value(tokens: _Tokens, key: str) -> str:
    """A value may be empty: ``k=`` and ``k in (a,)`` are legal."""
    value = "" if tokens.current in (",", ")", _END) else tokens.take()
    if value in _SYMBOLS:
        raise _unparsed(f"found '{value}', expected: identifier")
    if complaints := names.label_value(value):
        raise _unparsed(f'invalid label value: "{value}": at key: "{key}": {"; ".join(complaints)}')
    return value


def _values(tokens: _Tokens, key: str) -> tuple[str, ...]:
    if (found := tokens.take()) != "(":
        raise _unparsed(f"found '{found}' expected: '('")
    values = [_value(tokens, key)]
    while tokens.current == ",":
        tokens.take()
        values.append(_value(tokens, key))
    if (found := tokens.take()) != ")":
        raise _unparsed(f"found '{found}', expected: ',' or ')'")
    return tuple(sorted(set(values)))


def _integer(tokens: _Tokens, key: str) -> str:
    value = _value(tokens, key)
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        raise _unparsed("for 'Gt', 'Lt' operators, the value must be an integer")
    return value


def _unparsed(why: str) -> ValueError:
    return ValueError(f"unable to parse requirement: {why}")


def _field_terms(kind: Kind, text: str) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    for term in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"([^=!]*)(==|!=|=)(.*)", term)
        if found is None:
            raise ValueError(f"invalid selector: '{term}'; can't understand '{term}'")
        path, operator, value = found.groups()
        if path not in (known := _fields_of(kind)):
            raise ValueError(_unknown_field(kind, path, known))
        yield tuple(path.split(".")), value, operator != "!="


def _unknown_field(kind: Kind, path: str, known: tuple[str, ...]) -> str:
    """Kinds that have selectable fields of their own, or are custom, do not tell which these are."""
    if kind.custom or kind.fields:
        return f"field label not supported: {path}"
    listed = ", ".join(f'"{each}"' for each in known)
    return f'"{path}" is not a known field selector: only {listed}'


def _fields_of(kind: Kind) -> tuple[str, ...]:
    common = ("metadata.name", "metadata.namespace") if kind.resource.namespaced else ("metadata.name",)
    return (*common, *kind.fields)


def _field(obj: Object, path: tuple[str, ...]) -> str:
    """The field as text; a missing one is empty."""
    value: object = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
